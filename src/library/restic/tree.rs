//! A snapshot as a tree.

use super::content::Content;
use super::directory::Directory;
use super::id::Id;
use super::node::Meta;
use super::repository::Repository;
use super::snapshot::Snapshot;
use crate::library::nodes::{Nodes, ROOT, id_of, id_of_hash};
use crate::library::recent::Recent;
use spelunk_tree::{
    Attr, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Result, StreamInfo, Time, Tree,
    TreeInfo, Xattr, limits,
};
use std::sync::Arc;

/// Bytes of memory for the lists of files' pieces: a file of 1 TiB has some 40 MiB of them.
const CONTENTS_BYTES_MAX: usize = 32 << 20;
/// Entries that are looked at to find a node that is not remembered.
const SEARCH_MAX: usize = 1 << 23;

/// Where an entry stands: in which directory's blob, under which name.
#[derive(Clone, PartialEq)]
struct Spot {
    directory: Id,
    name: Name,
}

/// See the module.
pub(super) struct SnapshotTree {
    info: TreeInfo,
    repository: Arc<Repository>,
    top: Id,
    started: Time,
    nodes: Nodes<Spot>,
    contents: Recent<NodeId, Content>,
}

impl SnapshotTree {
    pub(super) fn new(snapshot: &Snapshot, repository: Arc<Repository>) -> SnapshotTree {
        SnapshotTree {
            info: TreeInfo { written: Some(snapshot.started), ..TreeInfo::new("restic") },
            repository,
            top: snapshot.tree,
            started: snapshot.started,
            nodes: Nodes::default(),
            contents: Recent::new(CONTENTS_BYTES_MAX),
        }
    }

    /// Where a node stands: its directory, and its place in that.
    fn place(&self, node: NodeId) -> Result<(Arc<Directory>, usize)> {
        let spot = match self.nodes.find(node) {
            Some(spot) => spot,
            None => self.search(node)?,
        };
        let directory = self.repository.directory(&spot.directory)?;
        let index =
            directory.find(&spot.name).ok_or_else(|| Error::not_found("no such file in this snapshot"))?;
        Ok((directory, index))
    }

    /// Looks through the snapshot for a node that is not remembered.
    fn search(&self, wanted: NodeId) -> Result<Spot> {
        let mut left = SEARCH_MAX;
        let mut pending = vec![(self.root(), self.top, 0)];
        while let Some((node, id, depth)) = pending.pop() {
            // One that cannot be read does not hide the others.
            let Ok(directory) = self.repository.directory(&id) else { continue };
            for index in 0..directory.len() {
                left = left.checked_sub(1).ok_or_else(|| Error::limit("a search through too many files"))?;
                let (Ok(name), Ok(meta)) = (directory.name(index), directory.meta(index)) else { continue };
                let found = node_id(node, &name, &meta);
                if found == wanted {
                    let spot = Spot { directory: id, name };
                    self.nodes.share(found, spot.clone());
                    return Ok(spot);
                }
                if let Some(subtree) = meta.subtree
                    && depth < limits::DEPTH_MAX
                {
                    pending.push((found, subtree, depth + 1));
                }
            }
        }
        Err(Error::not_found("no such file in this snapshot"))
    }

    /// The blob of the directory that a node is.
    fn directory_id(&self, node: NodeId) -> Result<Id> {
        if node == self.root() {
            return Ok(self.top);
        }
        let (directory, index) = self.place(node)?;
        let subtree = directory.meta(index)?.subtree;
        subtree.ok_or_else(|| Error::new(ErrorKind::NotADirectory, "listing what is no directory"))
    }

    /// An entry of the directory `dir`, whose blob is `id`.
    fn entry(&self, dir: NodeId, id: Id, directory: &Directory, index: usize) -> Result<Entry> {
        let name = directory.name(index)?;
        let meta = directory.meta(index)?;
        let node = node_id(dir, &name, &meta);
        let spot = Spot { directory: id, name: name.clone() };
        let node = match meta.shared {
            Some(_) => self.nodes.share(node, spot),
            None => self.nodes.put(node, spot)?,
        };
        Ok(Entry { name, node, attr: meta.attr })
    }

    fn content(&self, node: NodeId) -> Result<Arc<Content>> {
        if let Some(known) = self.contents.get(&node) {
            return Ok(known);
        }
        if node == self.root() {
            return Err(Error::new(ErrorKind::IsADirectory, "reading a directory as a file"));
        }
        let (directory, index) = self.place(node)?;
        let attr = directory.meta(index)?.attr;
        match attr.kind {
            Kind::File => {}
            Kind::Directory => {
                return Err(Error::new(ErrorKind::IsADirectory, "reading a directory as a file"));
            }
            _ => return Err(Error::unsupported("reading what is no file")),
        }
        let pieces = directory.details(index)?.content;
        let content = Arc::new(Content::new(pieces, attr.size, &self.repository)?);
        self.contents.put(node, content.clone(), content.memory_bytes());
        Ok(content)
    }
}

/// The id of the entry `name` of the directory `dir`; of a file with several names, the same for all of them.
fn node_id(dir: NodeId, name: &Name, meta: &Meta) -> NodeId {
    meta.shared.clone().map_or_else(|| id_of(dir, name), id_of_hash)
}

impl Tree for SnapshotTree {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::new(ROOT).unwrap_or_else(|_| unreachable!("1 has less than 56 bits"))
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let id = self.directory_id(dir)?;
        let directory = self.repository.directory(&id)?;
        let index = directory.find(name).ok_or_else(|| Error::not_found("no such file in this snapshot"))?;
        self.entry(dir, id, &directory, index)
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let id = self.directory_id(dir)?;
        let directory = self.repository.directory(&id)?;
        let start = usize::try_from(cursor.0).unwrap_or(usize::MAX).min(directory.len());
        let end = start.saturating_add(max.clamp(1, limits::PAGE_ENTRIES_MAX)).min(directory.len());
        let behind = |index: usize| Cursor(u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1));
        let listed = |index: usize| match self.entry(dir, id, &directory, index) {
            Ok(entry) => Listed::Entry { entry, next: behind(index) },
            Err(error) => Listed::Broken { name: directory.name(index).ok(), error, next: behind(index) },
        };
        let next = (end < directory.len()).then(|| behind(end.saturating_sub(1)));
        Ok(Page { entries: (start..end).map(listed).collect(), next })
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        if node == self.root() {
            return Ok(Attr { modified: Some(self.started), ..Attr::new(Kind::Directory) });
        }
        let (directory, index) = self.place(node)?;
        Ok(directory.meta(index)?.attr)
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if stream.is_some() {
            return Err(Error::not_found("no such stream"));
        }
        self.content(node)?.read(offset, buffer, &self.repository)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        let not_a_link = || Error::new(ErrorKind::NotALink, "reading a link of a snapshot");
        if node == self.root() {
            return Err(not_a_link());
        }
        let (directory, index) = self.place(node)?;
        directory.meta(index)?.link_target.ok_or_else(not_a_link)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        if node == self.root() {
            return Ok(Vec::new());
        }
        let (directory, index) = self.place(node)?;
        directory.details(index)?.xattrs
    }

    fn streams(&self, _: NodeId) -> Result<Vec<StreamInfo>> {
        Ok(Vec::new())
    }
}
