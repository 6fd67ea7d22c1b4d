//! A tree in memory that can hold what no directory of this machine can: faults, forged attributes, streams.

use super::dir_tree::info;
use spelunk_tree::{
    Attr, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Result, StreamInfo, Tree,
    TreeInfo, Xattr,
};

pub struct MemoryTree {
    info: TreeInfo,
    nodes: Vec<Node>,
}

pub struct Node {
    pub attr: Attr,
    /// A file's bytes, or a link's target.
    pub data: Vec<u8>,
    pub children: Vec<Child>,
    pub xattrs: Vec<Xattr>,
    pub streams: Vec<(Name, Vec<u8>)>,
    /// From where on its content cannot be read.
    pub unreadable_from: Option<u64>,
    /// Whether it is a directory of a library.
    pub is_live: bool,
}

pub enum Child {
    Good(Name, usize),
    Broken(Option<Name>, Error),
}

pub fn name(bytes: &str) -> Name {
    Name::new(bytes.as_bytes()).unwrap()
}

pub fn directory() -> Node {
    Node { attr: Attr::new(Kind::Directory), ..file(b"") }
}

pub fn file(data: &[u8]) -> Node {
    Node {
        attr: Attr { size: data.len() as u64, ..Attr::new(Kind::File) },
        data: data.to_vec(),
        children: Vec::new(),
        xattrs: Vec::new(),
        streams: Vec::new(),
        unreadable_from: None,
        is_live: false,
    }
}

impl MemoryTree {
    /// A tree that is an empty directory.
    pub fn new() -> MemoryTree {
        MemoryTree { info: info("memory"), nodes: vec![directory()] }
    }

    /// Lets no node have extended attributes whose names do not begin like this.
    pub fn limit_xattrs(&mut self, prefixes: &[&str]) {
        self.info.xattr_prefixes = Some(prefixes.iter().map(|prefix| (*prefix).to_owned()).collect());
    }

    /// Adds a node under a name in the root, and returns its index.
    pub fn add(&mut self, child: &str, node: Node) -> usize {
        self.add_to(0, child, node)
    }

    pub fn add_to(&mut self, dir: usize, child: &str, node: Node) -> usize {
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.link(dir, child, index);
        index
    }

    /// Gives a node another name.
    pub fn link(&mut self, dir: usize, child: &str, index: usize) {
        self.nodes[dir].children.push(Child::Good(name(child), index));
    }

    /// Sets a file's size: what is past its data is zeros.
    pub fn resize(&mut self, index: usize, size: u64) {
        self.nodes[index].attr.size = size;
    }

    pub fn add_broken(&mut self, child: Option<&str>, kind: ErrorKind) {
        self.nodes[0].children.push(Child::Broken(child.map(name), Error::new(kind, "broken for the test")));
    }

    fn node(&self, node: NodeId) -> Result<&Node> {
        let index = usize::try_from(node.get()).unwrap();
        self.nodes.get(index).ok_or_else(|| Error::not_found("no such node"))
    }

    fn listed(&self, child: &Child, next: Cursor) -> Listed {
        match child {
            Child::Good(name, index) => {
                let node = NodeId::new(*index as u64).unwrap();
                let entry = Entry { name: name.clone(), node, attr: self.nodes[*index].attr.clone() };
                Listed::Entry { entry, next }
            }
            Child::Broken(name, error) => Listed::Broken { name: name.clone(), error: error.clone(), next },
        }
    }
}

impl Tree for MemoryTree {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::new(0).unwrap()
    }

    fn lookup(&self, dir: NodeId, wanted: &Name) -> Result<Entry> {
        for child in &self.node(dir)?.children {
            match self.listed(child, Cursor::START) {
                Listed::Entry { entry, .. } if entry.name == *wanted => return Ok(entry),
                Listed::Broken { name: Some(name), error, .. } if name == *wanted => return Err(error),
                _ => {}
            }
        }
        Err(Error::not_found("no such entry"))
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let children = &self.node(dir)?.children;
        let first = usize::try_from(cursor.0).unwrap().min(children.len());
        let end = (first + max).min(children.len());
        let entries = (first..end).map(|index| self.listed(&children[index], Cursor(index as u64 + 1)));
        Ok(Page { entries: entries.collect(), next: (end < children.len()).then_some(Cursor(end as u64)) })
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        Ok(self.node(node)?.attr.clone())
    }

    /// A file whose size is more than its data is zeros from there on.
    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let node = self.node(node)?;
        let (data, size) = match stream {
            None => (&node.data, node.attr.size),
            Some(wanted) => {
                let stream = node.streams.iter().find(|(name, _)| name == wanted);
                let (_, data) = stream.ok_or_else(|| Error::not_found("no such stream"))?;
                (data, data.len() as u64)
            }
        };
        let end = offset.saturating_add(buffer.len() as u64);
        if node.unreadable_from.is_some_and(|unreadable| end > unreadable) {
            return Err(Error::corrupt("unreadable for the test"));
        }
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let start = usize::try_from(offset).unwrap().min(data.len());
        let stored = (data.len() - start).min(length);
        buffer[..stored].copy_from_slice(&data[start..start + stored]);
        buffer[stored..length].fill(0);
        Ok(length)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        Ok(self.node(node)?.data.clone())
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        Ok(self.node(node)?.xattrs.iter().map(Xattr::clone).collect())
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        let streams = self.node(node)?.streams.iter();
        Ok(streams.map(|(name, data)| StreamInfo { name: name.clone(), size: data.len() as u64 }).collect())
    }

    fn is_live(&self, node: NodeId) -> bool {
        self.node(node).is_ok_and(|node| node.is_live)
    }
}
