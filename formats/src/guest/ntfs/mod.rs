//! NTFS, read by ourselves. The names and numbers are those of Windows and of the ntfs-3g project.
//!
//! ```text
//! boot sector --> $MFT (records, runlists) --> nodes (attributes) --> streams (bytes, runs)
//!                                                                \--> indexes (directories, $Secure)
//! ```
//!
//! - [`boot`] shape of the volume · [`mft`] records by number · [`record`], [`fixup`] one record ·
//!   [`attribute`], [`attribute_list`], [`node`] the attributes of a file · [`runlist`], [`stream`] their
//!   values · [`wof`] files that Windows packed.
//! - [`index`], [`file_name`], [`upcase`], [`directory`], [`lookup`]: names.
//! - [`standard_information`], [`summary`], [`security`], [`xattr`], [`reparse`], [`link`], [`interix`], [`ea`]:
//!   what a file is shown as.
//! - [`volume`], [`volume_info`], [`logfile`], [`hibernation`], [`shadow_copy`], [`cache`]: the whole.
//!
//! A node id is the number of the MFT record in the low 40 bits and its sequence number above; an id whose
//! record has been used again is `NotFound`. The journal is replayed into an overlay. Mode, owner and group are those
//! that WSL stored, and not derived from security descriptors. Not read, and said so: encrypted files (EFS), and files whose data a
//! reparse point keeps elsewhere (deduplication, cloud, WIM images).

mod attribute;
mod attribute_list;
mod boot;
mod cache;
mod directory;
mod ea;
mod file_name;
mod fixup;
mod hibernation;
mod index;
mod interix;
pub(crate) mod link;
mod logfile;
mod lookup;
mod mft;
mod node;
mod record;
pub(crate) mod reparse;
mod runlist;
mod security;
mod shadow_copy;
mod standard_information;
mod stream;
mod summary;
mod upcase;
mod volume;
mod volume_info;
mod wof;
mod xattr;

use super::upcase::Upcase;
use super::{Guest, Options};
use crate::extent::{clamp_len, map_runs};
use cache::Cache;
use index::Index;
use node::Node;
use record::{ROOT, Reference};
use reparse::Reparse;
use security::Security;
use spelunk_tree::{
    Attr, Cursor, Entry, Error, ErrorKind, Name, NodeId, Page, Place, ReadAt, Result, Run, StreamInfo, Tree,
    TreeInfo, Xattr, push_run,
};
use std::sync::{Arc, OnceLock};
use stream::Stream;
use volume::Volume;
use wof::Packed;

/// The row of this guest.
pub const GUEST: Guest =
    Guest { name: "ntfs", summary: "NTFS 1.2 to 3.1 (Windows NT 4 and later)", probe: boot::probe, open };

/// The row of this guest where the boot sector is damaged and its copy at the volume's end is not.
pub const GUEST_BY_BACKUP: Guest = Guest { probe: boot::probe_backup, ..GUEST };

/// Bytes of opened indexes kept: the directories of some walkers.
const INDEX_CACHE_BYTES: usize = 1 << 20;
/// Bytes of opened streams kept: the files of some readers.
const STREAM_CACHE_BYTES: usize = 1 << 20;

/// An NTFS volume as a tree.
struct Ntfs {
    volume: Volume,
    upcase: Upcase,
    options: Options,
    info: TreeInfo,
    root: NodeId,
    security: OnceLock<Result<Security>>,
    indexes: Cache<(u64, u16), Arc<Index>>,
    streams: Cache<(NodeId, Option<Name>), Arc<Content>>,
}

/// What a program reads of a stream.
enum Content {
    /// The stream itself.
    Plain(Stream),
    /// What Windows packed into another stream.
    Packed(Packed),
}

impl Content {
    fn weight(&self) -> usize {
        match self {
            Content::Plain(stream) => stream.weight(),
            Content::Packed(packed) => packed.weight(),
        }
    }

    fn read(&self, volume: &Volume, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Content::Plain(stream) => stream.read(volume, offset, buffer),
            Content::Packed(packed) => packed.read(volume, offset, buffer),
        }
    }

    fn runs(&self, volume: &Volume, offset: u64, len: u64, out: &mut Vec<Run>) -> Result<()> {
        match self {
            Content::Plain(stream) => stream.runs(volume, offset, len, out)?,
            Content::Packed(packed) => {
                push_run(out, Run { len: clamp_len(packed.size(), offset, len), place: Place::Opaque });
            }
        }
        Ok(())
    }
}

fn open(volume: Arc<dyn ReadAt>, options: &Options) -> Result<Arc<dyn Tree>> {
    let mut notes = Vec::new();
    let mut stored = Volume::open(volume, &mut notes)?;
    if let Ok(Some(log)) = logfile::read(&stored) {
        let mut replayed_notes = vec![log.note];
        match log.replayed.map(|replayed| Volume::open(replayed, &mut replayed_notes)) {
            Some(Ok(replayed)) => (stored, notes) = (replayed, replayed_notes),
            Some(Err(_)) => notes.push(log.note_unreplayed),
            None => notes.append(&mut replayed_notes),
        }
    }
    open_volume(stored, notes, options)
}

fn open_volume(volume: Volume, mut notes: Vec<String>, options: &Options) -> Result<Arc<dyn Tree>> {
    let root = volume.mft.base(Reference { number: ROOT, sequence: 0 })?.reference().node()?;
    let upcase = upcase::read(&volume).unwrap_or_else(|_| {
        notes.push("$UpCase cannot be read: names are compared by Unicode's rules".into());
        Upcase::unicode()
    });
    let mut tree = Ntfs {
        info: volume_info::read(&volume, notes),
        volume,
        upcase,
        options: options.clone(),
        root,
        security: OnceLock::new(),
        indexes: Cache::new(INDEX_CACHE_BYTES),
        streams: Cache::new(STREAM_CACHE_BYTES),
    };
    if hibernation::is_asleep(&tree).unwrap_or(false) {
        tree.info.notes.push("Windows sleeps here (hibernated, or shut down for a fast start): what it changed last may be missing".into());
    }
    Ok(Arc::new(tree))
}

impl Ntfs {
    fn node(&self, node: NodeId) -> Result<Node> {
        Node::open(&self.volume, Reference::from_node(node))
    }

    /// The stream to read for a request, once it is known that its bytes are what a program would read.
    fn stream(&self, node: NodeId, name: Option<&Name>) -> Result<Arc<Content>> {
        let key = (node, name.cloned());
        if let Some(stream) = self.streams.get(&key) {
            return Ok(stream);
        }
        let node = self.node(node)?;
        if name.is_none() && node.record.is_directory() {
            return Err(Error::new(ErrorKind::IsADirectory, "a directory has no main stream"));
        }
        let stream = match self.open_stream(&node, name) {
            Err(error) if name.is_none() && error.kind() == ErrorKind::NotFound => Stream::empty(),
            opened => opened?,
        };
        let stream = match name {
            None if stream.size > 0 => self.content(&node, stream)?,
            _ => Content::Plain(stream),
        };
        let stream = Arc::new(stream);
        self.streams.insert(key, stream.clone(), stream.weight());
        Ok(stream)
    }

    /// What the main stream of `node` stands for.
    fn content(&self, node: &Node, stream: Stream) -> Result<Content> {
        let Some(reparse) = Reparse::read(&self.volume, node)? else { return Ok(Content::Plain(stream)) };
        if let Some(algorithm) = wof::algorithm(&reparse)? {
            return Ok(Content::Packed(Packed::open(&self.volume, node, stream, algorithm)?));
        }
        let attributes = self.standard_information(node)?.map_or(0, |standard| standard.attributes);
        reparse.check_readable(attributes)?;
        Ok(Content::Plain(stream))
    }
}

impl Tree for Ntfs {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        self.lookup_name(Reference::from_node(dir), name)
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        self.page(Reference::from_node(dir), cursor, max)
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        self.attr_of_node(&self.node(node)?)
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.stream(node, stream)?.read(&self.volume, offset, buffer)
    }

    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let mut in_volume = Vec::new();
        self.stream(node, stream)?.runs(&self.volume, offset, len, &mut in_volume)?;
        map_runs(&*self.volume.bytes, &in_volume, runs)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        self.link_text_of(&self.node(node)?)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        self.xattrs_of(&self.node(node)?)
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        self.streams_of(&self.node(node)?)
    }
}
