//! A metadata area: a ring in which the last version of a volume group's metadata stands as text
//! (LVM2 `lib/format_text/layout.h`).

use super::checksum;
use super::label::{Area, SECTOR_BYTES};
use crate::bytes::{add, array, count, index, le_u32, le_u64, range, sub};
use spelunk_tree::{Error, ReadAt, Result};

/// Bytes of one version of the metadata: areas have 1 MiB unless somebody asked for more, and hold two versions.
pub(super) const METADATA_BYTES_MAX: u64 = 4 << 20;

const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// The header's length; the ring begins behind it.
const HEADER_BYTES: u64 = 512;
/// The first of the places that the header names is the committed version.
const LOCATION: usize = 40;
/// The version there is no longer kept up to date.
const IGNORED: u32 = 1;

/// The text in `area`; `None` when it holds none, or an outdated one.
pub(super) fn read(volume: &dyn ReadAt, area: Area) -> Result<Option<Vec<u8>>> {
    let mut header = [0; SECTOR_BYTES];
    volume.read_at(area.offset, &mut header)?;
    let is_sound = array::<16>(&header, 4)? == *MAGIC
        && checksum(range(&header, 4, SECTOR_BYTES.saturating_sub(4))?) == le_u32(&header, 0)?
        && le_u64(&header, 24)? == area.offset;
    if !is_sound {
        return Err(Error::corrupt("a metadata area whose header is damaged").at(area.offset));
    }
    if le_u32(&header, 20)? != 1 {
        return Err(Error::unsupported("a metadata area of an unknown version").at(area.offset));
    }
    // The area ends where its header says; the label may say 0.
    let area = Area { size: le_u64(&header, 32)?, ..area };
    let offset = le_u64(&header, LOCATION)?;
    let size = le_u64(&header, LOCATION.saturating_add(8))?;
    let flags = le_u32(&header, LOCATION.saturating_add(20))?;
    if offset == 0 || size == 0 || flags & IGNORED != 0 {
        return Ok(None);
    }
    if size > METADATA_BYTES_MAX {
        return Err(Error::limit(format!("metadata of {size} bytes")).at(area.offset));
    }
    if offset < HEADER_BYTES || offset >= area.size || size > sub(area.size, HEADER_BYTES)? {
        return Err(Error::corrupt("metadata that lie outside their area").at(area.offset));
    }
    let text = read_ring(volume, area, offset, size)?;
    if checksum(&text) != le_u32(&header, LOCATION.saturating_add(16))? {
        return Err(Error::corrupt("metadata whose checksum is wrong").at(add(area.offset, offset)?));
    }
    Ok(Some(text))
}

/// What passes the area's end goes on behind its header.
fn read_ring(volume: &dyn ReadAt, area: Area, offset: u64, size: u64) -> Result<Vec<u8>> {
    let mut text = vec![0; index(size)?];
    let until_end = index(sub(area.size, offset)?)?.min(text.len());
    let (first, second) = text.split_at_mut(until_end);
    volume.read_at(add(area.offset, offset)?, first)?;
    if !second.is_empty() {
        debug_assert!(count(second.len()) < size, "a first part is never empty");
        volume.read_at(add(area.offset, HEADER_BYTES)?, second)?;
    }
    Ok(text)
}
