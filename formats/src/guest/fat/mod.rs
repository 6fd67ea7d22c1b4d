//! FAT12, FAT16 and FAT32, with long names.
//!
//! Microsoft, "FAT: General Overview of On-Disk Format" 1.03 (fatgen103); where volumes deviate, what
//! Linux's vfat takes is taken here.
//!
//! ```text
//! boot sector (boot) -> chains of clusters (guest::clusters) -> directories (directory) of entries (entry)
//! ```
//!
//! A node's id is where its directory entry lies in the volume, in units of entries. The root, which has no
//! entry, is [`ROOT`].

mod boot;
mod directory;
mod entry;
mod long_name;

use super::clusters::{Clusters, Width};
use super::{CodePage, Guest, Options};
use crate::bytes::{count, index, le_u32, mul};
use crate::extent::{clamp_buffer, clamp_len, map_runs, read_runs};
use boot::{BootSector, ENTRY_BYTES, Geometry, Root};
use directory::{DIRECTORY_BYTES_MAX, Extent, Found, Reader};
use entry::{FileEntry, Slot};
use spelunk_tree::{
    Attr, Case, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, ReadAt, Result, Run,
    StreamInfo, Tree, TreeInfo, Xattr, Xattrs, limits,
};
use std::sync::Arc;

/// The row of this guest.
pub const GUEST: Guest = Guest {
    name: "fat",
    summary: "FAT12, FAT16, FAT32 with long names",
    probe: |volume| Ok(BootSector::read(volume)?.is_some()),
    open,
};

/// The root's id: as a directory entry it would lie in the boot sector, where none can be.
const ROOT: u64 = 1;

const FSINFO_BYTES: usize = 512;
/// Where an FSInfo sector has marks, and which.
const FSINFO_MARKS: [(usize, u32); 2] = [(0, 0x4161_5252), (484, 0x6141_7272)];
const FSINFO_FREE_AT: usize = 488;

/// An open volume.
pub struct Fat {
    volume: Arc<dyn ReadAt>,
    geometry: Geometry,
    clusters: Clusters,
    root: NodeId,
    info: TreeInfo,
    options: Options,
}

fn open(volume: Arc<dyn ReadAt>, options: &Options) -> Result<Arc<dyn Tree>> {
    let boot = BootSector::read(&*volume)?.ok_or_else(|| Error::corrupt("no boot sector of a FAT volume"))?;
    let geometry = boot.geometry.clone();
    let mut fat = Fat {
        clusters: Clusters::new(volume.clone(), geometry.layout.clone()),
        root: NodeId::new(ROOT)?,
        info: describe(&*volume, &boot, options.code_page)?,
        geometry,
        volume,
        options: options.clone(),
    };
    match fat.root_label() {
        Ok(Some(label)) => fat.info.label = label,
        Ok(None) => {}
        Err(error) => fat.info.notes.push(format!("the root directory is damaged: {error}")),
    }
    Ok(Arc::new(fat))
}

fn describe(volume: &dyn ReadAt, boot: &BootSector, page: CodePage) -> Result<TreeInfo> {
    let geometry = &boot.geometry;
    let mut notes = Vec::new();
    if boot.is_dirty {
        notes.push("not unmounted".into());
    }
    if geometry.layout.data_end() > volume.size() {
        notes.push("the filesystem is longer than its volume".into());
    }
    Ok(TreeInfo {
        filesystem: "vfat".into(),
        label: boot.label.and_then(|label| label_text(&label, page)).unwrap_or_default(),
        uuid: boot
            .serial
            .map_or(String::new(), |serial| format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF)),
        case: Case::Insensitive,
        block_bytes: geometry.layout.cluster_bytes,
        size_bytes: geometry.total_bytes,
        free_bytes: free_bytes(volume, geometry)?,
        nodes: None,
        free_nodes: None,
        xattr_prefixes: Some(Vec::new()),
        written: None,
        notes,
    })
}

/// FAT32's count of free clusters, where it can be.
fn free_bytes(volume: &dyn ReadAt, geometry: &Geometry) -> Result<Option<u64>> {
    let mut sector = [0; FSINFO_BYTES];
    match geometry.fsinfo_offset {
        Some(offset) if offset.saturating_add(count(sector.len())) <= volume.size() => {
            volume.read_at(offset, &mut sector)?;
        }
        _ => return Ok(None),
    }
    for (at, mark) in FSINFO_MARKS {
        if le_u32(&sector, at)? != mark {
            return Ok(None);
        }
    }
    let free = le_u32(&sector, FSINFO_FREE_AT)?;
    let free = u64::from(free)
        .checked_mul(u64::from(geometry.layout.cluster_bytes))
        .filter(|_| free <= geometry.layout.clusters);
    Ok(free)
}

/// A label without its padding; `None` for what stands for none.
fn label_text(label: &[u8; 11], page: CodePage) -> Option<Vec<u8>> {
    let text = page.decode(entry::unpadded(label));
    (!text.is_empty() && text != "NO NAME").then(|| text.into_bytes())
}

/// The id of the node whose entry lies at `offset` in the volume.
fn node_at(offset: u64) -> Result<NodeId> {
    NodeId::new(offset.checked_div(u64::from(ENTRY_BYTES)).unwrap_or(0))
}

impl Fat {
    /// The entry of a node other than the root. Ids come from anywhere, so it must lie where entries can,
    /// and be in use.
    fn entry(&self, node: NodeId) -> Result<FileEntry> {
        let unknown = || Error::not_found("no such directory entry").object(object(node));
        let offset = mul(node.get(), u64::from(ENTRY_BYTES))?;
        let is_in_root = match self.geometry.root {
            Root::Area(start, len) => (start..start.saturating_add(len)).contains(&offset),
            Root::Chain(_) => false,
        };
        let is_in_data =
            (self.geometry.layout.data_offset..self.geometry.layout.data_end()).contains(&offset);
        if !is_in_root && !is_in_data {
            return Err(unknown());
        }
        let mut bytes = vec![0; index(ENTRY_BYTES)?];
        self.volume.read_at(offset, &mut bytes)?;
        match Slot::parse(&bytes)? {
            Slot::File(entry) => Ok(entry),
            _ => Err(unknown()),
        }
    }

    /// The entry of a file's main stream.
    fn file(&self, node: NodeId, stream: Option<&Name>) -> Result<FileEntry> {
        if stream.is_some() {
            return Err(Error::not_found("FAT has no named streams"));
        }
        let is_a_directory = || Error::new(ErrorKind::IsADirectory, "reading a directory as a file");
        if node.get() == ROOT {
            return Err(is_a_directory());
        }
        let entry = self.entry(node)?;
        if entry.is_directory() { Err(is_a_directory()) } else { Ok(entry) }
    }

    /// The upper half of the first cluster's number belongs to it on FAT32 only.
    fn first_cluster(&self, entry: &FileEntry) -> u32 {
        match self.geometry.layout.width {
            Width::Fat12 | Width::Fat16 => entry.first_cluster & 0xFFFF,
            _ => entry.first_cluster & 0x0FFF_FFFF,
        }
    }

    /// Where `len` bytes of a file lie in the volume; they must lie before its end.
    fn file_runs(&self, node: NodeId, entry: &FileEntry, offset: u64, len: u64) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        if len == 0 {
            return Ok(runs);
        }
        let chain = self.clusters.chain(self.first_cluster(entry), u64::from(entry.size))?;
        let covered = self.clusters.runs(&chain, offset, len, &mut runs)?;
        if covered < len {
            let broken = chain.end().err();
            let error = broken.unwrap_or_else(|| Error::corrupt("a chain of clusters shorter than its file"));
            return Err(error.object(object(node)).at(offset));
        }
        Ok(runs)
    }

    /// Reads the directory `node` from its entry `position` on.
    fn directory(&self, node: NodeId, position: u64) -> Result<Reader<'_>> {
        let chain = |first| self.clusters.chain(first, DIRECTORY_BYTES_MAX).map(Extent::Chain);
        let extent = if node.get() == ROOT {
            match self.geometry.root {
                Root::Area(start, len) => Extent::Area(start, len),
                Root::Chain(first) => chain(first)?,
            }
        } else {
            let entry = self.entry(node)?;
            if !entry.is_directory() {
                let message = "listing what is no directory";
                return Err(Error::new(ErrorKind::NotADirectory, message).object(object(node)));
            }
            chain(self.first_cluster(&entry))?
        };
        Ok(Reader::new(self, extent, position))
    }

    fn root_label(&self) -> Result<Option<Vec<u8>>> {
        let mut root = self.directory(self.root, 0)?;
        while let Some((_, slot)) = root.next_slot()? {
            match slot {
                Slot::Label(label) => return Ok(label_text(&label, self.options.code_page)),
                Slot::End => break,
                _ => {}
            }
        }
        Ok(None)
    }

    fn listed(&self, found: Found, next: Cursor) -> Listed {
        match found.name {
            Ok(name) => Listed::Entry { entry: self.named(name, found.node, &found.entry), next },
            Err(error) => Listed::Broken { name: None, error: error.object(object(found.node)), next },
        }
    }

    fn attr_of(&self, entry: &FileEntry) -> Attr {
        entry.attr(self.geometry.layout.cluster_bytes, &self.options.time_zone)
    }

    fn named(&self, name: Name, node: NodeId, entry: &FileEntry) -> Entry {
        Entry { name, node, attr: self.attr_of(entry) }
    }
}

fn object(node: NodeId) -> String {
    format!("directory entry at byte {}", node.get().saturating_mul(u64::from(ENTRY_BYTES)))
}

/// Whether two names are the same but for case, where that is one character for one.
fn is_same_name(a: &Name, b: &Name) -> bool {
    if a.as_bytes().is_ascii() && b.as_bytes().is_ascii() {
        return a.as_bytes().eq_ignore_ascii_case(b.as_bytes());
    }
    match (std::str::from_utf8(a.as_bytes()), std::str::from_utf8(b.as_bytes())) {
        (Ok(a), Ok(b)) => a.chars().map(upper_case).eq(b.chars().map(upper_case)),
        _ => a.as_bytes().eq_ignore_ascii_case(b.as_bytes()),
    }
}

fn upper_case(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character,
    }
}

impl Tree for Fat {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let mut reader = self.directory(dir, 0)?;
        let mut similar = None;
        loop {
            let found = match reader.next_file() {
                Ok(found) => found,
                Err(error) if similar.is_none() => return Err(error),
                Err(_) => None,
            };
            let Some(Found { node, name: other, entry }) = found else { break };
            match other {
                Ok(other) if other == *name => return Ok(self.named(other, node, &entry)),
                Ok(other) if similar.is_none() && is_same_name(&other, name) => {
                    similar = Some(self.named(other, node, &entry));
                }
                _ => {}
            }
        }
        similar.ok_or_else(|| Error::not_found("no such entry"))
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let max = max.clamp(1, limits::PAGE_ENTRIES_MAX);
        let mut reader = self.directory(dir, cursor.0)?;
        let mut entries = Vec::new();
        while entries.len() < max {
            let before = reader.position();
            match reader.next_file() {
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
        Ok(self.attr_of(&self.entry(node)?))
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let entry = self.file(node, stream)?;
        let buffer = clamp_buffer(u64::from(entry.size), offset, buffer);
        let runs = self.file_runs(node, &entry, offset, count(buffer.len()))?;
        read_runs(&*self.volume, &runs, buffer)?;
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
        let entry = self.file(node, stream)?;
        let len = clamp_len(u64::from(entry.size), offset, len);
        map_runs(&*self.volume, &self.file_runs(node, &entry, offset, len)?, runs)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        self.attr(node)?;
        Err(Error::new(ErrorKind::NotALink, "FAT has no symbolic links"))
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.attr(node).map(|_| Vec::new())
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        self.attr(node).map(|_| Vec::new())
    }
}
