//! VDI: VirtualBox's disk image, dynamic, fixed and differencing.
//!
//! ```text
//! text, signature, header | block map: a number for each block | blocks, in the order they were written
//! ```
//!
//! docs: VirtualBox, src/VBox/Storage/VDICore.h (`VDIPREHEADER`, `VDIHEADER1`, `VDIHEADER1PLUS`) and VDI.cpp;
//! QEMU's block/vdi.c agrees on all but children, which it does not read. An image has an id and names its parent
//! by that alone: where the parent is stands in VirtualBox's own settings.

mod header;
mod map;

use super::mapped::Mapped;
use super::{Child, Content, Context, Format, Opened};
use header::{Header, Kind};
use map::BlockMap;
use spelunk_tree::{LayerInfo, ParentRef, ReadAt, Result};
use std::sync::Arc;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "vdi",
    summary: "VirtualBox VDI: dynamic, fixed, differencing",
    extensions: &["vdi"],
    probe: header::probe,
    open,
};

fn open(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    let header = Header::read(&*file)?;
    let info = LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: header.kind.name().into(),
        size_bytes: header.size_bytes,
        block_bytes: header.block_bytes.get(),
        id: header.id.clone(),
        parent: (header.kind == Kind::Differencing).then(|| parent(&header.parent_id)),
        notes: Vec::new(),
    };
    let map = BlockMap::new(&header, file.clone(), context)?;
    let content = if header.kind == Kind::Differencing {
        let join = |parent| -> Result<Arc<dyn ReadAt>> { Ok(Arc::new(Mapped::new(map, file, Some(parent)))) };
        Content::Child(Child { stamp: header.parent_stamp, ..Child::by_id(FORMAT.name, Box::new(join)) })
    } else {
        Content::Whole(Arc::new(Mapped::new(map, file, None)))
    };
    Ok(Opened { info, sector_bytes: None, stamp: header.stamp, content })
}

/// VirtualBox calls a snapshot's file by its id. The first image of a chain has any name, beside its children or,
/// by default, in the directory above them.
fn parent(id: &str) -> ParentRef {
    let paths = vec![format!("{{{id}}}.vdi"), "*.vdi".into(), "../*.vdi".into()];
    ParentRef { id: id.into(), alternative_id: String::new(), paths }
}
