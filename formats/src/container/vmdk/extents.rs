//! From extents to one disk.

use super::descriptor::{Extent, Kind};
use super::grains::Grains;
use super::header::Header;
use crate::bytes::add;
use crate::container::Context;
use crate::container::mapped::{Mapped, Origin};
use crate::slice::Slice;
use crate::splice::{Zeros, splice};
use spelunk_tree::{Error, ReadAt, Result};
use std::sync::Arc;

/// Where an extent's bytes come from.
pub(super) enum Source {
    Zero,
    Flat { file: Arc<dyn ReadAt>, offset_bytes: u64 },
    Sparse { file: Arc<dyn ReadAt>, header: Box<Header> },
}

impl Source {
    pub(super) fn new(extent: &Extent, file: Option<Arc<dyn ReadAt>>) -> Result<Source> {
        match (extent.kind, file) {
            (Kind::Zero, _) => Ok(Source::Zero),
            (Kind::Flat, Some(file)) => Ok(Source::Flat { file, offset_bytes: extent.offset_bytes }),
            (Kind::Sparse | Kind::VmfsSparse, Some(file)) => {
                let header = Box::new(Header::read(&*file)?);
                Ok(Source::Sparse { file, header })
            }
            (_, None) => Err(Error::internal("an extent without its file")),
        }
    }

    /// The extent that begins at `start` of the disk, of `size_bytes`.
    fn open(
        self,
        start: u64,
        size_bytes: u64,
        parent: Option<&Arc<dyn ReadAt>>,
        context: &Context,
    ) -> Result<Arc<dyn ReadAt>> {
        match self {
            Source::Zero => Ok(Arc::new(Zeros::new(size_bytes))),
            Source::Flat { file, offset_bytes } => Ok(Arc::new(Slice::new(file, offset_bytes, size_bytes))),
            Source::Sparse { file, header } => {
                let absent = if parent.is_some() { Origin::Parent } else { Origin::Zero };
                let grains = Grains::new(*header, size_bytes, file.clone(), absent, context)?;
                let parent = parent.map(|parent| -> Arc<dyn ReadAt> {
                    let len = parent.size().saturating_sub(start).min(size_bytes);
                    Arc::new(Slice::new(parent.clone(), start, len))
                });
                Ok(Arc::new(Mapped::new(grains, file, parent)))
            }
        }
    }
}

/// The disk of which these are the extents, each with its length, one after the other.
pub(super) fn join(
    extents: Vec<(u64, Source)>,
    parent: Option<&Arc<dyn ReadAt>>,
    context: &Context,
) -> Result<Arc<dyn ReadAt>> {
    let mut layers = Vec::new();
    let mut end = 0;
    for (number, (len, source)) in extents.into_iter().enumerate().filter(|(_, (len, _))| *len != 0) {
        let layer = source.open(end, len, parent, context);
        layers.push(layer.map_err(|error| error.context(format!("opening extent {number}")))?);
        end = add(end, len)?;
    }
    splice(layers)
}
