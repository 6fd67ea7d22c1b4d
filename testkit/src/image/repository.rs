//! Backups by restic, whose mounts are a mark for what people are used to.

use super::disk::{self, PARTITION_OFFSET};
use super::volume::Volume;
use crate::peer::loop_mount;
use crate::{Result, cache, tool};
use std::path::PathBuf;
use std::process::Command;

/// The password of all repositories: restic insists on one.
pub const PASSWORD: &str = "spelunk";

/// A restic repository with one snapshot of an ext4 volume's tree.
///
/// # Errors
/// As for the disk, and without restic.
pub fn of(volume: Volume) -> Result<PathBuf> {
    let disk = disk::of(volume)?;
    let recipe = format!("{}{}", disk.display(), include_str!("repository.rs"));
    cache::get(&format!("{}.restic", volume.name()), &recipe, |repository| {
        let tree = loop_mount(&disk, "ext4", &format!("ro,offset={PARTITION_OFFSET}"))?;
        let restic = || {
            let mut command = Command::new("restic");
            command.env("RESTIC_PASSWORD", PASSWORD).current_dir(tree.path());
            command.arg("--no-cache").arg("--repo").arg(repository);
            command
        };
        tool::output(restic().arg("init"))?;
        tool::output(restic().args(["backup", "--quiet", "."]))?;
        tree.unmount()
    })
}
