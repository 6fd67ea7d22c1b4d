//! From extents to one disk.

use super::descriptor::{Extent, Kind};
use super::grains::Grains;
use super::header::Header;
use crate::bytes::{add, count, index, sub};
use crate::container::Context;
use crate::container::mapped::{Mapped, Origin};
use crate::slice::Slice;
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
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
            Source::Zero => Ok(Arc::new(Zeros(size_bytes))),
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
    let mut pieces = Vec::new();
    let mut end = 0;
    for (number, (len, source)) in extents.into_iter().enumerate().filter(|(_, (len, _))| *len != 0) {
        let layer = source.open(end, len, parent, context);
        let layer = layer.map_err(|error| error.context(format!("opening extent {number}")))?;
        end = add(end, len)?;
        pieces.push(Piece { end, layer });
    }
    match pieces.pop() {
        Some(only) if pieces.is_empty() => Ok(only.layer),
        last => {
            pieces.extend(last);
            Ok(Arc::new(Spliced { pieces }))
        }
    }
}

/// Bytes that are all zeros.
struct Zeros(u64);

impl ReadAt for Zeros {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _: u64, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn runs(&self, _: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        push_run(runs, Run { len, place: Place::Zero });
        Ok(())
    }
}

/// Layers one after the other.
struct Spliced {
    pieces: Vec<Piece>,
}

struct Piece {
    /// Where it ends.
    end: u64,
    layer: Arc<dyn ReadAt>,
}

impl Spliced {
    /// The layer at `offset`, the position in it, and how many of `len` bytes from there on it has.
    fn at(&self, offset: u64, len: u64) -> Result<(&dyn ReadAt, u64, u64)> {
        let number = self.pieces.partition_point(|piece| piece.end <= offset);
        let Some(piece) = self.pieces.get(number) else {
            return Err(Error::corrupt("reading past the end of the virtual disk").at(offset));
        };
        let within = sub(offset, sub(piece.end, piece.layer.size())?)?;
        Ok((&*piece.layer, within, len.min(sub(piece.end, offset)?)))
    }
}

impl ReadAt for Spliced {
    fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.end)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (layer, within, len) = self.at(position, count(rest.len()))?;
            let (part, behind) = rest.split_at_mut(index(len)?);
            layer.read_at(within, part)?;
            position = add(position, len)?;
            rest = behind;
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        let end = add(offset, len)?;
        let mut position = offset;
        while position < end {
            let (layer, within, len) = self.at(position, sub(end, position)?)?;
            layer.runs(within, len, runs)?;
            position = add(position, len)?;
        }
        Ok(())
    }
}
