//! The boot regions: where everything lies, under a checksum, and all of it twice.
//!
//! Microsoft, "exFAT file system specification", section 3.

use super::entry::{ENTRY_LEN, Kind};
use crate::bytes::{add, array, count, index, le_u16, le_u32, le_u64, mul, range, u8_at};
use crate::guest::clusters::{CLUSTER_FIRST, Layout, Width};
use spelunk_tree::{Error, ErrorKind, ReadAt, Result};

/// Bytes of the boot sector that mean anything.
const BOOT_BYTES: usize = 512;
const NAME_AT: usize = 3;
const NAME: &[u8; 8] = b"EXFAT   ";
const MAGIC_AT: usize = 510;
const MAGIC: [u8; 2] = [0x55, 0xAA];
/// Where FAT has its parameter block, exFAT has zeros, so that nobody takes one for the other.
const MUST_BE_ZERO: (usize, usize) = (11, 53);
const SECTOR_SHIFT_MIN: u8 = 9;
const SECTOR_SHIFT_MAX: u8 = 12;
/// Clusters are of at most 32 MiB.
const CLUSTER_SHIFT_MAX: u8 = 25;
/// Clusters that 32 bits can number: two values are reserved at the bottom, nine at the top.
const CLUSTERS_MAX: u32 = 0xFFFF_FFF5;
/// Sectors of a boot region under the checksum, which fills the sector behind them.
const CHECKED_SECTORS: u64 = 11;
/// Sectors of a boot region. The backup lies behind the main one, the first table behind both.
const REGION_SECTORS: u64 = 12;
/// Bytes that the checksum leaves out, since they change while a volume is in use: flags and percent in use.
const UNCHECKED: [usize; 3] = [106, 107, 112];

const FLAG_SECOND_FAT: u16 = 1;
const FLAG_DIRTY: u16 = 2;
const FLAG_MEDIA_FAILURE: u16 = 4;

/// What a boot region says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The clusters and their table.
    pub layout: Layout,
    /// Where the root directory begins.
    pub root_cluster: u32,
    /// Bytes that the filesystem spans.
    pub total_bytes: u64,
    /// Serial number.
    pub serial: u32,
    /// Whether the second table and the second bitmap are in use.
    pub uses_second_fat: bool,
    /// Whether the volume was in use when it was last seen.
    pub is_dirty: bool,
    /// Whether the medium has failed.
    pub has_media_failures: bool,
    /// What is damaged of the regions, for people.
    pub damage: Option<&'static str>,
    sector_bytes: u64,
}

/// Whether `volume` begins with exFAT's name, or has a sound backup of a boot region where it keeps one, and a root.
///
/// # Errors
/// What the volume reports.
pub fn probe(volume: &dyn ReadAt) -> Result<bool> {
    match read_sector(volume, 0)? {
        Some(sector) if range(&sector, NAME_AT, NAME.len())? == NAME => Ok(true),
        Some(_) => match backup(volume).and_then(|boot| boot.map_or(Ok(false), |boot| boot.has_root(volume)))
        {
            // What cannot be read of a volume that may be another's tells nothing.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            found => found,
        },
        None => Ok(false),
    }
}

impl Boot {
    /// Reads the main boot region; where it is damaged, its backup.
    ///
    /// # Errors
    /// `Corrupt` when both are damaged so that nothing can be told, `Unsupported` for another version of exFAT.
    pub fn read(volume: &dyn ReadAt) -> Result<Boot> {
        let sector =
            read_sector(volume, 0)?.ok_or_else(|| Error::corrupt("a volume without a boot sector"))?;
        let main = Boot::parse(&sector);
        match &main {
            Ok(boot) if boot.has_checksum(volume, 0)? => return main,
            _ => {}
        }
        if let Some(boot) = backup(volume)? {
            return Ok(Boot { damage: Some("the main boot region is damaged: its backup is used"), ..boot });
        }
        let damage = Some("the checksum of the boot region is wrong, and its backup is damaged, too");
        main.map(|boot| Boot { damage, ..boot })
    }

    fn parse(sector: &[u8]) -> Result<Boot> {
        let zeros = range(sector, MUST_BE_ZERO.0, MUST_BE_ZERO.1)?;
        let has_marks = range(sector, NAME_AT, NAME.len())? == NAME
            && array(sector, MAGIC_AT)? == MAGIC
            && zeros.iter().all(|byte| *byte == 0);
        if !has_marks {
            return Err(Error::corrupt("no boot sector of an exFAT volume"));
        }
        let [minor, major] = array(sector, 104)?;
        if major != 1 {
            return Err(Error::unsupported(format!("exFAT of revision {major}.{minor:02}")));
        }
        let bytes_per_sector_shift = u8_at(sector, 108)?;
        let sectors_per_cluster_shift = u8_at(sector, 109)?;
        let cluster_shift = bytes_per_sector_shift.saturating_add(sectors_per_cluster_shift);
        let number_of_fats = u8_at(sector, 110)?;
        if !(SECTOR_SHIFT_MIN..=SECTOR_SHIFT_MAX).contains(&bytes_per_sector_shift)
            || cluster_shift > CLUSTER_SHIFT_MAX
            || !matches!(number_of_fats, 1 | 2)
        {
            return Err(Error::corrupt("a boot sector with impossible sizes"));
        }
        let volume_flags = le_u16(sector, 106)?;
        let sector_bytes = 1_u64 << bytes_per_sector_shift;
        let uses_second_fat = number_of_fats == 2 && volume_flags & FLAG_SECOND_FAT != 0;
        let total_bytes = mul(le_u64(sector, 72)?, sector_bytes)?;
        let layout = layout(sector, sector_bytes, 1 << cluster_shift, uses_second_fat)?;
        if layout.data_end() > total_bytes {
            return Err(Error::corrupt("an exFAT volume that ends before its clusters"));
        }
        Ok(Boot {
            layout,
            root_cluster: le_u32(sector, 96)?,
            total_bytes,
            serial: le_u32(sector, 100)?,
            uses_second_fat,
            is_dirty: volume_flags & FLAG_DIRTY != 0,
            has_media_failures: volume_flags & FLAG_MEDIA_FAILURE != 0,
            damage: None,
            sector_bytes,
        })
    }

    /// Whether the root begins with what it must have. Of a volume that was overwritten by something that is not
    /// known here, such as LVM, the backup may still be there, but hardly this.
    fn has_root(&self, volume: &dyn ReadAt) -> Result<bool> {
        let Ok(offset) = self.layout.cluster_offset(self.root_cluster) else { return Ok(false) };
        let Some(sector) = read_sector(volume, offset)? else { return Ok(false) };
        let types = sector.chunks(ENTRY_LEN).filter_map(|entry| entry.first());
        let kinds: Vec<Kind> = types.map(|entry_type| Kind::of(*entry_type)).collect();
        Ok(kinds.contains(&Kind::Bitmap) && kinds.contains(&Kind::Upcase))
    }

    /// Whether the region that begins at `offset` has the checksum that its last sector says.
    fn has_checksum(&self, volume: &dyn ReadAt, offset: u64) -> Result<bool> {
        let mut region = vec![0; index(mul(self.sector_bytes, REGION_SECTORS)?)?];
        if add(offset, count(region.len()))? > volume.size() {
            return Ok(false);
        }
        volume.read_at(offset, &mut region)?;
        let checked_bytes = index(mul(self.sector_bytes, CHECKED_SECTORS)?)?;
        let (checked, sums) = region.split_at_checked(checked_bytes).unwrap_or_default();
        let sum = region_checksum(checked).to_le_bytes();
        Ok(sums.chunks(sum.len()).all(|stored| stored == sum))
    }
}

fn layout(sector: &[u8], sector_bytes: u64, cluster_bytes: u32, uses_second_fat: bool) -> Result<Layout> {
    let (fat_sectors, heap_sectors) = (le_u32(sector, 80)?, le_u32(sector, 88)?);
    let fat_bytes = mul(u64::from(le_u32(sector, 84)?), sector_bytes)?;
    let first_fat = mul(u64::from(fat_sectors), sector_bytes)?;
    let fat_offset = if uses_second_fat { add(first_fat, fat_bytes)? } else { first_fat };
    let data_offset = mul(u64::from(heap_sectors), sector_bytes)?;
    let clusters = le_u32(sector, 92)?;
    let entries = u32::try_from(fat_bytes >> 2).unwrap_or(u32::MAX);
    let makes_sense = u64::from(fat_sectors) >= REGION_SECTORS.saturating_mul(2)
        && add(fat_offset, fat_bytes)? <= data_offset
        && clusters <= CLUSTERS_MAX
        && clusters <= entries.saturating_sub(CLUSTER_FIRST);
    if !makes_sense {
        return Err(Error::corrupt("a boot sector with a layout that cannot be"));
    }
    Ok(Layout { width: Width::ExFat, cluster_bytes, clusters, fat_offset, fat_bytes, data_offset })
}

fn read_sector(volume: &dyn ReadAt, offset: u64) -> Result<Option<[u8; BOOT_BYTES]>> {
    let mut sector = [0; BOOT_BYTES];
    if add(offset, count(BOOT_BYTES))? > volume.size() {
        return Ok(None);
    }
    volume.read_at(offset, &mut sector)?;
    Ok(Some(sector))
}

/// The backup of the boot region, where it is sound. The size of sectors tells where it lies; that is known from
/// itself alone.
fn backup(volume: &dyn ReadAt) -> Result<Option<Boot>> {
    for shift in SECTOR_SHIFT_MIN..=SECTOR_SHIFT_MAX {
        let sector_bytes = 1 << shift;
        let offset = mul(sector_bytes, REGION_SECTORS)?;
        let Some(sector) = read_sector(volume, offset)? else { return Ok(None) };
        if let Ok(boot) = Boot::parse(&sector)
            && boot.sector_bytes == sector_bytes
            && boot.has_checksum(volume, offset)?
        {
            return Ok(Some(boot));
        }
    }
    Ok(None)
}

/// Specification, section 3.4.
fn region_checksum(bytes: &[u8]) -> u32 {
    let checked = bytes.iter().enumerate().filter(|(at, _)| !UNCHECKED.contains(at));
    checked.fold(0, |sum: u32, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)))
}
