//! The header of a GUID partition table, and the checks of the array of entries behind it.
//!
//! UEFI specification 2.10, section 5.3.

use super::entry;
use crate::bytes::{array, count, index, le_u32, le_u64, mul};
use crate::partition::disk_holds;
use spelunk_tree::{Error, ReadAt, Result};

const MAGIC: &[u8; 8] = b"EFI PART";
/// Bytes of the header that the specification defines; a header may say it is longer.
const HEADER_BYTES_MIN: usize = 92;
const CHECKSUM_AT: usize = 16;
/// Bytes of the array of entries: 8192 entries of the usual size, far above the usual 128 entries.
const TABLE_BYTES_MAX: u64 = 1 << 20;

/// A header whose place and sizes make sense.
pub struct Header {
    /// Where the other header is.
    pub alternate_lba: u64,
    /// The disk's GUID.
    pub disk_guid: [u8; 16],
    /// Whether the header's checksum is right.
    pub is_sound: bool,
    entries_lba: u64,
    entry_count: u32,
    entry_bytes: u32,
    entries_checksum: u32,
}

/// The array of entries.
pub struct Entries {
    /// What is there of it: whole entries only where the disk is cut off.
    pub bytes: Vec<u8>,
    /// Bytes of an entry.
    pub entry_bytes: usize,
    /// Whether all is there and its checksum is right.
    pub is_sound: bool,
}

impl Header {
    /// Reads the header in sector `lba`. `None` when there is none: no such sector, no magic, or a header
    /// that was meant for another place or cannot be.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn read(disk: &dyn ReadAt, lba: u64, sector_bytes: u32) -> Result<Option<Header>> {
        let mut sector = vec![0; index(sector_bytes)?];
        let Ok(offset) = mul(lba, u64::from(sector_bytes)) else { return Ok(None) };
        if !disk_holds(disk, offset, sector.len()) {
            return Ok(None);
        }
        disk.read_at(offset, &mut sector)?;
        if array(&sector, 0)? != *MAGIC || le_u64(&sector, 24)? != lba {
            return Ok(None);
        }
        Ok(Header::parse(&sector).ok())
    }

    fn parse(sector: &[u8]) -> Result<Header> {
        let header_bytes = index(le_u32(sector, 12)?)?;
        let header = Header {
            alternate_lba: le_u64(sector, 32)?,
            disk_guid: array(sector, 56)?,
            is_sound: checksum_of_header(sector, header_bytes)? == le_u32(sector, CHECKSUM_AT)?,
            entries_lba: le_u64(sector, 72)?,
            entry_count: le_u32(sector, 80)?,
            entry_bytes: le_u32(sector, 84)?,
            entries_checksum: le_u32(sector, 88)?,
        };
        if index(header.entry_bytes)? < entry::BYTES || header.table_bytes()? > TABLE_BYTES_MAX {
            return Err(Error::limit("a GPT with entries too small or too many"));
        }
        Ok(header)
    }

    fn table_bytes(&self) -> Result<u64> {
        mul(u64::from(self.entry_count), u64::from(self.entry_bytes))
    }

    /// Where the entries of the backup begin, just before its header, as far as the primary knows.
    pub fn alternate_entries_lba(&self, sector_bytes: u32) -> Option<u64> {
        let sectors = self.table_bytes().ok()?.div_ceil(u64::from(sector_bytes.max(1)));
        self.alternate_lba.checked_sub(sectors)
    }

    /// The same header with its entries in another place.
    pub fn with_entries_at(&self, entries_lba: u64) -> Header {
        Header { entries_lba, ..*self }
    }

    /// Reads the entries, or what is there of them.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn read_entries(&self, disk: &dyn ReadAt, sector_bytes: u32) -> Result<Entries> {
        let offset = mul(self.entries_lba, u64::from(sector_bytes))?;
        let wanted = self.table_bytes()?;
        let there = wanted.min(disk.size().saturating_sub(offset));
        let mut bytes = vec![0; index(there)?];
        disk.read_at(offset, &mut bytes)?;
        let entry_bytes = index(self.entry_bytes)?;
        // UrBackup's checksum covers the one entry that it writes, whatever the count says.
        let first = bytes.get(..entry_bytes).unwrap_or_default();
        let is_right = |bytes: &[u8]| crc32fast::hash(bytes) == self.entries_checksum;
        let is_sound = count(bytes.len()) == wanted && (is_right(&bytes) || is_right(first));
        Ok(Entries { bytes, entry_bytes, is_sound })
    }
}

/// The checksum is taken with zeros in its own place.
fn checksum_of_header(sector: &[u8], header_bytes: usize) -> Result<u32> {
    let header = sector.get(..header_bytes.max(HEADER_BYTES_MIN));
    let header = header.ok_or_else(|| Error::corrupt("a GPT header longer than a sector"))?;
    let (before, rest) = header.split_at_checked(CHECKSUM_AT).unwrap_or_default();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    hasher.update(&[0; 4]);
    hasher.update(rest.get(4..).unwrap_or_default());
    Ok(hasher.finalize())
}
