//! Bytes by position.

use crate::{Result, Run};
use std::sync::Arc;

/// Bytes at a position, through `&self`: an image file, a virtual disk, a volume.
pub trait ReadAt: Send + Sync {
    /// Size in bytes; positions at and past it do not exist.
    fn size(&self) -> u64;

    /// Fills all of `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `Corrupt` when the range leaves the layer (positions come from the image), `Storage` when the
    /// storage fails, and what the layers below report.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Appends to `runs` where the `len` bytes from `offset` on lie in the image files, merged, and
    /// covering exactly `len` bytes: [`crate::Place::At`] names an image file by its index in the
    /// chain (0 is the image that was opened) and a byte offset in it.
    ///
    /// # Errors
    /// As [`ReadAt::read_at`]; then what was appended is meaningless.
    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()>;
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        (**self).runs(offset, len, runs)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        (**self).runs(offset, len, runs)
    }
}
