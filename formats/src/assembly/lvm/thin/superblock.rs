//! The superblock of a thin pool's metadata (`struct thin_disk_superblock`).

use super::btree::{BLOCK_BYTES, checksum};
use crate::bytes::{count, le_u32, le_u64, mul};
use spelunk_tree::{Error, ReadAt, Result};

const MAGIC: u64 = 27_022_010;
const SALT: u32 = 160_774;
/// Somebody must check the metadata first: the kernel itself refuses them.
const NEEDS_CHECK: u32 = 1;

/// What of it is needed to read.
pub(super) struct Superblock {
    /// The block of the root of the tree of devices.
    pub(super) mappings: u64,
    pub(super) chunk_bytes: u64,
}

impl Superblock {
    pub(super) fn read(metadata: &dyn ReadAt) -> Result<Superblock> {
        let mut bytes = vec![0; BLOCK_BYTES];
        metadata.read_at(0, &mut bytes)?;
        if le_u64(&bytes, 32)? != MAGIC {
            return Err(Error::corrupt("a thin pool without its superblock"));
        }
        if checksum(&bytes, SALT)? != le_u32(&bytes, 0)? {
            return Err(Error::corrupt("the superblock of a thin pool has a wrong checksum"));
        }
        let version = le_u32(&bytes, 40)?;
        if !(1..=2).contains(&version) {
            return Err(Error::unsupported(format!("thin pools of version {version}")));
        }
        if le_u32(&bytes, 4)? & NEEDS_CHECK != 0 {
            return Err(Error::corrupt(
                "a thin pool whose metadata must be checked and repaired (thin_repair)",
            ));
        }
        // The space maps' roots stand from byte 64 on, 128 bytes each.
        let block_bytes = mul(u64::from(le_u32(&bytes, 340)?), 512)?;
        if block_bytes != count(BLOCK_BYTES) {
            return Err(Error::unsupported(format!("thin metadata in blocks of {block_bytes} bytes")));
        }
        Ok(Superblock {
            mappings: le_u64(&bytes, 320)?,
            chunk_bytes: mul(u64::from(le_u32(&bytes, 336)?), 512)?,
        })
    }
}
