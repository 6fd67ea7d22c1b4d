//! Group descriptors: where each block group keeps its inode table.

use super::checksum::{Crc32c, crc16};
use super::features::{Compat, Incompat, RoCompat};
use super::superblock::Superblock;
use super::{BlockRole, Filesystem, Owner};
use crate::bytes::{add, index, le_u16, le_u32, mul, range};
use spelunk_tree::{Error, Result};

/// Where the checksum lies in a descriptor.
const CHECKSUM_AT: usize = 0x1E;

impl Filesystem {
    /// Where the inode table of `group` begins in the volume.
    ///
    /// # Errors
    /// `Corrupt` for a group that does not exist, and a descriptor that is damaged in all its copies.
    pub(super) fn inode_table(&self, group: u32) -> Result<u64> {
        let per_block = self.superblock.descriptors_per_block();
        let blocks = descriptor_blocks(&self.superblock, group / per_block)?;
        let mut damage = None;
        for block in blocks {
            match self.inode_table_by(group, block) {
                Ok(table) => return Ok(table),
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
        }
        let damage = damage.unwrap_or_else(|| Error::corrupt("a group without descriptor"));
        Err(damage.object(format!("descriptor of group {group}")))
    }

    /// What the descriptor of `group` in `block` says.
    fn inode_table_by(&self, group: u32, block: u64) -> Result<u64> {
        let superblock = &self.superblock;
        let slot = group % superblock.descriptors_per_block();
        let owner = Owner { role: BlockRole::Descriptors, inode: 0 };
        let block = self.cached_block(owner, block, |_| Ok(()))?;
        let bytes = index(superblock.descriptor_bytes)?;
        let descriptor = range(&block, index(slot)?.saturating_mul(bytes), bytes)?;
        verify(superblock, group, descriptor)?;
        let high = if bytes >= 64 { le_u32(descriptor, 0x28)? } else { 0 };
        let table = u64::from(high) << 32 | u64::from(le_u32(descriptor, 0x08)?);
        let table_bytes =
            mul(u64::from(superblock.inodes_per_group.get()), u64::from(superblock.inode_bytes))?;
        superblock.data_offset(table, table_bytes.div_ceil(u64::from(superblock.block_bytes).max(1)))
    }
}

/// Where the block with index `nr` of the table of descriptors lies, and its copies: behind the superblock and
/// the copies of that, or with `meta_bg` in the first, second and last of the groups that it describes. Inode
/// tables never move, so a copy is as good.
fn descriptor_blocks(superblock: &Superblock, nr: u32) -> Result<Vec<u64>> {
    let is_meta = superblock.features.incompat.has(Incompat::META_BG) && nr >= superblock.first_meta_bg;
    if !is_meta {
        let first = u64::from(superblock.block_bytes == 1024);
        let copies = [1, 3, 5, 7].into_iter().chain(superblock.backup_groups);
        let copies = copies.filter(|&group| group != 0 && has_superblock(superblock, group));
        let starts = copies.filter_map(|group| first_block(superblock, group).ok());
        let tables = std::iter::once(first).chain(starts);
        return Ok(tables.map(|start| start.saturating_add(1).saturating_add(nr.into())).collect());
    }
    let per_block = superblock.descriptors_per_block().get();
    let first =
        nr.checked_mul(per_block).ok_or_else(|| Error::corrupt("a descriptor of a group that cannot be"))?;
    let groups = [first, first.saturating_add(1), first.saturating_add(per_block.saturating_sub(1))];
    groups.into_iter().map(|group| meta_block(superblock, group)).collect()
}

/// Where `group` has a block of descriptors of its own.
fn meta_block(superblock: &Superblock, group: u32) -> Result<u64> {
    let mut behind = u64::from(has_superblock(superblock, group));
    // Blocks of 1 KiB that are counted from 0 (bigalloc): the boot block comes before the superblock.
    if superblock.block_bytes == 1024 && group == 0 && superblock.first_data_block == 0 {
        behind = behind.saturating_add(1);
    }
    add(first_block(superblock, group)?, behind)
}

fn first_block(superblock: &Superblock, group: u32) -> Result<u64> {
    let blocks = mul(u64::from(group), u64::from(superblock.blocks_per_group.get()))?;
    add(blocks, u64::from(superblock.first_data_block))
}

/// Whether `group` begins with a copy of the superblock.
fn has_superblock(superblock: &Superblock, group: u32) -> bool {
    if group == 0 {
        return true;
    }
    if superblock.features.compat.has(Compat::SPARSE_SUPER2) {
        return superblock.backup_groups.contains(&group);
    }
    if group == 1 || !superblock.features.ro_compat.has(RoCompat::SPARSE_SUPER) {
        return true;
    }
    [3u32, 5, 7].into_iter().any(|base| is_power_of(group, base))
}

fn is_power_of(value: u32, base: u32) -> bool {
    let mut power = u64::from(base);
    while power < u64::from(value) {
        power = power.saturating_mul(u64::from(base));
    }
    power == u64::from(value)
}

fn verify(superblock: &Superblock, group: u32, descriptor: &[u8]) -> Result<()> {
    let stored = le_u16(descriptor, CHECKSUM_AT)?;
    let before = range(descriptor, 0, CHECKSUM_AT)?;
    let behind = descriptor.get(CHECKSUM_AT.saturating_add(2)..).unwrap_or_default();
    let computed = if superblock.has_checksums() {
        let checksum = superblock.seed().add(&group.to_le_bytes()).add(before).add(&[0; 2]).add(behind);
        low_half(checksum)
    } else if superblock.features.ro_compat.has(RoCompat::GDT_CSUM) {
        let start = crc16(crc16(0xFFFF, &superblock.uuid), &group.to_le_bytes());
        crc16(crc16(start, before), behind)
    } else {
        return Ok(());
    };
    if computed != stored {
        return Err(Error::corrupt("wrong checksum"));
    }
    Ok(())
}

fn low_half(checksum: Crc32c) -> u16 {
    let [a, b, ..] = checksum.value().to_le_bytes();
    u16::from_le_bytes([a, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_recognised_and_others_are_not() {
        assert!([3, 9, 27, 3_486_784_401].into_iter().all(|group| is_power_of(group, 3)));
        assert!(![1, 6, 15, 21, u32::MAX].into_iter().any(|group| is_power_of(group, 3)));
    }
}
