//! A tree in memory, for tests of what walks trees: it can be broken in ways that no mkfs makes.

use spelunk_tree::{
    Attr, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Place, Result, Run, StreamInfo,
    Tree, TreeInfo, Xattr, push_run,
};
use std::collections::HashMap;

/// A node of the tree.
pub enum Node {
    /// A directory of names and the nodes they lead to.
    Directory(Vec<(&'static str, u64)>),
    /// A file.
    File(&'static [u8]),
    /// A file of this many bytes: a part of them written, the others a hole. The bytes from an offset on
    /// cannot be read.
    Large {
        size: u64,
        /// Bytes at the start that are no hole.
        written: u64,
        unreadable_from: Option<u64>,
    },
    /// A symbolic link.
    Link(&'static str),
    /// A named pipe.
    Pipe,
    /// Damaged: listed, but broken.
    Damaged,
}

/// A tree whose root is node 1, listed in pages of two.
pub struct MemoryTree {
    info: TreeInfo,
    nodes: HashMap<u64, Node>,
}

const PAGE: usize = 2;

/// A tree with these nodes.
pub fn tree(nodes: impl IntoIterator<Item = (u64, Node)>) -> MemoryTree {
    let info = TreeInfo::new("memory");
    MemoryTree { info, nodes: nodes.into_iter().collect() }
}

/// The byte of a large file at `offset`: compressible, and not periodic in a small power of two.
pub fn large_byte(offset: u64) -> u8 {
    u8::try_from(offset / 7 % 251).unwrap()
}

impl MemoryTree {
    fn node(&self, id: u64) -> Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| Error::not_found("no such node"))
    }

    fn children(&self, dir: NodeId) -> Result<&[(&'static str, u64)]> {
        match self.node(dir.get())? {
            Node::Directory(children) => Ok(children),
            _ => Err(Error::new(ErrorKind::NotADirectory, "not a directory")),
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
        let (kind, size) = match self.node(node.get())? {
            Node::Directory(_) => (Kind::Directory, 0),
            Node::File(bytes) => (Kind::File, u64::try_from(bytes.len()).unwrap()),
            Node::Large { size, .. } => (Kind::File, *size),
            Node::Link(target) => (Kind::Symlink, u64::try_from(target.len()).unwrap()),
            Node::Pipe => (Kind::Fifo, 0),
            Node::Damaged => return Err(Error::corrupt("damaged on purpose")),
        };
        Ok(Attr { size, ..Attr::new(kind) })
    }

    fn read(&self, node: NodeId, _stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match self.node(node.get())? {
            Node::File(bytes) => {
                let rest = &bytes[usize::try_from(offset).unwrap().min(bytes.len())..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            Node::Large { size, written, unreadable_from } => {
                let count = size.saturating_sub(offset).min(buffer.len() as u64);
                if unreadable_from.is_some_and(|bad| offset + count > bad) {
                    return Err(Error::corrupt("unreadable on purpose"));
                }
                let count = usize::try_from(count).unwrap();
                for (at, byte) in (offset..).zip(&mut buffer[..count]) {
                    *byte = if at < *written { large_byte(at) } else { 0 };
                }
                Ok(count)
            }
            _ => Err(Error::corrupt("not a file")),
        }
    }

    fn runs(
        &self,
        node: NodeId,
        _stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let Node::Large { size, written, .. } = self.node(node.get())? else {
            runs.push(Run { len, place: Place::Opaque });
            return Ok(());
        };
        let end = size.saturating_sub(offset).min(len) + offset;
        let data_end = end.min(*written).max(offset);
        push_run(runs, Run { len: data_end - offset, place: Place::Opaque });
        push_run(runs, Run { len: end - data_end, place: Place::Zero });
        Ok(())
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        match self.node(node.get())? {
            Node::Link(target) => Ok(target.as_bytes().to_vec()),
            _ => Err(Error::new(ErrorKind::NotALink, "not a symbolic link")),
        }
    }

    fn xattrs(&self, _node: NodeId) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    fn streams(&self, _node: NodeId) -> Result<Vec<StreamInfo>> {
        Ok(Vec::new())
    }
}
