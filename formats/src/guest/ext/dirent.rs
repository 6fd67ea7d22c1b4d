//! Directory entries: what the blocks of a directory hold.

use super::features::Incompat;
use super::superblock::Superblock;
use crate::bytes::{le_u16, le_u32, range, u8_at};
use spelunk_tree::{Error, Result};

/// Bytes of an entry before its name.
const HEADER_BYTES: usize = 8;
/// The least that an entry takes: a name of up to four bytes.
const ENTRY_BYTES_MIN: usize = 12;

/// An entry in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dirent<'a> {
    /// Where it begins in its block.
    pub(super) start: usize,
    /// Where the next one begins.
    pub(super) end: usize,
    /// The inode it names, not 0.
    pub(super) inode: u32,
    /// Its name, not `.` or `..`.
    pub(super) name: &'a [u8],
}

/// The entries in use of one block, or of one part of inline data. Ends after the first error: what follows
/// cannot be found.
pub(super) struct Dirents<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether names have a byte of length and a byte of type, or two bytes of length.
    has_type: bool,
}

impl<'a> Dirents<'a> {
    /// The entries in `bytes`.
    pub(super) fn new(superblock: &Superblock, bytes: &'a [u8]) -> Dirents<'a> {
        Dirents { bytes, at: 0, has_type: superblock.features.incompat.has(Incompat::FILETYPE) }
    }

    fn read(&self, start: usize) -> Result<Dirent<'a>> {
        let bytes = self.bytes;
        let len = record_bytes(le_u16(bytes, start.saturating_add(4))?, bytes.len());
        let name_bytes = if self.has_type {
            usize::from(u8_at(bytes, start.saturating_add(6))?)
        } else {
            usize::from(le_u16(bytes, start.saturating_add(6))?)
        };
        let end = start.saturating_add(len);
        let needed = HEADER_BYTES.saturating_add(name_bytes);
        if len < ENTRY_BYTES_MIN
            || !len.is_multiple_of(4)
            || end > bytes.len()
            || len < needed
            || name_bytes > 255
        {
            return Err(Error::corrupt(format!(
                "a directory entry of {len} bytes, {name_bytes} of them its name"
            )));
        }
        let name = range(bytes, start.saturating_add(HEADER_BYTES), name_bytes)?;
        Ok(Dirent { start, end, inode: le_u32(bytes, start)?, name })
    }
}

/// Lengths are multiples of four; in blocks of 64 KiB the two low bits are the bits above 16, and the whole
/// block is written as 0 or 65535.
fn record_bytes(stored: u16, block_bytes: usize) -> usize {
    let stored = usize::from(stored);
    if block_bytes < 65_536 {
        return stored;
    }
    if stored == 0 || stored == 65_535 { block_bytes } else { (stored & 0xFFFC) | ((stored & 3) << 16) }
}

impl<'a> Iterator for Dirents<'a> {
    type Item = Result<Dirent<'a>>;

    fn next(&mut self) -> Option<Result<Dirent<'a>>> {
        while self.at < self.bytes.len() {
            match self.read(self.at) {
                Err(error) => {
                    self.at = self.bytes.len();
                    return Some(Err(error));
                }
                Ok(entry) => {
                    self.at = entry.end;
                    if entry.inode != 0 && entry.name != b"." && entry.name != b".." {
                        return Some(Ok(entry));
                    }
                }
            }
        }
        None
    }
}

/// Whether a block of an indexed directory is one of the index: the first, whose `..` reaches to the end, or
/// one whose only entry is unused and fills it.
pub(super) fn is_index_block(block: &[u8], is_first: bool) -> bool {
    let entry = |at: usize| Some((le_u32(block, at).ok()?, le_u16(block, at.saturating_add(4)).ok()?));
    let len = |stored| record_bytes(stored, block.len());
    if is_first {
        let rest = block.len().saturating_sub(ENTRY_BYTES_MIN);
        return entry(0).is_some_and(|(_, stored)| len(stored) == ENTRY_BYTES_MIN)
            && entry(ENTRY_BYTES_MIN).is_some_and(|(_, stored)| len(stored) == rest);
    }
    entry(0).is_some_and(|(inode, stored)| inode == 0 && len(stored) == block.len())
}
