//! What is known of an opened disk, or of several that were opened together: image files and volumes.

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
    /// The volumes, of this disk and of [`DiskInfo::others`], by their numbers; then those that lie on other volumes
    /// (RAID, LVM). At most [`crate::limits::VOLUMES_MAX`].
    pub volumes: Vec<VolumeInfo>,
    /// What the user should know of the disk, a line each.
    pub notes: Vec<String>,
    /// The disks that were opened together with this one. Fewer than [`crate::limits::DISKS_MAX`].
    pub others: Vec<OtherDisk>,
}

/// A disk that was opened together with another one. The fields are those of [`DiskInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherDisk {
    /// Its layers.
    pub layers: Vec<LayerInfo>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its logical sector size in bytes.
    pub sector_bytes: u32,
    /// Its partition table.
    pub table: String,
    /// Id of its partition table.
    pub table_id: String,
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

/// A volume: a partition, a whole disk, or what several of these make up together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The directory that shows it, a valid [`crate::Name`] that no other volume has: `p` and the number; on the second
    /// disk `d2p` and the number; `<group>-<name>` for a logical volume of LVM; an array's name.
    pub directory: String,
    /// Index of the disk it lies on: 0, or 1 and up in [`DiskInfo::others`]. Of an assembled volume always 0.
    pub disk: u32,
    /// Partition number as Linux counts it; 0 when the volume is no partition.
    pub number: u32,
    /// Where it begins on the disk, or on the volume that it is a partition of, in bytes.
    pub start_bytes: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The partition's type: lower-case hexadecimal without leading zeros (MBR) or an upper-case GUID (GPT); may be empty.
    pub partition_type: String,
    /// The partition's name (GPT), the logical volume's, the array's.
    pub name: String,
    /// The volume's own id (GPT: upper-case GUID; LVM's and MD's in the form of their tools).
    pub id: String,
    /// Attributes in sfdisk's form, such as `RequiredPartition GUID:63`; MBR: `active` or empty.
    pub attributes: String,
    /// Whether it only holds other partitions (an extended partition, an array or logical volume with a table).
    pub is_extended: bool,
    /// What it is a part of and has no filesystem for: `lvm2 member of vg0`, `md member of root`; empty when of nothing.
    pub member_of: String,
    /// What it is made up of, when it lies on other volumes.
    pub assembled: Option<AssembledInfo>,
    /// The filesystem in it, or why none could be opened (`Unsupported` when none is known).
    pub filesystem: Result<TreeInfo, Error>,
}

/// How a volume is made up of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembledInfo {
    /// `lvm2` or `md`.
    pub format: String,
    /// The volume group's name; empty for an array.
    pub group: String,
    /// The volume group's id; empty for an array.
    pub group_id: String,
    /// Its segments or its level, a line each: `linear`, `striped over 2`, `raid1 of 2`.
    pub segments: Vec<String>,
    /// What the user should know of it, a line each: a leg that is stale, ...
    pub notes: Vec<String>,
}

impl VolumeInfo {
    /// The directory that shows this volume.
    pub fn directory_name(&self) -> String {
        self.directory.clone()
    }

    /// The directory of the partition `number` of a disk, by the disk's index; 0 is the whole disk.
    pub fn partition_directory(disk: u32, number: u32) -> String {
        match disk {
            0 => format!("p{number}"),
            _ => format!("d{}p{number}", disk.saturating_add(1)),
        }
    }
}
