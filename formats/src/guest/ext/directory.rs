//! Directories: listed block by block, without the index, so that no loop in it can matter; searched by the
//! index where there is one.

use super::Filesystem;
use super::casefold::Folded;
use super::dirent::{Dirents, is_index_block};
use super::encrypted::ShownNames;
use super::features::Compat;
use super::inode::{BLOCK_FIELD_BYTES, Flags, Inode};
use crate::bytes::{count, le_u32, range};
use spelunk_tree::{Error, ErrorKind, Name, Place, Result};
use std::ops::ControlFlow;

/// Bytes of a directory that are read at once.
const STEP_BYTES_MAX: u64 = 256 * 1024;
/// Bytes that an entry takes on the average, to read about as much as a page needs.
const ENTRY_BYTES_USUAL: u64 = 32;
/// Bytes of a directory that one page goes through: one that holds no entries ends a page early.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The tail with the checksum, in the shape of an unused entry, and how it begins: length 12, no name, type
/// 0xDE.
const TAIL_BYTES: usize = 12;
const TAIL_MARK: [u8; 8] = [0, 0, 0, 0, 12, 0, 0, 0xDE];

/// A part of a directory: a block, or one of the two parts of inline data.
struct Section<'a> {
    /// Where it begins in the directory.
    start: u64,
    /// Where the next one begins.
    end: u64,
    content: Content<'a>,
}

enum Content<'a> {
    /// Entries, and why they cannot be trusted when that is so.
    Entries(&'a [u8], Option<Error>),
    /// Entries that fast commits added.
    Added(&'a [u8]),
    /// No entries, and why.
    Damaged(Error),
}

/// What is done with each section. Breaks off when it has enough.
type Visit<'a> = &'a mut dyn FnMut(Section) -> ControlFlow<()>;

/// A line of a listing, without attributes.
pub(super) struct Slot {
    /// The name, as far as it could be read.
    pub(super) name: Option<Name>,
    /// The inode that it names.
    pub(super) inode: Result<u32>,
    /// Position of the next entry.
    pub(super) next: u64,
}

/// Entries of a directory from a position on.
pub(super) struct Scan {
    /// What was found.
    pub(super) slots: Vec<Slot>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<u64>,
    cursor: u64,
    max: usize,
    shown: Option<ShownNames>,
}

impl Scan {
    fn is_full(&self) -> bool {
        self.slots.len() >= self.max
    }

    fn damage(&mut self, error: Error, next: u64) {
        self.slots.push(Slot { name: None, inode: Err(error), next });
    }

    fn entry(&mut self, name: &[u8], inode: Result<u32>, next: u64) {
        let name = match &self.shown {
            Some(shown) => Name::new(shown.of(name)),
            None => Name::new(name),
        };
        match name {
            Ok(name) => self.slots.push(Slot { name: Some(name), inode, next }),
            Err(error) => self.damage(error, next),
        }
    }
}

impl Filesystem {
    /// Up to `max` entries from position `cursor` on.
    pub(super) fn scan(&self, dir: &Inode, cursor: u64, max: usize) -> Scan {
        let mut scan = Scan { slots: Vec::new(), next: None, cursor, max, shown: self.shown_names(dir) };
        let wanted = count(max).saturating_mul(ENTRY_BYTES_USUAL);
        let until = cursor.saturating_add(PAGE_BYTES_MAX);
        let _ = self.sections(dir, cursor, wanted, &mut |section| {
            let end = section.end;
            self.scan_section(dir, section, &mut scan);
            if scan.is_full() {
                scan.next = scan.slots.last().map(|slot| slot.next);
                return ControlFlow::Break(());
            }
            if end >= until {
                scan.next = Some(end);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        scan
    }

    fn scan_section(&self, dir: &Inode, section: Section, scan: &mut Scan) {
        let (bytes, doubt, changes) = match section.content {
            Content::Entries(bytes, doubt) => (bytes, doubt, self.changes.entries(dir.number)),
            Content::Added(bytes) => (bytes, None, None),
            Content::Damaged(error) => return scan.damage(error, section.end),
        };
        for entry in Dirents::new(&self.superblock, bytes) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return scan.damage(self.about(dir, error, section.start), section.end),
            };
            let is_before = section.start.saturating_add(count(entry.start)) < scan.cursor;
            if is_before || changes.is_some_and(|changes| changes.hides(entry.name)) {
                continue;
            }
            let inode = doubt.clone().map_or(Ok(entry.inode), Err);
            let next = section.start.saturating_add(count(entry.end));
            scan.entry(entry.name, inode, next);
            if scan.is_full() {
                return;
            }
        }
        if let Some(error) = doubt {
            scan.damage(error, section.end);
        }
    }

    /// The inode called `name` in `dir`, and the name as stored.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` also where a damaged block may have held the name.
    pub(super) fn find(&self, dir: &Inode, name: &Name) -> Result<(Name, u32)> {
        let has_index = dir.flags.has(Flags::INDEX) && self.superblock.features.compat.has(Compat::DIR_INDEX);
        let ignores_case = dir.flags.has(Flags::CASEFOLD);
        if let Some(changes) = self.changes.entries(dir.number).filter(|_| !ignores_case) {
            if let Some(inode) = changes.added(name) {
                return Ok((name.clone(), inode));
            }
            if changes.hides(name.as_bytes()) {
                return Err(absent());
            }
        }
        // Hashes of folded and of encrypted names need the kernel's tables and the key.
        let is_plain = !dir.flags.has(Flags::CASEFOLD | Flags::ENCRYPT | Flags::INLINE_DATA);
        if has_index && is_plain {
            match self.find_by_index(dir, name.as_bytes()) {
                Ok(Some(inode)) => return Ok((name.clone(), inode)),
                Ok(None) if self.superblock.has_checksums() => return Err(absent()),
                // An index without checksums proves nothing, and a damaged one still less.
                Ok(None) | Err(_) => {}
            }
        }
        self.find_by_scan(dir, name)
    }

    fn find_by_scan(&self, dir: &Inode, name: &Name) -> Result<(Name, u32)> {
        let folded = dir.flags.has(Flags::CASEFOLD).then(|| Folded::new(name.as_bytes()));
        let shown = self.shown_names(dir);
        let mut exact = None;
        let mut similar = None;
        let mut damage = None;
        let _ = self.sections(dir, 0, STEP_BYTES_MAX, &mut |section| {
            let (bytes, doubt, changes) = match section.content {
                Content::Entries(bytes, doubt) => (bytes, doubt, self.changes.entries(dir.number)),
                Content::Added(bytes) => (bytes, None, None),
                Content::Damaged(error) => {
                    damage.get_or_insert(error);
                    return ControlFlow::Continue(());
                }
            };
            for entry in Dirents::new(&self.superblock, bytes) {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        damage.get_or_insert(self.about(dir, error, section.start));
                        break;
                    }
                };
                if changes.is_some_and(|changes| changes.hides(entry.name)) {
                    continue;
                }
                let found = || doubt.clone().map_or(Ok(entry.inode), Err);
                let is_same = match &shown {
                    Some(shown) => shown.of(entry.name) == name.as_bytes(),
                    None => entry.name == name.as_bytes(),
                };
                if is_same {
                    exact = Some(found());
                    return ControlFlow::Break(());
                }
                if similar.is_none() && folded.as_ref().is_some_and(|folded| folded.matches(entry.name)) {
                    similar = Name::new(entry.name).ok().map(|name| (name, found()));
                }
            }
            if let Some(error) = doubt {
                damage.get_or_insert(error);
            }
            ControlFlow::Continue(())
        });
        match (exact, similar) {
            (Some(inode), _) => Ok((name.clone(), inode?)),
            (None, Some((name, inode))) => Ok((name, inode?)),
            (None, None) => Err(damage.unwrap_or_else(absent)),
        }
    }

    /// Visits the parts of `dir` from the one that holds position `from` on, reading about `wanted` bytes at
    /// once. What fast commits added comes last.
    fn sections(&self, dir: &Inode, from: u64, wanted: u64, visit: Visit) -> ControlFlow<()> {
        let Some(changes) = self.changes.entries(dir.number) else {
            return self.all_stored_sections(dir, from, wanted, visit);
        };
        let dir = &dir.with_size(changes.stored_bytes.unwrap_or(dir.size));
        self.all_stored_sections(dir, from, wanted, visit)?;
        let mut start = self.stored_end(dir);
        for bytes in &changes.sections {
            let end = start.saturating_add(count(bytes.len()));
            if end > from {
                visit(Section { start, end, content: Content::Added(bytes) })?;
            }
            start = end;
        }
        ControlFlow::Continue(())
    }

    /// Behind the last block of `dir`. No directory has holes, so none is larger than the filesystem.
    fn stored_end(&self, dir: &Inode) -> u64 {
        let size_max = self.superblock.size_bytes().unwrap_or(0);
        dir.size.min(size_max).next_multiple_of(u64::from(self.superblock.block_bytes))
    }

    /// Visits what the blocks of `dir` hold, or its inline data. Where the map of the directory is damaged, it looks on behind, ever further, so that a forged
    /// size does not keep it busy.
    fn all_stored_sections(&self, dir: &Inode, from: u64, wanted: u64, visit: Visit) -> ControlFlow<()> {
        if dir.flags.has(Flags::INLINE_DATA) {
            return self.inline_sections(dir, from, visit);
        }
        let block_bytes = u64::from(self.superblock.block_bytes);
        let end = self.stored_end(dir);
        let dir = &dir.with_size(end);
        let step = wanted.next_multiple_of(block_bytes).clamp(block_bytes, STEP_BYTES_MAX);
        let mut position = self.block_of(from).saturating_mul(block_bytes);
        let mut step_now = step;
        let mut skip = block_bytes;
        while position < end {
            let len = step_now.min(end.saturating_sub(position));
            match self.mapped_sections(dir, position, len, visit) {
                Ok(flow) => {
                    flow?;
                    position = position.saturating_add(len);
                    (step_now, skip) = (step, block_bytes);
                }
                Err(_) if len > block_bytes => step_now = block_bytes,
                Err(error) => {
                    let start = position;
                    position = position.saturating_add(skip);
                    skip = skip.saturating_mul(2);
                    visit(Section { start, end: position, content: Content::Damaged(error) })?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits the blocks in a range, unless it cannot be found out where they lie.
    fn mapped_sections(&self, dir: &Inode, start: u64, len: u64, visit: Visit) -> Result<ControlFlow<()>> {
        let mut runs = Vec::new();
        self.volume_runs(dir, start, len, &mut runs)?;
        let mut position = start;
        for run in runs {
            let end = position.saturating_add(run.len);
            let flow = match run.place {
                Place::At { offset, .. } => self.stored_sections(dir, position..end, offset, visit),
                Place::Zero | Place::Opaque => {
                    let error = self.about(dir, Error::corrupt("a hole in a directory"), position);
                    visit(Section { start: position, end, content: Content::Damaged(error) })
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
            position = end;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Visits blocks that lie together in the volume, from byte `offset` of it on.
    fn stored_sections(
        &self,
        dir: &Inode,
        positions: std::ops::Range<u64>,
        offset: u64,
        visit: Visit,
    ) -> ControlFlow<()> {
        let block_bytes = usize::try_from(self.superblock.block_bytes).unwrap_or(usize::MAX).max(1);
        let len = usize::try_from(positions.end.saturating_sub(positions.start)).unwrap_or(0);
        let mut bytes = vec![0; len];
        let is_read = self.volume.read_at(offset, &mut bytes).is_ok();
        let mut start = positions.start;
        for block in bytes.chunks_mut(block_bytes) {
            let at = offset.saturating_add(start.saturating_sub(positions.start));
            // When something in the range cannot be read, what else is in it can.
            let read = if is_read { Ok(()) } else { self.volume.read_at(at, block) };
            let end = start.saturating_add(count(block.len()));
            match read {
                Err(error) => {
                    let content = Content::Damaged(error.context("reading a block of a directory"));
                    visit(Section { start, end, content })?;
                }
                Ok(()) if dir.flags.has(Flags::INDEX) && is_index_block(block, start == 0) => {}
                Ok(()) => {
                    let doubt = self.verify_leaf(dir, block).err().map(|error| self.about(dir, error, start));
                    visit(Section { start, end, content: Content::Entries(block, doubt) })?;
                }
            }
            start = end;
        }
        ControlFlow::Continue(())
    }

    /// Inline data holds the parent's number and entries, then, in the attributes, more entries.
    fn inline_sections(&self, dir: &Inode, from: u64, visit: Visit) -> ControlFlow<()> {
        let data = match self.inline_data(dir) {
            Ok(data) => data,
            Err(error) if from == 0 => {
                return visit(Section { start: 0, end: dir.size.max(1), content: Content::Damaged(error) });
            }
            Err(_) => return ControlFlow::Continue(()),
        };
        for (start, end) in [(4, BLOCK_FIELD_BYTES.min(data.len())), (BLOCK_FIELD_BYTES, data.len())] {
            if count(end) > from
                && let Some(bytes) = data.get(start..end)
            {
                let content = Content::Entries(bytes, None);
                visit(Section { start: count(start), end: count(end), content })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Checks the checksum in the tail of a block of entries.
    pub(super) fn verify_leaf(&self, dir: &Inode, block: &[u8]) -> Result<()> {
        if !self.superblock.has_checksums() {
            return Ok(());
        }
        let at = block.len().saturating_sub(TAIL_BYTES);
        if range(block, at, TAIL_MARK.len())? != TAIL_MARK {
            return Err(Error::corrupt("a block of a directory without a checksum"));
        }
        let computed = dir.seed.add(range(block, 0, at)?).value();
        if computed != le_u32(block, at.saturating_add(TAIL_MARK.len()))? {
            return Err(Error::corrupt("a block of a directory with a wrong checksum"));
        }
        Ok(())
    }

    fn about(&self, dir: &Inode, error: Error, position: u64) -> Error {
        error.object(format!("directory inode {}", dir.number)).at(position)
    }

    /// The block `number` of `dir`, which must be stored.
    pub(super) fn directory_block_offset(&self, dir: &Inode, number: u32) -> Result<u64> {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let position = u64::from(number).saturating_mul(block_bytes);
        let mut runs = Vec::new();
        self.volume_runs(dir, position, block_bytes, &mut runs)?;
        match runs.first().map(|run| (run.len, run.place)) {
            Some((len, Place::At { offset, .. })) if len == block_bytes => Ok(offset),
            _ => Err(self.about(dir, Error::corrupt("a block that the directory does not have"), position)),
        }
    }
}

/// What a search reports that looked everywhere.
fn absent() -> Error {
    Error::new(ErrorKind::NotFound, "no entry of this name")
}
