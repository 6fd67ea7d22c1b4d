//! Stripes: chunks that lie on several devices in turn.

use crate::bytes::{add, count, index, mul, sub};
use crate::splice::Joined;
use spelunk_tree::{Error, ReadAt, Result};
use std::sync::Arc;

/// Bytes of a chunk at least: a page of memory, below which neither LVM nor MD goes. Smaller ones would only multiply runs.
pub(super) const CHUNK_BYTES_MIN: u64 = 4096;

/// Devices that chunks are spread over at most: LVM's own limit is 128, that of an MD superblock 384.
pub(super) const LEGS_MAX: usize = 384;

/// Devices of one length that hold chunks in turn.
pub(super) struct Striped {
    legs: Vec<Arc<dyn ReadAt>>,
    chunk_bytes: u64,
    size: u64,
}

impl Striped {
    /// `legs`, each of `leg_bytes`, with chunks of `chunk_bytes`. The last chunk of each may be incomplete.
    ///
    /// # Errors
    /// `Corrupt` for chunks or counts that none of the programs would have made.
    pub(super) fn new(legs: Vec<Arc<dyn ReadAt>>, leg_bytes: u64, chunk_bytes: u64) -> Result<Striped> {
        if legs.is_empty() || legs.len() > LEGS_MAX {
            return Err(Error::corrupt(format!("{} stripes", legs.len())));
        }
        if chunk_bytes < CHUNK_BYTES_MIN || leg_bytes.checked_rem(chunk_bytes) != Some(0) {
            return Err(Error::corrupt(format!("stripes of {chunk_bytes} bytes on {leg_bytes} bytes")));
        }
        let size = mul(leg_bytes, count(legs.len()))?;
        Ok(Striped { legs, chunk_bytes, size })
    }
}

impl Joined for Striped {
    fn size(&self) -> u64 {
        self.size
    }

    fn at(&self, offset: u64, len: u64) -> Result<(&dyn ReadAt, u64, u64)> {
        let legs = count(self.legs.len());
        let divided = |a: u64, b: u64| Some((a.checked_div(b)?, a.checked_rem(b)?));
        let place = divided(offset, self.chunk_bytes)
            .and_then(|(chunk, within)| divided(chunk, legs).map(|(row, leg)| (row, leg, within)));
        let (row, leg, within) = place.ok_or_else(|| Error::internal("stripes of nothing"))?;
        let leg = self.legs.get(index(leg)?).filter(|_| offset < self.size);
        let leg = leg.ok_or_else(|| Error::corrupt("reading past the end of the stripes").at(offset))?;
        Ok((&**leg, add(mul(row, self.chunk_bytes)?, within)?, len.min(sub(self.chunk_bytes, within)?)))
    }
}
