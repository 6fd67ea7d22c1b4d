//! The metadata: sizes, and the parent's name ([MS-VHDX] 2.6).

use super::guid::{self, stored};
use super::{MIB, locator};
use crate::bytes::{add, array, index, le_u16, le_u32, range, sub};
use spelunk_tree::{Error, ParentRef, ReadAt, Result};
use std::num::NonZeroU64;
use std::ops::Range;

const SIGNATURE: &[u8; 8] = b"metadata";
const TABLE_BYTES: usize = 64 << 10;
/// Entries of the table: the format's own limit, and what fits in it.
const ENTRIES_MAX: usize = 2047;
const ENTRY_BYTES: usize = 32;

/// Flag of an item that a reader must know.
const IS_REQUIRED: u32 = 4;

const FILE_PARAMETERS: [u8; 16] = stored(0xCAA1_6737, 0xFA36, 0x4D43, 0xB3B6, 0x33F0_AA44_E76B);
const DISK_SIZE: [u8; 16] = stored(0x2FA5_4224, 0xCD1B, 0x4876, 0xB211, 0x5DBE_D83B_F4B8);
const DISK_ID: [u8; 16] = stored(0xBECA_12AB, 0xB2E6, 0x4523, 0x93EF, 0xC309_E000_C746);
const LOGICAL_SECTOR: [u8; 16] = stored(0x8141_BF1D, 0xA96F, 0x4709, 0xBA47, 0xF233_A8FA_AB5F);
const PHYSICAL_SECTOR: [u8; 16] = stored(0xCDA3_48C7, 0x445D, 0x4471, 0x9CC9, 0xE988_5251_C556);
const PARENT_LOCATOR: [u8; 16] = stored(0xA8D3_5F2D, 0xB30B, 0x454D, 0xABF7, 0xD3D8_4834_AB0C);

/// Bytes of the largest disk.
const SIZE_BYTES_MAX: u64 = 64 << 40;

/// Bytes of the largest block; the smallest is 1 MiB.
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// What the metadata say; all values are legal.
pub(super) struct Metadata {
    pub(super) block_bytes: NonZeroU64,
    pub(super) size_bytes: u64,
    /// 512 or 4096.
    pub(super) sector_bytes: u32,
    pub(super) has_parent: bool,
    is_fixed: bool,
    pub(super) parent: Option<ParentRef>,
}

#[derive(Default)]
struct Items {
    file_parameters: Option<Range<u64>>,
    disk_size: Option<Range<u64>>,
    logical_sector: Option<Range<u64>>,
    parent_locator: Option<Range<u64>>,
}

impl Metadata {
    pub(super) fn read(file: &dyn ReadAt, region: Range<u64>) -> Result<Metadata> {
        let items = Items::read(file, &region)?;
        let parameters: [u8; 8] = item(file, items.file_parameters, "file parameters")?;
        let size_bytes = u64::from_le_bytes(item(file, items.disk_size, "virtual disk size")?);
        let sector_bytes = u32::from_le_bytes(item(file, items.logical_sector, "logical sector size")?);
        let flags = le_u32(&parameters, 4)?;
        let has_parent = flags & 2 != 0;
        if ![512, 4096].contains(&sector_bytes) {
            return Err(Error::corrupt(format!("logical sectors of {sector_bytes} bytes")));
        }
        if size_bytes == 0 || !size_bytes.is_multiple_of(sector_bytes.into()) {
            return Err(Error::corrupt(format!("a disk of {size_bytes} bytes in sectors of {sector_bytes}")));
        }
        if size_bytes > SIZE_BYTES_MAX {
            return Err(Error::limit(format!("a disk of {size_bytes} bytes")));
        }
        Ok(Metadata {
            block_bytes: block_bytes(le_u32(&parameters, 0)?)?,
            size_bytes,
            sector_bytes,
            has_parent,
            is_fixed: flags & 1 != 0,
            parent: if has_parent { Some(parent(file, items.parent_locator)?) } else { None },
        })
    }

    pub(super) fn variant(&self) -> &'static str {
        match (self.has_parent, self.is_fixed) {
            (true, _) => "differencing",
            (false, true) => "fixed",
            (false, false) => "dynamic",
        }
    }
}

fn block_bytes(value: u32) -> Result<NonZeroU64> {
    let bytes = u64::from(value);
    NonZeroU64::new(bytes)
        .filter(|_| (MIB..=BLOCK_BYTES_MAX).contains(&bytes) && bytes.is_power_of_two())
        .ok_or_else(|| Error::corrupt(format!("blocks of {bytes} bytes")))
}

fn item<const N: usize>(file: &dyn ReadAt, place: Option<Range<u64>>, name: &str) -> Result<[u8; N]> {
    let place = place.ok_or_else(|| Error::corrupt(format!("the {name} is missing")))?;
    let mut bytes = [0; N];
    if index(sub(place.end, place.start)?)? < N {
        return Err(Error::corrupt(format!("the {name} is too short")).at(place.start));
    }
    file.read_at(place.start, &mut bytes)?;
    Ok(bytes)
}

fn parent(file: &dyn ReadAt, place: Option<Range<u64>>) -> Result<ParentRef> {
    let place = place.ok_or_else(|| Error::corrupt("a differencing image that names no parent"))?;
    if sub(place.end, place.start)? > MIB {
        return Err(Error::limit("a parent locator of more than 1 MiB").at(place.start));
    }
    let mut bytes = vec![0; index(sub(place.end, place.start)?)?];
    file.read_at(place.start, &mut bytes)?;
    locator::parse(&bytes).map_err(|error| error.at(place.start))
}

impl Items {
    fn read(file: &dyn ReadAt, region: &Range<u64>) -> Result<Items> {
        let mut table = vec![0; TABLE_BYTES];
        if add(region.start, MIB / 16)? > file.size() {
            return Err(Error::corrupt("truncated inside the metadata").at(region.start));
        }
        file.read_at(region.start, &mut table)?;
        if !table.starts_with(SIGNATURE) {
            return Err(Error::corrupt("there is no metadata table").at(region.start));
        }
        let entries = usize::from(le_u16(&table, 10)?);
        if entries > ENTRIES_MAX {
            return Err(Error::corrupt(format!("a metadata table of {entries} entries")).at(region.start));
        }
        let mut items = Items::default();
        for entry in range(&table, 32, entries.saturating_mul(ENTRY_BYTES))?.as_chunks::<ENTRY_BYTES>().0 {
            items.take(entry, region)?;
        }
        Ok(items)
    }

    fn take(&mut self, entry: &[u8; ENTRY_BYTES], region: &Range<u64>) -> Result<()> {
        let id: [u8; 16] = array(entry, 0)?;
        let slot = match id {
            FILE_PARAMETERS => &mut self.file_parameters,
            DISK_SIZE => &mut self.disk_size,
            LOGICAL_SECTOR => &mut self.logical_sector,
            PARENT_LOCATOR => &mut self.parent_locator,
            DISK_ID | PHYSICAL_SECTOR => return Ok(()),
            _ if le_u32(entry, 24)? & IS_REQUIRED == 0 => return Ok(()),
            _ => return Err(Error::unsupported(format!("a required metadata item {}", guid::text(&id)))),
        };
        let start = add(region.start, le_u32(entry, 16)?.into())?;
        let end = add(start, le_u32(entry, 20)?.into())?;
        if slot.is_some() || end > region.end {
            return Err(Error::corrupt(format!("a bad entry for metadata item {}", guid::text(&id))));
        }
        *slot = Some(start..end);
        Ok(())
    }
}
