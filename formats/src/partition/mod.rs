//! Partition tables: from a disk to its volumes.
//!
//! To add one: a folder here, a row in [`TABLES`], a fixture, a row in the README's table.

use spelunk_tree::{ReadAt, Result};

/// One kind of partition table.
pub struct Table {
    /// Its name in [`spelunk_tree::DiskInfo::table`] and the README's table.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Reads the table when there is one of this kind: `None` when there is not.
    pub read: fn(disk: &dyn ReadAt, sector_bytes: Option<u32>) -> Result<Option<Partitions>>,
}

/// All kinds in the order they are tried.
pub static TABLES: &[Table] = &[];

/// What a partition table says.
pub struct Partitions {
    /// [`Table::name`].
    pub table: &'static str,
    /// UUID or signature.
    pub id: String,
    /// The sector size that the table is written in.
    pub sector_bytes: u32,
    /// The partitions by number.
    pub partitions: Vec<Partition>,
    /// What the user should know, a line each: `primary GPT damaged, backup used`, ...
    pub notes: Vec<String>,
}

/// One partition. The fields are those of [`spelunk_tree::VolumeInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Number as Linux counts.
    pub number: u32,
    /// First byte.
    pub start_bytes: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Type.
    pub partition_type: String,
    /// Name (GPT).
    pub name: String,
    /// Id (GPT).
    pub id: String,
    /// Attributes.
    pub attributes: String,
    /// Whether it only holds others.
    pub is_extended: bool,
}

/// Reads the first partition table that `disk` has, `None` when there is none. A boot sector that is a
/// filesystem's own (NTFS, FAT) is not taken for an MBR.
///
/// # Errors
/// When the storage fails. A damaged table is none, or one with notes.
pub fn read(disk: &dyn ReadAt, sector_bytes: Option<u32>) -> Result<Option<Partitions>> {
    for table in TABLES {
        if let Some(found) = (table.read)(disk, sector_bytes)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
