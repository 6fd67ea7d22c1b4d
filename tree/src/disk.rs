//! What is known of an opened disk: its chain of image files and its volumes.

use crate::{Error, TreeInfo};

/// A disk: image files that form one chain, and the volumes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskInfo {
    /// The layers, from the image that was opened down to its last parent. A compressed container is a
    /// layer of its own, above what is inside it.
    pub layers: Vec<LayerInfo>,
    /// Size of the virtual disk in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub sector_bytes: u32,
    /// Partition table: `gpt`, `mbr`, or `none` when one filesystem fills the disk.
    pub table: String,
    /// UUID or signature of the partition table; empty when there is none.
    pub table_id: String,
    /// The volumes, by their numbers. At most [`crate::limits::VOLUMES_MAX`].
    pub volumes: Vec<VolumeInfo>,
    /// What the user should know of the disk, a line each.
    pub notes: Vec<String>,
}

/// One layer of a disk's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Index of the image file that the layer is read from.
    pub source: u32,
    /// Format: `raw`, `vhd`, `vhdz`, `vhdx`, `qcow2`, `vmdk`, `vdi`.
    pub format: String,
    /// Variant: `fixed`, `dynamic`, `differencing`, `zstd`, ...; empty when there is just one.
    pub variant: String,
    /// Size of what the layer shows, in bytes.
    pub size_bytes: u64,
    /// Unit of allocation in bytes; 0 when there is none.
    pub block_bytes: u64,
    /// The layer's own id, by which children know it; empty when it has none.
    pub id: String,
    /// Its parent.
    pub parent: Option<ParentRef>,
    /// What the user should know of the layer, a line each: `log replayed`, ...
    pub notes: Vec<String>,
}

/// How an image names its parent. The ids decide; the names only help to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRef {
    /// The id that the parent must have, in [`LayerInfo::id`]'s form; empty when only its name is known (QCOW2).
    pub id: String,
    /// Another id that will do (VHDX's `parent_linkage2`); empty when there is none.
    pub alternative_id: String,
    /// What stands in the image as the parent's path, most useful first, `/` between components. Hostile:
    /// only base names and the name of the directory just above may be used, never the path. With an id,
    /// `*.EXTENSION` stands for all files with that extension, and `../*.EXTENSION` for those in the directory above.
    pub paths: Vec<String>,
}

/// A volume of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Partition number as Linux counts it; 0 when the volume is the whole disk.
    pub number: u32,
    /// Where it begins on the disk, in bytes.
    pub start_bytes: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The partition's type: lower-case hexadecimal without leading zeros (MBR) or an upper-case GUID (GPT); may be empty.
    pub partition_type: String,
    /// The partition's name (GPT).
    pub name: String,
    /// The partition's own id (GPT: upper-case GUID).
    pub id: String,
    /// Attributes in sfdisk's form, such as `RequiredPartition GUID:63`; MBR: `active` or empty.
    pub attributes: String,
    /// Whether it only holds other partitions (an extended partition).
    pub is_extended: bool,
    /// The filesystem in it, or why none could be opened (`Unsupported` when none is known).
    pub filesystem: Result<TreeInfo, Error>,
}

impl VolumeInfo {
    /// The directory that shows this volume: `p` and the number.
    pub fn directory_name(&self) -> String {
        format!("p{}", self.number)
    }
}
