//! Real FUSE mounts: what they show, who may make them, how they end, what a lost worker does to them.

mod counts;
mod full_walk;
mod idle;
mod lifecycle;
mod lost_worker;

use crate::program;
use spelunk_testkit::peer::{self, Directory, Mount};
use spelunk_testkit::{Result, image, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ext4 disk of 50,000 files, or `None` where it cannot be made.
fn ext4_image() -> Option<PathBuf> {
    let can =
        skip::unless_fuse() && skip::unless_root("making the image") && skip::unless_found(&["mkfs.ext4"]);
    can.then(|| image::ext4_of_50_000_files().expect("the image can be made"))
}

/// Mounts an image in the foreground, by a child of this process.
fn mount_foreground(image: &Path, options: &[&str]) -> Result<Mount> {
    peer::spelunk_mount_foreground(Command::new(program::path()), image, options, Directory::new()?)
}
