//! VMDK: VMware's virtual disk, in one file or several.
//!
//! ```text
//! descriptor (text) --names--> extents: flat, or sparse: header, grain directory -> grain tables -> grains
//! one sparse extent that holds its descriptor: monolithicSparse, streamOptimized (compressed grains, footer)
//! ```
//!
//! docs: VMware, Virtual Disk Format 5.0. Of a child's parent the name and the content id (CID) are known, of an
//! extent the name; both must lie beside the descriptor.

mod descriptor;
mod extents;
mod grains;
mod header;

use super::{Child, Content, Context, Format, Opened, Part};
use descriptor::{Descriptor, Extent};
use extents::Source;
use header::Header;
use spelunk_tree::{Error, LayerInfo, ParentRef, ReadAt, Result};
use std::sync::Arc;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "vmdk",
    summary: "VMware VMDK: sparse, flat, stream-optimised, split, with parents",
    extensions: &["vmdk"],
    probe,
    open,
};

/// All positions and sizes count these.
const SECTOR_BYTES: u64 = 512;

/// Bytes of the largest disk: VMware makes 62 TiB.
const SIZE_BYTES_MAX: u64 = 64 << 40;

fn probe(file: &dyn ReadAt) -> Result<bool> {
    Ok(Header::probe(file)? || descriptor::probe(file)?)
}

fn open(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    if !Header::probe(&*file)? {
        let descriptor = Descriptor::read(&*file, 0, file.size())?;
        return open_split(&descriptor, context);
    }
    let header = Header::read(&*file)?;
    let (offset, len) = header.descriptor.ok_or_else(one_extent)?;
    let descriptor = Descriptor::read(&*file, offset, len)?;
    if header.size_bytes == 0 {
        return open_split(&descriptor, context);
    }
    if descriptor.extents.len() > 1 {
        return Err(Error::unsupported("a descriptor of several extents inside one of them"));
    }
    let mut info = layer(&descriptor, header.size_bytes);
    info.block_bytes = header.grain_bytes.get();
    info.notes.extend(header.notes());
    let extents = vec![(info.size_bytes, Source::Sparse { file, header: Box::new(header) })];
    let content = content(info.parent.is_some(), extents, context.clone())?;
    Ok(Opened { info, sector_bytes: None, stamp: String::new(), content })
}

/// What an extent without a descriptor is: what it lacks may be zeros or a parent's.
fn one_extent() -> Error {
    Error::unsupported("one extent of a split disk; the file to open is its descriptor")
}

/// A disk whose extents are files of their own. Extents may share a file.
fn open_split(descriptor: &Descriptor, context: &Context) -> Result<Opened> {
    let info = layer(descriptor, descriptor.size_bytes()?);
    let mut names: Vec<String> = Vec::new();
    let mut parts = Vec::new();
    for extent in &descriptor.extents {
        let Some(name) = extent.name.as_ref().filter(|name| !names.contains(name)) else { continue };
        names.push(name.clone());
        let wanted =
            ParentRef { id: String::new(), alternative_id: String::new(), paths: vec![name.clone()] };
        parts.push(Part { wanted, check: extent.kind.check() });
    }
    let (is_child, extents, context) = (info.parent.is_some(), descriptor.extents.clone(), context.clone());
    let join = move |files: Vec<Arc<dyn ReadAt>>| -> Result<Content> {
        let file_of = |extent: &Extent| {
            let number = names.iter().position(|name| Some(name) == extent.name.as_ref())?;
            files.get(number).cloned()
        };
        let source = |extent: &Extent| Ok((extent.bytes()?, Source::new(extent, file_of(extent))?));
        content(is_child, extents.iter().map(source).collect::<Result<_>>()?, context)
    };
    let content = Content::Split(parts, Box::new(join));
    Ok(Opened { info, sector_bytes: None, stamp: String::new(), content })
}

fn content(is_child: bool, extents: Vec<(u64, Source)>, context: Context) -> Result<Content> {
    if !is_child {
        return Ok(Content::Whole(extents::join(extents, None, &context)?));
    }
    Ok(Content::Child(Child {
        format: Some(FORMAT.name),
        // A content id says which state of a disk is meant: children begin with their parent's.
        has_unique_ids: false,
        stamp: String::new(),
        join: Box::new(move |parent| extents::join(extents, Some(&parent), &context)),
    }))
}

fn layer(descriptor: &Descriptor, size_bytes: u64) -> LayerInfo {
    LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: descriptor.create_type.clone(),
        size_bytes,
        block_bytes: 0,
        id: descriptor.content_id.clone(),
        parent: descriptor.parent.clone(),
        notes: Vec::new(),
    }
}
