//! The contents of inodes: from a range of bytes to runs in the volume, and to the bytes.

use super::Filesystem;
use super::inode::{Flags, Inode};
use crate::bytes::{add, count, index, mul, sub};
use crate::extent::{clamp_buffer, clamp_len, cut_runs, read_runs};
use spelunk_tree::{Error, Kind, Place, Result, Run, push_run};

/// Runs that one answer names; what lies behind them is `Opaque`, so that a hostile map of blocks costs no
/// memory: asking again from there on (or reading) tells more.
const RUNS_MAX: usize = 16_384;
/// Blocks of the map that are visited for one answer, for the same reason: 4096 blocks of 4 KiB map at least
/// 4 million blocks, all of which may be holes.
const VISITS_MAX: u32 = 4096;
/// Bytes that are read in one step, so that neither limit can be met: these are at most 1024 blocks.
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// What walking the map of an inode collects: runs for the blocks from `next` to `end`, without gap.
pub(super) struct Walk {
    /// The first block that no run covers yet.
    pub(super) next: u64,
    /// Behind the last block that is wanted.
    pub(super) end: u64,
    block_bytes: u64,
    runs: Vec<Run>,
    visits_left: u32,
}

impl Walk {
    fn new(next: u64, end: u64, block_bytes: u64) -> Walk {
        Walk { next, end, block_bytes, runs: Vec::new(), visits_left: VISITS_MAX }
    }

    /// Whether there is nothing more to do.
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.end || self.visits_left == 0 || self.runs.len() >= RUNS_MAX
    }

    /// Counts a visit of a block of the map.
    pub(super) fn visit(&mut self) {
        self.visits_left = self.visits_left.saturating_sub(1);
    }

    /// There are no blocks up to `until`.
    pub(super) fn hole(&mut self, until: u64) {
        self.push(until, Place::Zero);
    }

    /// The blocks up to `until` lie one behind the other from byte `offset` of the volume on.
    pub(super) fn stored(&mut self, until: u64, offset: u64) {
        self.push(until, Place::At { source: 0, offset });
    }

    fn push(&mut self, until: u64, place: Place) {
        let until = until.min(self.end);
        let blocks = until.saturating_sub(self.next);
        if blocks > 0 {
            push_run(&mut self.runs, Run { len: blocks.saturating_mul(self.block_bytes), place });
            self.next = until;
        }
    }
}

impl Filesystem {
    /// Appends to `runs` where the `len` bytes from `offset` on lie in the volume, cut at the end of the
    /// inode.
    pub(super) fn volume_runs(
        &self,
        inode: &Inode,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let len = clamp_len(inode.size, offset, len);
        if len == 0 {
            return Ok(());
        }
        inode.check_complete()?;
        if inode.flags.has(Flags::INLINE_DATA) {
            push_run(runs, Run { len, place: Place::Opaque });
            return Ok(());
        }
        let block_bytes = u64::from(self.superblock.block_bytes);
        let first = self.block_of(offset);
        let end = self.block_of(add(offset, len)?.saturating_sub(1)).saturating_add(1);
        let mut walk = Walk::new(first, end, block_bytes);
        match &inode.block_changes {
            Some(changes) => self.walk_changed(inode, changes, &mut walk)?,
            None => self.walk_stored(inode, &mut walk)?,
        }
        walk.push(end, Place::Opaque);
        cut_runs(&walk.runs, sub(offset, mul(first, block_bytes)?)?, len, runs)
    }

    /// Reads from `offset` on; fewer bytes than `buffer` holds only at the end of the inode.
    pub(super) fn read_inode(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let buffer = clamp_buffer(inode.size, offset, buffer);
        if inode.flags.has(Flags::INLINE_DATA) {
            return self.read_inline(inode, offset, buffer);
        }
        let mut position = offset;
        for step in buffer.chunks_mut(STEP_BYTES_MAX) {
            let mut runs = Vec::new();
            self.volume_runs(inode, position, count(step.len()), &mut runs)?;
            read_runs(&*self.volume, &runs, step)?;
            position = add(position, count(step.len()))?;
        }
        Ok(buffer.len())
    }

    /// Collects where the blocks lie that `walk` wants, as the inode has it.
    pub(super) fn walk_stored(&self, inode: &Inode, walk: &mut Walk) -> Result<()> {
        if inode.flags.has(Flags::EXTENTS) {
            self.walk_extents(inode, walk)
        } else {
            self.walk_block_map(inode, walk)
        }
    }

    fn read_inline(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        inode.check_complete()?;
        let data = self.inline_data(inode)?;
        let start = index(offset)?;
        let source = start.checked_add(buffer.len()).and_then(|end| data.get(start..end));
        buffer.copy_from_slice(source.ok_or_else(|| inode.corrupt("inline data shorter than the file"))?);
        Ok(buffer.len())
    }

    /// Refuses what has no contents that can be read.
    pub(super) fn check_readable(&self, inode: &Inode) -> Result<()> {
        let object = || format!("inode {}", inode.number);
        match inode.kind {
            Kind::File if inode.flags.has(Flags::ENCRYPT) => {
                Err(Error::unsupported("an encrypted file").object(object()))
            }
            Kind::File => Ok(()),
            Kind::Directory => {
                Err(Error::new(spelunk_tree::ErrorKind::IsADirectory, "reading").object(object()))
            }
            _ => Err(Error::unsupported("reading what is not a file").object(object())),
        }
    }

    /// The block of an inode that holds byte `offset` of it.
    pub(super) fn block_of(&self, offset: u64) -> u64 {
        offset.checked_div(u64::from(self.superblock.block_bytes)).unwrap_or(0)
    }
}
