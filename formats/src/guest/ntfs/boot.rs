//! The boot sector (`$Boot`): the shape of the volume.

use super::mft;
use crate::bytes::{array, index, le_u16, le_u64, mul, u8_at};
use spelunk_tree::{Error, ReadAt, Result};

/// Bytes of the boot sector that are looked at.
pub(super) const BOOT_BYTES: usize = 512;
/// What stands at byte 3 of an NTFS boot sector.
const OEM_ID: [u8; 8] = *b"NTFS    ";

/// Smallest sector that `mkntfs` makes.
const SECTOR_BYTES_MIN: u32 = 256;
/// Largest sector of any disk.
const SECTOR_BYTES_MAX: u32 = 4096;
/// Sizes of sectors that disks have.
const SECTOR_SIZES: [u32; 4] = [512, 1024, 2048, 4096];
/// Signs of what may be made over an NTFS without wiping its end: exFAT, ReFS, BitLocker,
/// XFS, LUKS, LVM, swap, MD RAID, f2fs, btrfs, APFS, HFS+, ISO 9660.
const OTHERS: &[(u64, &[u8])] = &[
    (3, b"EXFAT   "),
    (3, b"ReFS"),
    (3, b"-FVE-FS-"),
    (0, b"XFSB"),
    (0, b"LUKS"),
    (0x200, b"LABELONE"),
    (0xFF6, b"SWAPSPACE2"),
    (0, &[0xFC, 0x4E, 0x2B, 0xA9]),
    (0x1000, &[0xFC, 0x4E, 0x2B, 0xA9]),
    (0x400, &[0x10, 0x20, 0xF5, 0xF2]),
    (0x1_0040, b"_BHRfS_M"),
    (0x20, b"NXSB"),
    (0x400, b"H+"),
    (0x400, b"HX"),
    (0x8001, b"CD001"),
];
/// Largest cluster of Windows 10 and later.
const CLUSTER_BYTES_MAX: u32 = 2 << 20;
/// MFT records are of 1024 or 4096 bytes; the smallest that could hold a header and its attributes.
const RECORD_BYTES_MIN: u32 = 512;
/// Largest MFT record: that of disks with 4096-byte sectors.
const RECORD_BYTES_MAX: u32 = 4096;
/// MFT record numbers are shown in the low 40 bits of node ids; NTFS itself ends at 2^32 files.
const CLUSTERS_MAX: u64 = 1 << 48;

/// The shape of a volume, checked: all sizes are powers of two and within their limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a sector.
    pub sector_bytes: u32,
    /// Bytes of a cluster.
    pub cluster_bytes: u32,
    /// log2 of [`Geometry::cluster_bytes`].
    pub cluster_bits: u32,
    /// Clusters of the volume.
    pub clusters: u64,
    /// Bytes of the filesystem.
    pub size_bytes: u64,
    /// Bytes of an MFT record.
    pub record_bytes: u32,
    /// Cluster where `$MFT` begins.
    pub mft_lcn: u64,
    /// Cluster where `$MFTMirr` begins.
    pub mirror_lcn: u64,
    /// Serial number of the volume.
    pub serial: u64,
}

impl Geometry {
    /// Reads the boot sector of `volume`.
    ///
    /// # Errors
    /// `Corrupt` when a field is impossible; what the volume reports.
    pub fn read(volume: &dyn ReadAt) -> Result<Geometry> {
        Geometry::read_at(volume, 0)
    }

    /// Reads the copy of the boot sector in the last sector of `volume`; `None` when there is none that describes
    /// a filesystem of just this size.
    pub fn read_backup(volume: &dyn ReadAt) -> Option<Geometry> {
        SECTOR_SIZES.into_iter().find_map(|sector_bytes| {
            let at = volume.size().checked_sub(u64::from(sector_bytes))?;
            let geometry = Geometry::read_at(volume, at).ok()?;
            (geometry.sector_bytes == sector_bytes && geometry.size_bytes == at).then_some(geometry)
        })
    }

    fn read_at(volume: &dyn ReadAt, at: u64) -> Result<Geometry> {
        let mut boot = [0; BOOT_BYTES];
        volume.read_at(at, &mut boot)?;
        Geometry::parse(&boot).map_err(|error| error.object("NTFS boot sector").at(at))
    }

    fn parse(boot: &[u8]) -> Result<Geometry> {
        if array::<8>(boot, 3)? != OEM_ID {
            return Err(Error::corrupt("no NTFS signature"));
        }
        let sector_bytes = sector_bytes(boot)?;
        let cluster_bytes = cluster_bytes(sector_bytes, u8_at(boot, 0x0D)?)?;
        let sectors = le_u64(boot, 0x28)?;
        let size_bytes = mul(sectors, u64::from(sector_bytes))?;
        let clusters = size_bytes >> cluster_bytes.trailing_zeros();
        if clusters == 0 || clusters > CLUSTERS_MAX {
            return Err(Error::corrupt(format!("a volume of {sectors} sectors")));
        }
        let geometry = Geometry {
            sector_bytes,
            cluster_bytes,
            cluster_bits: cluster_bytes.trailing_zeros(),
            clusters,
            size_bytes,
            record_bytes: record_bytes(cluster_bytes, u8_at(boot, 0x40)?)?,
            mft_lcn: le_u64(boot, 0x30)?,
            mirror_lcn: le_u64(boot, 0x38)?,
            serial: le_u64(boot, 0x48)?,
        };
        if geometry.mft_lcn == 0 || geometry.mft_lcn >= clusters {
            return Err(Error::corrupt(format!("$MFT at cluster {}", geometry.mft_lcn)));
        }
        Ok(geometry)
    }

    /// Byte position of the cluster `lcn` when `len` clusters from there on lie in the volume.
    ///
    /// # Errors
    /// `Corrupt` when they do not.
    pub fn position(&self, lcn: u64, len: u64) -> Result<u64> {
        match lcn.checked_add(len) {
            Some(end) if end <= self.clusters => Ok(lcn << self.cluster_bits),
            _ => Err(Error::corrupt(format!("{len} clusters at {lcn}, past the end of the volume"))),
        }
    }

    /// Bytes of an MFT record, as a length in memory.
    ///
    /// # Errors
    /// None on machines that can hold 4 KiB.
    pub fn record_len(&self) -> Result<usize> {
        index(self.record_bytes)
    }
}

/// Whether `volume` begins with an NTFS boot sector: the text alone may stand in the code of an MBR.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<bool> {
    let mut boot = [0; BOOT_BYTES];
    if volume.size() < crate::bytes::count(boot.len()) {
        return Ok(false);
    }
    volume.read_at(0, &mut boot)?;
    let is_shaped = |sector_bytes| cluster_bytes(sector_bytes, u8_at(&boot, 0x0D)?);
    Ok(array::<8>(&boot, 3)? == OEM_ID && sector_bytes(&boot).and_then(is_shaped).is_ok())
}

/// Whether `volume` ends with the copy of an NTFS boot sector whose `$MFT` is there, and does not bear the sign of
/// something that was made over an old NTFS. To be asked when nothing else is found.
pub(super) fn probe_backup(volume: &dyn ReadAt) -> Result<bool> {
    let is_other = |(at, magic): &(u64, &[u8])| {
        let mut bytes = vec![0; magic.len()];
        volume.read_at(*at, &mut bytes).is_ok() && bytes == *magic
    };
    let Some(geometry) = Geometry::read_backup(volume) else { return Ok(false) };
    let has_table = [geometry.mft_lcn, geometry.mirror_lcn]
        .into_iter()
        .any(|lcn| mft::stored_record(volume, &geometry, lcn, 0).is_ok());
    Ok(has_table && !OTHERS.iter().any(is_other))
}

fn sector_bytes(boot: &[u8]) -> Result<u32> {
    let bytes = u32::from(le_u16(boot, 0x0B)?);
    if !bytes.is_power_of_two() || !(SECTOR_BYTES_MIN..=SECTOR_BYTES_MAX).contains(&bytes) {
        return Err(Error::corrupt(format!("sectors of {bytes} bytes")));
    }
    Ok(bytes)
}

/// Sectors per cluster: a count, or, above 0x80, the negative of a power of two (`0xF4` is 4096).
fn cluster_bytes(sector_bytes: u32, field: u8) -> Result<u32> {
    let sectors =
        if field > 0x80 { 1_u32.checked_shl(field_exponent(field)) } else { Some(u32::from(field)) };
    let bytes = sectors.and_then(|sectors| sectors.checked_mul(sector_bytes)).unwrap_or(0);
    if !bytes.is_power_of_two() || bytes > CLUSTER_BYTES_MAX {
        return Err(Error::corrupt(format!("a cluster size field of {field:#04x}")));
    }
    Ok(bytes)
}

/// Clusters per record: a count, or the negative of a power of two of bytes (`0xF6` is 1024).
fn record_bytes(cluster_bytes: u32, field: u8) -> Result<u32> {
    let bytes = if field >= 0x80 {
        1_u32.checked_shl(field_exponent(field))
    } else {
        u32::from(field).checked_mul(cluster_bytes)
    };
    let bytes = bytes.unwrap_or(0);
    if !bytes.is_power_of_two() || !(RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&bytes) {
        return Err(Error::corrupt(format!("an MFT record size field of {field:#04x}")));
    }
    Ok(bytes)
}

fn field_exponent(field: u8) -> u32 {
    256_u32.saturating_sub(u32::from(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_size_is_a_count_or_a_negative_exponent() {
        assert_eq!(cluster_bytes(512, 8), Ok(4096));
        assert_eq!(cluster_bytes(512, 0x80), Ok(65536));
        assert_eq!(cluster_bytes(512, 0xF4), Ok(2 << 20));
        assert!(cluster_bytes(512, 0xF3).is_err());
        assert!(cluster_bytes(512, 3).is_err());
        assert!(cluster_bytes(512, 0).is_err());
    }

    #[test]
    fn record_size_is_a_count_or_a_negative_exponent() {
        assert_eq!(record_bytes(4096, 0xF6), Ok(1024));
        assert_eq!(record_bytes(512, 2), Ok(1024));
        assert_eq!(record_bytes(4096, 1), Ok(4096));
        assert!(record_bytes(65536, 1).is_err());
        assert!(record_bytes(4096, 0x80).is_err());
    }
}
