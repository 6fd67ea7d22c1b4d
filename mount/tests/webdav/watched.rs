//! A tree whose calls are looked at as they come in, and may be made to fail or wait.

use super::memory_tree::MemoryTree;
use spelunk_tree::{Attr, Cursor, Entry, Name, NodeId, Page, Result, StreamInfo, Tree, TreeInfo, Xattr};

pub struct Watched {
    tree: MemoryTree,
    watch: Box<dyn Fn(Call) -> Result<()> + Send + Sync>,
}

/// A call to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Lookup,
    List(Cursor),
    Attr,
    Read,
}

impl Watched {
    pub fn new(tree: MemoryTree, watch: impl Fn(Call) -> Result<()> + Send + Sync + 'static) -> Watched {
        Watched { tree, watch: Box::new(watch) }
    }
}

impl Tree for Watched {
    fn info(&self) -> &TreeInfo {
        self.tree.info()
    }

    fn root(&self) -> NodeId {
        self.tree.root()
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        (self.watch)(Call::Lookup)?;
        self.tree.lookup(dir, name)
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        (self.watch)(Call::List(cursor))?;
        self.tree.list(dir, cursor, max)
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        (self.watch)(Call::Attr)?;
        self.tree.attr(node)
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        (self.watch)(Call::Read)?;
        self.tree.read(node, stream, offset, buffer)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        self.tree.link_target(node)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.tree.xattrs(node)
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        self.tree.streams(node)
    }
}
