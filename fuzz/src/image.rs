//! Sparse images: the image's size in sectors, then each sector that is not zeros, with its number.

use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::collections::BTreeMap;

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Bytes of a sector in an input: its number, then itself.
pub const RECORD: usize = 4 + SECTOR;
/// Bytes before the first record.
pub const HEAD: usize = 4;

/// An image, most of which is zeros.
#[derive(Default)]
pub struct Sparse {
    size: u64,
    sectors: BTreeMap<u64, [u8; SECTOR]>,
}

fn number(bytes: &[u8]) -> u64 {
    u64::from(bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
}

impl Sparse {
    /// Takes any bytes for one. A sector that comes twice is what it is the second time.
    pub fn parse(input: &[u8]) -> Sparse {
        let mut image = Sparse { size: number(input) * SECTOR as u64, ..Sparse::default() };
        for record in input.get(HEAD..).unwrap_or_default().chunks_exact(RECORD) {
            let mut sector = [0; SECTOR];
            sector.copy_from_slice(&record[4..]);
            image.sectors.insert(number(record), sector);
        }
        image
    }

    /// An input for a whole image. Sectors of one repeated byte are zeros in it: contents do not count.
    pub fn pack(bytes: &[u8]) -> Vec<u8> {
        let sectors = u32::try_from(bytes.len().div_ceil(SECTOR)).unwrap_or(u32::MAX);
        let mut out = sectors.to_le_bytes().to_vec();
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            let is_filled = sector.iter().all(|byte| Some(byte) == sector.first());
            let is_content = sector.iter().filter(|byte| **byte == b'z').count() > SECTOR / 2;
            if is_filled || is_content {
                continue;
            }
            out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(sector);
            out.resize(out.len() + SECTOR - sector.len(), 0);
        }
        out
    }

    /// The bytes from `offset` on; what is nowhere is zeros.
    pub fn copy(&self, offset: u64, buffer: &mut [u8]) {
        buffer.fill(0);
        let end = offset.saturating_add(buffer.len() as u64);
        for (number, sector) in self.sectors.range(offset / SECTOR as u64..=end / SECTOR as u64) {
            let start = number * SECTOR as u64;
            let (from, to) = (start.max(offset), (start + SECTOR as u64).min(end));
            let Some(len) = to.checked_sub(from).and_then(|len| usize::try_from(len).ok()) else { continue };
            let index = |position: u64| usize::try_from(position).unwrap_or(0);
            buffer[index(from - offset)..][..len].copy_from_slice(&sector[index(from - start)..][..len]);
        }
    }
}

impl ReadAt for Sparse {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.size => self.copy(offset, buffer),
            _ => return Err(Error::corrupt("reading past the end of the image").at(offset)),
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(Error::corrupt("a run past the end of the image").at(offset));
        }
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}
