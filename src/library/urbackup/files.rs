//! A share of a file backup as a tree. Names and contents are those of the share's folder; all else is what stands
//! in `.hashes`. Where that is missing or damaged an entry is still there, with its contents and without
//! attributes; damage is told to whoever asks for extended attributes, streams or a link's target.

use super::jailed::{self, Found};
use super::listing::{Listings, names};
use super::metadata::{self, Tail};
use crate::library::nodes::{Nodes, ROOT, id_of};
use crate::library::recent::Recent;
use rustix::fd::OwnedFd;
use spelunk_sandbox::urbackup::Metadata;
use spelunk_sandbox::{Detail, MetadataWorker};
use spelunk_tree::{
    Attr, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Result, StreamInfo, Tree,
    TreeInfo, Xattr, Xattrs, limits,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Directories and files that stay open for a while.
const DIRECTORIES_MAX: usize = 64;
const FILES_MAX: usize = 32;
/// Names that are looked at to find a node that is not remembered.
const SEARCH_MAX: usize = 1 << 23;
/// Metadata that are held at once while a directory is listed.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A directory: what is in it, and the metadata of that.
struct Directory {
    data: OwnedFd,
    hashes: Result<OwnedFd>,
}

/// A share.
pub(super) struct FileBackup {
    info: TreeInfo,
    client: OwnedFd,
    share: Arc<Directory>,
    worker: Arc<MetadataWorker>,
    nodes: Nodes<(NodeId, Name)>,
    listings: Listings,
    directories: Recent<NodeId, Directory>,
    files: Recent<NodeId, File>,
}

/// An entry before its metadata are parsed.
struct Unparsed {
    name: Name,
    next: Cursor,
    found: Result<Found>,
    /// The bytes alone: so many files cannot be open at once.
    tail: Result<Option<Vec<u8>>>,
}

impl FileBackup {
    /// Opens a share by the names of client, backup and share.
    pub(super) fn open(
        storage: &OwnedFd,
        [client, backup, share]: [&Name; 3],
        worker: Arc<MetadataWorker>,
    ) -> Result<FileBackup> {
        let client = jailed::directory(storage, client.as_bytes())?;
        let backup = jailed::directory(&client, backup.as_bytes())?;
        let data = jailed::directory_or_pooled(&client, &backup, share.as_bytes())?;
        let hashes = jailed::directory(&backup, b".hashes")
            .and_then(|hashes| jailed::directory_or_pooled(&client, hashes, share.as_bytes()));
        Ok(FileBackup {
            info: TreeInfo::new("urbackup"),
            client,
            share: Arc::new(Directory { data, hashes }),
            worker,
            nodes: Nodes::default(),
            listings: Listings::default(),
            directories: Recent::new(DIRECTORIES_MAX),
            files: Recent::new(FILES_MAX),
        })
    }

    /// The id of an entry, which is remembered.
    fn id(&self, parent: NodeId, name: &Name) -> Result<NodeId> {
        self.nodes.put(id_of(parent, name), (parent, name.clone()))
    }

    /// A directory within another.
    fn inner(&self, parent: &Directory, name: &Name) -> Result<Directory> {
        let data = jailed::directory_or_pooled(&self.client, &parent.data, name.as_bytes())?;
        let hashes = parent.hashes.as_ref().map_err(Clone::clone).and_then(|hashes| {
            let name = metadata::stored_name(name.as_bytes());
            jailed::directory_or_pooled(&self.client, hashes, &name)
        });
        Ok(Directory { data, hashes })
    }

    /// The directory that `node` is.
    fn directory(&self, node: NodeId) -> Result<Arc<Directory>> {
        let mut missing = Vec::new();
        let mut at = node;
        let mut directory = loop {
            if at == self.root() {
                break self.share.clone();
            }
            if let Some(known) = self.directories.get(&at) {
                break known;
            }
            if missing.len() >= limits::DEPTH_MAX {
                return Err(Error::limit("directories too deep in each other"));
            }
            let (parent, name) = self.place(at)?;
            missing.push((at, name));
            at = parent;
        };
        for (node, name) in missing.into_iter().rev() {
            directory = Arc::new(self.inner(&directory, &name)?);
            self.directories.put(node, directory.clone(), 1);
        }
        Ok(directory)
    }

    /// Where a node is: its directory and name.
    fn place(&self, node: NodeId) -> Result<(NodeId, Name)> {
        match self.nodes.find(node) {
            Some(place) => Ok(place),
            None => self.search(node),
        }
    }

    /// Looks through the share for a node that is not remembered, and remembers the way to it.
    fn search(&self, wanted: NodeId) -> Result<(NodeId, Name)> {
        let mut left = SEARCH_MAX;
        let mut pending: Vec<Vec<Name>> = vec![Vec::new()];
        while let Some(path) = pending.pop() {
            let mut directory = self.share.clone();
            let mut node = self.root();
            for name in &path {
                directory = Arc::new(self.inner(&directory, name)?);
                node = id_of(node, name);
            }
            // One that cannot be read does not hide the others.
            for name in names(&directory.data).unwrap_or_default() {
                left = left.checked_sub(1).ok_or_else(|| Error::limit("a search through too many files"))?;
                if id_of(node, &name) == wanted {
                    self.remember(&path)?;
                    self.id(node, &name)?;
                    return Ok((node, name));
                }
                let found = jailed::look(&directory.data, name.as_bytes());
                if matches!(found, Ok(Found::Directory | Found::Pooled)) && path.len() < limits::DEPTH_MAX {
                    pending.push(path.iter().cloned().chain([name]).collect());
                }
            }
        }
        Err(Error::not_found("no such file in this backup"))
    }

    fn remember(&self, path: &[Name]) -> Result<()> {
        path.iter().try_fold(self.root(), |node, name| self.id(node, name)).map(drop)
    }

    /// What lies under a node, and its metadata.
    fn look(&self, node: NodeId) -> Result<(Found, Result<Option<Tail>>)> {
        if node == self.root() {
            return Ok((Found::Directory, metadata::of_directory(&self.share.hashes)));
        }
        let (parent, name) = self.place(node)?;
        let parent = self.directory(parent)?;
        let found = jailed::look(&parent.data, name.as_bytes())?;
        Ok((found, self.tail(&parent, &name, found)))
    }

    /// The metadata of an entry of `parent`.
    fn tail(&self, parent: &Directory, name: &Name, found: Found) -> Result<Option<Tail>> {
        if !matches!(found, Found::Directory | Found::Pooled) {
            return metadata::of_entry(&parent.hashes, name);
        }
        let stored = metadata::stored_name(name.as_bytes());
        let hashes = parent.hashes.as_ref().map_err(Clone::clone);
        let hashes = hashes.and_then(|hashes| jailed::directory_or_pooled(&self.client, hashes, &stored));
        metadata::of_directory(&hashes)
    }

    /// All that the metadata of a node say; `None` when there are none.
    fn metadata(&self, node: NodeId) -> Result<(Found, Option<(Tail, Metadata)>)> {
        let (found, tail) = self.look(node)?;
        let Some(tail) = tail? else { return Ok((found, None)) };
        let parsed = self.worker.parse_one(&tail.bytes, Detail::Full)?;
        Ok((found, Some((tail, parsed))))
    }

    /// Attributes, where the metadata may be missing or damaged.
    fn parsed(&self, tail: Result<Option<Tail>>) -> Result<Option<Metadata>> {
        let Some(tail) = tail? else { return Ok(None) };
        self.worker.parse_one(&tail.bytes, Detail::Listing).map(Some)
    }

    /// Parses the metadata of entries, and lists them.
    fn finish(&self, dir: NodeId, parent: &Directory, batch: &mut Vec<Unparsed>, listed: &mut Vec<Listed>) {
        let mut tails = Vec::new();
        for entry in batch.iter_mut() {
            if let Ok(Some(tail)) = &mut entry.tail {
                tails.push(std::mem::take(tail));
            }
        }
        let mut parsed = self.worker.parse(&tails, Detail::Listing).into_iter();
        for Unparsed { name, next, found, tail } in batch.drain(..) {
            let metadata = match tail {
                Ok(Some(_)) => parsed.next().transpose(),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let entry = found.and_then(|found| {
                let node = self.id(dir, &name)?;
                let attr = attr(found, metadata, || jailed::link(&parent.data, name.as_bytes()))?;
                Ok(Entry { name: name.clone(), node, attr })
            });
            listed.push(match entry {
                Ok(entry) => Listed::Entry { entry, next },
                Err(error) => Listed::Broken { name: Some(name), error, next },
            });
        }
    }

    fn file(&self, node: NodeId) -> Result<Arc<File>> {
        if let Some(file) = self.files.get(&node) {
            return Ok(file);
        }
        if node == self.root() {
            return Err(Error::new(ErrorKind::IsADirectory, "reading a share as a file"));
        }
        let (parent, name) = self.place(node)?;
        let parent = self.directory(parent)?;
        if jailed::look(&parent.data, name.as_bytes())? == Found::Pooled {
            return Err(Error::new(ErrorKind::IsADirectory, "reading a directory as a file"));
        }
        let file = Arc::new(jailed::file(&parent.data, name.as_bytes())?.0);
        self.files.put(node, file.clone(), 1);
        Ok(file)
    }
}

/// The attributes of an entry. Damaged metadata leave what its folder says; what else went wrong is an error.
fn attr(
    found: Found,
    metadata: Result<Option<Metadata>>,
    link: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Attr> {
    let is_damage = |kind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Limit);
    let (metadata, is_damaged) = match metadata {
        Ok(metadata) => (metadata, false),
        Err(error) if is_damage(error.kind()) => (None, true),
        Err(error) => return Err(error),
    };
    let kind = kind(found, metadata.as_ref());
    let mut attr = match metadata {
        Some(metadata) => Attr { kind, ..metadata.attr },
        None => Attr { xattrs: if is_damaged { Xattrs::Maybe } else { Xattrs::None }, ..Attr::new(kind) },
    };
    match (kind, found) {
        (Kind::File, Found::File { size, allocated }) => {
            attr.size = size;
            attr.allocated = Some(allocated);
        }
        (Kind::Symlink, Found::Link) if attr.size == 0 => {
            attr.size = u64::try_from(link()?.len()).unwrap_or(u64::MAX);
        }
        (Kind::Symlink, _) => {}
        _ => attr.size = 0,
    }
    if !matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
        attr.device = None;
    }
    Ok(attr)
}

/// What an entry is. UrBackup stores an empty file in the place of what is no file.
fn kind(found: Found, metadata: Option<&Metadata>) -> Kind {
    match found {
        Found::Directory | Found::Pooled => Kind::Directory,
        Found::Link => Kind::Symlink,
        Found::File { size, .. } => {
            let said = metadata.and_then(|metadata| metadata.kind);
            said.filter(|&kind| size == 0 && kind != Kind::Directory).unwrap_or(Kind::File)
        }
    }
}

impl Tree for FileBackup {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::new(ROOT).unwrap_or_else(|_| unreachable!("1 has less than 56 bits"))
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let parent = self.directory(dir)?;
        let found = jailed::look(&parent.data, name.as_bytes())?;
        let metadata = self.parsed(self.tail(&parent, name, found));
        let attr = attr(found, metadata, || jailed::link(&parent.data, name.as_bytes()))?;
        Ok(Entry { name: name.clone(), node: self.id(dir, name)?, attr })
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let parent = self.directory(dir)?;
        let listing = self.listings.get(dir, || names(&parent.data))?;
        let start = listing.partition_point(|(behind, _)| *behind <= cursor);
        let end = start.saturating_add(max.clamp(1, limits::PAGE_ENTRIES_MAX)).min(listing.len());
        let mut listed = Vec::with_capacity(end - start);
        let (mut batch, mut bytes) = (Vec::new(), 0usize);
        for (next, name) in &listing[start..end] {
            let found = jailed::look(&parent.data, name.as_bytes());
            let tail = found.as_ref().map_or(Ok(None), |found| self.tail(&parent, name, *found));
            let tail = tail.map(|tail| tail.map(|tail| tail.bytes));
            if let Ok(Some(tail)) = &tail {
                bytes = bytes.saturating_add(tail.len());
            }
            batch.push(Unparsed { name: name.clone(), next: *next, found, tail });
            if batch.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX {
                self.finish(dir, &parent, &mut batch, &mut listed);
                bytes = 0;
            }
        }
        self.finish(dir, &parent, &mut batch, &mut listed);
        let next = listing.get(start..end).and_then(<[_]>::last).map(|(cursor, _)| *cursor);
        Ok(Page { entries: listed, next: next.filter(|_| end < listing.len()) })
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        let (found, tail) = self.look(node)?;
        attr(found, self.parsed(tail), || {
            let (parent, name) = self.place(node)?;
            jailed::link(&self.directory(parent)?.data, name.as_bytes())
        })
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let Some(stream) = stream else { return read(&*self.file(node)?, offset, buffer) };
        let known = self.metadata(node)?.1.and_then(|(tail, metadata)| {
            let known = metadata.streams.into_iter().find(|known| known.name == *stream)?;
            Some((tail, known))
        });
        let (tail, known) = known.ok_or_else(|| Error::not_found("no such stream"))?;
        tail.read(known.offset, known.size, offset, buffer)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        let not_a_link = || Error::new(ErrorKind::NotALink, "reading a link of a file backup");
        let (found, metadata) = self.metadata(node)?;
        let metadata = metadata.map(|(_, metadata)| metadata);
        if kind(found, metadata.as_ref()) != Kind::Symlink {
            return Err(not_a_link());
        }
        if let Some(target) = metadata.and_then(|metadata| metadata.link_target) {
            return Ok(target);
        }
        let (parent, name) = self.place(node)?;
        jailed::link(&self.directory(parent)?.data, name.as_bytes())
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        Ok(self.metadata(node)?.1.map(|(_, metadata)| metadata.xattrs).unwrap_or_default())
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        let metadata = self.metadata(node)?.1;
        let streams = metadata.map(|(_, metadata)| metadata.streams).unwrap_or_default();
        Ok(streams.into_iter().map(|stream| StreamInfo { name: stream.name, size: stream.size }).collect())
    }
}

/// Reads as much as there is.
fn read(file: &File, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match file.read_at(&mut buffer[done..], at) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::from_io("reading a backed-up file", &error)),
        }
    }
    Ok(done)
}
