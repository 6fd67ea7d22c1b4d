//! A window onto another layer.

use crate::bytes::{add, count};
use spelunk_tree::{Error, ReadAt, Result, Run};
use std::sync::Arc;

/// A range of a lower layer as a layer of its own: a volume of a disk.
pub struct Slice<L = Arc<dyn ReadAt>> {
    lower: L,
    start: u64,
    len: u64,
}

impl<L: ReadAt> Slice<L> {
    /// The `len` bytes of `lower` from `start` on. The range may leave `lower` (a truncated image):
    /// what is missing is an error when read.
    pub fn new(lower: L, start: u64, len: u64) -> Slice<L> {
        Slice { lower, start, len }
    }

    fn position(&self, offset: u64, len: u64) -> Result<u64> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => add(self.start, offset),
            _ => Err(Error::corrupt("reading past the end of the volume").at(offset)),
        }
    }
}

impl<L: ReadAt> ReadAt for Slice<L> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.lower.read_at(self.position(offset, count(buffer.len()))?, buffer)
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.lower.runs(self.position(offset, len)?, len, runs)
    }
}
