//! exFAT.
//!
//! Microsoft, "exFAT file system specification" 1.00 (learn.microsoft.com); where it leaves a choice, as Linux's exfat.
//!
//! ```text
//! boot regions (boot) -> clusters (guest::clusters, extent) -> directories (directory) of entries (entry)
//!                          -> files (file), the volume's tables (tables)
//! ```
//!
//! A node's id is where the first of its directory entries lies in the volume, in units of entries. The root, which
//! has no entry, is [`ROOT`].

mod boot;
mod directory;
mod entry;
mod extent;
mod file;
mod tables;

use super::clusters::Clusters;
use super::upcase::Upcase;
use super::utf16::utf16_from_name;
use super::{Guest, Options, TimeZone};
use crate::bytes::{add, count, index, mul, u8_at};
use crate::extent::{clamp_buffer, clamp_len, map_runs, read_runs};
use boot::Boot;
use directory::{DIRECTORY_BYTES_MAX, Directory, Found, Reader};
use entry::{ENTRY_BYTES, ENTRY_LEN};
use extent::Extent;
use file::{Broken, File, secondaries, stored_name};
use spelunk_tree::{
    Attr, Case, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, Place, ReadAt, Result,
    Run, StreamInfo, Tree, TreeInfo, Xattr, Xattrs, limits, push_run,
};
use std::sync::Arc;
use tables::Tables;

/// The row of this guest.
pub const GUEST: Guest = Guest { name: "exfat", summary: "exFAT 1.00", probe: boot::probe, open };

/// The root's id: as a directory entry it would lie in the boot sector, where none can be.
const ROOT: u64 = 1;

/// The bytes of a volume and its clusters.
struct Volume {
    bytes: Arc<dyn ReadAt>,
    clusters: Clusters,
    /// Of times that do not say theirs.
    time_zone: TimeZone,
}

/// An open volume.
struct Exfat {
    volume: Volume,
    root_cluster: u32,
    root: NodeId,
    upcase: Upcase,
    info: TreeInfo,
}

fn open(bytes: Arc<dyn ReadAt>, options: &Options) -> Result<Arc<dyn Tree>> {
    let boot = Boot::read(&*bytes)?;
    let mut info = describe(&boot, bytes.size());
    let clusters = Clusters::new(bytes.clone(), boot.layout.clone());
    let volume = Volume { clusters, bytes, time_zone: options.time_zone.clone() };
    let tables = read_root(&volume, &boot).unwrap_or_else(|error| {
        info.notes.push(format!("the root directory is damaged: {error}"));
        Tables::default()
    });
    let upcase = tables.upcase(&volume).unwrap_or_else(|error| {
        info.notes.push(format!("names are compared by Unicode's rules: {error}"));
        Upcase::unicode()
    });
    match tables.free_clusters(&volume) {
        Ok(free) => {
            info.free_bytes = free.map(|free| free.saturating_mul(u64::from(boot.layout.cluster_bytes)));
        }
        Err(error) => info.notes.push(format!("it is not known what space is free: {error}")),
    }
    info.label = tables.label;
    let root = NodeId::new(ROOT)?;
    Ok(Arc::new(Exfat { volume, root_cluster: boot.root_cluster, root, upcase, info }))
}

fn describe(boot: &Boot, volume_bytes: u64) -> TreeInfo {
    let notes = [
        boot.damage,
        boot.is_dirty.then_some("not unmounted"),
        boot.has_media_failures.then_some("its medium has failed before, by its own flag"),
        (boot.layout.data_end() > volume_bytes).then_some("the filesystem is longer than its volume"),
    ];
    TreeInfo {
        uuid: format!("{:04X}-{:04X}", boot.serial >> 16, boot.serial & 0xFFFF),
        case: Case::Insensitive,
        block_bytes: boot.layout.cluster_bytes,
        size_bytes: boot.total_bytes,
        xattr_prefixes: Some(Vec::new()),
        notes: notes.into_iter().flatten().map(String::from).collect(),
        ..TreeInfo::new("exfat")
    }
}

fn read_root(volume: &Volume, boot: &Boot) -> Result<Tables> {
    let root = volume.directory(boot.root_cluster, false, None)?;
    Tables::find(&mut Reader::new(volume, root, 0), boot.uses_second_fat)
}

/// The id of the node whose first entry lies at `offset` in the volume.
fn node_at(offset: u64) -> Result<NodeId> {
    NodeId::new(offset.checked_div(ENTRY_BYTES).unwrap_or(0))
}

fn object(node: NodeId) -> String {
    format!("directory entry at byte {}", node.get().saturating_mul(ENTRY_BYTES))
}

impl Volume {
    fn directory(&self, first: u32, is_one_piece: bool, bytes: Option<u64>) -> Result<Directory> {
        let extent_bytes = bytes.unwrap_or(u64::MAX).min(DIRECTORY_BYTES_MAX);
        Ok(Directory { extent: Extent::new(&self.clusters, first, is_one_piece, extent_bytes)?, bytes })
    }

    /// The set of entries that begins at `offset`. Where it leaves its cluster, only the directory knows whether
    /// it goes on in the next one or where the table leads; its checksum tells which of them it was.
    fn file_at(&self, offset: u64) -> Result<File, Broken> {
        let mut first = [0; ENTRY_LEN];
        self.bytes.read_at(offset, &mut first)?;
        if entry::Kind::of(u8_at(&first, 0)?) != entry::Kind::File {
            return Err(Error::not_found("no such directory entry").into());
        }
        let set_bytes = mul(u64::from(secondaries(&first)?).saturating_add(1), ENTRY_BYTES)?;
        let linked = self.set_at(offset, set_bytes, false).map_err(Broken::from);
        let linked = linked.and_then(|set| File::parse(&set, &self.time_zone));
        if linked.is_ok() {
            return linked;
        }
        match self
            .set_at(offset, set_bytes, true)
            .map_err(Broken::from)
            .and_then(|set| File::parse(&set, &self.time_zone))
        {
            Ok(file) => Ok(file),
            Err(_) => linked,
        }
    }

    fn set_at(&self, offset: u64, len: u64, is_one_piece: bool) -> Result<Vec<u8>> {
        let layout = self.clusters.layout();
        let in_data = offset.saturating_sub(layout.data_offset);
        let cluster_bytes = u64::from(layout.cluster_bytes);
        let within = in_data.checked_rem(cluster_bytes).unwrap_or(0);
        let cluster = in_data.checked_div(cluster_bytes).unwrap_or(0);
        let cluster =
            u32::try_from(cluster).unwrap_or(u32::MAX).saturating_add(super::clusters::CLUSTER_FIRST);
        let bytes = add(within, len)?;
        // A set that does not leave its cluster needs no table.
        let is_one_piece = is_one_piece || bytes <= cluster_bytes;
        let extent = Extent::new(&self.clusters, cluster, is_one_piece, bytes)?;
        let mut runs = Vec::new();
        if extent.runs(&self.clusters, within, len, &mut runs)? < len {
            return Err(Error::corrupt("a set of directory entries that ends early"));
        }
        let mut set = vec![0; index(len)?];
        read_runs(&*self.bytes, &runs, &mut set)?;
        Ok(set)
    }
}

impl Exfat {
    /// What the entries of a node other than the root say. Ids come from anywhere, so they must lie where entries
    /// can, and be in use.
    fn file(&self, node: NodeId) -> Result<File> {
        let offset = mul(node.get(), ENTRY_BYTES)?;
        let layout = self.volume.clusters.layout();
        if !(layout.data_offset..layout.data_end()).contains(&offset) {
            return Err(Error::not_found("no such directory entry").object(object(node)));
        }
        self.volume.file_at(offset).map_err(|broken| broken.error.object(object(node)))
    }

    /// The entries of a file's main stream.
    fn readable(&self, node: NodeId, stream: Option<&Name>) -> Result<File> {
        if stream.is_some() {
            return Err(Error::not_found("exFAT has no named streams"));
        }
        let is_a_directory = || Error::new(ErrorKind::IsADirectory, "reading a directory as a file");
        if node.get() == ROOT {
            return Err(is_a_directory());
        }
        let file = self.file(node)?;
        if file.is_directory() { Err(is_a_directory()) } else { Ok(file) }
    }

    /// Where `len` bytes of a file lie in the volume; they must lie before its end.
    fn file_runs(&self, node: NodeId, file: &File, offset: u64, len: u64) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        let stored = clamp_len(file.valid_bytes, offset, len);
        if stored > 0 {
            let clusters = &self.volume.clusters;
            let extent = Extent::new(clusters, file.first_cluster, file.is_one_piece, file.valid_bytes)?;
            if extent.runs(clusters, offset, stored, &mut runs)? < stored {
                let broken = extent.end().err();
                let error =
                    broken.unwrap_or_else(|| Error::corrupt("a chain of clusters shorter than its file"));
                return Err(error.object(object(node)).at(offset));
            }
        }
        push_run(&mut runs, Run { len: len.saturating_sub(stored), place: Place::Zero });
        Ok(runs)
    }

    /// Reads the directory `node` from its entry `position` on.
    fn directory(&self, node: NodeId, position: u64) -> Result<Reader<'_>> {
        let directory = if node.get() == ROOT {
            self.volume.directory(self.root_cluster, false, None)?
        } else {
            let file = self.file(node)?;
            if !file.is_directory() {
                let message = "listing what is no directory";
                return Err(Error::new(ErrorKind::NotADirectory, message).object(object(node)));
            }
            self.volume.directory(file.first_cluster, file.is_one_piece, Some(file.size))?
        };
        Ok(Reader::new(&self.volume, directory, position))
    }

    fn entry(&self, node: NodeId, file: File) -> Entry {
        let attr = file.attr(self.info.block_bytes);
        Entry { name: file.name, node, attr }
    }

    fn listed(&self, Found { node, file }: Found, next: Cursor) -> Listed {
        match file {
            Ok(file) => Listed::Entry { entry: self.entry(node, file), next },
            Err(Broken { name, error }) => Listed::Broken { name, error: error.object(object(node)), next },
        }
    }
}

impl Tree for Exfat {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let mut reader = self.directory(dir, 0)?;
        let wanted = utf16_from_name(name.as_bytes()).unwrap_or_default();
        let is_wanted = |set: &[u8]| self.upcase.compare(stored_name(set), wanted.iter().copied()).is_eq();
        let mut similar = None;
        let mut missing = Error::not_found("no such entry");
        loop {
            let found = match reader.next_file(is_wanted) {
                Ok(found) => found,
                Err(error) if similar.is_none() => return Err(error),
                Err(_) => None,
            };
            let Some(Found { node, file }) = found else { break };
            match file {
                Ok(file) if file.name == *name => return Ok(self.entry(node, file)),
                Ok(file) => similar = similar.or_else(|| Some(self.entry(node, file))),
                Err(Broken { name: Some(_), error }) => missing = error.object(object(node)),
                Err(_) => {}
            }
        }
        similar.ok_or(missing)
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let max = max.clamp(1, limits::PAGE_ENTRIES_MAX);
        let mut reader = self.directory(dir, cursor.0)?;
        let mut entries = Vec::new();
        while entries.len() < max {
            let before = reader.position();
            match reader.next_file(|_| true) {
                Ok(Some(found)) => entries.push(self.listed(found, Cursor(reader.position()))),
                Ok(None) => return Ok(Page { entries, next: None }),
                Err(error) if entries.is_empty() => return Err(error),
                // The next page begins with the error.
                Err(_) => return Ok(Page { entries, next: Some(Cursor(before)) }),
            }
        }
        Ok(Page { entries, next: Some(Cursor(reader.position())) })
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        if node.get() == ROOT {
            return Ok(Attr { xattrs: Xattrs::None, ..Attr::new(Kind::Directory) });
        }
        Ok(self.file(node)?.attr(self.info.block_bytes))
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let file = self.readable(node, stream)?;
        let buffer = clamp_buffer(file.size, offset, buffer);
        let runs = self.file_runs(node, &file, offset, count(buffer.len()))?;
        read_runs(&*self.volume.bytes, &runs, buffer)?;
        Ok(buffer.len())
    }

    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let file = self.readable(node, stream)?;
        let len = clamp_len(file.size, offset, len);
        map_runs(&*self.volume.bytes, &self.file_runs(node, &file, offset, len)?, runs)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        self.attr(node)?;
        Err(Error::new(ErrorKind::NotALink, "exFAT has no symbolic links"))
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.attr(node).map(|_| Vec::new())
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        self.attr(node).map(|_| Vec::new())
    }
}
