//! The boot sector: BIOS parameter block and what follows from it.
//!
//! Microsoft, "FAT: General Overview of On-Disk Format" 1.03 (fatgen103), "Boot Sector and BPB".

use crate::bytes::{add, array, le_u16, le_u32, mul, range, u8_at};
use crate::guest::clusters::{CLUSTER_FIRST, Layout, Width};
use spelunk_tree::{Error, ReadAt, Result};

/// Bytes of the boot sector that mean anything.
const BOOT_BYTES: usize = 512;
const MAGIC_AT: usize = 510;
const MAGIC: [u8; 2] = [0x55, 0xAA];
const SECTOR_BYTES_MIN: u32 = 512;
const SECTOR_BYTES_MAX: u32 = 4096;
/// Where the extended BPB begins: behind the older fields, or behind FAT32's own.
const EXTENDED_AT: usize = 36;
const EXTENDED_AT_FAT32: usize = 64;
/// Extended BPBs with a serial number alone, and with serial number, label and type.
const SERIAL_ONLY: u8 = 0x28;
const SERIAL_AND_LABEL: u8 = 0x29;
/// Bit of the state byte: the volume was not unmounted.
const STATE_DIRTY: u8 = 1;
/// Counts of clusters from which a volume is FAT16; FAT32 is told from its layout, as Linux does, since
/// small FAT32 volumes exist.
const FAT16_CLUSTERS_MIN: u32 = 4085;
/// Clusters that the widths can number: two values are reserved at the bottom, nine at the top.
const FAT16_CLUSTERS_MAX: u32 = 0xFFF4;
const FAT32_CLUSTERS_MAX: u32 = 0x0FFF_FFF4;
/// Copies of the allocation table: two are usual, Linux takes any number.
const FATS_MAX: u8 = 16;

/// Bytes of a directory entry.
pub const ENTRY_BYTES: u32 = 32;

/// Where the root directory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// FAT12 and FAT16: an area of its own; byte offset and length.
    Area(u64, u64),
    /// FAT32: a chain of clusters.
    Chain(u32),
}

/// A volume's layout. All offsets are in bytes from the start of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The clusters and their table.
    pub layout: Layout,
    /// The root directory.
    pub root: Root,
    /// Bytes that the filesystem spans.
    pub total_bytes: u64,
    /// Where FAT32 keeps its count of free clusters.
    pub fsinfo_offset: Option<u64>,
}

/// What the boot sector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSector {
    /// The layout.
    pub geometry: Geometry,
    /// Serial number.
    pub serial: Option<u32>,
    /// Label, in the code page, padded with spaces.
    pub label: Option<[u8; 11]>,
    /// Whether Linux or Windows marked the volume as in use.
    pub is_dirty: bool,
}

/// The fields of the BIOS parameter block under their names in the specification.
struct Bpb {
    byts_per_sec: u32,
    sec_per_clus: u32,
    rsvd_sec_cnt: u32,
    num_fats: u8,
    root_ent_cnt: u32,
    tot_sec: u32,
    fat_sz: u32,
    /// None of FAT12 and FAT16.
    fat32: Option<Bpb32>,
}

struct Bpb32 {
    ext_flags: u16,
    root_clus: u32,
    fs_info: u16,
}

impl BootSector {
    /// Reads the boot sector. `None` when this is not one of a FAT volume.
    ///
    /// # Errors
    /// What the volume reports.
    pub fn read(volume: &dyn ReadAt) -> Result<Option<BootSector>> {
        let mut sector = [0; BOOT_BYTES];
        if volume.size() < u64::from(SECTOR_BYTES_MIN) {
            return Ok(None);
        }
        volume.read_at(0, &mut sector)?;
        Ok(BootSector::parse(&sector).ok())
    }

    fn parse(sector: &[u8; BOOT_BYTES]) -> Result<BootSector> {
        check_marks(sector)?;
        let bpb = Bpb::parse(sector)?;
        let extended_at = if bpb.fat32.is_some() { EXTENDED_AT_FAT32 } else { EXTENDED_AT };
        let extended = range(sector, extended_at, 26)?;
        let signature = u8_at(extended, 2)?;
        let has_serial = matches!(signature, SERIAL_ONLY | SERIAL_AND_LABEL);
        let has_label = signature == SERIAL_AND_LABEL;
        Ok(BootSector {
            geometry: bpb.geometry()?,
            serial: has_serial.then_some(le_u32(extended, 3)?),
            label: has_label.then_some(array(extended, 7)?),
            is_dirty: has_serial && u8_at(extended, 1)? & STATE_DIRTY != 0,
        })
    }
}

/// A boot sector begins with a jump (of x86, or of an Atari), or ends with the magic: there are volumes without
/// one of them.
fn check_marks(sector: &[u8]) -> Result<()> {
    let has_jump = matches!(u8_at(sector, 0)?, 0xEB | 0xE9 | 0x60);
    let has_magic = array(sector, MAGIC_AT)? == MAGIC;
    let media = u8_at(sector, 21)?;
    // OS/2 writes a BPB before its HPFS and JFS, too.
    let is_other = matches!(range(sector, 54, 4)?, b"HPFS" | b"JFS ");
    if (has_jump || has_magic) && matches!(media, 0xF0 | 0xF8..) && !is_other {
        Ok(())
    } else {
        Err(Error::corrupt("no boot sector of a FAT volume"))
    }
}

impl Bpb {
    fn parse(sector: &[u8]) -> Result<Bpb> {
        let either = |short_at, long_at| match le_u16(sector, short_at)? {
            0 => le_u32(sector, long_at),
            short => Ok(u32::from(short)),
        };
        let fat32 = Bpb32 {
            ext_flags: le_u16(sector, 40)?,
            root_clus: le_u32(sector, 44)?,
            fs_info: le_u16(sector, 48)?,
        };
        let bpb = Bpb {
            byts_per_sec: u32::from(le_u16(sector, 11)?),
            sec_per_clus: u32::from(u8_at(sector, 13)?),
            rsvd_sec_cnt: u32::from(le_u16(sector, 14)?),
            num_fats: u8_at(sector, 16)?,
            root_ent_cnt: u32::from(le_u16(sector, 17)?),
            tot_sec: either(19, 32)?,
            fat_sz: either(22, 36)?,
            fat32: (le_u16(sector, 22)? == 0).then_some(fat32),
        };
        let makes_sense = bpb.byts_per_sec.is_power_of_two()
            && (SECTOR_BYTES_MIN..=SECTOR_BYTES_MAX).contains(&bpb.byts_per_sec)
            && bpb.sec_per_clus.is_power_of_two()
            && bpb.rsvd_sec_cnt != 0
            && (1..=FATS_MAX).contains(&bpb.num_fats)
            && bpb.fat_sz != 0
            && (bpb.fat32.is_some() || bpb.root_ent_cnt != 0);
        if makes_sense { Ok(bpb) } else { Err(Error::corrupt("a BIOS parameter block that cannot be")) }
    }

    fn bytes(&self, sectors: u32) -> u64 {
        u64::from(sectors).saturating_mul(u64::from(self.byts_per_sec))
    }

    fn geometry(&self) -> Result<Geometry> {
        let fats_offset = self.bytes(self.rsvd_sec_cnt);
        let fat_bytes = self.bytes(self.fat_sz);
        let root_offset = add(fats_offset, mul(fat_bytes, u64::from(self.num_fats))?)?;
        let root_entries_bytes = mul(u64::from(self.root_ent_cnt), u64::from(ENTRY_BYTES))?;
        let root_bytes = root_entries_bytes.next_multiple_of(u64::from(self.byts_per_sec));
        let data_offset = add(root_offset, root_bytes)?;
        let total_bytes = self.bytes(self.tot_sec);
        let cluster_bytes = self.byts_per_sec.saturating_mul(self.sec_per_clus);
        let data_bytes = total_bytes.checked_sub(data_offset);
        let data_bytes =
            data_bytes.ok_or_else(|| Error::corrupt("a FAT volume that ends before its data"))?;
        let clusters = data_bytes.checked_div(u64::from(cluster_bytes)).unwrap_or(0);
        let (width, clusters) = self.width(clusters, fat_bytes)?;
        let active_fat = self.active_fat();
        Ok(Geometry {
            layout: Layout {
                width,
                cluster_bytes,
                clusters,
                fat_offset: add(fats_offset, mul(fat_bytes, u64::from(active_fat))?)?,
                fat_bytes,
                data_offset,
            },
            root: match &self.fat32 {
                Some(fat32) => Root::Chain(fat32.root_clus),
                None => Root::Area(root_offset, root_bytes),
            },
            total_bytes,
            fsinfo_offset: self.fsinfo_sector().map(|sector| self.bytes(sector)),
        })
    }

    /// The width, and the clusters that the table has entries for.
    fn width(&self, clusters: u64, fat_bytes: u64) -> Result<(Width, u32)> {
        let clusters = u32::try_from(clusters).unwrap_or(u32::MAX);
        let (width, max, entry_bits) = match &self.fat32 {
            Some(_) => (Width::Fat32, FAT32_CLUSTERS_MAX, 32),
            None if clusters < FAT16_CLUSTERS_MIN => (Width::Fat12, FAT16_CLUSTERS_MIN, 12),
            None => (Width::Fat16, FAT16_CLUSTERS_MAX, 16),
        };
        if clusters > max {
            return Err(Error::corrupt(format!(
                "a FAT volume with {clusters} clusters, too many for its kind"
            )));
        }
        let entries = mul(fat_bytes, 8)?.checked_div(entry_bits).unwrap_or(0);
        let numbered = u32::try_from(entries).unwrap_or(u32::MAX).saturating_sub(CLUSTER_FIRST);
        Ok((width, clusters.min(numbered)))
    }

    /// The table in use: the first, unless FAT32's flags turn mirroring off and name another.
    fn active_fat(&self) -> u16 {
        let flags = self.fat32.as_ref().map_or(0, |fat32| fat32.ext_flags);
        let named = flags & 0x0F;
        if flags & 0x80 != 0 && named < u16::from(self.num_fats) { named } else { 0 }
    }

    fn fsinfo_sector(&self) -> Option<u32> {
        let sector = u32::from(self.fat32.as_ref()?.fs_info);
        (sector != 0 && sector < self.rsvd_sec_cnt).then_some(sector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    /// A FAT12 floppy of 1.44 MB.
    fn floppy() -> [u8; BOOT_BYTES] {
        let mut sector = [0; BOOT_BYTES];
        sector[0] = 0xEB;
        sector[11..24].copy_from_slice(&[0, 2, 1, 1, 0, 2, 224, 0, 0x40, 0x0B, 0xF0, 9, 0]);
        sector
    }

    #[test]
    fn floppy_has_its_well_known_layout() {
        let Geometry { layout, root, .. } = BootSector::parse(&floppy()).unwrap().geometry;

        assert_eq!((layout.width, layout.clusters), (Width::Fat12, 2847));
        assert_eq!((layout.fat_offset, layout.fat_bytes), (512, 9 * 512));
        assert_eq!(root, Root::Area(19 * 512, 7168));
        assert_eq!((layout.data_offset, layout.data_end()), (33 * 512, 2880 * 512));
        assert_eq!(layout.cluster_offset(2848), Ok(2879 * 512));
        assert!(layout.cluster_offset(2849).is_err());
        assert!(layout.cluster_offset(1).is_err());
    }

    #[test]
    fn clusters_without_entries_in_the_table_do_not_exist() {
        let mut sector = floppy();
        sector[22] = 1;

        // 512 bytes hold 341 entries of 12 bits.
        assert_eq!(BootSector::parse(&sector).unwrap().geometry.layout.clusters, 339);
    }

    #[test]
    fn more_clusters_than_a_kind_can_number_are_corrupt() {
        let with_sectors = |sectors: u32, is_fat32: bool| {
            let mut sector = floppy();
            sector[19..21].fill(0);
            sector[32..36].copy_from_slice(&sectors.to_le_bytes());
            if is_fat32 {
                sector[17..19].fill(0);
                sector[22..24].fill(0);
                sector[36..40].copy_from_slice(&0x0020_0000_u32.to_le_bytes());
                sector[44] = 2;
            }
            BootSector::parse(&sector).map(|_| ())
        };

        assert_eq!(with_sectors(0xFFF0, false), Ok(()));
        assert_eq!(with_sectors(0x2_0000, false).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(with_sectors(0x0800_0000, true), Ok(()));
        assert_eq!(with_sectors(0x7000_0000, true).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn impossible_parameter_blocks_are_refused() {
        for (at, value) in [
            (0, 0),
            (11, 1),
            (12, 0),
            (12, 32),
            (13, 3),
            (13, 0),
            (14, 0),
            (16, 0),
            (16, 17),
            (21, 0),
            (22, 0),
        ] {
            let mut sector = floppy();
            sector[at] = value;
            assert!(BootSector::parse(&sector).is_err(), "byte {at} = {value}");
        }
    }
}
