//! Raw images: the file is the disk.

use super::{Content, Context, Format, Opened};
use crate::bytes::index;
use spelunk_tree::{Error, LayerInfo, ReadAt, Result};
use std::sync::Arc;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "raw",
    summary: "raw disk or volume image (dd, UrBackup raw)",
    extensions: &["raw", "img", "dd", "bin", "iso"],
    probe: |_| Ok(true),
    open,
};

/// Beginnings of files that are no raw images, and what they are.
const OTHERS: &[(&[u8], &str)] = &[
    (b"EVF\x09\x0D\x0A\xFF\x00", "an EWF (E01) image"),
    (b"EVF2\x0D\x0A\x81\x00", "an EWF (Ex01) image"),
    (b"\x28\xB5\x2F\xFD", "a file compressed with zstd"),
    (b"\xFD7zXZ\x00", "a file compressed with xz"),
    (b"\x1F\x8B\x08", "a file compressed with gzip"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive"),
    (b"PK\x03\x04", "a ZIP archive"),
];

/// Bytes that the longest of [`OTHERS`] needs.
const MAGIC_BYTES_MAX: u64 = 8;

fn open(file: Arc<dyn ReadAt>, _: &Context) -> Result<Opened> {
    if file.size() == 0 {
        return Err(Error::corrupt("the file is empty"));
    }
    let mut start = vec![0; index(file.size().min(MAGIC_BYTES_MAX))?];
    file.read_at(0, &mut start)?;
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(Error::unsupported(format!("{what}, which Spelunk does not read")));
    }
    Ok(as_it_is(file))
}

/// The file as a disk, whatever it begins with: for a parent that its child calls raw, where a guest may have
/// written the beginning.
pub(super) fn as_it_is(file: Arc<dyn ReadAt>) -> Opened {
    let info = LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: String::new(),
        size_bytes: file.size(),
        block_bytes: 0,
        id: String::new(),
        parent: None,
        notes: Vec::new(),
    };
    Opened { info, sector_bytes: None, stamp: String::new(), content: Content::Whole(file) }
}
