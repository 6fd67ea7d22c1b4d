//! Loop devices: a part of a file as a block device. Needs root.

use crate::{Result, tool};
use std::path::{Path, PathBuf};

/// A loop device, given back when dropped.
pub struct LoopDevice {
    path: PathBuf,
    is_attached: bool,
}

impl LoopDevice {
    /// The bytes of `image` from `offset` on, for reading.
    ///
    /// # Errors
    /// When `losetup` fails.
    pub fn attach(image: &Path, offset: u64) -> Result<LoopDevice> {
        losetup(image, &["--read-only", "--offset", &offset.to_string()])
    }

    /// `bytes` bytes of `image` from `offset` on, for writing.
    ///
    /// # Errors
    /// When `losetup` fails.
    pub fn attach_writable(image: &Path, offset: u64, bytes: u64) -> Result<LoopDevice> {
        losetup(image, &["--offset", &offset.to_string(), "--sizelimit", &bytes.to_string()])
    }

    /// The whole of `image` with sectors of this size, for writing.
    ///
    /// # Errors
    /// When `losetup` fails.
    pub fn attach_with_sectors(image: &Path, sector_bytes: u32) -> Result<LoopDevice> {
        losetup(image, &["--sector-size", &sector_bytes.to_string()])
    }

    /// The device.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the device back; what was written to it is in the file then.
    ///
    /// # Errors
    /// When `losetup` fails.
    pub fn detach(mut self) -> Result<()> {
        self.is_attached = false;
        tool::run("losetup", [Path::new("--detach"), &self.path]).map(drop)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if self.is_attached {
            // Best effort, on the way out of something that failed.
            let _ = tool::run("losetup", [Path::new("--detach"), &self.path]);
        }
    }
}

fn losetup(image: &Path, options: &[&str]) -> Result<LoopDevice> {
    let show = ["--find", "--show"].map(Path::new);
    let arguments = show.into_iter().chain(options.iter().map(Path::new)).chain([image]);
    let said = String::from_utf8(tool::run("losetup", arguments)?)?;
    Ok(LoopDevice { path: PathBuf::from(said.trim_end()), is_attached: true })
}
