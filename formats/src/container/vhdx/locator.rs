//! The parent locator of a differencing VHDX ([MS-VHDX] 2.6.2.6).

use super::guid::{self, NIL, stored};
use crate::bytes::{array, index, le_u16, le_u32, range};
use crate::container::parent::{clean_paths, le_units, utf16_text};
use spelunk_tree::{Error, ParentRef, Result};

const TYPE_VHDX: [u8; 16] = stored(0xB04A_EFB7, 0xD19E, 0x4A81, 0xB789, 0x25B8_E944_5913);

/// Pairs of key and value; the format knows five keys.
const PAIRS_MAX: u16 = 64;

/// The keys with paths, the most useful first.
const PATHS: [&str; 3] = ["relative_path", "absolute_win32_path", "volume_path"];

pub(super) fn parse(bytes: &[u8]) -> Result<ParentRef> {
    let locator_type: [u8; 16] = array(bytes, 0)?;
    if locator_type != TYPE_VHDX {
        return Err(Error::unsupported(format!("a parent locator of type {}", guid::text(&locator_type))));
    }
    let pairs = le_u16(bytes, 18)?;
    if pairs > PAIRS_MAX {
        return Err(Error::limit(format!("a parent locator of {pairs} entries")));
    }
    let entries = range(bytes, 20, usize::from(pairs).saturating_mul(12))?.as_chunks::<12>().0;
    let pairs: Vec<(String, String)> =
        entries.iter().map(|entry| pair(bytes, entry)).collect::<Result<_>>()?;
    let value = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let id = value("parent_linkage").and_then(guid::from_text);
    let alternative = value("parent_linkage2").and_then(guid::from_text);
    Ok(ParentRef {
        id: id.ok_or_else(|| Error::corrupt("a parent locator without the parent's id"))?,
        alternative_id: alternative.filter(|id| *id != guid::text(&NIL)).unwrap_or_default(),
        paths: clean_paths(PATHS.into_iter().filter_map(value)),
    })
}

fn pair(bytes: &[u8], entry: &[u8; 12]) -> Result<(String, String)> {
    let text = |offset_at, len_at| -> Result<String> {
        let text = range(bytes, index(le_u32(entry, offset_at)?)?, le_u16(entry, len_at)?.into())?;
        Ok(utf16_text(le_units(text)))
    };
    Ok((text(0, 8)?, text(4, 10)?))
}
