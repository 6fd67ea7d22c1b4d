//! How a differencing VHD names its parent.

use super::header::{Header, Locator};
use super::uuid_text;
use crate::bytes::index;
use crate::container::parent::{be_units, clean_paths, le_units, utf16_text};
use spelunk_tree::{ParentRef, ReadAt, Result};

/// Bytes of a locator's path that are read: Windows' longest path.
const PATH_BYTES_MAX: u64 = 64 << 10;

/// The path relative to the image, little-endian UTF-16.
const RELATIVE: &[u8; 4] = b"W2ru";

/// The path on the machine that wrote the image, little-endian UTF-16.
const ABSOLUTE: &[u8; 4] = b"W2ku";

/// The parent that `header` names. A path that cannot be read is left out: the id decides.
pub(super) fn parent(header: &Header, file: &dyn ReadAt) -> Result<ParentRef> {
    let relative = paths(header, file, RELATIVE)?;
    let name = utf16_text(be_units(&header.parent_name));
    let absolute = paths(header, file, ABSOLUTE)?;
    let all = relative.iter().chain([&name]).chain(&absolute);
    Ok(ParentRef {
        id: uuid_text(&header.parent_id),
        alternative_id: String::new(),
        paths: clean_paths(all.map(String::as_str)),
    })
}

fn paths(header: &Header, file: &dyn ReadAt, code: &[u8; 4]) -> Result<Vec<String>> {
    let locators = header.locators.iter().filter(|locator| locator.code == *code);
    locators.map(|locator| path(locator, file)).collect()
}

fn path(locator: &Locator, file: &dyn ReadAt) -> Result<String> {
    let len = locator.len.min(PATH_BYTES_MAX).min(file.size().saturating_sub(locator.offset));
    let mut bytes = vec![0; index(len)?];
    if !bytes.is_empty() {
        file.read_at(locator.offset, &mut bytes)?;
    }
    Ok(utf16_text(le_units(&bytes)))
}
