//! Block maps: the map of an inode before extents, twelve blocks and then blocks of pointers to blocks.

use super::Filesystem;
use super::inode::Inode;
use super::stream::Walk;
use super::{BlockRole, Owner};
use crate::bytes::{count, index, le_u32, range};
use spelunk_tree::{Error, Result};

/// Blocks that the inode names itself.
const DIRECT: u64 = 12;
/// Levels of pointers: single, double and triple indirect.
const LEVELS_MAX: u32 = 3;
const POINTER_BYTES: usize = 4;

/// A row of pointers, each of which covers `each` blocks, the first from block `first` on.
struct Pointers<'a> {
    bytes: &'a [u8],
    first: u64,
    each: u64,
}

impl Filesystem {
    /// Collects where the blocks lie that `walk` wants.
    pub(super) fn walk_block_map(&self, inode: &Inode, walk: &mut Walk) -> Result<()> {
        let corrupt =
            |error: Error| error.context("reading the block map").object(format!("inode {}", inode.number));
        let direct = range(&inode.block, 0, index(DIRECT)?.saturating_mul(POINTER_BYTES))?;
        self.walk_pointers(inode, &Pointers { bytes: direct, first: 0, each: 1 }, walk).map_err(corrupt)?;
        let mut first = DIRECT;
        let mut each = u64::from(self.superblock.block_bytes / 4);
        for level in 0..LEVELS_MAX {
            let at = index(DIRECT)?.saturating_add(index(level)?).saturating_mul(POINTER_BYTES);
            let pointers = Pointers { bytes: range(&inode.block, at, POINTER_BYTES)?, first, each };
            self.walk_pointers(inode, &pointers, walk).map_err(corrupt)?;
            first = first.saturating_add(each);
            each = each.saturating_mul(u64::from(self.superblock.block_bytes / 4));
        }
        if walk.is_over() {
            return Ok(());
        }
        Err(corrupt(Error::corrupt("a file larger than its block map can hold")))
    }

    fn walk_pointers(&self, inode: &Inode, pointers: &Pointers, walk: &mut Walk) -> Result<()> {
        let rows = count(pointers.bytes.len() / POINTER_BYTES);
        let skipped = walk.next.saturating_sub(pointers.first).checked_div(pointers.each).unwrap_or(rows);
        for row in skipped.min(rows)..rows {
            if walk.is_over() {
                return Ok(());
            }
            let first = pointers.first.saturating_add(row.saturating_mul(pointers.each));
            let end = first.saturating_add(pointers.each);
            let block = le_u32(pointers.bytes, index(row)?.saturating_mul(POINTER_BYTES))?;
            if block == 0 {
                walk.hole(end);
                continue;
            }
            let offset = self.superblock.data_offset(u64::from(block), 1)?;
            if pointers.each == 1 {
                walk.stored(end, offset);
                continue;
            }
            walk.visit();
            let place = Owner { role: BlockRole::Pointers, inode: inode.number };
            let bytes = self.cached_block(place, u64::from(block), |_| Ok(()))?;
            let each = pointers.each.checked_div(u64::from(self.superblock.block_bytes / 4)).unwrap_or(1);
            self.walk_pointers(inode, &Pointers { bytes: &bytes, first, each }, walk)?;
        }
        Ok(())
    }
}
