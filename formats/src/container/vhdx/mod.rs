//! VHDX: Hyper-V's virtual hard disk 2, fixed, dynamic and differencing.
//!
//! ```text
//! identifier | header 1, 2 | region table 1, 2 | log | metadata | block table | payload and bitmap blocks
//! 0            64, 128 KiB    192, 256 KiB       at 1 MiB and above, in any order
//! ```
//!
//! docs: [MS-VHDX]; what UrBackup makes of it: FORMATS-URBACKUP.md 1.3b. An image that was not closed has
//! changes in its log: they are laid over the file in memory (`log`), the file is never written.

mod guid;
mod header;
mod locator;
mod log;
mod metadata;
mod patched;
mod region;
mod table;

use super::mapped::Mapped;
use super::{Child, Content, Context, Format, Opened};
use header::Header;
use metadata::Metadata;
use region::Regions;
use spelunk_tree::{LayerInfo, ReadAt, Result, ResultExt};
use std::sync::Arc;
use table::Table;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "vhdx",
    summary: "Hyper-V VHDX: fixed, dynamic, differencing; a dirty log is replayed in memory",
    extensions: &["vhdx"],
    probe: header::probe,
    open,
};

/// Everything above the headers is counted in these.
const MIB: u64 = 1 << 20;

fn open(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    let mut notes = Vec::new();
    let header = Header::read(&*file, &mut notes)?;
    let file = match log::replay(&header, &file).context(|| "replaying the log")? {
        Some(patched) => {
            notes.push(format!("the image was not closed: its log was replayed in memory ({patched})"));
            Arc::new(patched)
        }
        None => file,
    };
    let regions = Regions::read(&*file, &header, &mut notes)?;
    let metadata = Metadata::read(&*file, regions.metadata.clone()).context(|| "reading the metadata")?;
    let table = Table::new(&metadata, regions, file.clone(), context)?;
    let info = LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: metadata.variant().into(),
        size_bytes: metadata.size_bytes,
        block_bytes: metadata.block_bytes.get(),
        id: header.data_write_id,
        parent: metadata.parent,
        notes,
    };
    let content = if metadata.has_parent {
        Content::Child(Child::by_id(
            FORMAT.name,
            Box::new(|parent| Ok(Arc::new(Mapped::new(table, file, Some(parent))))),
        ))
    } else {
        Content::Whole(Arc::new(Mapped::new(table, file, None)))
    };
    Ok(Opened { info, sector_bytes: Some(metadata.sector_bytes), stamp: String::new(), content })
}
