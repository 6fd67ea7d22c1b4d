//! A record of the MFT, or a block of an index, while actions of the log change it.

use crate::bytes::{le_u16, le_u32, le_u64, range};
use spelunk_tree::{Error, Result};

/// Where both have their magic, their update sequence and their LSN.
const SEQUENCE_AT: usize = 4;
const SEQUENCE_COUNT_AT: usize = 6;
const LSN_AT: usize = 8;
/// Bytes that one number of an update sequence protects.
const STRIDE_BYTES: usize = 512;

/// Its bytes, the update sequence undone.
pub(super) struct Block(pub(super) Vec<u8>);

impl Block {
    pub(super) fn lsn(&self) -> Result<u64> {
        le_u64(&self.0, LSN_AT)
    }

    pub(super) fn set_lsn(&mut self, lsn: u64) -> Result<()> {
        self.put(LSN_AT, &lsn.to_le_bytes())
    }

    pub(super) fn u16(&self, at: usize) -> Result<usize> {
        le_u16(&self.0, at).map(usize::from)
    }

    pub(super) fn u32(&self, at: usize) -> Result<usize> {
        crate::bytes::index(le_u32(&self.0, at)?)
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let place = at.checked_add(bytes.len()).and_then(|end| self.0.get_mut(at..end));
        place.ok_or_else(|| outside(at))?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn put_u16(&mut self, at: usize, value: usize) -> Result<()> {
        let value = u16::try_from(value).map_err(|_| outside(at))?;
        self.put(at, &value.to_le_bytes())
    }

    pub(super) fn put_u32(&mut self, at: usize, value: usize) -> Result<()> {
        let value = u32::try_from(value).map_err(|_| outside(at))?;
        self.put(at, &value.to_le_bytes())
    }

    pub(super) fn fill(&mut self, at: usize, len: usize, byte: u8) -> Result<()> {
        let place = at.checked_add(len).and_then(|end| self.0.get_mut(at..end));
        place.ok_or_else(|| outside(at))?.fill(byte);
        Ok(())
    }

    /// Moves what lies from `from` to `end` so that it begins at `to`.
    pub(super) fn shift(&mut self, from: usize, end: usize, to: usize) -> Result<()> {
        let len = end.checked_sub(from).ok_or_else(|| outside(from))?;
        let fits = end <= self.0.len() && to.checked_add(len).is_some_and(|to_end| to_end <= self.0.len());
        if !fits {
            return Err(outside(from));
        }
        self.0.copy_within(from..end, to);
        Ok(())
    }

    /// The bytes as they are stored, their update sequence advanced by one.
    pub(super) fn protected(mut self) -> Result<Vec<u8>> {
        let (at, count) = (self.u16(SEQUENCE_AT)?, self.u16(SEQUENCE_COUNT_AT)?);
        let strides = count.saturating_sub(1);
        let array_end = at.saturating_add(count.saturating_mul(2));
        if strides == 0
            || strides.checked_mul(STRIDE_BYTES) != Some(self.0.len())
            || at < 8
            || array_end > STRIDE_BYTES.saturating_sub(2)
        {
            return Err(Error::corrupt("an update sequence that does not fit"));
        }
        let number = match le_u16(&self.0, at)?.wrapping_add(1) {
            0 => 1_u16,
            number => number,
        };
        self.put(at, &number.to_le_bytes())?;
        for stride in 1..=strides {
            let last = stride.saturating_mul(STRIDE_BYTES).saturating_sub(2);
            let original: [u8; 2] = crate::bytes::array(&self.0, last)?;
            self.put(at.saturating_add(stride.saturating_mul(2)), &original)?;
            self.put(last, &number.to_le_bytes())?;
        }
        Ok(self.0)
    }

    pub(super) fn range(&self, at: usize, len: usize) -> Result<&[u8]> {
        range(&self.0, at, len)
    }
}

fn outside(at: usize) -> Error {
    Error::corrupt("an action of the log outside of what it changes").at(crate::bytes::count(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::ntfs::fixup;

    #[test]
    fn protected_bytes_are_undone_to_the_same() {
        let mut bytes: Vec<u8> = (0..=250u8).cycle().take(1024).collect();
        bytes[4..8].copy_from_slice(&[0x30, 0, 3, 0]);

        let mut stored = Block(bytes.clone()).protected().unwrap();
        fixup::apply(&mut stored, 512).unwrap();

        assert_eq!(stored[..0x30], bytes[..0x30]);
        assert_eq!(stored[0x36..], bytes[0x36..]);
    }

    #[test]
    fn nothing_moves_out_of_the_block() {
        let mut block = Block(vec![0; 16]);

        assert!(block.shift(4, 12, 8).is_ok());
        assert!(block.shift(4, 12, 9).is_err());
        assert!(block.shift(12, 4, 0).is_err());
        assert!(block.put(15, &[0; 2]).is_err());
    }
}
