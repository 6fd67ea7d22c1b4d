//! The journal (jbd2): changes that were committed, but that the filesystem's own blocks may not hold yet. They
//! are laid over the volume in memory; nothing is written.
//!
//! ```text
//! journal inode -> log: descriptor, blocks, commit, descriptor, revoke, ... -> overlay over the volume
//! ```
//!
//! A block of the log whose checksum is wrong makes the one block damaged that it stands for; a descriptor or
//! commit that is damaged ends the log, as for the kernel. Fast commits name no blocks but what was done: they are laid
//! over the filesystem (`changes.rs`).

mod fast_commit;
mod log;
mod overlay;

pub(super) use self::fast_commit::FastCommits;
use self::log::Log;
use self::overlay::Overlay;
use super::Filesystem;
use super::checksum::Crc32c;
use crate::bytes::{be_u32, index, range, u8_at};
use spelunk_tree::{Error, Place, ReadAt, Result, Run};
use std::ops::Range;
use std::sync::Arc;

/// Begins every block of the journal that is not data.
const MAGIC: u32 = 0xC03B_3998;
/// `s_feature_compat`: commits have a crc32 of the whole transaction.
const COMPAT_CHECKSUM: u32 = 0x1;
/// `s_feature_incompat`: block numbers have 64 bits.
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Those, revoked blocks (0x1) and asynchronous commits (0x4).
const INCOMPAT_KNOWN: u32 = 0x3F;
/// Blocks at the end for fast commits, where the superblock does not say.
const FAST_COMMIT_BLOCKS: u32 = 256;

/// A volume with its journal replayed.
pub(super) struct Replayed {
    /// The volume with the committed blocks laid over it.
    pub(super) volume: Arc<dyn ReadAt>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
    /// What follows the last transaction.
    pub(super) fast_commits: Result<FastCommits>,
}

/// The journal's superblock.
struct Header {
    /// Blocks of the journal.
    blocks: u32,
    /// The first block of the log.
    first: u32,
    /// Behind the last block of the log.
    end: u32,
    /// Number of the first transaction.
    sequence: u32,
    /// Where it begins; 0 for an empty log.
    start: u32,
    compat: u32,
    incompat: u32,
    seed: Crc32c,
}

/// Where the journal's blocks lie in the volume.
struct Blocks {
    runs: Vec<Run>,
    block_bytes: u64,
}

impl Blocks {
    /// Where block `number` of the journal lies in the volume.
    fn offset(&self, number: u32) -> Result<u64> {
        let mut skip = u64::from(number).saturating_mul(self.block_bytes);
        for run in &self.runs {
            if skip < run.len {
                let Place::At { offset, .. } = run.place else { break };
                return Ok(offset.saturating_add(skip));
            }
            skip = skip.saturating_sub(run.len);
        }
        Err(Error::corrupt(format!("the journal has no block {number}")))
    }

    fn read(&self, volume: &dyn ReadAt, number: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; index(self.block_bytes)?];
        volume.read_at(self.offset(number)?, &mut bytes)?;
        Ok(bytes)
    }
}

impl Header {
    fn decode(raw: &[u8], block_bytes: u32) -> Result<Header> {
        let has_features = match be_u32(raw, 4)? {
            3 => false,
            4 => true,
            _ => return Err(Error::corrupt("no superblock of a journal")),
        };
        if be_u32(raw, 0)? != MAGIC || be_u32(raw, 12)? != block_bytes {
            return Err(Error::corrupt("an impossible superblock of a journal"));
        }
        let feature = |at| if has_features { be_u32(raw, at) } else { Ok(0) };
        let (compat, incompat) = (feature(36)?, feature(40)?);
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(Error::unsupported(format!("a journal with the features {incompat:#x}")));
        }
        let blocks = be_u32(raw, 16)?;
        let fast_blocks = match be_u32(raw, 84)? {
            _ if incompat & INCOMPAT_FAST_COMMIT == 0 => 0,
            0 => FAST_COMMIT_BLOCKS,
            count => count,
        };
        let header = Header {
            blocks,
            first: be_u32(raw, 20)?,
            end: blocks.saturating_sub(fast_blocks),
            sequence: be_u32(raw, 24)?,
            start: be_u32(raw, 28)?,
            compat,
            incompat,
            seed: Crc32c::START.add(range(raw, 48, 16)?),
        };
        if header.has_checksums() {
            verify(raw)?;
        }
        let log = header.first..header.end;
        if header.first == 0 || log.is_empty() || (header.start != 0 && !log.contains(&header.start)) {
            return Err(Error::corrupt("a journal whose log begins outside of it"));
        }
        Ok(header)
    }

    fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// The blocks for fast commits. The kernel leaves one out between them and the log.
    fn fast_commits(&self) -> Range<u32> {
        self.end.saturating_add(1)..self.blocks
    }

    /// The block of the log behind `block`: it is a ring.
    fn behind(&self, block: u32) -> u32 {
        let next = block.saturating_add(1);
        if next >= self.end { self.first } else { next }
    }
}

fn verify(raw: &[u8]) -> Result<()> {
    let computed = Crc32c::START.add(range(raw, 0, 252)?).add(&[0; 4]).add(range(raw, 256, 768)?);
    if u8_at(raw, 80)? != 4 || computed.value() != be_u32(raw, 252)? {
        return Err(Error::corrupt("a superblock of a journal with a wrong checksum"));
    }
    Ok(())
}

/// Reads the journal of `filesystem` and lays its blocks over the volume.
///
/// # Errors
/// When the journal cannot be read at all.
pub(super) fn replay(filesystem: &Filesystem) -> Result<Replayed> {
    let superblock = &filesystem.superblock;
    if superblock.journal_inode == 0 {
        return Err(Error::corrupt("a filesystem that needs its journal and has none"));
    }
    let inode = filesystem.inode(superblock.journal_inode)?;
    let mut runs = Vec::new();
    filesystem.volume_runs(&inode, 0, inode.size, &mut runs)?;
    let blocks = Blocks { runs, block_bytes: superblock.block_bytes.into() };
    let header = Header::decode(&blocks.read(&*filesystem.volume, 0)?, superblock.block_bytes)?;
    if u64::from(header.blocks).saturating_mul(blocks.block_bytes) > inode.size {
        return Err(Error::corrupt("a journal larger than its file"));
    }
    let mut notes = Vec::new();
    let mut fast_commits = Ok(FastCommits::default());
    let mut overlay = Overlay::new(filesystem.volume.clone(), superblock.block_bytes);
    if header.start != 0 {
        let replay = Log::new(&header, &blocks, &*filesystem.volume).replay()?;
        notes.push(format!(
            "journal needed recovery: {} transactions were replayed in memory",
            replay.transactions
        ));
        notes.extend(replay.damage);
        if header.incompat & INCOMPAT_FAST_COMMIT != 0 {
            let next = header.sequence.wrapping_add(replay.transactions);
            fast_commits = fast_commit::scan(&*filesystem.volume, &blocks, &header, next);
        }
        overlay.set_blocks(replay.blocks);
    }
    Ok(Replayed { volume: Arc::new(overlay), notes, fast_commits })
}
