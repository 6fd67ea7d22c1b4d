//! Pieces of files: how their bytes get into an archive.

use spelunk_tree::{Error, NodeId, Place, Result, Run, Tree};

/// Bytes of a piece. A file is cut into pieces of this size, whatever is asked for, so that what comes of
/// them is always the same.
pub const BYTES: usize = 1 << 20;
/// The same, as files count.
pub const LEN: u64 = 1 << 20;

/// A stretch of a file, of at most [`BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub node: NodeId,
    pub offset: u64,
    pub len: usize,
}

/// The bytes of a piece, in full length.
pub struct Content {
    /// The bytes; zeros where they could not be read.
    pub bytes: Vec<u8>,
    /// Why not all could be read.
    pub error: Option<Error>,
}

impl Piece {
    /// The pieces of a file of `size` bytes from `from` on, which is the beginning of one.
    pub fn of_file(node: NodeId, from: u64, size: u64) -> impl Iterator<Item = Piece> + Send {
        let mut offset = from;
        std::iter::from_fn(move || {
            let len = size.checked_sub(offset).filter(|&left| left > 0)?.min(LEN);
            let piece = Piece { node, offset, len: usize::try_from(len).unwrap_or(BYTES) };
            offset += len;
            Some(piece)
        })
    }

    /// Reads the piece into memory.
    pub fn read(&self, tree: &dyn Tree) -> Content {
        let mut bytes = vec![0; self.len];
        if self.len == BYTES && is_hole(tree, self) {
            return Content { bytes, error: None };
        }
        let error = match fill(tree, self, &mut bytes) {
            Ok(()) => None,
            Err((error, filled)) => {
                bytes.get_mut(filled..).unwrap_or_default().fill(0);
                Some(error)
            }
        };
        Content { bytes, error }
    }
}

/// Whether the tree knows that the piece is zeros, without reading them.
fn is_hole(tree: &dyn Tree, piece: &Piece) -> bool {
    let len = u64::try_from(piece.len).unwrap_or(u64::MAX);
    let mut runs: Vec<Run> = Vec::new();
    let asked = tree.runs(piece.node, None, piece.offset, len, &mut runs);
    let zeros = runs.iter().filter(|run| run.place == Place::Zero).map(|run| run.len);
    asked.is_ok() && zeros.fold(0, u64::saturating_add) >= len
}

/// Reads until `bytes` is full. With an error comes how much was.
fn fill(tree: &dyn Tree, piece: &Piece, bytes: &mut [u8]) -> Result<(), (Error, usize)> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let offset = piece.offset + u64::try_from(filled).unwrap_or(0);
        match tree.read(piece.node, None, offset, rest) {
            Ok(0) => return Err((Error::corrupt("ends before its size").at(offset), filled)),
            Ok(count) => filled += count.min(rest.len()),
            Err(error) => return Err((error, filled)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Node, large_byte, tree};

    #[test]
    fn what_cannot_be_read_is_zeros_and_what_can_is_there() {
        let size = 3 * LEN + 5;
        let tree = tree([(1, Node::Large { size, written: size, unreadable_from: Some(2 * LEN + 7) })]);
        let pieces: Vec<Content> =
            Piece::of_file(NodeId::new(1).unwrap(), 0, size).map(|piece| piece.read(&tree)).collect();

        let lengths: Vec<usize> = pieces.iter().map(|content| content.bytes.len()).collect();

        assert_eq!(lengths, [BYTES, BYTES, BYTES, 5]);
        assert!(pieces[..2].iter().all(|content| content.error.is_none()));
        assert!((LEN..).zip(&pieces[1].bytes).all(|(at, &byte)| byte == large_byte(at)));
        assert!(pieces[2..].iter().all(|content| content.error.is_some()));
        assert!(pieces[2].bytes.iter().chain(&pieces[3].bytes).all(|&byte| byte == 0));
    }
}
