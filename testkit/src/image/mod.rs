//! Disks of 50,000 files, made by script: what they hold stands in [`plan`], how each filesystem gets it
//! in this file. Made once, then kept in the cache.

pub mod plan;
mod small;

pub use small::small_ext4;

use crate::peer::{Mount, loop_mount, ntfs_3g_mount_writable};
use crate::{Result, cache, tool};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Size of the disks, sparse: enough for 50,000 files and what is between them.
const DISK_BYTES: u64 = 960 << 20;

/// Everything that the disks depend on.
const RECIPE: &str = concat!(include_str!("mod.rs"), include_str!("plan.rs"));

/// An ext4 disk of 50,000 files, without a partition table, written by the kernel.
///
/// # Errors
/// Without root, mkfs.ext4 or loop devices.
pub fn ext4_of_50_000_files() -> Result<PathBuf> {
    cache::get("ext4-50000.img", RECIPE, |image| {
        File::create(image)?.set_len(DISK_BYTES)?;
        tool::run("mkfs.ext4", ["-q", "-F", "-L", "fifty", "-N", "65536", &utf8(image)?])?;
        fill(loop_mount(image, "ext4", "rw")?, plan::Guest::Ext4)
    })
}

/// An NTFS disk of 50,000 files, without a partition table, written by ntfs-3g.
///
/// # Errors
/// Without mkntfs, ntfs-3g or the right to mount.
pub fn ntfs_of_50_000_files() -> Result<PathBuf> {
    cache::get("ntfs-50000.img", RECIPE, |image| {
        File::create(image)?.set_len(DISK_BYTES)?;
        tool::run("mkntfs", ["-q", "-Q", "-F", "-L", "fifty", &utf8(image)?])?;
        fill(ntfs_3g_mount_writable(image)?, plan::Guest::Ntfs)
    })
}

/// An ext4 or NTFS disk that holds one file of 1 GiB, `big`, in 64 KiB pieces that are by turns random
/// and compressible.
///
/// # Errors
/// As for the disks of 50,000 files.
pub fn big_file(guest: plan::Guest) -> Result<PathBuf> {
    cache::get(guest.big_file_image(), RECIPE, |image| {
        File::create(image)?.set_len(1300 << 20)?;
        let mount = match guest {
            plan::Guest::Ext4 => {
                tool::run("mkfs.ext4", ["-q", "-F", &utf8(image)?])?;
                loop_mount(image, "ext4", "rw")?
            }
            plan::Guest::Ntfs => {
                tool::run("mkntfs", ["-q", "-Q", "-F", &utf8(image)?])?;
                ntfs_3g_mount_writable(image)?
            }
        };
        plan::write_big_file(&mount.path().join("big"))?;
        mount.unmount()
    })
}

fn fill(mount: Mount, guest: plan::Guest) -> Result<()> {
    plan::write(mount.path(), guest)?;
    mount.unmount()
}

pub(crate) fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| "the cache's path is not UTF-8".into())
}
