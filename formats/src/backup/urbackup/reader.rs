//! Values off the front of metadata.

use crate::bytes::{array, count, index, range};
use spelunk_tree::{Error, Result};

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        count(self.at)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let taken = range(self.bytes, self.at, len)?;
        self.at = self.at.saturating_add(len);
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        array(self.take(N)?, 0)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.number::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.number().map(u64::from_le_bytes)
    }

    /// Bytes behind their length.
    pub(super) fn text(&mut self) -> Result<&'a [u8]> {
        let len = index(self.u32()?)?;
        self.take(len)
    }

    /// SQLite's number of 1 to 9 bytes: seven bits of each, the highest first, while the eighth is set; all
    /// eight of the ninth.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for _ in 0..8 {
            let byte = self.u8()?;
            value = value << 7 | u64::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u64::from(self.u8()?))
    }

    /// The same, of a number that may be negative.
    pub(super) fn signed(&mut self) -> Result<i64> {
        self.varint().map(|value| i64::from_le_bytes(value.to_le_bytes()))
    }

    /// The same, of a number that must be small.
    pub(super) fn small(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| Error::corrupt("a number of more than 32 bits"))
    }
}
