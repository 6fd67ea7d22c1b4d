//! QCOW2: QEMU's copy-on-write image, versions 2 and 3.
//!
//! ```text
//! header, extensions, backing file's name | L1 table -> L2 tables -> clusters, plain or compressed | snapshots
//! ```
//!
//! docs: QEMU, docs/interop/qcow2.rst. Reference counts are not read: they matter to writers alone, so neither a
//! dirty image nor one with lazy reference counts needs a repair to be read.

mod backing;
mod cluster;
mod header;
mod snapshot;
mod table;

use super::mapped::Mapped;
use super::{Child, Content, Context, Format, Opened};
use header::Header;
use snapshot::Snapshots;
use spelunk_tree::{LayerInfo, ReadAt, Result};
use std::sync::Arc;
use table::Table;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "qcow2",
    summary: "QEMU's QCOW2, versions 2 and 3: zlib and zstd clusters, subclusters, backing files",
    extensions: &["qcow2", "qcow"],
    probe: header::probe,
    open,
};

fn open(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    let header = Header::read(&*file)?;
    let mut notes = header.notes();
    notes.extend(Snapshots::new(&*file, &header).notes());
    let disk = match &context.snapshot {
        None => header.disk,
        Some(wanted) => {
            notes.push(format!("this is the internal snapshot \"{wanted}\", not the disk as it is now"));
            Snapshots::new(&*file, &header).find(wanted)?
        }
    };
    header.check(&disk, file.size())?;
    let backing = header.backing.as_ref().map(|backing| backing.parent()).transpose()?;
    let (parent, format) = backing.unzip();
    let info = LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: header.variant(),
        size_bytes: disk.size_bytes,
        block_bytes: header.cluster_bytes(),
        id: String::new(),
        parent,
        notes,
    };
    let table = Table::new(&header, disk, file.clone(), context)?;
    let content = match format {
        None => Content::Whole(Arc::new(Mapped::new(table, file, None))),
        Some(format) => Content::Child(Child {
            format,
            has_unique_ids: false,
            stamp: String::new(),
            join: Box::new(|parent| Ok(Arc::new(Mapped::new(table, file, Some(parent))))),
        }),
    };
    Ok(Opened { info, sector_bytes: None, stamp: String::new(), content })
}
