//! The block allocation table, and the bitmap before each block.

use super::footer::{FOOTER_BYTES, Found};
use super::header::{HEADER_BYTES, Header};
use super::{DiskType, Footer};
use crate::bytes::{add, index, mul, sub};
use crate::container::Context;
use crate::container::bitmap::{self, Order};
use crate::container::cache::Pages;
use crate::container::mapped::{Map, Origin, Stretch};
use spelunk_tree::{Error, ReadAt, Result};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

/// Positions in the table and bits in bitmaps count these, whatever the guest's sectors are.
const SECTOR_BYTES: u64 = 512;

/// The table's entry for a block that is not there.
const ABSENT: u32 = u32::MAX;

/// Bytes of a table that are searched for a block when it is doubtful whether the image was finished:
/// that of a disk of 2 TiB in blocks of 512 KiB, four times over.
const SEARCH_BYTES_MAX: u64 = 64 << 20;

/// Bytes of the table that are searched at a time.
const SEARCH_STEP_BYTES: u64 = 64 << 10;

/// A dynamic or differencing disk's map.
pub(super) struct Table {
    pages: Pages,
    file: Arc<dyn ReadAt>,
    /// The table's bytes in the file, as far as the disk needs them.
    entries: Range<u64>,
    header: Range<u64>,
    data_end: u64,
    size_bytes: u64,
    block_bytes: NonZeroU64,
    bitmap_bytes: u64,
    /// Where sectors come from that the image does not have.
    absent: Origin,
}

impl Table {
    pub(super) fn new(
        header: &Header,
        found: &Found,
        file: Arc<dyn ReadAt>,
        context: &Context,
    ) -> Result<Table> {
        let Footer { size_bytes, disk_type, .. } = found.footer;
        let block_bytes =
            NonZeroU64::new(header.block_bytes).ok_or_else(|| Error::corrupt("blocks of 0 bytes"))?;
        let blocks = size_bytes.div_ceil(block_bytes.get());
        if blocks > header.table_entries {
            return Err(Error::corrupt(format!(
                "a table of {} blocks for a disk of {blocks}",
                header.table_entries
            ))
            .at(header.offset));
        }
        let entries = header.table_offset..add(header.table_offset, mul(blocks, 4)?)?;
        if entries.end > file.size() {
            return Err(Error::corrupt("truncated: the block table goes past the end of the file")
                .at(header.table_offset));
        }
        let is_differencing = disk_type == DiskType::Differencing;
        Ok(Table {
            pages: Pages::new(&context.pages, file.clone()),
            file,
            entries,
            header: header.offset..add(header.offset, HEADER_BYTES)?,
            data_end: found.data_end,
            size_bytes,
            block_bytes,
            bitmap_bytes: header.block_bytes.div_ceil(SECTOR_BYTES * 8).next_multiple_of(SECTOR_BYTES),
            absent: if is_differencing { Origin::Parent } else { Origin::Zero },
        })
    }

    /// Whether the table has any block at all.
    ///
    /// # Errors
    /// `Limit` when there is none in as much of it as is searched.
    pub(super) fn has_blocks(&self) -> Result<bool> {
        let mut position = self.entries.start;
        while position < self.entries.end {
            if position.saturating_sub(self.entries.start) >= SEARCH_BYTES_MAX {
                return Err(Error::limit("no footer at the end, and a table too large to search for blocks"));
            }
            let len = sub(self.entries.end, position)?.min(SEARCH_STEP_BYTES);
            let mut bytes = vec![0; index(len)?];
            self.file.read_at(position, &mut bytes)?;
            let is_block = |entry: &[u8; 4]| ![ABSENT, 0].contains(&u32::from_be_bytes(*entry));
            if bytes.as_chunks::<4>().0.iter().any(is_block) {
                return Ok(true);
            }
            position = add(position, len)?;
        }
        Ok(false)
    }

    /// Where the bitmap of a block is, checked; `None` for a block that is not there.
    fn bitmap(&self, block: u64) -> Result<Option<u64>> {
        let at = add(self.entries.start, mul(block, 4)?)?;
        let entry = u32::from_be_bytes(self.pages.array(at)?);
        if entry == ABSENT {
            return Ok(None);
        }
        let bitmap = mul(entry.into(), SECTOR_BYTES)?;
        let data = add(bitmap, self.bitmap_bytes)?;
        let end = add(data, self.block_bytes.get())?;
        let overlaps = |range: &Range<u64>| bitmap < range.end && range.start < end;
        if bitmap < FOOTER_BYTES || overlaps(&self.header) || overlaps(&self.entries) {
            return Err(Error::corrupt("the block table points into the headers")
                .object(format!("block {block}"))
                .at(at));
        }
        if data > self.data_end { Err(truncated(block, bitmap)) } else { Ok(Some(bitmap)) }
    }
}

fn truncated(block: u64, at: u64) -> Error {
    Error::corrupt("truncated: data past the end of the file").object(format!("block {block}")).at(at)
}

impl Map for Table {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn stretch(&self, offset: u64, len: u64) -> Result<Stretch> {
        let block = offset / self.block_bytes;
        let within = offset % self.block_bytes;
        let len = len.min(sub(self.block_bytes.get(), within)?);
        let Some(bitmap) = self.bitmap(block)? else { return Ok(Stretch { len, origin: self.absent }) };
        let first = within / SECTOR_BYTES;
        let sectors = sub(add(within, len)?.div_ceil(SECTOR_BYTES), first)?;
        let (is_here, alike) = bitmap::run(&self.pages, bitmap, Order::MsbFirst, first, sectors)?;
        let len = sub(mul(add(first, alike)?, SECTOR_BYTES)?, within)?.min(len);
        if !is_here {
            return Ok(Stretch { len, origin: self.absent });
        }
        let from = add(add(bitmap, self.bitmap_bytes)?, within)?;
        if add(from, len)? > self.data_end {
            return Err(truncated(block, from));
        }
        Ok(Stretch { len, origin: Origin::File(from) })
    }
}
