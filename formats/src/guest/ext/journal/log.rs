//! The log: transactions one behind the other, each of descriptors, the blocks that they name, revoked blocks,
//! and a commit.

use super::overlay::Substitute;
use super::{Blocks, COMPAT_CHECKSUM, Header, INCOMPAT_64BIT, INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, MAGIC};
use crate::bytes::{be_u16, be_u32, be_u64, index, range, u8_at};
use spelunk_tree::{Error, ReadAt, Result};
use std::collections::{BTreeMap, HashMap};
use std::mem;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
const HEADER_BYTES: usize = 12;
/// Where records begin in a block of revoked blocks.
const REVOKE_HEADER_BYTES: usize = 16;
/// Where a commit has its checksum.
const COMMIT_CHECKSUM_AT: usize = 16;

/// A tag: the block's first four bytes were the magic number and are zeros in the log.
const TAG_ESCAPED: u32 = 1;
/// A tag: no UUID follows.
const TAG_SAME_UUID: u32 = 2;
/// A tag: the last of its descriptor.
const TAG_LAST: u32 = 8;

/// Blocks that one log may hold: what keeps the overlay under 16 MiB. Journals have at most 1 GiB as mke2fs
/// makes them, which are 262,144 blocks of 4 KiB.
const BLOCKS_MAX: usize = 512 * 1024;

/// What a log held.
pub(super) struct Replay {
    /// Complete transactions.
    pub(super) transactions: u32,
    /// What replaces the volume's blocks, sorted.
    pub(super) blocks: Vec<(u64, Substitute)>,
    /// What was wrong, a line each.
    pub(super) damage: Vec<String>,
}

/// A block that a transaction changed.
struct Change {
    block: u64,
    sequence: u32,
    substitute: Substitute,
}

/// A tag of a descriptor.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
    bytes: usize,
}

/// Reads a log.
pub(super) struct Log<'a> {
    header: &'a Header,
    blocks: &'a Blocks,
    volume: &'a dyn ReadAt,
    /// The block to read next.
    next: u32,
    /// The transaction that is being read.
    sequence: u32,
    /// Blocks read so far: a ring has no more than it has.
    visited: u32,
    /// crc32 of the transaction so far, for journals with that.
    transaction_crc: u32,
    changes: Vec<Change>,
    /// How many of the changes are committed.
    committed: usize,
    /// Blocks that are not to be replaced by changes up to a transaction.
    revoked: HashMap<u64, u32>,
    pending_revoked: Vec<u64>,
    transactions: u32,
    /// Blocks of this transaction that are damaged in the log: of no account if it was never committed.
    lost: Vec<u64>,
    damage: Vec<String>,
}

impl<'a> Log<'a> {
    pub(super) fn new(header: &'a Header, blocks: &'a Blocks, volume: &'a dyn ReadAt) -> Log<'a> {
        Log {
            header,
            blocks,
            volume,
            next: header.start,
            sequence: header.sequence,
            visited: 0,
            transaction_crc: !0,
            changes: Vec::new(),
            committed: 0,
            revoked: HashMap::new(),
            pending_revoked: Vec::new(),
            transactions: 0,
            lost: Vec::new(),
            damage: Vec::new(),
        }
    }

    /// Reads to the end of the log: the first block that does not continue it.
    ///
    /// # Errors
    /// `Limit`.
    pub(super) fn replay(mut self) -> Result<Replay> {
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == spelunk_tree::ErrorKind::Limit => return Err(error),
                Err(error) => {
                    let sequence = self.sequence;
                    self.damage.push(format!(
                        "the journal ends at transaction {sequence}, which is damaged: {error}"
                    ));
                    break;
                }
            }
        }
        self.changes.truncate(self.committed);
        let mut replaced = BTreeMap::new();
        for change in mem::take(&mut self.changes) {
            let is_revoked =
                self.revoked.get(&change.block).is_some_and(|&by| is_at_least(by, change.sequence));
            if !is_revoked {
                replaced.insert(change.block, change.substitute);
            }
        }
        Ok(Replay {
            transactions: self.transactions,
            blocks: replaced.into_iter().collect(),
            damage: self.damage,
        })
    }

    /// Reads one block that is not data, with the data behind it; false at the end of the log.
    fn step(&mut self) -> Result<bool> {
        let Some(block) = self.read_next()? else { return Ok(false) };
        if be_u32(&block, 0)? != MAGIC || be_u32(&block, 8)? != self.sequence {
            return Ok(false);
        }
        match be_u32(&block, 4)? {
            DESCRIPTOR => self.descriptor(&block).map(|()| true),
            REVOKE => self.revoke(&block).map(|()| true),
            COMMIT => self.commit(&block).map(|()| true),
            _ => Ok(false),
        }
    }

    /// The next block of the ring; `None` once all of it was read.
    fn read_next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.visited >= self.header.end.saturating_sub(self.header.first) {
            return Ok(None);
        }
        self.visited = self.visited.saturating_add(1);
        let block = self.blocks.read(self.volume, self.next)?;
        self.next = self.header.behind(self.next);
        Ok(Some(block))
    }

    fn descriptor(&mut self, block: &[u8]) -> Result<()> {
        self.verify_tail(block)?;
        self.add_to_transaction_crc(block);
        let room = block.len().saturating_sub(self.tail_bytes());
        let mut at = HEADER_BYTES;
        while at.saturating_add(self.tag_bytes()) <= room {
            let tag = self.tag(block, at)?;
            at = at.saturating_add(tag.bytes);
            self.change(&tag)?;
            if tag.flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(())
    }

    /// Takes the block of the log that belongs to `tag`.
    fn change(&mut self, tag: &Tag) -> Result<()> {
        let offset = self.blocks.offset(self.next)?;
        let Some(data) = self.read_next()? else {
            return Err(Error::corrupt("a transaction longer than the log"));
        };
        self.add_to_transaction_crc(&data);
        let substitute = if !self.is_intact(tag, &data) {
            self.lost.push(tag.block);
            Substitute::Damaged
        } else if tag.flags & TAG_ESCAPED != 0 {
            Substitute::Escaped(offset)
        } else {
            Substitute::Stored(offset)
        };
        if self.changes.len() >= BLOCKS_MAX {
            return Err(Error::limit(format!("a journal with more than {BLOCKS_MAX} blocks to replay")));
        }
        self.changes.push(Change { block: tag.block, sequence: self.sequence, substitute });
        Ok(())
    }

    fn is_intact(&self, tag: &Tag, data: &[u8]) -> bool {
        let computed = self.header.seed.add(&self.sequence.to_be_bytes()).add(data).value();
        if self.header.incompat & INCOMPAT_CSUM_V3 != 0 {
            computed == tag.checksum
        } else if self.header.incompat & INCOMPAT_CSUM_V2 != 0 {
            computed & 0xFFFF == tag.checksum
        } else {
            true
        }
    }

    /// Bytes of a tag without its UUID.
    fn tag_bytes(&self) -> usize {
        if self.header.incompat & INCOMPAT_CSUM_V3 != 0 {
            return 16;
        }
        let checksum = if self.header.incompat & INCOMPAT_CSUM_V2 != 0 { 2 } else { 0 };
        let high = if self.header.incompat & INCOMPAT_64BIT != 0 { 4 } else { 0 };
        8usize.saturating_add(checksum).saturating_add(high)
    }

    fn tag(&self, block: &[u8], at: usize) -> Result<Tag> {
        let low = u64::from(be_u32(block, at)?);
        let high_at = at.saturating_add(8);
        let high =
            if self.header.incompat & INCOMPAT_64BIT != 0 { u64::from(be_u32(block, high_at)?) } else { 0 };
        let (flags, checksum) = if self.header.incompat & INCOMPAT_CSUM_V3 != 0 {
            (be_u32(block, at.saturating_add(4))?, be_u32(block, at.saturating_add(12))?)
        } else {
            (u32::from(be_u16(block, at.saturating_add(6))?), u32::from(be_u16(block, at.saturating_add(4))?))
        };
        let uuid = if flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
        Ok(Tag { block: high << 32 | low, flags, checksum, bytes: self.tag_bytes().saturating_add(uuid) })
    }

    fn revoke(&mut self, block: &[u8]) -> Result<()> {
        self.verify_tail(block)?;
        let used = index(be_u32(block, HEADER_BYTES)?)?;
        let records = block
            .get(REVOKE_HEADER_BYTES..used)
            .filter(|_| used <= block.len().saturating_sub(self.tail_bytes()));
        let records =
            records.ok_or_else(|| Error::corrupt("a block of revoked blocks of an impossible length"))?;
        let is_wide = self.header.incompat & INCOMPAT_64BIT != 0;
        for record in records.chunks_exact(if is_wide { 8 } else { 4 }) {
            let revoked = if is_wide { be_u64(record, 0)? } else { u64::from(be_u32(record, 0)?) };
            self.pending_revoked.push(revoked);
        }
        if self.pending_revoked.len().saturating_add(self.revoked.len()) > BLOCKS_MAX {
            return Err(Error::limit(format!("a journal with more than {BLOCKS_MAX} revoked blocks")));
        }
        Ok(())
    }

    fn commit(&mut self, block: &[u8]) -> Result<()> {
        if self.header.has_checksums() {
            let behind = COMMIT_CHECKSUM_AT.saturating_add(4);
            let computed = self
                .header
                .seed
                .add(range(block, 0, COMMIT_CHECKSUM_AT)?)
                .add(&[0; 4])
                .add(block.get(behind..).unwrap_or_default());
            if computed.value() != be_u32(block, COMMIT_CHECKSUM_AT)? {
                return Err(Error::corrupt("a commit with a wrong checksum"));
            }
        } else if self.header.compat & COMPAT_CHECKSUM != 0 {
            self.verify_transaction_crc(block)?;
        }
        self.transaction_crc = !0;
        self.committed = self.changes.len();
        for block in mem::take(&mut self.pending_revoked) {
            self.revoked.insert(block, self.sequence);
        }
        let lost = mem::take(&mut self.lost);
        if let Some(first) = lost.first() {
            let (count, sequence) = (lost.len(), self.sequence);
            self.damage.push(format!(
                "{count} blocks of transaction {sequence} are damaged in the journal: {first}, ..."
            ));
        }
        self.transactions = self.transactions.saturating_add(1);
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    fn verify_transaction_crc(&self, commit: &[u8]) -> Result<()> {
        let (kind, bytes) = (u8_at(commit, 12)?, u8_at(commit, 13)?);
        let stored = be_u32(commit, COMMIT_CHECKSUM_AT)?;
        let has_none = (kind, bytes, stored) == (0, 0, 0);
        if has_none || ((kind, bytes) == (1, 4) && stored == self.transaction_crc) {
            return Ok(());
        }
        Err(Error::corrupt("a transaction with a wrong checksum"))
    }

    fn add_to_transaction_crc(&mut self, block: &[u8]) {
        if self.header.compat & COMPAT_CHECKSUM != 0 {
            self.transaction_crc = crc32_be(self.transaction_crc, block);
        }
    }

    fn tail_bytes(&self) -> usize {
        if self.header.has_checksums() { 4 } else { 0 }
    }

    /// Checks the checksum at the end of a descriptor or of revoked blocks.
    fn verify_tail(&self, block: &[u8]) -> Result<()> {
        if !self.header.has_checksums() {
            return Ok(());
        }
        let at = block.len().saturating_sub(4);
        if self.header.seed.add(range(block, 0, at)?).add(&[0; 4]).value() != be_u32(block, at)? {
            return Err(Error::corrupt("a block of the log with a wrong checksum"));
        }
        Ok(())
    }
}

/// Whether transaction `a` is `b` or a later one: numbers wrap round.
fn is_at_least(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

/// The crc32 of the journal's first scheme: most significant bit first, not inverted at the end.
fn crc32_be(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc & 0x8000_0000 != 0 { (crc << 1) ^ 0x04C1_1DB7 } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_compare_across_the_end_of_their_numbers() {
        assert!(is_at_least(5, 5));
        assert!(is_at_least(1, u32::MAX));
        assert!(!is_at_least(u32::MAX, 1));
    }

    #[test]
    fn crc32_of_the_check_string_is_the_published_value_before_inversion() {
        assert_eq!(!crc32_be(!0, b"123456789"), 0xFC89_1918);
    }
}
