//! An image file as bytes by position.

use super::block_cache::{BLOCK_BYTES, BlockCache};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, pread};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::sync::Arc;

/// Reads of less than this go through the cache: parsers read many small structures that lie close together.
const SMALL_READ_BYTES: usize = 8 * 1024;

/// An image file that the host has opened.
pub(super) struct ImageFile {
    descriptor: OwnedFd,
    /// As the host says: the worker may not even ask.
    size: u64,
    /// Its index in the chain.
    source: u32,
    cache: Arc<BlockCache>,
    /// Its name in the cache. (Not its index: candidates for a parent all have the same.)
    cache_id: u32,
}

impl ImageFile {
    pub(super) fn new(descriptor: OwnedFd, size: u64, source: u32, cache: Arc<BlockCache>) -> ImageFile {
        let cache_id = cache.new_file();
        ImageFile { descriptor, size, source, cache, cache_id }
    }

    fn check(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => {
                Err(Error::corrupt(format!("{len} bytes that lie past the end of the image file")).at(offset))
            }
        }
    }

    fn read_file(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let position = offset.saturating_add(done as u64);
            match pread(&self.descriptor, &mut buffer[done..], position) {
                Ok(0) => return Err(storage("the image file has become shorter", position)),
                Ok(read) => done = done.saturating_add(read),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let cause = Error::from_io("reading", &std::io::Error::from(errno));
                    return Err(storage("reading the image file", position).because(cause));
                }
            }
        }
        Ok(())
    }

    fn read_cached(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let block_bytes = BLOCK_BYTES as u64;
        let mut done = 0;
        while done < buffer.len() {
            let position = offset.saturating_add(done as u64);
            let block = position / block_bytes;
            let start = block.saturating_mul(block_bytes);
            let within = usize::try_from(position.saturating_sub(start)).unwrap_or(0);
            let len = buffer.len().saturating_sub(done).min(BLOCK_BYTES.saturating_sub(within));
            let filled =
                usize::try_from(self.size.saturating_sub(start)).unwrap_or(usize::MAX).min(BLOCK_BYTES);
            let part = &mut buffer[done..][..len];
            self.cache.with(
                self.cache_id,
                block,
                |bytes| self.read_file(start, &mut bytes[..filled]),
                |bytes| {
                    part.copy_from_slice(&bytes[within..][..len]);
                },
            )?;
            done = done.saturating_add(len);
        }
        Ok(())
    }
}

fn storage(message: &'static str, offset: u64) -> Error {
    Error::new(spelunk_tree::ErrorKind::Storage, message).at(offset)
}

impl ReadAt for ImageFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(offset, buffer.len() as u64)?;
        if buffer.len() < SMALL_READ_BYTES {
            self.read_cached(offset, buffer)
        } else {
            self.read_file(offset, buffer)
        }
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.check(offset, len)?;
        push_run(runs, Run { len, place: Place::At { source: self.source, offset } });
        Ok(())
    }
}
