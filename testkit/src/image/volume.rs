//! Volumes: a filesystem, and what it holds.

use super::plan::{self, Guest};
use super::utf8;
use crate::peer::{Mount, loop_mount, ntfs_3g_mount_writable};
use crate::{Result, cache, tool};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a volume holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// 50,000 files of every kind, 20,000 of them in one directory: [`plan::write`].
    Mixed,
    /// So many small files in directories of 40: [`plan::write_small_files`].
    Small(u64),
    /// One file of 1 GiB, `big`, half of which can be compressed: [`plan::write_big_file`].
    Big,
    /// A handful of files on a volume of 2 TB, which takes up hardly any space.
    Vast,
}

/// A volume that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its filesystem.
    pub guest: Guest,
    /// What it holds.
    pub contents: Contents,
}

/// Everything that volumes depend on.
const RECIPE: &str = concat!(include_str!("volume.rs"), include_str!("plan.rs"));

impl Volume {
    /// The volume as an image of its own, without a partition table.
    ///
    /// # Errors
    /// For ext4 without root, mkfs.ext4 or loop devices; for NTFS without mkntfs, ntfs-3g or the right to
    /// mount.
    pub fn unpartitioned(self) -> Result<PathBuf> {
        cache::get(&format!("{}.img", self.name()), RECIPE, |image| {
            File::create(image)?.set_len(self.bytes())?;
            self.make(image)
        })
    }

    /// The volume's name among the cached files.
    pub fn name(self) -> String {
        let guest = match self.guest {
            Guest::Ext4 => "ext4",
            Guest::Ntfs => "ntfs",
        };
        match self.contents {
            Contents::Mixed => format!("{guest}-50000"),
            Contents::Small(files) => format!("{guest}-{files}-small"),
            Contents::Big => format!("{guest}-big"),
            Contents::Vast => format!("{guest}-2tb"),
        }
    }

    /// The volume's size. Most of it is never written, so its image is a sparse file.
    pub(super) fn bytes(self) -> u64 {
        match self.contents {
            Contents::Mixed => 960 << 20,
            // A small file takes a block of 4 KiB and an inode; the rest is for directories.
            Contents::Small(files) => (64 << 20) + files * (6 << 10),
            Contents::Big => 1300 << 20,
            Contents::Vast => 2 << 40,
        }
    }

    /// Formats a sparse file or a device of the volume's size, and fills it.
    pub(super) fn make(self, at: &Path) -> Result<()> {
        let mount = match self.guest {
            Guest::Ext4 => self.format_ext4(at)?,
            Guest::Ntfs => {
                tool::run("mkntfs", ["-q", "-Q", "-F", "-L", "spelunk", &utf8(at)?])?;
                ntfs_3g_mount_writable(at)?
            }
        };
        match self.contents {
            Contents::Mixed => plan::write(mount.path(), self.guest)?,
            Contents::Small(files) => plan::write_small_files(mount.path(), self.guest, files)?,
            Contents::Big => plan::write_big_file(&mount.path().join("big"))?,
            Contents::Vast => plan::write_small_files(mount.path(), self.guest, 10)?,
        }
        mount.unmount()
    }

    fn format_ext4(self, at: &Path) -> Result<Mount> {
        let mut arguments = vec!["-q".to_owned(), "-F".to_owned()];
        let mut options = "rw";
        match self.contents {
            Contents::Mixed => arguments.extend(["-L", "spelunk", "-N", "65536"].map(str::to_owned)),
            Contents::Small(files) => {
                arguments.extend(["-N".to_owned(), (files * 9 / 8 + 1024).to_string()]);
            }
            Contents::Big => {}
            Contents::Vast => {
                // Neither mkfs nor the kernel shall write inode tables and journal: they are gigabytes of zeros.
                arguments
                    .extend(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"].map(str::to_owned));
                options = "rw,noinit_itable";
            }
        }
        arguments.push(utf8(at)?);
        tool::run("mkfs.ext4", arguments)?;
        loop_mount(at, "ext4", options)
    }
}
