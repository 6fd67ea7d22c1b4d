//! What each request comes to.

use super::image_file::ImageFile;
use super::parents::HostParents;
use super::{Channel, Received, metadata};
use crate::channel::Broken;
use crate::wire::message::{KNOWN_BYTES_MAX, MAP_FILES_SPAN, RUNS_MAX, WINDOW_BYTES};
use crate::wire::nodes::PagesEncoder;
use crate::wire::{Encoder, Extents, KnownFile, Opening, Request, Wire};
use crate::worker::block_cache::BlockCache;
use rustix::fd::OwnedFd;
use spelunk_formats::disk::{self, OpenDisk};
use spelunk_formats::guest::{CodePage, Options};
use spelunk_tree::{Cursor, Error, NodeId, Place, Result, Tree, limits};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// A reply: the body, and how many bytes of data stand behind it in the window.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) data_len: usize,
}

impl Body {
    fn of(value: &impl Wire) -> Body {
        Body { bytes: value.to_bytes(), data_len: 0 }
    }

    pub(super) fn list<T: Wire>(values: &[T], max: usize, what: &str) -> Result<Body> {
        if values.len() > max {
            return Err(Error::limit(format!("{} {what}", values.len())));
        }
        let mut out = Encoder::default();
        out.list(values);
        Ok(Body { bytes: out.bytes, data_len: 0 })
    }
}

/// A stretch of a stream.
struct Stretch<'a> {
    node: NodeId,
    stream: Option<&'a spelunk_tree::Name>,
    offset: u64,
}

/// The disk, once it is open.
#[derive(Default)]
pub(super) struct Server {
    disk: OnceLock<OpenDisk>,
}

impl Server {
    /// Answers one request. A panic on the way is the answer to this request alone.
    ///
    /// # Errors
    /// When the host is gone.
    pub(super) fn answer(
        &self,
        received: Received,
        channel: &mut Channel,
    ) -> std::result::Result<(), Broken> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.outcome(received, channel)));
        channel.finish(outcome.unwrap_or_else(|_| Err(last_panic())))
    }

    fn outcome(&self, received: Received, channel: &mut Channel) -> Result<Body> {
        match &received.request {
            Request::Open { size, snapshot, show_metafiles, code_page, time_zone } => {
                let unknown = |what| Error::internal(format!("opening with an unknown {what}"));
                let options = Options {
                    show_metafiles: *show_metafiles,
                    code_page: CodePage::numbered(*code_page).ok_or_else(|| unknown("code page"))?,
                    time_zone: time_zone.parse().map_err(|_| unknown("time zone"))?,
                };
                let image = received.descriptor.map(|descriptor| (descriptor, *size));
                self.open(image, snapshot.as_deref(), &options, channel)
            }
            Request::Parent { .. } | Request::NoParent => Err(Error::internal("a parent for nothing")),
            Request::Lookup { tree, dir, name } => Ok(Body::of(&self.tree(*tree)?.lookup(*dir, name)?)),
            Request::List { tree, places, max } => {
                let max = usize::try_from(*max).unwrap_or(usize::MAX).clamp(1, limits::PAGE_ENTRIES_MAX);
                Ok(list(self.tree(*tree)?, places, max))
            }
            Request::Attr { tree, node } => Ok(Body::of(&self.tree(*tree)?.attr(*node)?)),
            Request::Read { tree, node, stream, offset, len } => {
                let stretch = Stretch { node: *node, stream: stream.as_ref(), offset: *offset };
                read(self.tree(*tree)?, &stretch, *len, channel)
            }
            Request::Map { tree, node, stream, start, span, offset, len } => {
                let stretch = Stretch { node: *node, stream: stream.as_ref(), offset: *offset };
                map(self.tree(*tree)?, (*start, *span), &stretch, *len, channel)
            }
            Request::MapFiles { tree, nodes } => Ok(map_files(self.tree(*tree)?, nodes)),
            Request::LinkTarget { tree, node } => {
                let target = self.tree(*tree)?.link_target(*node)?;
                let mut out = Encoder::default();
                if target.len() > limits::LINK_TARGET_BYTES_MAX {
                    return Err(Error::limit(format!("a link target of {} bytes", target.len())));
                }
                out.blob(&target);
                Ok(Body { bytes: out.bytes, data_len: 0 })
            }
            Request::Xattrs { tree, node } => {
                let xattrs = self.tree(*tree)?.xattrs(*node)?;
                Body::list(&xattrs, limits::XATTRS_MAX, "extended attributes")
            }
            Request::Streams { tree, node } => {
                let streams = self.tree(*tree)?.streams(*node)?;
                Body::list(&streams, limits::STREAMS_MAX, "named streams")
            }
            Request::Metadata { lens, is_full } => metadata::parse(received.descriptor, lens, *is_full),
        }
    }

    fn open(
        &self,
        image: Option<(OwnedFd, u64)>,
        snapshot: Option<&str>,
        options: &Options,
        channel: &mut Channel,
    ) -> Result<Body> {
        let (descriptor, size) = image.ok_or_else(|| Error::internal("an image without its descriptor"))?;
        let cache = Arc::new(BlockCache::default());
        let image = Arc::new(ImageFile::new(descriptor, size, 0, cache.clone()));
        let disk = disk::open_at(image, snapshot, &mut HostParents { channel, cache }, options)?;
        let roots = disk.trees.iter().map(|tree| tree.as_ref().map(|tree| tree.root())).collect();
        let opening = Opening { info: disk.info.clone(), roots };
        self.disk.set(disk).map_err(|_| Error::internal("a second image for one worker"))?;
        Ok(Body::of(&opening))
    }

    fn tree(&self, index: u8) -> Result<&dyn Tree> {
        let disk = self.disk.get().ok_or_else(|| Error::internal("no image is open"))?;
        match disk.trees.get(usize::from(index)) {
            Some(Some(tree)) => Ok(&**tree),
            _ => Err(Error::internal("a volume without a tree")),
        }
    }
}

/// Entries in one answer after which no other directory is begun: the rest can be asked for again, and
/// whoever waits for the first ones waits for the whole answer.
const LIST_ENTRIES_ENOUGH: usize = 2048;

/// Lists places one after the other. A directory that cannot be listed is no reason not to list the next.
fn list(tree: &dyn Tree, places: &[(NodeId, Cursor)], max: usize) -> Body {
    let mut pages = PagesEncoder::new(WINDOW_BYTES);
    let mut entries = 0usize;
    for (dir, cursor) in places {
        if !pages.has_room() || entries >= LIST_ENTRIES_ENOUGH {
            break;
        }
        let page = tree.list(*dir, *cursor, max);
        entries = entries.saturating_add(page.as_ref().map_or(0, |page| page.entries.len()));
        pages.push(&page);
    }
    Body { bytes: pages.finish(), data_len: 0 }
}

/// Reads straight into the window.
fn read(tree: &dyn Tree, stretch: &Stretch<'_>, len: u32, channel: &mut Channel) -> Result<Body> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(WINDOW_BYTES);
    let data = &mut channel.window.bytes()[..len];
    let data_len = tree.read(stretch.node, stretch.stream, stretch.offset, data)?;
    Ok(Body { bytes: Vec::new(), data_len })
}

/// Maps `span` bytes from `start` on. When the stretch that is wanted is not plain, maps and reads it alone: a
/// small file whose bytes must be decoded takes one round trip, and in a compressed container to map more would
/// mean to decode what is not wanted yet.
fn map(
    tree: &dyn Tree,
    (start, span): (u64, u64),
    wanted: &Stretch<'_>,
    len: u32,
    channel: &mut Channel,
) -> Result<Body> {
    let narrow = extents(tree, wanted, u64::from(len))?;
    if !narrow.runs.iter().any(|run| run.place == Place::Opaque) {
        let wide = Stretch { node: wanted.node, stream: wanted.stream, offset: start };
        let bytes = extents(tree, &wide, span)?.to_bytes();
        return Ok(Body { bytes, data_len: 0 });
    }
    let bytes = narrow.to_bytes();
    let room = WINDOW_BYTES.saturating_sub(bytes.len()).min(usize::try_from(len).unwrap_or(usize::MAX));
    let data = &mut channel.window.bytes()[bytes.len()..][..room];
    let data_len = tree.read(wanted.node, wanted.stream, wanted.offset, data)?;
    Ok(Body { bytes, data_len })
}

/// Where the `span` bytes from a place on lie.
fn extents(tree: &dyn Tree, from: &Stretch<'_>, span: u64) -> Result<Extents> {
    let mut runs = Vec::new();
    if span > 0 {
        tree.runs(from.node, from.stream, from.offset, span, &mut runs)?;
    }
    let covered = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len));
    let is_last = covered < span && runs.len() <= RUNS_MAX;
    runs.truncate(RUNS_MAX);
    Ok(Extents { start: from.offset, is_last, runs })
}

/// Bytes of an answer about many files after which no other file is begun.
const MAP_FILES_BYTES_ENOUGH: usize = WINDOW_BYTES / 2;
/// Runs of one file that are told ahead: one in more pieces is large or a rarity.
const MAP_FILES_RUNS_MAX: usize = 256;

const _: () = assert!(MAP_FILES_BYTES_ENOUGH + 2 * KNOWN_BYTES_MAX < WINDOW_BYTES);

/// Maps the main streams of files, one after the other.
fn map_files(tree: &dyn Tree, nodes: &[NodeId]) -> Body {
    let mut out = Encoder::default();
    let mut count = 0u32;
    out.put(&count);
    for node in nodes {
        if out.bytes.len() >= MAP_FILES_BYTES_ENOUGH {
            break;
        }
        out.put(&known_file(tree, *node));
        count += 1;
    }
    out.bytes[..size_of::<u32>()].copy_from_slice(&count.to_le_bytes());
    Body { bytes: out.bytes, data_len: 0 }
}

fn known_file(tree: &dyn Tree, node: NodeId) -> Result<KnownFile> {
    let file = Stretch { node, stream: None, offset: 0 };
    let extents = extents(tree, &file, MAP_FILES_SPAN)?;
    if extents.runs.len() > MAP_FILES_RUNS_MAX {
        return Err(Error::limit(format!("{} runs", extents.runs.len())));
    }
    if !extents.runs.iter().any(|run| run.place == Place::Opaque) {
        return Ok(KnownFile { extents, data: None });
    }
    let len = extents.runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len));
    let len = usize::try_from(len).ok().filter(|len| extents.is_last && *len <= KNOWN_BYTES_MAX);
    let mut data = vec![0; len.ok_or_else(|| Error::limit("a large file whose bytes must be decoded"))?];
    let read = tree.read(node, None, 0, &mut data)?;
    if read != data.len() {
        return Err(Error::corrupt("a file that ends before its end"));
    }
    Ok(KnownFile { extents, data: Some(data) })
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers where this thread panicked instead of printing it.
pub(super) fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        let payload = info.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("a panic");
        let text = format!("{message}{}", place.unwrap_or_default());
        LAST_PANIC.with(|last| *last.borrow_mut() = Some(text));
    }));
}

fn last_panic() -> Error {
    let text = LAST_PANIC.with(RefCell::take).unwrap_or_else(|| "a panic".into());
    Error::internal("the parser failed").because(Error::internal(text))
}

#[cfg(test)]
mod tests;
