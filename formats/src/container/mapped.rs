//! Layers that map a virtual disk onto a file and a parent.

use crate::bytes::{add, count, index, sub};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::sync::Arc;

/// Where a stretch of a virtual disk comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The layer's file, from this offset on.
    File(u64),
    /// Nowhere: zeros.
    Zero,
    /// The parent's disk, at the same position; zeros past the parent's end.
    Parent,
    /// The layer's file, compressed: [`Map::unpack`] knows.
    Packed,
}

/// Some bytes of a virtual disk with one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) len: u64,
    pub(crate) origin: Origin,
}

/// A format's tables.
pub(crate) trait Map: Send + Sync {
    /// Size of the virtual disk in bytes.
    fn size(&self) -> u64;

    /// The origin of the first 1 to `len` of the `len` bytes (1 or more, all within the disk) from
    /// `offset` on. Data that the file does not have is an error.
    fn stretch(&self, offset: u64, len: u64) -> Result<Stretch>;

    /// Fills `buffer` from `offset` on, where all is [`Origin::Packed`].
    fn unpack(&self, _offset: u64, _buffer: &mut [u8]) -> Result<()> {
        Err(Error::internal("compressed bytes in a format that has none"))
    }
}

/// A virtual disk as its tables map it.
pub(crate) struct Mapped<M> {
    map: M,
    file: Arc<dyn ReadAt>,
    parent: Option<Arc<dyn ReadAt>>,
}

impl<M: Map> Mapped<M> {
    pub(crate) fn new(map: M, file: Arc<dyn ReadAt>, parent: Option<Arc<dyn ReadAt>>) -> Mapped<M> {
        Mapped { map, file, parent }
    }

    /// Calls `visit` with the position and the stretch for all that the `len` bytes from `offset` on
    /// consist of, merged.
    fn walk(&self, offset: u64, len: u64, visit: &mut dyn FnMut(u64, Stretch) -> Result<()>) -> Result<()> {
        let end = add(offset, len)?;
        if end > self.map.size() {
            return Err(Error::corrupt("reading past the end of the virtual disk").at(offset));
        }
        let mut pending = Stretch { len: 0, origin: Origin::Zero };
        let mut position = offset;
        while position < end {
            let next = self.map.stretch(position, sub(end, position)?)?;
            if next.len == 0 || next.len > sub(end, position)? {
                return Err(Error::internal("a stretch of another length than asked for"));
            }
            if pending.len != 0 && continues(pending, next) {
                pending.len = add(pending.len, next.len)?;
            } else {
                if pending.len != 0 {
                    visit(sub(position, pending.len)?, pending)?;
                }
                pending = next;
            }
            position = add(position, next.len)?;
        }
        if pending.len != 0 { visit(sub(end, pending.len)?, pending) } else { Ok(()) }
    }

    /// How many of the `len` bytes from `position` on the parent has, and the parent.
    fn parent_part(&self, position: u64, len: u64) -> Result<(u64, &dyn ReadAt)> {
        let parent = self.parent.as_deref().ok_or_else(|| Error::internal("a parent where there is none"))?;
        Ok((parent.size().saturating_sub(position).min(len), parent))
    }
}

fn continues(stretch: Stretch, next: Stretch) -> bool {
    match (stretch.origin, next.origin) {
        (Origin::File(offset), Origin::File(next)) => offset.checked_add(stretch.len) == Some(next),
        (Origin::Zero, Origin::Zero)
        | (Origin::Parent, Origin::Parent)
        | (Origin::Packed, Origin::Packed) => true,
        _ => false,
    }
}

impl<M: Map> ReadAt for Mapped<M> {
    fn size(&self) -> u64 {
        self.map.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let len = count(buffer.len());
        let mut rest = buffer;
        self.walk(offset, len, &mut |position, stretch| {
            let (part, behind) = std::mem::take(&mut rest)
                .split_at_mut_checked(index(stretch.len)?)
                .ok_or_else(|| Error::internal("stretches longer than what was asked for"))?;
            rest = behind;
            match stretch.origin {
                Origin::File(from) => self.file.read_at(from, part),
                Origin::Packed => self.map.unpack(position, part),
                Origin::Zero => {
                    part.fill(0);
                    Ok(())
                }
                Origin::Parent => {
                    let (len, parent) = self.parent_part(position, stretch.len)?;
                    let (inside, outside) = part.split_at_mut(index(len)?);
                    outside.fill(0);
                    if inside.is_empty() { Ok(()) } else { parent.read_at(position, inside) }
                }
            }
        })
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.walk(offset, len, &mut |position, stretch| match stretch.origin {
            Origin::File(from) => self.file.runs(from, stretch.len, runs),
            Origin::Zero | Origin::Packed => {
                let place = if stretch.origin == Origin::Zero { Place::Zero } else { Place::Opaque };
                push_run(runs, Run { len: stretch.len, place });
                Ok(())
            }
            Origin::Parent => {
                let (len, parent) = self.parent_part(position, stretch.len)?;
                if len > 0 {
                    parent.runs(position, len, runs)?;
                }
                push_run(runs, Run { len: sub(stretch.len, len)?, place: Place::Zero });
                Ok(())
            }
        })
    }
}
