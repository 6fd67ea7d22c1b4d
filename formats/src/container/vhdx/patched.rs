//! The file as it would be with its log replayed.

use super::log::SECTOR_BYTES;
use crate::bytes::{add, count, index, range, sub};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Changed ranges that are kept: with a sector each, 512 MiB of changed tables, which themselves are 512 MiB
/// at most for the largest disk.
const PATCHES_MAX: usize = 1 << 17;

/// What a changed range holds now.
#[derive(Clone, Copy)]
pub(super) enum Patch {
    /// Zeros.
    Zero,
    /// One sector: 8 bytes from its descriptor, most of a data sector of the log, 4 bytes from the
    /// descriptor.
    Sector {
        /// The data sector's offset in the file.
        at: u64,
        leading: [u8; 8],
        trailing: [u8; 4],
    },
}

/// A file with changes laid over it.
pub(super) struct Patched {
    file: Arc<dyn ReadAt>,
    size_bytes: u64,
    /// By their first byte: the end of each change, and the change. They do not overlap.
    patches: BTreeMap<u64, (u64, Patch)>,
}

impl Patched {
    /// `file` without changes, made `size_bytes` long by zeros where it is shorter.
    pub(super) fn new(file: Arc<dyn ReadAt>, size_bytes: u64) -> Patched {
        let size_bytes = file.size().max(size_bytes);
        Patched { file, size_bytes, patches: BTreeMap::new() }
    }

    /// Lays a change over what was there. Starts and lengths are whole sectors, so only zeros are ever cut.
    pub(super) fn insert(&mut self, start: u64, len: u64, patch: Patch) -> Result<()> {
        let end = add(start, len)?;
        if end > self.size_bytes {
            return Err(Error::corrupt("the log changes bytes past the end of the file").at(start));
        }
        if len == 0 {
            return Ok(());
        }
        let before = self.patches.range_mut(..start).next_back();
        let mut rest = None;
        if let Some((_, (old_end, old))) = before.filter(|(_, (old_end, _))| *old_end > start) {
            rest = (*old_end > end).then_some((*old_end, *old));
            *old_end = start;
        }
        while let Some((&old_start, &(old_end, old))) = self.patches.range(start..end).next() {
            self.patches.remove(&old_start);
            rest = (old_end > end).then_some((old_end, old));
        }
        if let Some(rest) = rest {
            self.patches.insert(end, rest);
        }
        self.patches.insert(start, (end, patch));
        if self.patches.len() > PATCHES_MAX {
            return Err(Error::limit(format!("a log with more than {PATCHES_MAX} changes")));
        }
        Ok(())
    }

    /// Where the first of the `len` bytes from `offset` on come from, and how many of them do.
    fn stretch(&self, offset: u64, len: u64) -> Result<(u64, Origin)> {
        if let Some((&start, &(end, patch))) = self.patches.range(..=offset).next_back()
            && end > offset
        {
            return Ok((sub(end, offset)?.min(len), Origin::Patch(patch, sub(offset, start)?)));
        }
        let next = self.patches.range(offset..).next().map_or(u64::MAX, |(&start, _)| start);
        let len = sub(next, offset)?.min(len);
        match self.file.size().saturating_sub(offset) {
            0 => Ok((len, Origin::Patch(Patch::Zero, 0))),
            here => Ok((len.min(here), Origin::File)),
        }
    }

    fn walk(
        &self,
        offset: u64,
        len: u64,
        visit: &mut dyn FnMut(u64, u64, Origin) -> Result<()>,
    ) -> Result<()> {
        let end = add(offset, len)?;
        if end > self.size_bytes {
            return Err(Error::corrupt("reading past the end of the file").at(offset));
        }
        let mut position = offset;
        while position < end {
            let (len, origin) = self.stretch(position, sub(end, position)?)?;
            visit(position, len, origin)?;
            position = add(position, len)?;
        }
        Ok(())
    }

    fn sector(&self, at: u64, leading: [u8; 8], trailing: [u8; 4]) -> Result<Vec<u8>> {
        let mut bytes = vec![0; index(SECTOR_BYTES)?];
        self.file.read_at(at, &mut bytes)?;
        let (start, rest) = bytes.split_at_mut(leading.len());
        let (_, end) = rest.split_at_mut(rest.len().saturating_sub(trailing.len()));
        start.copy_from_slice(&leading);
        end.copy_from_slice(&trailing);
        Ok(bytes)
    }
}

enum Origin {
    /// The file, at the same offset.
    File,
    /// A change, from this byte of it on.
    Patch(Patch, u64),
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let len = count(buffer.len());
        let mut rest = buffer;
        self.walk(offset, len, &mut |position, len, origin| {
            let (part, behind) = std::mem::take(&mut rest)
                .split_at_mut_checked(index(len)?)
                .ok_or_else(|| Error::internal("stretches longer than what was asked for"))?;
            rest = behind;
            match origin {
                Origin::File => self.file.read_at(position, part)?,
                Origin::Patch(Patch::Zero, _) => part.fill(0),
                Origin::Patch(Patch::Sector { at, leading, trailing }, within) => {
                    let sector = self.sector(at, leading, trailing)?;
                    part.copy_from_slice(range(&sector, index(within)?, part.len())?);
                }
            }
            Ok(())
        })
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.walk(offset, len, &mut |position, len, origin| {
            let place = match origin {
                Origin::File => return self.file.runs(position, len, runs),
                Origin::Patch(Patch::Zero, _) => Place::Zero,
                Origin::Patch(Patch::Sector { .. }, _) => Place::Opaque,
            };
            push_run(runs, Run { len, place });
            Ok(())
        })
    }
}

impl fmt::Display for Patched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changed ranges", self.patches.len())
    }
}
