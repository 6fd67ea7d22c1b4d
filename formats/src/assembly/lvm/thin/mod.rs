//! Thin volumes: chunks of a pool, found through the trees of device mapper's thin provisioning
//! (Linux `drivers/md/dm-thin-metadata.c`).

mod btree;
mod superblock;

use crate::bytes::{add, count, index, mul, sub};
use btree::{Stretch, Tree};
use spelunk_tree::{Error, Place, ReadAt, Result, ResultExt, Run, push_run};
use std::sync::{Arc, Mutex, PoisonError};
use superblock::Superblock;

/// Chunks are of 64 KiB to 1 GiB, in steps of 64 KiB.
const CHUNK_BYTES_MIN: u64 = 64 << 10;
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// An entry maps a chunk to one of the pool; the low 24 bits tell when.
const TIME_BITS: u32 = 24;

/// A thin pool: its trees, and the chunks that they map to.
pub(super) struct Pool {
    metadata: Arc<dyn ReadAt>,
    data: Arc<dyn ReadAt>,
    superblock: Superblock,
    chunk_bytes: u64,
}

impl Pool {
    /// A pool of two volumes, whose group says that it has chunks of `chunk_bytes`.
    pub(super) fn open(metadata: Arc<dyn ReadAt>, data: Arc<dyn ReadAt>, chunk_bytes: u64) -> Result<Pool> {
        let superblock = Superblock::read(&*metadata)?;
        if superblock.chunk_bytes != chunk_bytes {
            return Err(Error::corrupt(format!(
                "chunks of {} bytes by its own metadata, and of {chunk_bytes} by its group's",
                superblock.chunk_bytes
            )));
        }
        let is_multiple = chunk_bytes.checked_rem(CHUNK_BYTES_MIN) == Some(0);
        if !is_multiple || !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes) {
            return Err(Error::corrupt(format!("chunks of {chunk_bytes} bytes")));
        }
        Ok(Pool { metadata, data, superblock, chunk_bytes })
    }
}

/// The volume that `pool` knows as `device`, of `size` bytes. What it does not map is in `origin`, or zero.
pub(super) fn open(
    pool: &Arc<Pool>,
    device: u64,
    size: u64,
    origin: Option<Arc<dyn ReadAt>>,
) -> Result<Arc<dyn ReadAt>> {
    let devices = Tree::new(pool.metadata.clone(), pool.superblock.mappings);
    let root = devices.stretch(device, device).context(|| "looking for the volume in its pool")?;
    let mappings = match root.value {
        Some(root) => Tree::new(pool.metadata.clone(), root),
        None => return Err(Error::corrupt(format!("the pool has no volume {device}"))),
    };
    Ok(Arc::new(Thin { pool: pool.clone(), mappings, size, origin, last: Mutex::new(None) }))
}

struct Thin {
    pool: Arc<Pool>,
    mappings: Tree,
    size: u64,
    origin: Option<Arc<dyn ReadAt>>,
    /// The stretch of chunks that was found last: the next question is often about the same.
    last: Mutex<Option<Stretch>>,
}

/// Where some bytes lie.
enum Source {
    Pool(u64),
    Origin(u64),
    Zero,
}

impl Thin {
    /// Where the bytes from `offset` on lie, and how many of `len` lie there one after the other.
    fn at(&self, offset: u64, len: u64) -> Result<(Source, u64)> {
        let chunk_bytes = self.pool.chunk_bytes;
        let (chunk, within) = (offset.checked_div(chunk_bytes), offset.checked_rem(chunk_bytes));
        let (Some(chunk), Some(within)) = (chunk, within) else {
            return Err(Error::internal("chunks of no size"));
        };
        let stretch = self.stretch(chunk)?;
        let end = stretch.last.saturating_add(1).saturating_mul(chunk_bytes);
        let len = len.min(sub(end, offset)?);
        let source = match (stretch.value, &self.origin) {
            (Some(value), _) => {
                let first = value >> TIME_BITS;
                let chunk = add(first, sub(chunk, stretch.first)?)?;
                Source::Pool(add(mul(chunk, chunk_bytes)?, within)?)
            }
            // Of an origin that is shorter, nothing is behind its end.
            (None, Some(origin)) if offset < origin.size() => {
                return Ok((Source::Origin(offset), len.min(sub(origin.size(), offset)?)));
            }
            (None, _) => Source::Zero,
        };
        Ok((source, len))
    }

    /// The chunks around `chunk` that lie one after the other, or are all not mapped.
    fn stretch(&self, chunk: u64) -> Result<Stretch> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stretch) = last.as_ref().filter(|it| (it.first..=it.last).contains(&chunk)) {
            return Ok(*stretch);
        }
        let end = self.size.checked_div(self.pool.chunk_bytes).unwrap_or(0).max(chunk);
        let stretch = self.mappings.stretch(chunk, end).context(|| "mapping a chunk of a thin volume")?;
        *last = Some(stretch);
        Ok(stretch)
    }

    fn check(&self, offset: u64, len: u64) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(Error::corrupt("reading past the end of the thin volume").at(offset));
        }
        Ok(())
    }
}

impl ReadAt for Thin {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(offset, count(buffer.len()))?;
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (source, len) = self.at(position, count(rest.len()))?;
            let (part, behind) = rest.split_at_mut(index(len)?);
            match (source, &self.origin) {
                (Source::Pool(at), _) => self.pool.data.read_at(at, part)?,
                (Source::Origin(at), Some(origin)) => origin.read_at(at, part)?,
                _ => part.fill(0),
            }
            position = add(position, len)?;
            rest = behind;
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.check(offset, len)?;
        let end = add(offset, len)?;
        let mut position = offset;
        while position < end {
            let (source, len) = self.at(position, sub(end, position)?)?;
            match (source, &self.origin) {
                (Source::Pool(at), _) => self.pool.data.runs(at, len, runs)?,
                (Source::Origin(at), Some(origin)) => origin.runs(at, len, runs)?,
                _ => push_run(runs, Run { len, place: Place::Zero }),
            }
            position = add(position, len)?;
        }
        Ok(())
    }
}
