//! Files that are mapped before somebody reads them.
//!
//! Programs that copy, pack or search read the files of a directory one after the other, most of them small.
//! Once somebody does that, one round trip maps many of the files that come next, and the kernel is told to
//! fetch their bytes from the image meanwhile.

use super::link::Link;
use super::run_cache::{Piece, RunCache};
use crate::wire::message::{MAP_FILES_MAX, MAP_FILES_SPAN};
use crate::wire::{Decoded, KnownFile, Request, whole};
use rustix::fs::{Advice, fadvise};
use spelunk_tree::{Kind, Listed, NodeId, Page, Place, Result};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pages of listings whose files are remembered, the latest ones. Their files are searched for the one that is
/// read: some hundred microseconds at the worst, and only when it was not mapped ahead.
const PAGES_MAX: usize = 64;
/// Files of all these pages together.
const FILES_MAX: usize = 16 * 1024;
/// Files that are mapped ahead, at first and at most.
const AHEAD_MIN: usize = 8;
const AHEAD_MAX: usize = MAP_FILES_MAX - 1;
/// So many files may be passed over by somebody who still reads one after the other.
const SKIPPED_MAX: usize = 16;
/// Bytes of the image that are fetched ahead for one file, and for all that are mapped at once: what a disk reads
/// in some milliseconds.
const FETCHED_FILE_BYTES_MAX: u64 = 256 * 1024;
const FETCHED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What lies between two files is fetched along when it is no more than this: cheaper than another request.
const GAP_BYTES_MAX: u64 = 64 * 1024;

/// The files of one tree.
pub(super) struct FilesAhead {
    link: Arc<Link>,
    tree: u8,
    listed: Mutex<ListedFiles>,
}

/// Which files were listed, and how far somebody has read them.
#[derive(Default)]
struct ListedFiles {
    /// The latest first.
    pages: VecDeque<Box<[NodeId]>>,
    files: usize,
    /// The last file that was not mapped when it was read, and the last one that was mapped ahead with it.
    last: Option<(NodeId, NodeId)>,
    /// How many files to map ahead.
    ahead: usize,
}

impl FilesAhead {
    pub(super) fn new(link: Arc<Link>, tree: u8) -> FilesAhead {
        FilesAhead { link, tree, listed: Mutex::default() }
    }

    /// Remembers the order of files.
    pub(super) fn note(&self, page: &Page) {
        let file = |listed: &Listed| match listed {
            Listed::Entry { entry, .. } if entry.attr.kind == Kind::File && entry.attr.size > 0 => {
                Some(entry.node)
            }
            _ => None,
        };
        let files: Box<[NodeId]> = page.entries.iter().filter_map(file).collect();
        if !files.is_empty() {
            self.lock().note(files);
        }
    }

    /// Maps a file that is read from its beginning together with those that come next, if somebody reads one
    /// after the other. `None` when the file is to be mapped alone.
    pub(super) fn map(&self, node: NodeId, runs: &RunCache) -> Option<Arc<Piece>> {
        let mut nodes = self.lock().read(node);
        if nodes.is_empty() {
            return None;
        }
        nodes.retain(|next| runs.find(*next, None, 0).is_none());
        nodes.insert(0, node);
        // Whatever goes wrong here goes wrong again, and is told, when the file is mapped alone.
        let files = self.ask(&nodes).ok()?;
        let pieces = nodes.iter().zip(files).filter_map(|(node, file)| Some((*node, piece(file.ok()?))));
        let pieces: Vec<_> = pieces.collect();
        for (node, piece) in &pieces {
            runs.insert(*node, None, piece);
        }
        self.fetch(pieces.iter().map(|(_, piece)| &**piece));
        pieces.into_iter().find(|(mapped, _)| *mapped == node).map(|(_, piece)| piece)
    }

    fn ask(&self, nodes: &[NodeId]) -> Result<Vec<Result<KnownFile>>> {
        let request = Request::MapFiles { tree: self.tree, nodes: nodes.to_vec() };
        let sizes: Vec<u64> = self.link.images().iter().map(|image| image.size).collect();
        self.link.ask_ahead("mapping files ahead", &request, |answer| {
            let files: Vec<Result<KnownFile>> = whole(&answer.body, |from| from.list(nodes.len()))?;
            files.iter().flatten().try_for_each(|file| file.check(MAP_FILES_SPAN, &sizes))?;
            Decoded::Ok(files)
        })
    }

    /// Tells the kernel to fetch what will be read.
    fn fetch<'a>(&self, pieces: impl Iterator<Item = &'a Piece>) {
        let mut wanted: Vec<(u32, u64, u64)> = pieces.flat_map(plain_ranges).collect();
        wanted.sort_unstable();
        let mut left = FETCHED_BYTES_MAX;
        let is_near = |a: &(u32, u64, u64), b: &(u32, u64, u64)| {
            a.0 == b.0 && b.1.saturating_sub(a.1.saturating_add(a.2)) <= GAP_BYTES_MAX
        };
        for together in wanted.chunk_by(is_near) {
            let (Some((source, start, _)), Some((_, last, len))) = (together.first(), together.last()) else {
                continue;
            };
            let bytes = last.saturating_add(*len).saturating_sub(*start).min(left);
            let image = usize::try_from(*source).ok().and_then(|source| self.link.images().get(source));
            if let (Some(image), Some(bytes)) = (image, NonZeroU64::new(bytes)) {
                // Advice: where it is not taken, the bytes are read when they are wanted.
                let _ = fadvise(&image.file, *start, Some(bytes), Advice::WillNeed);
            }
            left -= bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, ListedFiles> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The plain ranges of a file's beginning: image file, offset, length.
fn plain_ranges(piece: &Piece) -> impl Iterator<Item = (u32, u64, u64)> {
    let mut left = FETCHED_FILE_BYTES_MAX;
    piece.runs().filter_map(move |run| {
        let len = run.len.min(left);
        left -= len;
        match run.place {
            Place::At { source, offset } if len > 0 => Some((source, offset, len)),
            _ => None,
        }
    })
}

fn piece(file: KnownFile) -> Arc<Piece> {
    let KnownFile { extents, data } = file;
    Arc::new(Piece::new(extents.start, extents.runs, extents.is_last).with_data(data))
}

impl ListedFiles {
    fn note(&mut self, files: Box<[NodeId]>) {
        // A directory that is listed again is not kept twice.
        if self.pages.iter().any(|page| page.first() == files.first()) {
            return;
        }
        self.files += files.len();
        self.pages.push_front(files);
        while self.pages.len() > PAGES_MAX || (self.files > FILES_MAX && self.pages.len() > 1) {
            self.files -= self.pages.pop_back().map_or(0, |page| page.len());
        }
    }

    /// Notes that a file is read that was not mapped, and returns those to map with it.
    fn read(&mut self, node: NodeId) -> Vec<NodeId> {
        let place = |wanted: NodeId| {
            let in_page = |page: &[NodeId]| page.iter().position(|file| *file == wanted);
            self.pages.iter().enumerate().find_map(|(index, page)| Some((index, in_page(page)?)))
        };
        let is_small = |page: usize| self.pages.get(page).is_some_and(|page| page.len() <= AHEAD_MAX);
        let Some((page, index)) = place(node) else {
            self.last = None;
            self.ahead = 0;
            return Vec::new();
        };
        let is_next = self.last.is_some_and(|(_, last)| match place(last) {
            Some((last_page, last)) if last_page == page => {
                is_small(page) || (last + 1..=last + SKIPPED_MAX).contains(&index)
            }
            // Another directory: read from its beginning, by somebody who read the last one like this.
            Some(_) => self.ahead > 0 && index <= SKIPPED_MAX,
            None => false,
        });
        self.ahead = if is_next { self.ahead.saturating_mul(2).clamp(AHEAD_MIN, AHEAD_MAX) } else { 0 };
        let files = self.pages.get(page).map_or(&[][..], |page| &page[..]);
        // Of a small directory all files come, in whatever order somebody reads them.
        let rest = if is_small(page) { files.len() } else { files.len() - index };
        let next = files.iter().cycle().skip(index + 1).take(self.ahead.min(rest.saturating_sub(1)));
        let next: Vec<NodeId> = next.copied().collect();
        self.last = Some((node, next.last().copied().unwrap_or(node)));
        next
    }
}

#[cfg(test)]
mod tests;
