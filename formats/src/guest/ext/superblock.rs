//! The superblock: 1024 bytes at byte 1024 of the volume, with copies in some block groups.

use super::checksum::Crc32c;
use super::features::{Compat, Features, Incompat, RoCompat};
use crate::bytes::{add, array, count, le_u16, le_u32, mul, range, u8_at};
use spelunk_tree::{Error, ReadAt, Result, Time};
use std::num::NonZeroU32;

/// Where the primary superblock lies.
const SUPERBLOCK_OFFSET: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// Where its checksum lies in it, which covers all bytes before.
const CHECKSUM_AT: usize = 0x3FC;

/// `s_state`: cleanly unmounted.
const STATE_CLEAN: u16 = 1;
/// `s_state`: errors were seen.
const STATE_ERRORS: u16 = 2;
/// `s_flags`: directory hashes take characters as unsigned.
const FLAG_UNSIGNED_HASH: u32 = 2;

/// What stands in the superblock, checked: sizes are in range, no divisor is zero.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    /// What the filesystem uses.
    pub(super) features: Features,
    /// Block size, a power of two from 1 KiB to 64 KiB.
    pub(super) block_bytes: u32,
    /// Unit of allocation: above the block size with `bigalloc`.
    pub(super) cluster_bytes: u64,
    /// Blocks of the filesystem.
    pub(super) blocks_count: u64,
    /// Blocks not in use.
    pub(super) free_blocks: u64,
    /// Block of the first group: 1 where blocks have 1 KiB, else (mostly) 0.
    pub(super) first_data_block: u32,
    /// Blocks in a group.
    pub(super) blocks_per_group: NonZeroU32,
    /// Inodes of the filesystem; they count from 1.
    pub(super) inodes_count: u32,
    /// Inodes not in use.
    pub(super) free_inodes: u32,
    /// Inodes in a group.
    pub(super) inodes_per_group: NonZeroU32,
    /// Size of an inode, a power of two from 128 to the block size.
    pub(super) inode_bytes: u32,
    /// The first inode that is not reserved.
    pub(super) first_inode: u32,
    /// Inodes that hold quotas and orphans: not reachable, like the reserved ones.
    hidden_inodes: [u32; 4],
    /// The journal's inode; 0 for none.
    pub(super) journal_inode: u32,
    /// Size of a group descriptor, a power of two from 32 to the block size.
    pub(super) descriptor_bytes: u32,
    /// With `meta_bg`: the first block of descriptors that lies in its own groups.
    pub(super) first_meta_bg: u32,
    /// With `sparse_super2`: the groups with copies of the superblock.
    pub(super) backup_groups: [u32; 2],
    /// What metadata checksums start from.
    pub(super) checksum_seed: u32,
    /// What directory hashes start from.
    pub(super) hash_seed: [u32; 4],
    /// How names are hashed where the directory does not say.
    pub(super) hash_version: u8,
    /// Whether directory hashes take characters as unsigned.
    pub(super) hash_unsigned: bool,
    /// Identity.
    pub(super) uuid: [u8; 16],
    /// Label, without padding.
    pub(super) label: Vec<u8>,
    /// Last write of the superblock.
    pub(super) written: Option<Time>,
    /// Whether it was cleanly unmounted.
    pub(super) is_clean: bool,
    /// Whether the kernel saw errors.
    pub(super) has_errors: bool,
    /// How many errors it counted.
    pub(super) error_count: u32,
}

/// A superblock, and what the user should know of how it was found.
pub(super) struct Found {
    pub(super) superblock: Superblock,
    pub(super) note: Option<String>,
}

/// Whether `volume` has the magic of ext where the primary superblock lies.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<bool> {
    if volume.size() < SUPERBLOCK_OFFSET.saturating_add(count(SUPERBLOCK_BYTES)) {
        return Ok(false);
    }
    let mut magic = [0; 2];
    volume.read_at(SUPERBLOCK_OFFSET.saturating_add(0x38), &mut magic)?;
    Ok(u16::from_le_bytes(magic) == MAGIC)
}

/// Reads the superblock. Where the primary one is damaged, a copy takes its place: nothing that a copy lacks
/// (counts of free blocks, state) is needed to read files.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Found> {
    let primary = read_one(volume, SUPERBLOCK_OFFSET);
    let damage = match primary {
        Ok(superblock) => return Ok(Found { superblock, note: None }),
        Err(error) => error,
    };
    if damage.kind() == spelunk_tree::ErrorKind::Corrupt {
        for (offset, block_bytes) in copies() {
            match read_one(volume, offset) {
                Ok(superblock) if superblock.block_bytes == block_bytes => {
                    let note = format!("superblock damaged, the copy at byte {offset} was used");
                    return Ok(Found { superblock, note: Some(note) });
                }
                _ => {}
            }
        }
    }
    Err(damage)
}

/// Where the second group's copy lies, for each block size with the usual full groups (a group's bitmap fills
/// a block).
fn copies() -> impl Iterator<Item = (u64, u32)> {
    (10..=16).map(|bits| {
        let block_bytes = 1u32 << bits;
        let first_data_block = u64::from(bits == 10);
        let group_blocks = u64::from(block_bytes).saturating_mul(8);
        (first_data_block.saturating_add(group_blocks).saturating_mul(u64::from(block_bytes)), block_bytes)
    })
}

fn read_one(volume: &dyn ReadAt, offset: u64) -> Result<Superblock> {
    let mut raw = [0; SUPERBLOCK_BYTES];
    volume.read_at(offset, &mut raw)?;
    decode(&raw).map_err(|error| error.object("superblock").at(offset))
}

fn decode(raw: &[u8]) -> Result<Superblock> {
    if le_u16(raw, 0x38)? != MAGIC {
        return Err(Error::corrupt("no magic number"));
    }
    let features = Features {
        compat: Compat(le_u32(raw, 0x5C)?),
        incompat: Incompat(le_u32(raw, 0x60)?),
        ro_compat: RoCompat(le_u32(raw, 0x64)?),
    };
    // The checksum comes first: a damaged feature word must not be reported as an unknown feature. A damaged
    // word that has lost its `metadata_csum` bit is the one case that this cannot see.
    if features.ro_compat.has(RoCompat::METADATA_CSUM) {
        verify_checksum(raw)?;
    }
    features.incompat.require_known()?;
    let revised = le_u32(raw, 0x4C)? > 0;
    let wide = features.incompat.has(Incompat::BITS64);
    let block_bytes = power_of_two("block size", 1024, le_u32(raw, 0x18)?, 65_536)?;
    let uuid = array(raw, 0x68)?;
    let state = le_u16(raw, 0x3A)?;
    let superblock = Superblock {
        block_bytes,
        cluster_bytes: cluster_bytes(raw, features, block_bytes)?,
        blocks_count: wide_count(raw, 0x04, 0x150, wide)?,
        free_blocks: wide_count(raw, 0x0C, 0x158, wide)?,
        first_data_block: le_u32(raw, 0x14)?,
        blocks_per_group: non_zero("blocks in a group", le_u32(raw, 0x20)?)?,
        inodes_count: le_u32(raw, 0x00)?,
        free_inodes: le_u32(raw, 0x10)?,
        inodes_per_group: non_zero("inodes in a group", le_u32(raw, 0x28)?)?,
        inode_bytes: if revised { inode_bytes(le_u16(raw, 0x58)?, block_bytes)? } else { 128 },
        first_inode: if revised { le_u32(raw, 0x54)? } else { 11 },
        hidden_inodes: hidden_inodes(raw, features)?,
        journal_inode: if features.compat.has(Compat::HAS_JOURNAL) { le_u32(raw, 0xE0)? } else { 0 },
        descriptor_bytes: if wide { descriptor_bytes(le_u16(raw, 0xFE)?, block_bytes)? } else { 32 },
        first_meta_bg: le_u32(raw, 0x104)?,
        backup_groups: [le_u32(raw, 0x24C)?, le_u32(raw, 0x250)?],
        checksum_seed: checksum_seed(raw, features, &uuid)?,
        hash_seed: [le_u32(raw, 0xEC)?, le_u32(raw, 0xF0)?, le_u32(raw, 0xF4)?, le_u32(raw, 0xF8)?],
        hash_version: u8_at(raw, 0xFC)?,
        hash_unsigned: le_u32(raw, 0x160)? & FLAG_UNSIGNED_HASH != 0,
        uuid,
        label: until_nul(range(raw, 0x78, 16)?),
        written: written(le_u32(raw, 0x30)?, u8_at(raw, 0x274)?),
        is_clean: state & STATE_CLEAN != 0,
        has_errors: state & STATE_ERRORS != 0,
        error_count: le_u32(raw, 0x194)?,
        features,
    };
    superblock.check()?;
    Ok(superblock)
}

fn verify_checksum(raw: &[u8]) -> Result<()> {
    let kind = u8_at(raw, 0x175)?;
    if kind != 1 {
        return Err(Error::corrupt(format!("metadata checksums of the unknown kind {kind}")));
    }
    let computed = Crc32c::START.add(range(raw, 0, CHECKSUM_AT)?).value();
    if computed != le_u32(raw, CHECKSUM_AT)? {
        return Err(Error::corrupt("wrong checksum"));
    }
    Ok(())
}

fn checksum_seed(raw: &[u8], features: Features, uuid: &[u8]) -> Result<u32> {
    if features.incompat.has(Incompat::CSUM_SEED) {
        return le_u32(raw, 0x270);
    }
    Ok(Crc32c::START.add(uuid).value())
}

/// `smallest << log`, at most `largest`.
fn power_of_two(what: &str, smallest: u32, log: u32, largest: u32) -> Result<u32> {
    smallest
        .checked_shl(log)
        .filter(|&value| value >= smallest && value <= largest && log < 32)
        .ok_or_else(|| Error::corrupt(format!("impossible {what} (2^{log} times {smallest})")))
}

/// The unit of allocation. mke2fs makes clusters of at most 512 MiB.
fn cluster_bytes(raw: &[u8], features: Features, block_bytes: u32) -> Result<u64> {
    if !features.ro_compat.has(RoCompat::BIGALLOC) {
        return Ok(u64::from(block_bytes));
    }
    let bytes = power_of_two("cluster size", 1024, le_u32(raw, 0x1C)?, 1 << 30)?;
    if bytes < block_bytes {
        return Err(Error::corrupt("clusters smaller than blocks"));
    }
    Ok(u64::from(bytes))
}

fn inode_bytes(bytes: u16, block_bytes: u32) -> Result<u32> {
    let bytes = u32::from(bytes);
    if bytes < 128 || bytes > block_bytes || !bytes.is_power_of_two() {
        return Err(Error::corrupt(format!("inodes of {bytes} bytes")));
    }
    Ok(bytes)
}

fn descriptor_bytes(bytes: u16, block_bytes: u32) -> Result<u32> {
    let bytes = u32::from(bytes);
    if bytes < 64 || bytes > block_bytes || !bytes.is_power_of_two() {
        return Err(Error::corrupt(format!("group descriptors of {bytes} bytes")));
    }
    Ok(bytes)
}

fn hidden_inodes(raw: &[u8], features: Features) -> Result<[u32; 4]> {
    let orphan_file = if features.compat.has(Compat::ORPHAN_FILE) { le_u32(raw, 0x280)? } else { 0 };
    Ok([le_u32(raw, 0x240)?, le_u32(raw, 0x244)?, le_u32(raw, 0x26C)?, orphan_file])
}

fn non_zero(what: &str, value: u32) -> Result<NonZeroU32> {
    NonZeroU32::new(value).ok_or_else(|| Error::corrupt(format!("no {what}")))
}

fn wide_count(raw: &[u8], low: usize, high: usize, wide: bool) -> Result<u64> {
    let high = if wide { le_u32(raw, high)? } else { 0 };
    Ok(u64::from(high) << 32 | u64::from(le_u32(raw, low)?))
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|&byte| byte != 0).collect()
}

fn written(low: u32, high: u8) -> Option<Time> {
    let seconds = i64::from(high) << 32 | i64::from(low);
    (seconds != 0).then(|| Time::from_seconds(seconds))
}

impl Superblock {
    fn check(&self) -> Result<()> {
        let bitmap_bits = u64::from(self.block_bytes).saturating_mul(8);
        if u64::from(self.inodes_per_group.get()) > bitmap_bits {
            return Err(Error::corrupt("more inodes in a group than its bitmap has bits"));
        }
        let cluster_blocks = self.cluster_bytes.checked_div(self.block_bytes.into()).unwrap_or(1);
        if u64::from(self.blocks_per_group.get()) > bitmap_bits.saturating_mul(cluster_blocks) {
            return Err(Error::corrupt("more blocks in a group than its bitmap has bits"));
        }
        if self.blocks_count <= u64::from(self.first_data_block) {
            return Err(Error::corrupt("no blocks"));
        }
        self.size_bytes().map(|_| ())
    }

    /// Size of the filesystem.
    pub(super) fn size_bytes(&self) -> Result<u64> {
        mul(self.blocks_count, u64::from(self.block_bytes))
    }

    /// How many group descriptors a block holds.
    pub(super) fn descriptors_per_block(&self) -> NonZeroU32 {
        self.block_bytes
            .checked_div(self.descriptor_bytes)
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN)
    }

    /// Where `block` begins in the volume.
    ///
    /// # Errors
    /// `Corrupt` for a block that the filesystem does not have.
    pub(super) fn block_offset(&self, block: u64) -> Result<u64> {
        if block >= self.blocks_count {
            return Err(Error::corrupt(format!("block {block} of {}", self.blocks_count)));
        }
        mul(block, u64::from(self.block_bytes))
    }

    /// As [`Superblock::block_offset`], for `count` blocks that may hold data: not those that are in front of
    /// the first group.
    pub(super) fn data_offset(&self, block: u64, count: u64) -> Result<u64> {
        if block <= u64::from(self.first_data_block) || add(block, count)? > self.blocks_count {
            return Err(Error::corrupt(format!("{count} blocks from {block} on, of {}", self.blocks_count)));
        }
        mul(block, u64::from(self.block_bytes))
    }

    /// Whether `inode` is one that the filesystem keeps for itself, or does not exist.
    pub(super) fn is_hidden(&self, inode: u32) -> bool {
        (inode < self.first_inode && inode != super::ROOT_INODE) || self.hidden_inodes.contains(&inode)
    }

    /// Whether the journal is on another device.
    pub(super) fn has_external_journal(&self) -> bool {
        self.features.compat.has(Compat::HAS_JOURNAL) && self.journal_inode == 0
    }

    /// Whether there are metadata checksums.
    pub(super) fn has_checksums(&self) -> bool {
        self.features.ro_compat.has(RoCompat::METADATA_CSUM)
    }

    /// The checksum that all checksums of metadata start from.
    pub(super) fn seed(&self) -> Crc32c {
        Crc32c::seeded(self.checksum_seed)
    }

    /// Filesystem's name, as blkid decides: by the features alone.
    pub(super) fn filesystem(&self) -> &'static str {
        if self.features.need_ext4() {
            "ext4"
        } else if self.features.compat.has(Compat::HAS_JOURNAL) {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// The UUID in its usual form; empty for one that was never set.
    pub(super) fn uuid_text(&self) -> String {
        if self.uuid == [0; 16] {
            return String::new();
        }
        let mut text = String::with_capacity(36);
        for (index, byte) in self.uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}
