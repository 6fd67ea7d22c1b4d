//! The block map (VDICore.h: `VDIIMAGEBLOCKPOINTER`).

use super::header::{Header, Kind};
use crate::bytes::{add, mul, sub};
use crate::container::Context;
use crate::container::cache::Pages;
use crate::container::mapped::{Map, Origin, Stretch};
use spelunk_tree::{Error, ReadAt, Result};
use std::num::NonZeroU64;
use std::sync::Arc;

/// A block that was never written: the parent's, if there is one.
const FREE: u32 = u32::MAX;

/// A block of zeros, which hides the parent's.
const ZERO: u32 = u32::MAX - 1;

/// The disk's map.
pub(super) struct BlockMap {
    pages: Pages,
    file_bytes: u64,
    map_offset: u64,
    map_end: u64,
    data_offset: u64,
    size_bytes: u64,
    block_bytes: NonZeroU64,
    extra_bytes: u64,
    /// Where blocks come from that the image does not have.
    absent: Origin,
}

impl BlockMap {
    pub(super) fn new(header: &Header, file: Arc<dyn ReadAt>, context: &Context) -> Result<BlockMap> {
        let needed = header.size_bytes.div_ceil(header.block_bytes.get());
        let map_end = add(header.map_offset, mul(needed, 4)?)?;
        if map_end > file.size() {
            return Err(Error::corrupt("truncated: the block map goes past the end of the file")
                .at(header.map_offset));
        }
        let is_differencing = header.kind == Kind::Differencing;
        Ok(BlockMap {
            file_bytes: file.size(),
            pages: Pages::new(&context.pages, file),
            map_offset: header.map_offset,
            map_end,
            data_offset: header.data_offset,
            size_bytes: header.size_bytes,
            block_bytes: header.block_bytes,
            extra_bytes: header.extra_bytes,
            absent: if is_differencing { Origin::Parent } else { Origin::Zero },
        })
    }

    /// Where the bytes of the stored block with this number begin.
    fn stored(&self, number: u32) -> Result<u64> {
        let stride = add(self.block_bytes.get(), self.extra_bytes)?;
        let start = add(add(self.data_offset, mul(number.into(), stride)?)?, self.extra_bytes)?;
        if start < self.map_end {
            return Err(Error::corrupt("the block map points into the header or itself"));
        }
        Ok(start)
    }
}

impl Map for BlockMap {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn stretch(&self, offset: u64, len: u64) -> Result<Stretch> {
        let block = offset / self.block_bytes;
        let within = offset % self.block_bytes;
        let len = len.min(sub(self.block_bytes.get(), within)?);
        let at = add(self.map_offset, mul(block, 4)?)?;
        let origin = match u32::from_le_bytes(self.pages.array(at)?) {
            FREE => self.absent,
            ZERO => Origin::Zero,
            number => {
                let describe = |error: Error| error.object(format!("block {block}")).at(at);
                let from = add(self.stored(number).map_err(describe)?, within)?;
                if add(from, len)? > self.file_bytes {
                    return Err(describe(Error::corrupt("truncated: data past the end of the file")));
                }
                Origin::File(from)
            }
        };
        Ok(Stretch { len, origin })
    }
}
