//! Disk images, made by script once and then kept in the cache.
//!
//! ```text
//! plan        what the trees hold: the same files on every run
//! volume      a filesystem that holds one of them
//! disk        a GPT disk with such a volume as its only partition
//! container   a disk as VHD, VHDX or VHDZ
//! vhdz        the writer of UrBackup's compressed container
//! repository  a backup of a volume by restic
//! small       a disk that is made in no time, by anybody
//! ```

pub mod container;
pub mod disk;
pub mod plan;
pub mod repository;
mod small;
pub mod vhdz;
pub mod volume;

pub use small::small_ext4;

use crate::Result;
use plan::Guest;
use std::path::{Path, PathBuf};
use volume::{Contents, Volume};

/// An ext4 volume of 50,000 files, without a partition table, written by the kernel.
///
/// # Errors
/// Without root, mkfs.ext4 or loop devices.
pub fn ext4_of_50_000_files() -> Result<PathBuf> {
    Volume { guest: Guest::Ext4, contents: Contents::Mixed }.unpartitioned()
}

/// An NTFS volume of 50,000 files, without a partition table, written by ntfs-3g.
///
/// # Errors
/// Without mkntfs, ntfs-3g or the right to mount.
pub fn ntfs_of_50_000_files() -> Result<PathBuf> {
    Volume { guest: Guest::Ntfs, contents: Contents::Mixed }.unpartitioned()
}

pub(crate) fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| "the cache's path is not UTF-8".into())
}
