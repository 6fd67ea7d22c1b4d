//! The grain directory, its tables and the grains (Virtual Disk Format 5.0, "Grain Directory", "Grain Marker").

use super::SECTOR_BYTES;
use super::header::{Header, Packing};
use crate::bytes::{add, count, index, le_u32, le_u64, mul, range, sub};
use crate::container::cache::{Cache, Pages};
use crate::container::mapped::{Map, Origin, Stretch};
use crate::container::{Context, unpack};
use spelunk_tree::{Error, ReadAt, Result};
use std::sync::Arc;

/// An entry for a grain that is not there.
const ABSENT: u32 = 0;

/// An entry for a grain of zeros, where the header says that there are such.
const ZERO: u32 = 1;

/// Bytes of the marker before a compressed grain: its first sector and its length.
const MARKER_BYTES: u64 = 12;

/// A sparse extent's map.
pub(super) struct Grains {
    header: Header,
    /// What the descriptor says; the header may cover more.
    size_bytes: u64,
    pages: Pages,
    file: Arc<dyn ReadAt>,
    blocks: Arc<Cache>,
    owner: u32,
    /// Where grains come from that the extent does not have.
    absent: Origin,
}

impl Grains {
    pub(super) fn new(
        header: Header,
        size_bytes: u64,
        file: Arc<dyn ReadAt>,
        absent: Origin,
        context: &Context,
    ) -> Result<Grains> {
        header.check(size_bytes, file.size())?;
        Ok(Grains {
            header,
            size_bytes,
            pages: Pages::new(&context.pages, file.clone()),
            file,
            blocks: context.blocks.clone(),
            owner: context.blocks.owner(),
            absent,
        })
    }

    /// Where the grain table for `offset` is; `None` when there is none.
    fn table(&self, offset: u64) -> Result<Option<u64>> {
        let at = add(self.header.directory_offset, mul(offset / self.header.table_covers(), 4)?)?;
        match u32::from_le_bytes(self.pages.array(at)?) {
            0 => Ok(None),
            sector => Ok(Some(mul(sector.into(), SECTOR_BYTES)?)),
        }
    }

    /// The entry for the grain that `offset` is in.
    fn entry(&self, table: u64, offset: u64) -> Result<u32> {
        let number = offset % self.header.table_covers() / self.header.grain_bytes;
        Ok(u32::from_le_bytes(self.pages.array(add(table, mul(number, 4)?)?)?))
    }

    fn stored(&self, entry: u32, within: u64, len: u64) -> Result<Stretch> {
        let from = add(mul(entry.into(), SECTOR_BYTES)?, within)?;
        if add(from, len)? > self.file.size() {
            return Err(Error::corrupt("truncated: data past the end of the file").at(from));
        }
        Ok(Stretch { len, origin: Origin::File(from) })
    }

    /// A compressed grain's bytes: all that lie before the end of the extent.
    fn unpacked(&self, offset: u64) -> Result<Arc<Vec<u8>>> {
        let entry = self.table(offset)?.map(|table| self.entry(table, offset)).transpose()?;
        let Some(entry) = entry else {
            return Err(Error::internal("a compressed grain that is none"));
        };
        let grain = offset / self.header.grain_bytes;
        let grain_bytes = self.header.grain_bytes.get();
        let load = || {
            self.unpack_grain(entry, grain).map_err(|error| error.context(format!("unpacking grain {grain}")))
        };
        self.blocks.get((self.owner, grain), grain_bytes.saturating_mul(3), load)
    }

    fn unpack_grain(&self, entry: u32, grain: u64) -> Result<Vec<u8>> {
        let at = mul(entry.into(), SECTOR_BYTES)?;
        let grain_bytes = self.header.grain_bytes.get();
        let start = mul(grain, grain_bytes)?;
        let needed = sub(self.size_bytes, start)?.min(grain_bytes);
        let packed = self.packed(at, start)?;
        let bytes = unpack::zlib(&packed, index(grain_bytes)?).map_err(|error| error.at(at))?;
        if count(bytes.len()) < needed {
            return Err(Error::corrupt(format!("a grain of {} bytes, not {needed}", bytes.len())).at(at));
        }
        Ok(bytes)
    }

    /// What stands at `at` for the grain that begins at `start` of the extent.
    fn packed(&self, at: u64, start: u64) -> Result<Vec<u8>> {
        let truncated = || Error::corrupt("truncated: a compressed grain past the end of the file").at(at);
        let most = self.header.grain_bytes.get().saturating_mul(2);
        let room =
            self.file.size().checked_sub(at).filter(|room| *room > MARKER_BYTES).ok_or_else(truncated)?;
        let (from, len) = match self.header.packing {
            Packing::Zlib { has_markers: true } => {
                let mut marker = [0; 12];
                self.file.read_at(at, &mut marker)?;
                let len = u64::from(le_u32(&marker, 8)?);
                if mul(le_u64(&marker, 0)?, SECTOR_BYTES)? != start || len == 0 || len > most {
                    return Err(
                        Error::corrupt("a marker of another grain, or of an impossible length").at(at)
                    );
                }
                (add(at, MARKER_BYTES)?, len)
            }
            _ => (at, room.min(most)),
        };
        if add(from, len)? > self.file.size() {
            return Err(truncated());
        }
        let mut packed = vec![0; index(len)?];
        self.file.read_at(from, &mut packed)?;
        Ok(packed)
    }
}

impl Map for Grains {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn stretch(&self, offset: u64, len: u64) -> Result<Stretch> {
        let covers = self.header.table_covers();
        let Some(table) = self.table(offset)? else {
            let len = len.min(sub(covers.get(), offset % covers)?);
            return Ok(Stretch { len, origin: self.absent });
        };
        let within = offset % self.header.grain_bytes;
        let len = len.min(sub(self.header.grain_bytes.get(), within)?);
        match self.entry(table, offset)? {
            ABSENT => Ok(Stretch { len, origin: self.absent }),
            ZERO if self.header.has_zero_grains => Ok(Stretch { len, origin: Origin::Zero }),
            entry if self.header.packing == Packing::Plain => {
                let object = || format!("grain {}", offset / self.header.grain_bytes);
                self.stored(entry, within, len).map_err(|error| error.object(object()))
            }
            _ => Ok(Stretch { len, origin: Origin::Packed }),
        }
    }

    fn unpack(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = position % self.header.grain_bytes;
            let len = sub(self.header.grain_bytes.get(), within)?.min(count(rest.len()));
            let (part, behind) = rest.split_at_mut(index(len)?);
            part.copy_from_slice(range(&self.unpacked(position)?, index(within)?, part.len())?);
            position = add(position, len)?;
            rest = behind;
        }
        Ok(())
    }
}
