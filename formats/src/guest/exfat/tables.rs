//! The volume's own tables: its label, its table of upper case, its bitmap of clusters.
//!
//! Specification, sections 7.1 to 7.3.

use super::Volume;
use super::directory::Reader;
use super::entry::{self, Kind, TablePlace};
use super::extent::Extent;
use crate::bytes::{index, u8_at};
use crate::extent::read_runs;
use crate::guest::upcase::Upcase;
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Error, Result};

/// Entries of the root that are searched: whoever makes a volume puts the tables first.
const ENTRIES_MAX: u32 = 1 << 16;
/// A unit of two bytes for each UTF-16 unit.
const UPCASE_BYTES_MAX: u64 = 2 << 16;
const UPCASE_UNITS_MAX: usize = 1 << 16;
/// Stands, in a table of upper case, before a count of units that are their own upper case.
const SAME: u16 = 0xFFFF;
/// Bytes of a bitmap that are counted: those of 16 TiB in clusters of 128 KiB.
const BITMAP_BYTES_MAX: u64 = 16 << 20;

/// The tables as the root directory names them.
#[derive(Default)]
pub struct Tables {
    /// The label; empty without one.
    pub label: Vec<u8>,
    bitmap: Option<TablePlace>,
    upcase: Option<(TablePlace, u32)>,
}

impl Tables {
    /// Searches the root directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(root: &mut Reader<'_>, uses_second_bitmap: bool) -> Result<Tables> {
        let mut tables = Tables::default();
        for _ in 0..ENTRIES_MAX {
            let Some((_, bytes)) = root.next_entry()? else { break };
            match Kind::of(u8_at(&bytes, 0)?) {
                Kind::End => break,
                Kind::Label => tables.label = entry::label(&bytes)?,
                Kind::Upcase => {
                    tables.upcase = Some((TablePlace::parse(&bytes)?, entry::upcase_checksum(&bytes)?));
                }
                Kind::Bitmap if entry::is_second_bitmap(&bytes)? == uses_second_bitmap => {
                    tables.bitmap = Some(TablePlace::parse(&bytes)?);
                }
                _ => {}
            }
        }
        Ok(tables)
    }

    /// Reads the table of upper case.
    ///
    /// # Errors
    /// `Corrupt` when there is none, or another than its checksum says.
    pub fn upcase(&self, volume: &Volume) -> Result<Upcase> {
        let (place, checksum) =
            self.upcase.ok_or_else(|| Error::corrupt("a volume without an up-case table"))?;
        if place.bytes > UPCASE_BYTES_MAX {
            return Err(Error::limit(format!("an up-case table of {} bytes", place.bytes)));
        }
        let bytes = read(volume, place)?;
        if table_checksum(&bytes) != checksum {
            return Err(Error::corrupt("an up-case table with a wrong checksum"));
        }
        Ok(Upcase::new(unpack(utf16_units(&bytes))))
    }

    /// Counts the clusters that are not in use. `None` where the bitmap is too long to be counted on opening.
    ///
    /// # Errors
    /// `Corrupt` when there is no bitmap, or one that is too short.
    pub fn free_clusters(&self, volume: &Volume) -> Result<Option<u64>> {
        let place = self.bitmap.ok_or_else(|| Error::corrupt("a volume without an allocation bitmap"))?;
        let clusters = volume.clusters.layout().clusters;
        let bytes = u64::from(clusters.div_ceil(8));
        if place.bytes < bytes {
            return Err(Error::corrupt("an allocation bitmap that is too short"));
        }
        if bytes > BITMAP_BYTES_MAX {
            return Ok(None);
        }
        let bitmap = read(volume, TablePlace { bytes, ..place })?;
        let (whole, last) = bitmap.split_at_checked(index(clusters >> 3)?).unwrap_or_default();
        let in_whole: u64 = whole.iter().map(|byte| u64::from(byte.count_zeros())).sum();
        // The bits behind the last cluster's mean nothing.
        let used_mask = u8::MAX.checked_shl(clusters & 7).unwrap_or(0);
        let in_last: u64 = last.iter().map(|byte| u64::from((byte | used_mask).count_zeros())).sum();
        Ok(Some(in_whole.saturating_add(in_last)))
    }
}

fn read(volume: &Volume, place: TablePlace) -> Result<Vec<u8>> {
    let extent = Extent::new(&volume.clusters, place.first_cluster, false, place.bytes)?;
    let mut runs = Vec::new();
    if extent.runs(&volume.clusters, 0, place.bytes, &mut runs)? < place.bytes {
        extent.end()?;
        return Err(Error::corrupt("a chain of clusters shorter than its table"));
    }
    let mut bytes = vec![0; index(place.bytes)?];
    read_runs(&*volume.bytes, &runs, &mut bytes)?;
    Ok(bytes)
}

fn table_checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.rotate_right(1).wrapping_add(u32::from(*byte)))
}

fn unpack(stored: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut upper: Vec<u16> = Vec::new();
    let mut stored = stored;
    while let Some(unit) = stored.next() {
        let position = u16::try_from(upper.len()).unwrap_or(u16::MAX);
        match unit {
            SAME => {
                let behind = position.saturating_add(stored.next().unwrap_or(0));
                upper.extend(position..behind);
            }
            _ if upper.len() < UPCASE_UNITS_MAX => upper.push(unit),
            _ => break,
        }
    }
    upper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upcase_tables_unpack_within_their_bounds() {
        assert_eq!(unpack([SAME, 3, 9, 9, SAME, 2, 7].into_iter()), [0, 1, 2, 9, 9, 5, 6, 7]);
        assert_eq!(unpack([SAME, SAME, SAME, SAME, 5].into_iter()).len(), 65_536);
        assert_eq!(unpack([1, SAME].into_iter()), [1]);
    }
}
