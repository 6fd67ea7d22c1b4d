//! The volumes of a disk as one tree.

use spelunk_mount::{Composition, Part};
use spelunk_sandbox::Disk;
use spelunk_tree::{DiskInfo, Error, ErrorKind, Name, Result, Tree, VolumeInfo};
use std::sync::Arc;

/// The trees of a disk, in the order of [`DiskInfo::volumes`].
pub fn trees_of(disk: &Disk) -> Vec<Option<Arc<dyn Tree>>> {
    (0..disk.info().volumes.len()).map(|index| disk.tree(index)).collect()
}

/// All volumes worth showing, or the one with the directory `only`, as parts of a composition.
///
/// # Errors
/// `Internal`, `Limit`.
pub fn parts(info: &DiskInfo, trees: Vec<Option<Arc<dyn Tree>>>, only: Option<&str>) -> Result<Vec<Part>> {
    let is_meant = |volume: &VolumeInfo| only.is_none_or(|directory| directory == volume.directory);
    let volumes = info.volumes.iter().zip(trees);
    let shown = volumes.filter(|(volume, _)| is_meant(volume) && is_worth_showing(volume));
    shown.map(|(volume, tree)| part(volume, tree)).collect()
}

/// A single volume's own tree, or one of all volumes.
///
/// # Errors
/// Why there is nothing to show.
pub fn top_of(mut parts: Vec<Part>) -> Result<Arc<dyn Tree>> {
    const NOTHING: &str = "no filesystem to show on this disk";
    if parts.len() == 1 {
        return parts.remove(0).1;
    }
    if parts.iter().any(|(_, tree)| tree.is_ok()) {
        return Ok(Arc::new(Composition::new(parts)?));
    }
    match parts.into_iter().find_map(|(_, tree)| tree.err()) {
        Some(error) => Err(error.context(NOTHING)),
        None => Err(Error::unsupported(NOTHING)),
    }
}

fn part(volume: &VolumeInfo, tree: Option<Arc<dyn Tree>>) -> Result<Part> {
    let tree = match &volume.filesystem {
        Ok(_) => tree.ok_or_else(|| Error::internal("a filesystem without a tree")),
        Err(error) => Err(error.clone()),
    };
    Ok((Name::new(volume.directory_name().into_bytes())?, tree))
}

/// Whether a volume is one for users: it has a filesystem, or should have one and that must be told.
pub fn is_worth_showing(volume: &VolumeInfo) -> bool {
    match &volume.filesystem {
        Ok(_) => true,
        Err(error) => {
            let is_empty_by_type =
                error.kind() == ErrorKind::Unsupported && holds_no_files(&volume.partition_type);
            !volume.is_extended && volume.member_of.is_empty() && !is_empty_by_type
        }
    }
}

/// Whether partitions of this type never hold a filesystem: empty, swap, Microsoft reserved, LDM metadata,
/// BIOS boot.
fn holds_no_files(partition_type: &str) -> bool {
    const TYPES: [&str; 6] = [
        "0",
        "82",
        "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
        "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3",
        "21686148-6449-6E6F-744E-656564454649",
    ];
    TYPES.contains(&partition_type)
}
