//! Master boot records, with extended and logical partitions.
//!
//! There is no specification; this follows what Linux does (`block/partitions/msdos.c`), so numbers are
//! the same as in `/dev/sda5`.

mod extended;
mod record;

use super::{Partition, Partitions, Table, disk_holds, holds_filesystem};
use crate::Slice;
use crate::bytes::mul;
use extended::{Logical, read_chain};
pub(super) use record::BootRecord;
use record::{Entry, RECORD_BYTES};
use spelunk_tree::{ReadAt, Result};
use std::ops::Range;

/// The row of this table.
pub const TABLE: Table =
    Table { name: "mbr", summary: "master boot record with extended and logical partitions", read };

/// Sector sizes that disks with an MBR have, in the order of preference.
const SECTOR_BYTES: [u32; 2] = [512, 4096];

/// Logical partitions are numbered from here.
const LOGICAL_NUMBER_FIRST: u32 = 5;

/// Boot sectors of volumes whose readers may not be there to recognise them: exFAT and BitLocker.
const VOLUME_MAGICS: [&[u8; 8]; 2] = [b"EXFAT   ", b"-FVE-FS-"];
const VOLUME_MAGIC_AT: u64 = 3;

fn read(disk: &dyn ReadAt, sector_bytes: Option<u32>) -> Result<Option<Partitions>> {
    let Some(record) = BootRecord::read(disk, 0)?.filter(BootRecord::is_table) else {
        return Ok(None);
    };
    let [usual_bytes, _] = SECTOR_BYTES;
    let told_or_usual = u64::from(sector_bytes.unwrap_or(usual_bytes));
    let disk_sectors = disk.size().checked_div(told_or_usual).unwrap_or(0);
    if !record.is_certain_table(disk_sectors) && is_volume(disk)? {
        return Ok(None);
    }
    let sector_bytes = match sector_bytes {
        Some(told) => told,
        None => likely_sector_bytes(disk, &record)?,
    };
    let mut notes = Vec::new();
    if record.protected_sectors().is_some() {
        notes.push("the MBR protects a GPT, but no usable GPT was found".into());
    }
    let partitions = read_partitions(disk, &record, sector_bytes, &mut notes)?;
    let id = match record.disk_signature {
        0 => String::new(),
        signature => format!("{signature:08x}"),
    };
    Ok(Some(Partitions { table: TABLE.name, id, sector_bytes, partitions, notes }))
}

/// Whether the whole disk is one volume.
fn is_volume(disk: &dyn ReadAt) -> Result<bool> {
    let mut magic = [0; 8];
    if disk_holds(disk, VOLUME_MAGIC_AT, magic.len()) {
        disk.read_at(VOLUME_MAGIC_AT, &mut magic)?;
    }
    Ok(VOLUME_MAGICS.contains(&&magic) || holds_filesystem(disk)?)
}

/// The sector size that the entries count in, where nothing tells it: that at which filesystems are found
/// where partitions begin, else 512.
fn likely_sector_bytes(disk: &dyn ReadAt, record: &BootRecord) -> Result<u32> {
    let [usual_bytes, _] = SECTOR_BYTES;
    for sector_bytes in SECTOR_BYTES {
        for (_, entry) in record.used() {
            if is_start_of_partition(disk, entry, sector_bytes)? {
                return Ok(sector_bytes);
            }
        }
    }
    Ok(usual_bytes)
}

fn is_start_of_partition(disk: &dyn ReadAt, entry: &Entry, sector_bytes: u32) -> Result<bool> {
    let (start, len) = byte_range(&entry.range(), sector_bytes)?;
    if start == 0 || !disk_holds(disk, start, RECORD_BYTES) {
        return Ok(false);
    }
    if entry.is_extended() {
        return Ok(BootRecord::read(disk, start)?.is_some());
    }
    holds_filesystem(&Slice::new(disk, start, len))
}

fn read_partitions(
    disk: &dyn ReadAt,
    record: &BootRecord,
    sector_bytes: u32,
    notes: &mut Vec<String>,
) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    let mut logicals = Vec::new();
    for (slot, entry) in record.used() {
        partitions.push(partition(slot.saturating_add(1), entry, &entry.range(), sector_bytes)?);
        if entry.is_extended() {
            read_chain(disk, entry.range(), sector_bytes, &mut logicals, notes)?;
        }
    }
    for (number, Logical { entry, range }) in (LOGICAL_NUMBER_FIRST..).zip(&logicals) {
        partitions.push(partition(number, entry, range, sector_bytes)?);
    }
    Ok(partitions)
}

fn partition(number: u32, entry: &Entry, range: &Range<u64>, sector_bytes: u32) -> Result<Partition> {
    let (start_bytes, size_bytes) = byte_range(range, sector_bytes)?;
    Ok(Partition {
        number,
        start_bytes,
        size_bytes,
        partition_type: format!("{:x}", entry.partition_type),
        name: String::new(),
        id: String::new(),
        attributes: if entry.is_active() { "active".into() } else { String::new() },
        is_extended: entry.is_extended(),
    })
}

/// Start and length in bytes.
fn byte_range(sectors: &Range<u64>, sector_bytes: u32) -> Result<(u64, u64)> {
    let len = sectors.end.saturating_sub(sectors.start);
    Ok((mul(sectors.start, u64::from(sector_bytes))?, mul(len, u64::from(sector_bytes))?))
}
