//! VHD: Microsoft's Virtual Hard Disk 1.0, fixed, dynamic and differencing.
//!
//! ```text
//! fixed:                 disk                                                        | footer
//! dynamic, differencing: footer copy | dynamic header | table | bitmap, block | ...  | footer
//! ```
//!
//! docs: Virtual Hard Disk Image Format Specification, 1.0; what UrBackup makes of it:
//! FORMATS-URBACKUP.md 1.3. The size of the disk is the footer's, never that of its cylinders and heads.

mod footer;
mod header;
mod locator;
mod table;

use super::mapped::Mapped;
use super::{Child, Content, Context, Format, Opened, raw};
use crate::slice::Slice;
use footer::{DiskType, Footer, Found};
use header::Header;
use spelunk_tree::{Error, LayerInfo, ReadAt, Result};
use std::sync::Arc;
use table::Table;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "vhd",
    summary: "Virtual PC / Hyper-V VHD: fixed, dynamic, differencing",
    extensions: &["vhd"],
    probe: footer::probe,
    open,
};

/// Bytes of a disk: the format's tables end at 2 TiB of data, but UrBackup makes larger, sparse ones.
const SIZE_BYTES_MAX: u64 = 64 << 40;

fn open(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    let found = footer::find(&*file)?;
    let footer = &found.footer;
    if footer.size_bytes == 0 {
        return Err(Error::corrupt("a disk of 0 bytes"));
    }
    if is_left_over(&found) {
        return open_raw(file, &found, context);
    }
    if footer.size_bytes > SIZE_BYTES_MAX {
        return Err(Error::limit(format!("a disk of {} bytes", footer.size_bytes)));
    }
    match footer.disk_type {
        DiskType::Fixed => open_fixed(file, &found),
        DiskType::Dynamic | DiskType::Differencing => open_dynamic(file, &found, context),
    }
}

/// Whether the footer at the end is that of a larger fixed disk. Such a disk's data are raw, and one that was
/// cut off would have lost the footer with its end: so this file is a part of the disk, such as a volume copied
/// from it up to the end. A file that is longer than its disk stays a VHD, as it is for other readers.
fn is_left_over(found: &Found) -> bool {
    found.footer.disk_type == DiskType::Fixed && found.is_at_end && found.footer.size_bytes > found.data_end
}

fn open_raw(file: Arc<dyn ReadAt>, found: &Found, context: &Context) -> Result<Opened> {
    let mut opened = (raw::FORMAT.open)(file, context)?;
    opened.info.notes.push(format!(
        "a VHD footer for a fixed disk of {} bytes stands at the end: ignored, the file has only {} before it",
        found.footer.size_bytes, found.data_end
    ));
    Ok(opened)
}

fn open_fixed(file: Arc<dyn ReadAt>, found: &Found) -> Result<Opened> {
    let size_bytes = found.footer.size_bytes;
    if !found.is_at_end {
        return Err(Error::corrupt("a footer of a fixed disk at the beginning of the file").at(0));
    }
    let mut info = layer(&found.footer, "fixed", 0);
    let behind = found.data_end.saturating_sub(size_bytes);
    if behind > 0 {
        info.notes.push(format!("{behind} bytes behind the disk are not part of it"));
    }
    let disk = Slice::new(file, 0, size_bytes);
    Ok(Opened { info, sector_bytes: None, stamp: String::new(), content: Content::Whole(Arc::new(disk)) })
}

fn open_dynamic(file: Arc<dyn ReadAt>, found: &Found, context: &Context) -> Result<Opened> {
    let footer = &found.footer;
    let header = Header::read(&*file, footer.header_offset)?;
    let is_differencing = footer.disk_type == DiskType::Differencing;
    let table = Table::new(&header, found, file.clone(), context)?;
    if found.is_end_missing && !table.has_blocks()? {
        return Err(Error::corrupt(
            "an unfinished image: no footer at its end, and no block in its table (was the backup cut off?)",
        ));
    }
    let mut info =
        layer(footer, if is_differencing { "differencing" } else { "dynamic" }, header.block_bytes);
    info.notes.extend(found.note());
    if !is_differencing {
        let disk = Mapped::new(table, file, None);
        return Ok(Opened {
            info,
            sector_bytes: None,
            stamp: String::new(),
            content: Content::Whole(Arc::new(disk)),
        });
    }
    info.parent = Some(locator::parent(&header, &*file)?);
    let join = |parent: Arc<dyn ReadAt>| -> Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(Mapped::new(table, file, Some(parent))))
    };
    Ok(Opened {
        info,
        sector_bytes: None,
        stamp: String::new(),
        content: Content::Child(Child::by_id(FORMAT.name, Box::new(join))),
    })
}

fn layer(footer: &Footer, variant: &str, block_bytes: u64) -> LayerInfo {
    LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: variant.into(),
        size_bytes: footer.size_bytes,
        block_bytes,
        id: uuid_text(&footer.id),
        parent: None,
        notes: Vec::new(),
    }
}

/// A UUID in its usual form, all bytes in their order.
fn uuid_text(id: &[u8; 16]) -> String {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let [a, b, c, d, rest] = [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]].map(hex);
    format!("{a}-{b}-{c}-{d}-{rest}")
}
