//! The messages: what the host asks, what the worker answers.

use super::nodes::RUN_BYTES_MAX;
use super::{Decoded, Decoder, Encoder, Malformed, Wire, decode_choice, encode_choice};
use crate::LayerReport;
use spelunk_tree::{
    Cursor, DiskInfo, Error, Name, NodeId, ParentRef, Place, Result as TreeResult, Run, limits,
};

/// What the worker says it is. Host and worker are the same program file, so this only tells when the
/// program was something else than expected.
pub(crate) const BUILD_ID: &str = concat!("spelunk worker ", env!("CARGO_PKG_VERSION"));

/// Bytes of the window of shared memory that belongs to a channel: no reply is longer. FUSE's largest read
/// is as long, and a page of 4096 ordinary entries is shorter.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of one request: a name or two and some numbers.
pub(crate) const REQUEST_BYTES_MAX: usize = 2 * limits::NAME_BYTES_MAX + 64;

/// Places that one request can have listed.
pub(crate) const LIST_PLACES_MAX: usize = 64;

/// Bytes of a file that are mapped ahead: most files are smaller, and of others it is the beginning.
pub(crate) const MAP_FILES_SPAN: u64 = 1 << 20;

/// Files that one request can have mapped.
pub(crate) const MAP_FILES_MAX: usize = 64;

/// Files whose metadata one request can have parsed.
pub(crate) const METADATA_MAX: usize = 256;

const _: () = assert!(METADATA_MAX * 4 < REQUEST_BYTES_MAX / 2);

const _: () =
    assert!(LIST_PLACES_MAX * 16 < REQUEST_BYTES_MAX / 2 && MAP_FILES_MAX * 8 < REQUEST_BYTES_MAX / 2);

/// Runs in one reply: what a 64 MiB stretch has in a filesystem of 4 KiB blocks at worst.
pub(crate) const RUNS_MAX: usize = 16 * 1024;

const _: () = assert!(RUNS_MAX * RUN_BYTES_MAX + 16 < WINDOW_BYTES / 2);

/// The first message to a worker, on its standard input, with two descriptors for each channel: the
/// channel's socket, its window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) channels: u8,
}

impl Wire for Start {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.channels);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Start> {
        Ok(Start { channels: from.get()? })
    }
}

/// What the worker says when it is in its jail, before it has seen a byte of any image; or why it is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) build_id: String,
    pub(crate) jail: TreeResult<Vec<LayerReport>>,
}

/// Layers that a jail may have.
const LAYERS_MAX: usize = 64;

impl Wire for Hello {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.build_id);
        match &self.jail {
            Ok(layers) => {
                out.put(&true);
                out.list(layers);
            }
            Err(error) => {
                out.put(&false);
                out.put(error);
            }
        }
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Hello> {
        let build_id = from.get()?;
        let jail = if from.get()? { Ok(from.list(LAYERS_MAX)?) } else { Err(from.get::<Error>()?) };
        Ok(Hello { build_id, jail })
    }
}

impl Wire for LayerReport {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.name);
        out.put(&self.in_force);
        out.put(&self.detail);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<LayerReport> {
        Ok(LayerReport { name: from.get()?, in_force: from.get()?, detail: from.get()? })
    }
}

/// What the host asks. `tree` is the index of a volume, `stream` the named stream (or the main one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Open the image whose descriptor comes along. Answered by [`Opening`], after any number of
    /// [`Status::NeedParent`] and [`Status::NeedDisk`].
    Open { size: u64, snapshot: Option<String>, show_metafiles: bool, code_page: u16, time_zone: String },
    /// The answer to [`Status::NeedParent`], or the next disk's image to [`Status::NeedDisk`]; the descriptor comes along.
    Parent { size: u64 },
    /// The answer to [`Status::NeedParent`] and [`Status::NeedDisk`] when there is none (left).
    NoParent,
    /// Answered by an entry.
    Lookup { tree: u8, dir: NodeId, name: Name },
    /// Answered by a page (or why there is none) of up to `max` entries for each of these places, in order:
    /// of as many as are done with little work and fit in one answer, and of the first at least.
    List { tree: u8, places: Vec<(NodeId, Cursor)>, max: u32 },
    /// Answered by attributes.
    Attr { tree: u8, node: NodeId },
    /// Answered by data.
    Read { tree: u8, node: NodeId, stream: Option<Name>, offset: u64, len: u32 },
    /// Answered by the [`Extents`] of `span` bytes from `start` on; when the `len` bytes from `offset` on are
    /// not all plain, by the extents of these alone, and their data.
    Map { tree: u8, node: NodeId, stream: Option<Name>, start: u64, span: u64, offset: u64, len: u32 },
    /// Answered by a [`KnownFile`] (or why it is none) for each of these files, in order: for as many as are
    /// done with little work and fit in one answer, perhaps none.
    MapFiles { tree: u8, nodes: Vec<NodeId> },
    /// Answered by a target.
    LinkTarget { tree: u8, node: NodeId },
    /// Answered by a list.
    Xattrs { tree: u8, node: NodeId },
    /// Answered by a list.
    Streams { tree: u8, node: NodeId },
    /// Answered by the metadata (or why there is none) of each of the files of a UrBackup file backup whose
    /// metadata stand one after the other in the file whose descriptor comes along, with these lengths. Unless
    /// `is_full`, without link targets, attributes' values and streams.
    Metadata { lens: Vec<u32>, is_full: bool },
}

impl Wire for Request {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Request::Open { size, snapshot, show_metafiles, code_page, time_zone } => {
                out.put(&0u8);
                out.put(size);
                out.put(snapshot);
                out.put(show_metafiles);
                out.put(code_page);
                out.put(time_zone);
            }
            Request::Parent { size } => {
                out.put(&1u8);
                out.put(size);
            }
            Request::NoParent => out.put(&2u8),
            Request::Lookup { tree, dir, name } => {
                encode_node(3, *tree, *dir, out);
                out.put(name);
            }
            Request::List { tree, places, max } => {
                out.put(&4u8);
                out.put(tree);
                out.list(places);
                out.put(max);
            }
            Request::Attr { tree, node } => encode_node(5, *tree, *node, out),
            Request::Read { tree, node, stream, offset, len } => {
                encode_node(6, *tree, *node, out);
                out.put(stream);
                out.put(offset);
                out.put(len);
            }
            Request::Map { tree, node, stream, start, span, offset, len } => {
                encode_node(7, *tree, *node, out);
                out.put(stream);
                out.put(start);
                out.put(span);
                out.put(offset);
                out.put(len);
            }
            Request::MapFiles { tree, nodes } => {
                out.put(&11u8);
                out.put(tree);
                out.list(nodes);
            }
            Request::LinkTarget { tree, node } => encode_node(8, *tree, *node, out),
            Request::Xattrs { tree, node } => encode_node(9, *tree, *node, out),
            Request::Streams { tree, node } => encode_node(10, *tree, *node, out),
            Request::Metadata { lens, is_full } => {
                out.put(&12u8);
                out.list(lens);
                out.put(is_full);
            }
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Decoded<Request> {
        let verb = from.get::<u8>()?;
        match verb {
            0 => {
                return Ok(Request::Open {
                    size: from.get()?,
                    snapshot: from.get()?,
                    show_metafiles: from.get()?,
                    code_page: from.get()?,
                    time_zone: from.get()?,
                });
            }
            1 => return Ok(Request::Parent { size: from.get()? }),
            2 => return Ok(Request::NoParent),
            12 => return Ok(Request::Metadata { lens: from.list(METADATA_MAX)?, is_full: from.get()? }),
            _ => {}
        }
        let tree = from.get()?;
        if verb == 4 {
            return Ok(Request::List { tree, places: from.list(LIST_PLACES_MAX)?, max: from.get()? });
        }
        if verb == 11 {
            return Ok(Request::MapFiles { tree, nodes: from.list(MAP_FILES_MAX)? });
        }
        let node = from.get()?;
        Ok(match verb {
            3 => Request::Lookup { tree, dir: node, name: from.get()? },
            5 => Request::Attr { tree, node },
            6 => Request::Read { tree, node, stream: from.get()?, offset: from.get()?, len: from.get()? },
            7 => Request::Map {
                tree,
                node,
                stream: from.get()?,
                start: from.get()?,
                span: from.get()?,
                offset: from.get()?,
                len: from.get()?,
            },
            8 => Request::LinkTarget { tree, node },
            9 => Request::Xattrs { tree, node },
            10 => Request::Streams { tree, node },
            _ => return Err(Malformed("an unknown request")),
        })
    }
}

fn encode_node(verb: u8, tree: u8, node: NodeId, out: &mut Encoder) {
    out.put(&verb);
    out.put(&tree);
    out.put(&node);
}

/// What kind of answer a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The body is what was asked for.
    Done,
    /// The body is an error.
    Failed,
    /// The body is a [`ParentQuestion`].
    NeedParent,
    /// A disk is open, and the next one that belongs to it is asked for. The body is empty.
    NeedDisk,
}

const STATUSES: [Status; 4] = [Status::Done, Status::Failed, Status::NeedParent, Status::NeedDisk];

/// A reply on the socket: what the window holds. First the body, then data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) status: Status,
    pub(crate) body_len: u32,
    pub(crate) data_len: u32,
}

impl Packet {
    /// Bytes of an encoded packet.
    pub(crate) const BYTES: usize = 9;

    /// Body and data, when together they fit in the window.
    pub(crate) fn lengths(self) -> Decoded<(usize, usize)> {
        let body = usize::try_from(self.body_len).map_err(|_| Malformed("a length over its limit"))?;
        let data = usize::try_from(self.data_len).map_err(|_| Malformed("a length over its limit"))?;
        match body.checked_add(data) {
            Some(all) if all <= WINDOW_BYTES => Ok((body, data)),
            _ => Err(Malformed("a reply longer than its window")),
        }
    }
}

impl Wire for Packet {
    fn encode(&self, out: &mut Encoder) {
        encode_choice(&self.status, &STATUSES, out);
        out.put(&self.body_len);
        out.put(&self.data_len);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Packet> {
        let status = decode_choice(&STATUSES, from)?;
        Ok(Packet { status, body_len: from.get()?, data_len: from.get()? })
    }
}

/// What the worker asks while it opens a disk: the next file that may be the parent of the image file with
/// the index `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParentQuestion {
    pub(crate) source: u32,
    pub(crate) wanted: ParentRef,
}

impl Wire for ParentQuestion {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.source);
        out.put(&self.wanted);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<ParentQuestion> {
        Ok(ParentQuestion { source: from.get()?, wanted: from.get()? })
    }
}

/// An open disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) info: DiskInfo,
    /// For each volume with a tree, its root.
    pub(crate) roots: Vec<Option<NodeId>>,
}

impl Wire for Opening {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.info);
        out.list(&self.roots);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Opening> {
        let info = from.get::<DiskInfo>()?;
        let roots = from.list::<Option<NodeId>>(limits::VOLUMES_MAX)?;
        let fits = |(volume, root): (&spelunk_tree::VolumeInfo, &Option<NodeId>)| {
            volume.filesystem.is_ok() == root.is_some()
        };
        if roots.len() != info.volumes.len() || !info.volumes.iter().zip(&roots).all(fits) {
            return Err(Malformed("roots that are not those of the volumes"));
        }
        Ok(Opening { info, roots })
    }
}

/// Where the bytes of a stretch of a stream lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    /// Where in the stream the stretch begins.
    pub(crate) start: u64,
    /// Whether the stream ends where the runs end.
    pub(crate) is_last: bool,
    pub(crate) runs: Vec<Run>,
}

impl Extents {
    /// Checks that the runs lie in the image files (of `sizes` bytes) and cover a stretch of at most `span`
    /// bytes, which it returns.
    pub(crate) fn check(&self, span: u64, sizes: &[u64]) -> Decoded<u64> {
        let mut covered = 0u64;
        for run in &self.runs {
            if let Place::At { source, offset } = run.place {
                let size = usize::try_from(source).ok().and_then(|source| sizes.get(source));
                let size = size.ok_or(Malformed("a run in a file that is not there"))?;
                if offset.checked_add(run.len).is_none_or(|end| end > *size) {
                    return Err(Malformed("a run past the end of its file"));
                }
            }
            covered = match covered.checked_add(run.len) {
                Some(sum) if run.len > 0 && sum <= span => sum,
                _ => return Err(Malformed("runs that cover more than asked for, or nothing")),
            };
        }
        if covered == 0 && span > 0 && !self.is_last {
            return Err(Malformed("no runs in the midst of a stream"));
        }
        Ok(covered)
    }
}

impl Wire for Extents {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.start);
        out.put(&self.is_last);
        out.list(&self.runs);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Extents> {
        Ok(Extents { start: from.get()?, is_last: from.get()?, runs: from.list(RUNS_MAX)? })
    }
}

/// Bytes of a file that are told ahead, when its bytes must be decoded: larger files are asked for alone.
pub(crate) const KNOWN_BYTES_MAX: usize = 64 * 1024;

/// What was found out of a file before anybody asked: where its first bytes lie; or all its bytes, when they
/// are few and must be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownFile {
    pub(crate) extents: Extents,
    pub(crate) data: Option<Vec<u8>>,
}

impl KnownFile {
    /// As [`Extents::check`], from the file's start on; data must be as long as the extents.
    pub(crate) fn check(&self, span: u64, sizes: &[u64]) -> Decoded<()> {
        let covered = self.extents.check(span, sizes)?;
        let fits = |data: &Vec<u8>| u64::try_from(data.len()) == Ok(covered);
        if self.extents.start != 0 || !self.data.as_ref().is_none_or(fits) {
            return Err(Malformed("a file that does not fit its extents"));
        }
        Ok(())
    }
}

impl Wire for KnownFile {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.extents);
        out.put(&self.data.is_some());
        if let Some(data) = &self.data {
            out.blob(data);
        }
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<KnownFile> {
        let extents = from.get()?;
        let data = if from.get()? { Some(from.blob(KNOWN_BYTES_MAX)?.to_vec()) } else { None };
        Ok(KnownFile { extents, data })
    }
}
