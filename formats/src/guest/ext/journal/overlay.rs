//! A volume with other blocks in some places.

use crate::bytes::{add, count, index, mul};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::sync::Arc;

/// What stands in the place of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Substitute {
    /// The block at this byte of the volume.
    Stored(u64),
    /// The same, but for its first four bytes, which are the journal's magic number.
    Escaped(u64),
    /// Nothing that can be trusted.
    Damaged,
}

/// A volume of which some blocks are replaced.
pub(super) struct Overlay {
    lower: Arc<dyn ReadAt>,
    block_bytes: u64,
    /// Sorted by block.
    blocks: Vec<(u64, Substitute)>,
}

/// A stretch of an answer: from one layer alone.
struct Piece {
    offset: u64,
    len: u64,
    substitute: Option<(Substitute, u64)>,
}

impl Overlay {
    pub(super) fn new(lower: Arc<dyn ReadAt>, block_bytes: u32) -> Overlay {
        Overlay { lower, block_bytes: u64::from(block_bytes.max(1)), blocks: Vec::new() }
    }

    /// Replaces `blocks`, which must be sorted.
    pub(super) fn set_blocks(&mut self, blocks: Vec<(u64, Substitute)>) {
        self.blocks = blocks;
    }

    /// Calls `visit` for the stretches of a range.
    fn pieces(&self, offset: u64, len: u64, visit: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let end = add(offset, len)?;
        let mut position = offset;
        let first = self
            .blocks
            .partition_point(|(block, _)| block.saturating_add(1).saturating_mul(self.block_bytes) <= offset);
        for &(block, substitute) in self.blocks.get(first..).unwrap_or_default() {
            let start = mul(block, self.block_bytes)?;
            if start >= end {
                break;
            }
            if start > position {
                visit(Piece { offset: position, len: start.saturating_sub(position), substitute: None })?;
                position = start;
            }
            let within = position.saturating_sub(start);
            let piece_end = start.saturating_add(self.block_bytes).min(end);
            let len = piece_end.saturating_sub(position);
            visit(Piece { offset: position, len, substitute: Some((substitute, within)) })?;
            position = piece_end;
        }
        visit(Piece { offset: position, len: end.saturating_sub(position), substitute: None })
    }
}

impl ReadAt for Overlay {
    fn size(&self) -> u64 {
        self.lower.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut rest = buffer;
        let len = count(rest.len());
        self.pieces(offset, len, &mut |piece| {
            let (part, behind) = std::mem::take(&mut rest)
                .split_at_mut_checked(index(piece.len)?)
                .ok_or_else(|| Error::internal("pieces longer than their sum"))?;
            rest = behind;
            match piece.substitute {
                None if part.is_empty() => Ok(()),
                None => self.lower.read_at(piece.offset, part),
                Some((Substitute::Stored(at), within)) => self.lower.read_at(add(at, within)?, part),
                Some((Substitute::Escaped(at), within)) => {
                    self.lower.read_at(add(at, within)?, part)?;
                    let magic = super::MAGIC.to_be_bytes();
                    let magic = usize::try_from(within).ok().and_then(|within| magic.get(within..));
                    for (byte, magic) in part.iter_mut().zip(magic.unwrap_or_default()) {
                        *byte = *magic;
                    }
                    Ok(())
                }
                Some((Substitute::Damaged, _)) => {
                    Err(Error::corrupt("a block whose copy in the journal is damaged").at(piece.offset))
                }
            }
        })
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.pieces(offset, len, &mut |piece| match piece.substitute {
            None if piece.len == 0 => Ok(()),
            None => self.lower.runs(piece.offset, piece.len, runs),
            Some((Substitute::Stored(at), within)) => self.lower.runs(add(at, within)?, piece.len, runs),
            Some((Substitute::Escaped(_) | Substitute::Damaged, _)) => {
                push_run(runs, Run { len: piece.len, place: Place::Opaque });
                Ok(())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn size(&self) -> u64 {
            count(self.0.len())
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            let start = index(offset)?;
            buffer.copy_from_slice(crate::bytes::range(&self.0, start, buffer.len())?);
            Ok(())
        }

        fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
            push_run(runs, Run { len, place: Place::At { source: 0, offset } });
            Ok(())
        }
    }

    /// Ten blocks of ten bytes, each its number; block 2 is replaced by 8, and 4 by 9 with the magic number.
    fn overlay() -> Overlay {
        let bytes = (0..100u8).map(|at| at / 10).collect();
        let mut overlay = Overlay::new(Arc::new(Bytes(bytes)), 10);
        overlay.set_blocks(vec![
            (2, Substitute::Stored(80)),
            (4, Substitute::Escaped(90)),
            (6, Substitute::Damaged),
        ]);
        overlay
    }

    #[test]
    fn reads_across_replaced_blocks_take_each_from_its_layer() {
        let mut buffer = [0; 34];

        overlay().read_at(15, &mut buffer).unwrap();

        assert_eq!(buffer[..15], [1, 1, 1, 1, 1, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]);
        assert_eq!(buffer[15..25], [3; 10]);
        assert_eq!(buffer[25..], [0xC0, 0x3B, 0x39, 0x98, 9, 9, 9, 9, 9]);
    }

    #[test]
    fn reads_that_begin_inside_an_escaped_block_get_the_rest_of_the_magic_number() {
        let mut buffer = [0; 3];

        overlay().read_at(42, &mut buffer).unwrap();

        assert_eq!(buffer, [0x39, 0x98, 9]);
    }

    #[test]
    fn damaged_blocks_are_errors_and_their_neighbours_are_not() {
        let mut buffer = [0; 10];

        assert!(overlay().read_at(55, &mut buffer).is_err());
        assert!(overlay().read_at(50, &mut buffer).is_ok());
        assert!(overlay().read_at(70, &mut buffer).is_ok());
    }

    #[test]
    fn runs_lead_to_the_journal() {
        let mut runs = Vec::new();

        overlay().runs(15, 30, &mut runs).unwrap();

        let at = |offset, len| Run { len, place: Place::At { source: 0, offset } };
        assert_eq!(runs, [at(15, 5), at(80, 10), at(30, 10), Run { len: 5, place: Place::Opaque }]);
    }
}
