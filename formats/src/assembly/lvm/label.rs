//! The label of a physical volume, and the header that it leads to (LVM2 `lib/format_text/layout.h`, `lib/label/label.h`).

use super::checksum;
use crate::assembly::read_if_there;
use crate::bytes::{array, index, le_u32, le_u64, range};
use spelunk_tree::{Error, ReadAt, Result};

/// The label stands at the beginning of one of the first sectors.
const LABEL_SECTORS: u64 = 4;
pub(super) const SECTOR_BYTES: usize = 512;
pub(super) const SECTOR: u64 = 512;

/// Places for metadata that a header may name: LVM writes at most two.
const AREAS_MAX: usize = 16;

/// A stretch of a physical volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What a physical volume says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its id, with dashes.
    pub(super) id: String,
    /// Where metadata stand; perhaps nowhere.
    pub(super) metadata: Vec<Area>,
}

/// Where the label of a physical volume stands, when there is one and it is intact.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<u64>> {
    for sector in 0..LABEL_SECTORS {
        let at = sector.saturating_mul(SECTOR);
        let Some(bytes) = read_if_there::<SECTOR_BYTES>(volume, at)? else { return Ok(None) };
        let is_label = bytes.starts_with(b"LABELONE")
            && le_u64(&bytes, 8)? == sector
            && array::<8>(&bytes, 24)? == *b"LVM2 001"
            && checksum(range(&bytes, 20, SECTOR_BYTES.saturating_sub(20))?) == le_u32(&bytes, 16)?;
        if is_label {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Reads the header behind the label at `label`.
pub(super) fn read(volume: &dyn ReadAt, label: u64) -> Result<Header> {
    let mut bytes = [0; SECTOR_BYTES];
    volume.read_at(label, &mut bytes)?;
    let header = index(le_u32(&bytes, 20)?)?;
    let id = text_of_id(range(&bytes, header, 32)?)?;
    // The size of the volume follows; the metadata of the group say where its data lie.
    let mut at = header.saturating_add(40);
    // Areas of data first, then those of metadata; each list ends with an offset of 0.
    let mut lists = [Vec::new(), Vec::new()];
    for list in &mut lists {
        loop {
            let area = Area { offset: le_u64(&bytes, at)?, size: le_u64(&bytes, at.saturating_add(8))? };
            at = at.saturating_add(16);
            if area.offset == 0 {
                break;
            }
            list.push(area);
            if list.len() > AREAS_MAX {
                return Err(Error::corrupt("a physical volume with too many areas").at(label));
            }
        }
    }
    let [_, metadata] = lists;
    Ok(Header { id, metadata })
}

/// An id as it stands in a header, with the dashes that it has everywhere else: 6-4-4-4-4-4-6.
fn text_of_id(stored: &[u8]) -> Result<String> {
    if !stored.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#".contains(byte)) {
        return Err(Error::corrupt("a physical volume whose id is not made of letters and digits"));
    }
    let mut text = String::with_capacity(38);
    for (at, byte) in stored.iter().enumerate() {
        if [6, 10, 14, 18, 22, 26].contains(&at) {
            text.push('-');
        }
        text.push(char::from(*byte));
    }
    Ok(text)
}
