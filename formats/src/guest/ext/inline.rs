//! Inline data: contents of small files, directories and links in the inode itself.

use super::Filesystem;
use super::features::Incompat;
use super::inode::{BLOCK_FIELD_BYTES, Inode};
use super::xattr;
use crate::bytes::{count, index};
use spelunk_tree::Result;

impl Filesystem {
    /// All inline data of `inode`: what its field for blocks holds, and the rest from its attributes.
    ///
    /// # Errors
    /// `Corrupt` when there is less than its size, and on a filesystem that has no inline data: what an inode that says
    /// otherwise holds is pointers, and no data.
    pub(super) fn inline_data(&self, inode: &Inode) -> Result<Vec<u8>> {
        if !self.superblock.features.incompat.has(Incompat::INLINE_DATA) {
            return Err(inode.corrupt("inline data on a filesystem without them"));
        }
        let mut data = inode.block.to_vec();
        if inode.size > count(BLOCK_FIELD_BYTES) {
            data.extend_from_slice(xattr::inline_tail(inode)?.unwrap_or_default());
        }
        if count(data.len()) < inode.size {
            return Err(inode.corrupt("inline data shorter than the inode's size"));
        }
        data.truncate(index(inode.size)?);
        Ok(data)
    }
}
