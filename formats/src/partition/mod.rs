//! Partition tables: from a disk to its volumes.
//!
//! To add one: a folder here, a row in [`TABLES`], a fixture, a row in the README's table.

mod gpt;
mod mbr;

use crate::bytes::count;
use crate::guest;
use spelunk_tree::{ErrorKind, ReadAt, Result};

/// One kind of partition table.
pub struct Table {
    /// Its name in [`spelunk_tree::DiskInfo::table`] and the README's table.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Reads the table when there is one of this kind: `None` when there is not.
    pub read: fn(disk: &dyn ReadAt, sector_bytes: Option<u32>) -> Result<Option<Partitions>>,
}

/// All kinds in the order they are tried: a disk with a GPT has an MBR, too.
pub static TABLES: &[Table] = &[gpt::TABLE, mbr::TABLE];

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

impl Partition {
    fn end_bytes(&self) -> u64 {
        self.start_bytes.saturating_add(self.size_bytes)
    }
}

/// Reads the first partition table that `disk` has, `None` when there is none. A boot sector that is a
/// filesystem's own (NTFS, FAT) is not taken for an MBR.
///
/// # Errors
/// When the storage fails. A damaged table is none, or one with notes.
pub fn read(disk: &dyn ReadAt, sector_bytes: Option<u32>) -> Result<Option<Partitions>> {
    for table in TABLES {
        if let Some(mut found) = (table.read)(disk, sector_bytes)? {
            note_odd_places(&mut found, disk.size());
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Notes on one table: enough for any disk that somebody uses, and no flood from a forged one.
const NOTES_MAX: usize = 64;

/// Notes partitions that leave the disk, or overlap the one before them. They are shown all the same.
fn note_odd_places(table: &mut Partitions, disk_bytes: u64) {
    let mut by_start: Vec<&Partition> = table.partitions.iter().filter(|it| !it.is_extended).collect();
    by_start.sort_by_key(|partition| (partition.start_bytes, partition.number));
    for partition in &by_start {
        if partition.end_bytes() > disk_bytes {
            table.notes.push(format!("partition {} leaves the disk", partition.number));
        }
    }
    let mut farthest: Option<&Partition> = None;
    for partition in by_start {
        match farthest {
            Some(before) if before.end_bytes() > partition.start_bytes => {
                table.notes.push(format!("partitions {} and {} overlap", before.number, partition.number));
            }
            _ => {}
        }
        if farthest.is_none_or(|before| before.end_bytes() < partition.end_bytes()) {
            farthest = Some(partition);
        }
    }
    table.notes.truncate(NOTES_MAX);
}

/// Whether `disk` has `len` bytes from `offset` on.
fn disk_holds(disk: &dyn ReadAt, offset: u64, len: usize) -> bool {
    offset.checked_add(count(len)).is_some_and(|end| end <= disk.size())
}

/// Whether one of our guests is in `volume`. A volume whose bytes are not there holds none.
fn holds_filesystem(volume: &dyn ReadAt) -> Result<bool> {
    match guest::recognise(volume) {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
        recognised => Ok(recognised?.is_some()),
    }
}
