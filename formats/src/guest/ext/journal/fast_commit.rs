//! The area of fast commits, behind the log: what changed since the last transaction, in records of tag, length and
//! value, each commit ended by a checksum (the kernel's `fs/ext4/fast_commit.h`).

use super::{Blocks, Header};
use crate::bytes::{add, le_u16, le_u32, range};
use crate::guest::ext::changes::Change;
use crate::guest::ext::checksum::Crc32c;
use spelunk_tree::{Error, Name, ReadAt, Result};
use std::ops::Range;

const ADD_RANGE: u16 = 1;
const DEL_RANGE: u16 = 2;
const CREAT: u16 = 3;
const LINK: u16 = 4;
const UNLINK: u16 = 5;
const INODE: u16 = 6;
const PAD: u16 = 7;
const TAIL: u16 = 8;
const HEAD: u16 = 9;
/// Bytes of a tag and its length.
const RECORD_HEADER_BYTES: usize = 4;
/// Where the name begins in a change of an entry, behind the numbers of two inodes.
const ENTRY_NAME_AT: usize = 8;
/// Blocks that an extent may have; a greater length means as many blocks less this, allocated but not written.
const EXTENT_BLOCKS_MAX: u16 = 32_768;

/// Bytes of the area that are read: what mke2fs makes for the largest journal that it makes, 1/64 of 1 GiB.
const AREA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Changes in the area: three a new file, which takes 390 bytes of it.
const CHANGES_MAX: usize = 128 * 1024;

/// The fast commits that are complete.
#[derive(Default)]
pub(in crate::guest::ext) struct FastCommits {
    bytes: Vec<u8>,
    /// Where the values of changes lie in `bytes`, with their tags.
    records: Vec<(u16, Range<usize>)>,
    /// How many commits they are.
    pub(in crate::guest::ext) commits: u32,
    /// What is wrong with what follows them.
    pub(in crate::guest::ext) damage: Option<Error>,
}

impl FastCommits {
    /// What changed, in order.
    pub(in crate::guest::ext) fn changes(&self) -> impl Iterator<Item = Result<Change>> {
        self.records.iter().map(|(tag, at)| change(*tag, self.bytes.get(at.clone()).unwrap_or_default()))
    }
}

/// Reads the area up to the first commit that is not complete. Those that follow transaction `tid - 1` count alone: the
/// area is overwritten from its start after each transaction.
///
/// # Errors
/// `Limit`, `Unsupported`.
pub(super) fn scan(volume: &dyn ReadAt, blocks: &Blocks, header: &Header, tid: u32) -> Result<FastCommits> {
    let mut scan = Scan {
        tid,
        crc: Crc32c::seeded(0),
        begun: false,
        pending: Vec::new(),
        found: FastCommits::default(),
    };
    for number in header.fast_commits() {
        let block = blocks.read(volume, number)?;
        if number == header.fast_commits().start && le_u16(&block, 0)? != HEAD {
            break;
        }
        if scan.found.bytes.len().saturating_add(block.len()) > AREA_BYTES_MAX {
            return Err(Error::limit(format!("fast commits of more than {AREA_BYTES_MAX} bytes")));
        }
        if !scan.block(&block)? {
            break;
        }
    }
    Ok(scan.found)
}

struct Scan {
    tid: u32,
    crc: Crc32c,
    /// Whether the area is one of this transaction.
    begun: bool,
    /// Changes of the commit that is being read.
    pending: Vec<(u16, Range<usize>)>,
    found: FastCommits,
}

impl Scan {
    /// Reads a block; false where no other may follow.
    fn block(&mut self, block: &[u8]) -> Result<bool> {
        let base = self.found.bytes.len();
        self.found.bytes.extend_from_slice(block);
        let mut at = 0usize;
        while at.saturating_add(RECORD_HEADER_BYTES) <= block.len() {
            let (tag, len) = (le_u16(block, at)?, usize::from(le_u16(block, at.saturating_add(2))?));
            let value_at = at.saturating_add(RECORD_HEADER_BYTES);
            let end = value_at.saturating_add(len);
            if tag == TAIL {
                return self.tail(block, at);
            }
            let Some(value) = block.get(value_at..end).filter(|value| fits(tag, value.len())) else {
                return Ok(self.stop("a record of an impossible length or kind"));
            };
            if tag == HEAD && !self.head(value)? {
                return Ok(false);
            }
            self.crc = self.crc.add(range(block, at, end.saturating_sub(at))?);
            if tag != HEAD && tag != PAD {
                self.pending.push((tag, base.saturating_add(value_at)..base.saturating_add(end)));
            }
            if self.found.records.len().saturating_add(self.pending.len()) > CHANGES_MAX {
                return Err(Error::limit(format!("fast commits of more than {CHANGES_MAX} changes")));
            }
            at = end;
        }
        Ok(true)
    }

    /// The first record: whether the area follows the last transaction.
    fn head(&mut self, value: &[u8]) -> Result<bool> {
        let features = le_u32(value, 0)?;
        if le_u32(value, 4)? != self.tid {
            return Ok(false);
        }
        if features != 0 {
            return Err(Error::unsupported(format!("fast commits with the features {features:#x}")));
        }
        self.begun = true;
        Ok(true)
    }

    /// The last record of a commit: what was read up to here is complete when the checksum says so. The rest of the
    /// block is padding.
    fn tail(&mut self, block: &[u8], at: usize) -> Result<bool> {
        let value_at = at.saturating_add(RECORD_HEADER_BYTES);
        let crc_at = value_at.saturating_add(4);
        if crc_at.saturating_add(4) > block.len() {
            return Ok(self.stop("a record of an impossible length or kind"));
        }
        let computed = self.crc.add(range(block, at, crc_at.saturating_sub(at))?).value();
        if le_u32(block, value_at)? != self.tid || le_u32(block, crc_at)? != computed {
            return Ok(self.stop("a commit with a wrong checksum"));
        }
        self.crc = Crc32c::seeded(0);
        self.found.records.append(&mut self.pending);
        self.found.commits = self.found.commits.saturating_add(1);
        Ok(true)
    }

    /// Ends the scan. Behind a complete commit there may be anything, what an earlier transaction left there; in the
    /// place of the first there must be one.
    fn stop(&mut self, why: &'static str) -> bool {
        if self.begun && self.found.commits == 0 {
            self.found.damage = Some(Error::corrupt(why));
        }
        false
    }
}

/// Whether a value of `len` bytes is one that `tag` can have.
fn fits(tag: u16, len: usize) -> bool {
    match tag {
        ADD_RANGE => len == 16,
        DEL_RANGE => len == 12,
        CREAT | LINK | UNLINK => {
            (ENTRY_NAME_AT.saturating_add(1)..=ENTRY_NAME_AT.saturating_add(255)).contains(&len)
        }
        // 128 bytes are fields of every inode; how many there may be is seen to where it is applied.
        INODE => len >= 132,
        PAD => true,
        HEAD => len == 8,
        _ => false,
    }
}

fn change(tag: u16, value: &[u8]) -> Result<Change> {
    let number = le_u32(value, 0)?;
    Ok(match tag {
        ADD_RANGE => {
            let len = le_u16(value, 8)?;
            let is_written = len <= EXTENT_BLOCKS_MAX;
            let blocks = if is_written { len } else { len.saturating_sub(EXTENT_BLOCKS_MAX) };
            let first = u64::from(le_u32(value, 4)?);
            let block = u64::from(le_u16(value, 10)?) << 32 | u64::from(le_u32(value, 12)?);
            let range = first..add(first, u64::from(blocks))?;
            Change::Blocks { inode: number, range, stored: is_written.then_some(block) }
        }
        DEL_RANGE => {
            let first = u64::from(le_u32(value, 4)?);
            let range = first..add(first, u64::from(le_u32(value, 8)?))?;
            Change::Blocks { inode: number, range, stored: None }
        }
        CREAT | LINK | UNLINK => {
            let name = Name::new(value.get(ENTRY_NAME_AT..).unwrap_or_default())?;
            Change::Entry { dir: number, name, inode: le_u32(value, 4)?, is_added: tag != UNLINK }
        }
        INODE => Change::Inode { number, raw: value.get(4..).unwrap_or_default().into() },
        _ => return Err(Error::internal(format!("a change with the tag {tag}"))),
    })
}
