//! GUID partition tables.
//!
//! There are two copies: the primary in sector 1, and a backup whose place is the disk's last sector, or
//! was when the table was written. UEFI specification 2.10, section 5.3; more lenient where real tables
//! deviate and enough else agrees.

mod entry;
mod header;

use super::mbr::BootRecord;
use super::{Partition, Partitions, Table, holds_filesystem};
use crate::guid;
use header::{Entries, Header};
use spelunk_tree::{ErrorKind, ReadAt, Result};

/// The row of this table.
pub const TABLE: Table = Table { name: "gpt", summary: "GUID partition table", read };

/// Sector sizes that disks have, in the order of preference.
const SECTOR_BYTES: [u32; 2] = [512, 4096];
const PRIMARY_LBA: u64 = 1;

/// What the disk's first sector says.
enum FirstSector {
    /// An MBR that protects a GPT, the sectors that the disk had when it was written, and where partitions begin
    /// that it lists besides (a hybrid MBR, for systems that know no GPT).
    Protective { disk_sectors: u64, others: Vec<u64> },
    /// An MBR that does not: a GPT that is there is a leftover.
    OtherTable,
    /// No MBR.
    Bare,
}

impl FirstSector {
    fn read(disk: &dyn ReadAt) -> Result<FirstSector> {
        Ok(match BootRecord::read(disk, 0)?.filter(BootRecord::is_table) {
            Some(record) => match record.protected_sectors() {
                Some(disk_sectors) => {
                    FirstSector::Protective { disk_sectors, others: record.unprotected_starts() }
                }
                None => FirstSector::OtherTable,
            },
            None => FirstSector::Bare,
        })
    }
}

/// One of the two copies of the table.
struct Copy {
    lba: u64,
    sector_bytes: u32,
    header: Header,
    entries: Entries,
    /// Whether the entries are those of the other copy.
    is_mixed: bool,
}

impl Copy {
    /// `None` when there is no header, or one that nothing confirms.
    fn read(disk: &dyn ReadAt, lba: u64, sector_bytes: u32) -> Result<Option<Copy>> {
        let Some(header) = Header::read(disk, lba, sector_bytes)? else { return Ok(None) };
        let entries = header.read_entries(disk, sector_bytes)?;
        let is_confirmed = header.is_sound || entries.is_sound;
        Ok(is_confirmed.then_some(Copy { lba, sector_bytes, header, entries, is_mixed: false }))
    }

    /// The same with the entries of the other copy, where these are what the header's checksum is of: damage may
    /// have hit the entries of one copy and the header of the other.
    fn mixed(&self, disk: &dyn ReadAt) -> Result<Option<Copy>> {
        if !self.header.is_sound || self.entries.is_sound {
            return Ok(None);
        }
        let entries_lba = match self.lba {
            PRIMARY_LBA => self.header.alternate_entries_lba(self.sector_bytes),
            _ => Some(PRIMARY_LBA.saturating_add(1)),
        };
        let Some(entries_lba) = entries_lba else { return Ok(None) };
        let header = self.header.with_entries_at(entries_lba);
        let entries = match header.read_entries(disk, self.sector_bytes) {
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
            other => other?,
        };
        let Copy { lba, sector_bytes, .. } = *self;
        Ok(entries.is_sound.then_some(Copy { lba, sector_bytes, header, entries, is_mixed: true }))
    }

    fn is_sound(&self) -> bool {
        self.header.is_sound && self.entries.is_sound
    }
}

fn read(disk: &dyn ReadAt, sector_bytes: Option<u32>) -> Result<Option<Partitions>> {
    let first_sector = FirstSector::read(disk)?;
    if matches!(first_sector, FirstSector::OtherTable) {
        return Ok(None);
    }
    let sizes = sector_bytes.map_or(SECTOR_BYTES.to_vec(), |told| vec![told]);
    let Some(copy) = best_copy(disk, &sizes, &first_sector)? else { return Ok(None) };
    // Without an MBR the table may be the leftover of an earlier use of the disk.
    let is_bare = matches!(first_sector, FirstSector::Bare);
    if is_bare && (!copy.is_sound() || holds_filesystem(disk)?) {
        return Ok(None);
    }
    let mut notes = notes_on(&copy);
    if is_bare {
        notes.push("the GPT has no protective MBR".into());
    }
    let partitions = read_partitions(&copy, &mut notes);
    if let FirstSector::Protective { others, .. } = &first_sector {
        notes.extend(hybrid_note(others, &partitions, copy.sector_bytes));
    }
    let id = guid::text(&copy.header.disk_guid);
    Ok(Some(Partitions { table: TABLE.name, id, sector_bytes: copy.sector_bytes, partitions, notes }))
}

/// The first sound copy, else one with the entries of the other, else the first at all; primaries come first.
fn best_copy(disk: &dyn ReadAt, sizes: &[u32], first_sector: &FirstSector) -> Result<Option<Copy>> {
    let mut damaged = Vec::new();
    for &sector_bytes in sizes {
        match read_copy(disk, PRIMARY_LBA, sector_bytes)? {
            Some(copy) if copy.is_sound() => return Ok(Some(copy)),
            other => damaged.extend(other),
        }
    }
    for &sector_bytes in sizes {
        for lba in backup_lbas(disk, sector_bytes, first_sector)? {
            match read_copy(disk, lba, sector_bytes)? {
                Some(copy) if copy.is_sound() => return Ok(Some(copy)),
                other => damaged.extend(other),
            }
        }
    }
    for copy in &damaged {
        if let Some(mixed) = copy.mixed(disk)? {
            return Ok(Some(mixed));
        }
    }
    Ok(damaged.into_iter().next())
}

/// A copy that contradicts itself, or that the container cannot deliver, is as good as none.
fn read_copy(disk: &dyn ReadAt, lba: u64, sector_bytes: u32) -> Result<Option<Copy>> {
    match Copy::read(disk, lba, sector_bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Limit) => Ok(None),
        other => other,
    }
}

/// Where the backup may be: at the end of the disk; where the primary says; and, of a disk that has grown
/// since, where it ended when the protective MBR was written.
fn backup_lbas(disk: &dyn ReadAt, sector_bytes: u32, first_sector: &FirstSector) -> Result<Vec<u64>> {
    let last_lba = |sectors: u64| sectors.checked_sub(1);
    let disk_sectors = disk.size().checked_div(u64::from(sector_bytes)).unwrap_or(0);
    let primary = match Header::read(disk, PRIMARY_LBA, sector_bytes) {
        Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
        other => other.ok().flatten(),
    };
    let mut lbas = vec![last_lba(disk_sectors), primary.map(|header| header.alternate_lba)];
    if let FirstSector::Protective { disk_sectors, .. } = first_sector {
        lbas.push(last_lba(*disk_sectors));
    }
    Ok(lbas.into_iter().flatten().filter(|lba| *lba > PRIMARY_LBA).collect())
}

fn notes_on(copy: &Copy) -> Vec<String> {
    let mut notes = Vec::new();
    if copy.lba != PRIMARY_LBA {
        notes.push(format!("primary GPT damaged, backup in sector {} used", copy.lba));
    }
    if !copy.header.is_sound {
        notes.push("the checksum of the GPT's header is wrong".into());
    }
    if copy.is_mixed {
        notes.push("the GPT's entries are damaged, those of its other copy used".into());
    }
    if !copy.entries.is_sound {
        notes.push("the checksum of the GPT's entries is wrong, or entries are missing".into());
    }
    notes
}

/// Partitions that stand in a hybrid MBR alone are not shown, as Linux does not show them.
fn hybrid_note(others: &[u64], partitions: &[Partition], sector_bytes: u32) -> Option<String> {
    let start_bytes = |lba: &u64| lba.saturating_mul(u64::from(sector_bytes));
    let is_known = |start: u64| partitions.iter().any(|partition| partition.start_bytes == start);
    let unknown = others.iter().map(start_bytes).filter(|start| !is_known(*start)).count();
    (unknown > 0).then(|| {
        format!("the hybrid MBR lists partitions that the GPT does not, which are not shown: {unknown}")
    })
}

/// An entry that cannot be is left out with a note.
fn read_partitions(copy: &Copy, notes: &mut Vec<String>) -> Vec<Partition> {
    let mut partitions = Vec::new();
    for (number, bytes) in (1..).zip(copy.entries.bytes.chunks_exact(copy.entries.entry_bytes)) {
        match entry::parse(bytes, number, copy.sector_bytes) {
            Ok(partition) => partitions.extend(partition),
            Err(error) => notes.push(format!("partition {number} is left out: {error}")),
        }
    }
    partitions
}
