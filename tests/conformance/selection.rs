//! Which images of the corpus are compared.

use spelunk_testkit::corpus::Image;

/// Containers that Spelunk opens, by the extensions of the corpus' files.
const CONTAINERS: &[&str] = &["raw", "img", "vhd", "vhdx", "vhdz", "vhdxz", "qcow2", "vmdk"];

/// Filesystems and kinds of disks that Spelunk opens, as the corpus' index calls them. The other volumes
/// of a mixed disk stand in the table of known differences.
const FILESYSTEMS: &[&str] = &[
    "disk",
    "exfat",
    "ext",
    "ext2",
    "ext3",
    "ext4",
    "fat",
    "fat12",
    "fat16",
    "fat32",
    "gpt",
    "lvm2",
    "mbr",
    "mbr+ntfs",
    "ntfs",
    "vhdx+lvm2",
    "vhdx+ntfs",
];

/// Whether Spelunk must show of an image what its manifest says.
pub fn is_readable(image: &Image) -> bool {
    CONTAINERS.contains(&image.extension())
        && FILESYSTEMS.contains(&image.filesystem.as_str())
        && matches!(image.class.as_str(), "ok" | "seed" | "needs-replay" | "damaged")
        && image.manifest.is_some()
        && !image.is_encrypted
}

/// Whether an image was made to do harm, or is too broken to have a manifest.
pub fn is_hostile(image: &Image) -> bool {
    matches!(image.class.as_str(), "hostile" | "damaged" | "probe")
        || (image.class == "seed" && image.manifest.is_none())
}
