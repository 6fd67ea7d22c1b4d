//! The 512 bytes that a master boot record and an extended boot record share.

use crate::bytes::{array, le_u32, u8_at};
use crate::partition::disk_holds;
use spelunk_tree::{ReadAt, Result};
use std::ops::Range;

/// Bytes of a boot record, whatever the sector size.
pub const RECORD_BYTES: usize = 512;

const SIGNATURE_AT: usize = 440;
const ENTRIES_AT: [usize; 4] = [446, 462, 478, 494];
const MAGIC_AT: usize = 510;
const MAGIC: [u8; 2] = [0x55, 0xAA];

const STATUS_ACTIVE: u8 = 0x80;
const TYPE_GPT_PROTECTIVE: u8 = 0xEE;
/// CHS-addressed, LBA-addressed, and Linux's own extended partitions.
const TYPES_EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];

/// A boot record: the first sector of a disk (MBR) or of an extended partition (EBR).
pub struct BootRecord {
    /// The disk's signature; of an EBR, nothing.
    pub disk_signature: u32,
    /// The four entries in their slots, also unused ones.
    pub entries: [Entry; 4],
}

/// One of the four entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 0x80 when it is to be booted, else 0.
    pub status: u8,
    /// The partition's type.
    pub partition_type: u8,
    /// First sector, counted from a place that depends on the record.
    pub start_lba: u32,
    /// Sectors in it; 0 marks an unused slot.
    pub sectors: u32,
}

impl BootRecord {
    /// Reads the record at `offset`. `None` when there are no 512 bytes or no magic there.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn read(disk: &dyn ReadAt, offset: u64) -> Result<Option<BootRecord>> {
        if !disk_holds(disk, offset, RECORD_BYTES) {
            return Ok(None);
        }
        let mut sector = [0; RECORD_BYTES];
        disk.read_at(offset, &mut sector)?;
        BootRecord::parse(&sector)
    }

    fn parse(sector: &[u8; RECORD_BYTES]) -> Result<Option<BootRecord>> {
        if array::<2>(sector, MAGIC_AT)? != MAGIC {
            return Ok(None);
        }
        let [a, b, c, d] = ENTRIES_AT.map(|at| Entry::parse(sector, at));
        Ok(Some(BootRecord { disk_signature: le_u32(sector, SIGNATURE_AT)?, entries: [a?, b?, c?, d?] }))
    }

    /// The used entries with their slots, from 0.
    pub fn used(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0..).zip(&self.entries).filter(|(_, entry)| entry.sectors != 0)
    }

    /// Whether this can be a partition table: what stands there in the boot sector of a filesystem is
    /// code or text, which fails this (so decides Linux, too), or zeros.
    pub fn is_table(&self) -> bool {
        let is_legal = self.entries.iter().all(|entry| matches!(entry.status, 0 | STATUS_ACTIVE));
        is_legal && self.used().any(|(_, entry)| entry.partition_type != 0)
    }

    /// Whether this is a partition table beyond doubt: all its partitions lie apart from each other on
    /// the disk of `disk_sectors`, behind this sector.
    pub fn is_certain_table(&self, disk_sectors: u64) -> bool {
        let mut ranges: Vec<Range<u64>> = self.used().map(|(_, entry)| entry.range()).collect();
        ranges.sort_by_key(|range| range.start);
        let apart = ranges.windows(2).all(|pair| match pair {
            [before, after] => before.end <= after.start,
            _ => true,
        });
        apart && self.is_table() && ranges.iter().all(|range| range.start > 0 && range.end <= disk_sectors)
    }

    /// Where the protective entry of a GPT says that the disk ends, when there is such an entry.
    pub fn protected_sectors(&self) -> Option<u64> {
        let protective = self.entries.iter().find(|entry| entry.partition_type == TYPE_GPT_PROTECTIVE)?;
        self.is_table().then(|| protective.range().end)
    }

    /// Where partitions begin that are no protective ones.
    pub fn unprotected_starts(&self) -> Vec<u64> {
        let others =
            self.used().filter(|(_, entry)| ![0, TYPE_GPT_PROTECTIVE].contains(&entry.partition_type));
        others.map(|(_, entry)| entry.range().start).collect()
    }
}

impl Entry {
    fn parse(sector: &[u8], at: usize) -> Result<Entry> {
        let bytes: [u8; 16] = array(sector, at)?;
        Ok(Entry {
            status: u8_at(&bytes, 0)?,
            partition_type: u8_at(&bytes, 4)?,
            start_lba: le_u32(&bytes, 8)?,
            sectors: le_u32(&bytes, 12)?,
        })
    }

    /// Whether it holds other partitions.
    pub fn is_extended(&self) -> bool {
        TYPES_EXTENDED.contains(&self.partition_type)
    }

    /// Whether it is to be booted.
    pub fn is_active(&self) -> bool {
        self.status & STATUS_ACTIVE != 0
    }

    /// Its sectors, counted from where its start counts from.
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.start_lba);
        // Two 32-bit numbers cannot overflow the sum.
        start..start.saturating_add(u64::from(self.sectors))
    }
}
