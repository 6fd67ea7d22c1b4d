//! A tree in memory, for tests of what walks trees: it can be broken in ways that no mkfs makes.

use super::image::View;
use spelunk_tree::{
    Attr, Case, Cursor, DiskInfo, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Result,
    StreamInfo, Tree, TreeInfo, VolumeInfo, Xattr,
};
use std::collections::HashMap;
use std::sync::Arc;

/// A node of the tree.
pub enum Node {
    /// A directory of names and the nodes they lead to.
    Directory(Vec<(&'static str, u64)>),
    /// A file.
    File(&'static [u8]),
}

/// A tree whose root is node 1, listed in pages of two.
pub struct MemoryTree {
    info: TreeInfo,
    nodes: HashMap<u64, Node>,
}

const PAGE: usize = 2;

/// A view of one volume with these nodes.
pub fn view(nodes: impl IntoIterator<Item = (u64, Node)>) -> View {
    view_of_volumes(vec![Ok(nodes.into_iter().collect())])
}

/// A view of a disk with these volumes, laid out as usual.
pub fn view_of_volumes(volumes: Vec<Result<HashMap<u64, Node>>>) -> View {
    let mut infos = Vec::new();
    let mut trees = Vec::new();
    for (number, nodes) in (1..).zip(volumes) {
        let tree = nodes.map(|nodes| Arc::new(MemoryTree { info: tree_info(), nodes }) as Arc<dyn Tree>);
        let filesystem = tree.as_ref().map(|tree| tree.info().clone()).map_err(Clone::clone);
        infos.push(volume_info(number, filesystem));
        trees.push(tree.ok());
    }
    let info = DiskInfo {
        layers: Vec::new(),
        size_bytes: 0,
        sector_bytes: 512,
        table: "gpt".to_owned(),
        table_id: String::new(),
        volumes: infos,
        notes: Vec::new(),
    };
    View::of_trees(&info, trees, super::image::Layout::Auto, None).unwrap()
}

fn volume_info(number: u32, filesystem: Result<TreeInfo>) -> VolumeInfo {
    VolumeInfo {
        number,
        start_bytes: 0,
        size_bytes: 0,
        partition_type: "83".to_owned(),
        name: String::new(),
        id: String::new(),
        attributes: String::new(),
        is_extended: false,
        filesystem,
    }
}

fn tree_info() -> TreeInfo {
    TreeInfo {
        filesystem: "memory".to_owned(),
        label: Vec::new(),
        uuid: String::new(),
        case: Case::Sensitive,
        block_bytes: 1,
        size_bytes: 0,
        free_bytes: None,
        nodes: None,
        free_nodes: None,
        xattr_prefixes: None,
        written: None,
        notes: Vec::new(),
    }
}

impl MemoryTree {
    fn node(&self, id: u64) -> Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| Error::not_found("no such node"))
    }

    fn children(&self, dir: NodeId) -> Result<&[(&'static str, u64)]> {
        match self.node(dir.get())? {
            Node::Directory(children) => Ok(children),
            Node::File(_) => Err(Error::new(ErrorKind::NotADirectory, "not a directory")),
        }
    }

    fn entry(&self, name: &str, id: u64) -> Result<Entry> {
        let node = NodeId::new(id)?;
        Ok(Entry { name: Name::new(name.as_bytes())?, node, attr: self.attr(node)? })
    }
}

impl Tree for MemoryTree {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::new(1).unwrap()
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let found = self.children(dir)?.iter().find(|(child, _)| child.as_bytes() == name.as_bytes());
        let (name, id) = found.ok_or_else(|| Error::not_found("no such entry"))?;
        self.entry(name, *id)
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let children = self.children(dir)?;
        let start = usize::try_from(cursor.0).unwrap();
        let end = (start + max.min(PAGE)).min(children.len());
        let cursor_of = |index: usize| Cursor(u64::try_from(index).unwrap());
        let listed = children[start..end].iter().enumerate().map(|(index, (name, id))| {
            let next = cursor_of(start + index + 1);
            match self.entry(name, *id) {
                Ok(entry) => Listed::Entry { entry, next },
                Err(error) => Listed::Broken { name: Name::new(name.as_bytes()).ok(), error, next },
            }
        });
        let next = (end < children.len()).then(|| cursor_of(end));
        Ok(Page { entries: listed.collect(), next })
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        match self.node(node.get())? {
            Node::Directory(_) => Ok(Attr::new(Kind::Directory)),
            Node::File(bytes) => {
                Ok(Attr { size: u64::try_from(bytes.len()).unwrap(), ..Attr::new(Kind::File) })
            }
        }
    }

    fn read(&self, node: NodeId, _stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let Node::File(bytes) = self.node(node.get())? else { return Err(Error::corrupt("not a file")) };
        let rest = &bytes[usize::try_from(offset).unwrap().min(bytes.len())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        self.node(node.get())?;
        Err(Error::new(ErrorKind::NotALink, "not a symbolic link"))
    }

    fn xattrs(&self, _node: NodeId) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    fn streams(&self, _node: NodeId) -> Result<Vec<StreamInfo>> {
        Ok(Vec::new())
    }
}
