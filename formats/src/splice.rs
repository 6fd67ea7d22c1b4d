//! Layers that together are one: one after the other here, in turn in `assembly/stripe.rs`.

use crate::bytes::{add, count, index, sub};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::sync::Arc;

/// Layers each of which holds stretches of the whole.
pub(crate) trait Joined: Send + Sync {
    /// Bytes of the whole.
    fn size(&self) -> u64;

    /// The layer at `offset`, the position in it, and how many of `len` bytes from there on it has.
    ///
    /// # Errors
    /// `Corrupt` past the end.
    fn at(&self, offset: u64, len: u64) -> Result<(&dyn ReadAt, u64, u64)>;
}

/// The whole of joined layers.
pub(crate) struct Whole<T>(pub(crate) T);

impl<T: Joined> ReadAt for Whole<T> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (layer, within, len) = self.0.at(position, count(rest.len()))?;
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
            let (layer, within, len) = self.0.at(position, sub(end, position)?)?;
            layer.runs(within, len, runs)?;
            position = add(position, len)?;
        }
        Ok(())
    }
}

/// All of `layers`, one after the other. Empty ones vanish.
pub(crate) fn splice(layers: Vec<Arc<dyn ReadAt>>) -> Result<Arc<dyn ReadAt>> {
    let mut pieces = Vec::new();
    let mut end = 0;
    for layer in layers.into_iter().filter(|layer| layer.size() != 0) {
        end = add(end, layer.size())?;
        pieces.push(Piece { end, layer });
    }
    match pieces.pop() {
        Some(only) if pieces.is_empty() => Ok(only.layer),
        last => {
            pieces.extend(last);
            Ok(Arc::new(Whole(Spliced { pieces })))
        }
    }
}

/// Bytes that are all zeros.
pub(crate) struct Zeros(u64);

impl Zeros {
    pub(crate) fn new(len: u64) -> Zeros {
        Zeros(len)
    }
}

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

impl Joined for Spliced {
    fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.end)
    }

    fn at(&self, offset: u64, len: u64) -> Result<(&dyn ReadAt, u64, u64)> {
        let number = self.pieces.partition_point(|piece| piece.end <= offset);
        let Some(piece) = self.pieces.get(number) else {
            return Err(Error::corrupt("reading past the end of the volume").at(offset));
        };
        let within = sub(offset, sub(piece.end, piece.layer.size())?)?;
        Ok((&*piece.layer, within, len.min(sub(piece.end, offset)?)))
    }
}
