//! The block table (BAT) and the bitmaps of differencing images ([MS-VHDX] 2.5).

use super::MIB;
use super::metadata::Metadata;
use super::region::Regions;
use crate::bytes::{add, mul, sub};
use crate::container::Context;
use crate::container::bitmap::{self, Order};
use crate::container::cache::Pages;
use crate::container::mapped::{Map, Origin, Stretch};
use spelunk_tree::{Error, ReadAt, Result};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Sectors that one bitmap block of 1 MiB covers.
const BITMAP_SECTORS: u64 = 1 << 23;

/// Bits of an entry that hold its state.
const STATE_MASK: u64 = 7;

/// Bits of an entry that hold the block's offset, which is counted in MiB: in place, they count bytes.
const OFFSET_MASK: u64 = !(MIB - 1);

const NOT_PRESENT: u64 = 0;
const UNDEFINED: u64 = 1;
const ZERO: u64 = 2;
const UNMAPPED: u64 = 3;
/// What writers before the final specification used for [`UNMAPPED`].
const UNMAPPED_EARLY: u64 = 5;
const FULLY_PRESENT: u64 = 6;
const PARTIALLY_PRESENT: u64 = 7;

/// The disk's map.
pub(super) struct Table {
    pages: Pages,
    regions: Regions,
    file_bytes: u64,
    size_bytes: u64,
    block_bytes: NonZeroU64,
    sector_bytes: NonZeroU64,
    /// Payload blocks for each bitmap block (the chunk ratio).
    chunk_blocks: NonZeroU64,
    has_parent: bool,
    /// Whether a block may go past the end of the file: UrBackup does not write the zeros at the end of a
    /// compressed file's last block.
    is_end_implied: bool,
}

impl Table {
    pub(super) fn new(
        metadata: &Metadata,
        regions: Regions,
        file: Arc<dyn ReadAt>,
        context: &Context,
    ) -> Result<Table> {
        let zero = || Error::internal("metadata with a size of 0");
        let sector_bytes = NonZeroU64::new(metadata.sector_bytes.into()).ok_or_else(zero)?;
        let chunk_bytes = mul(BITMAP_SECTORS, sector_bytes.get())?;
        let table = Table {
            file_bytes: file.size(),
            pages: Pages::new(&context.pages, file),
            regions,
            size_bytes: metadata.size_bytes,
            block_bytes: metadata.block_bytes,
            sector_bytes,
            chunk_blocks: NonZeroU64::new(chunk_bytes / metadata.block_bytes).ok_or_else(zero)?,
            has_parent: metadata.has_parent,
            is_end_implied: context.is_wrapped,
        };
        table.check()?;
        Ok(table)
    }

    /// Whether the region has an entry for the last block, and for its bitmap block where there is one.
    fn check(&self) -> Result<()> {
        let last = sub(self.size_bytes.div_ceil(self.block_bytes.get()), 1)?;
        let entry = if self.has_parent { self.bitmap_entry(last)? } else { self.block_entry(last)? };
        let region = &self.regions.block_table;
        let end = add(region.start, mul(add(entry, 1)?, 8)?)?;
        if end > region.end {
            return Err(Error::corrupt("a block table too small for the disk").at(region.start));
        }
        if end > self.file_bytes {
            return Err(
                Error::corrupt("truncated: the block table goes past the end of the file").at(region.start)
            );
        }
        Ok(())
    }

    /// Which entry of the table is that of a payload block: after each chunk comes its bitmap block's.
    fn block_entry(&self, block: u64) -> Result<u64> {
        add(block, block / self.chunk_blocks)
    }

    /// Which entry of the table is that of the bitmap block for a payload block.
    fn bitmap_entry(&self, block: u64) -> Result<u64> {
        let chunk = block / self.chunk_blocks;
        add(mul(add(chunk, 1)?, self.chunk_blocks.get())?, chunk)
    }

    fn entry(&self, number: u64) -> Result<u64> {
        let at = add(self.regions.block_table.start, mul(number, 8)?)?;
        Ok(u64::from_le_bytes(self.pages.array(at)?))
    }

    /// Where a block of `len` bytes is, checked.
    fn position(&self, entry: u64, len: u64, block: u64) -> Result<u64> {
        let start = entry & OFFSET_MASK;
        if self.regions.overlaps(&(start..add(start, len)?)) {
            return Err(at_block("the block table points into the headers or a region", block).at(start));
        }
        Ok(start)
    }

    /// `len` bytes of the file from `from` on, which belong to `block`.
    fn stored(&self, from: u64, len: u64, block: u64) -> Result<Stretch> {
        if add(from, len)? <= self.file_bytes {
            return Ok(Stretch { len, origin: Origin::File(from) });
        }
        if !self.is_end_implied || from >= add(self.file_bytes.next_multiple_of(MIB), self.block_bytes.get())?
        {
            return Err(at_block("truncated: data past the end of the file", block).at(from));
        }
        match self.file_bytes.saturating_sub(from) {
            0 => Ok(Stretch { len, origin: Origin::Zero }),
            here => Ok(Stretch { len: here, origin: Origin::File(from) }),
        }
    }

    /// The part of a partially present block that lies here or in the parent, whichever comes first.
    fn partial(&self, entry: u64, offset: u64, len: u64) -> Result<Stretch> {
        let block = offset / self.block_bytes;
        let bitmap = self.entry(self.bitmap_entry(block)?)?;
        if bitmap & STATE_MASK != FULLY_PRESENT {
            return Err(at_block("a partially present block without a bitmap", block));
        }
        let bitmap = self.position(bitmap, MIB, block)?;
        let sector = offset / self.sector_bytes;
        let sectors = sub(add(offset, len)?.div_ceil(self.sector_bytes.get()), sector)?;
        let first = sector % BITMAP_SECTORS;
        let (is_here, alike) = bitmap::run(&self.pages, bitmap, Order::LsbFirst, first, sectors)?;
        let end = mul(add(sector, alike)?, self.sector_bytes.get())?;
        let len = sub(end, offset)?.min(len);
        if !is_here {
            return Ok(Stretch { len, origin: Origin::Parent });
        }
        let start = self.position(entry, self.block_bytes.get(), block)?;
        self.stored(add(start, offset % self.block_bytes)?, len, block)
    }
}

fn at_block(message: &'static str, block: u64) -> Error {
    Error::corrupt(message).object(format!("block {block}"))
}

impl Map for Table {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn stretch(&self, offset: u64, len: u64) -> Result<Stretch> {
        let block = offset / self.block_bytes;
        let within = offset % self.block_bytes;
        let len = len.min(sub(self.block_bytes.get(), within)?);
        let entry = self.entry(self.block_entry(block)?)?;
        let origin = match entry & STATE_MASK {
            NOT_PRESENT if self.has_parent => Origin::Parent,
            NOT_PRESENT | UNDEFINED | ZERO | UNMAPPED | UNMAPPED_EARLY => Origin::Zero,
            FULLY_PRESENT => {
                let start = self.position(entry, self.block_bytes.get(), block)?;
                return self.stored(add(start, within)?, len, block);
            }
            PARTIALLY_PRESENT if self.has_parent => return self.partial(entry, offset, len),
            PARTIALLY_PRESENT => {
                return Err(at_block("a block that is partly in a parent, without one", block));
            }
            _ => return Err(at_block("a block of an unknown state", block)),
        };
        Ok(Stretch { len, origin })
    }
}
