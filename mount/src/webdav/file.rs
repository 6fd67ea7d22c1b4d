//! A file's content as a body.

use super::calls::Source;
use bytes::Bytes;
use spelunk_tree::{Error, NodeId, Result, Tree};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are read at a time. Two such pieces are held for each download.
const PIECE_BYTES: u64 = 1 << 20;

/// Stretches of a file, and what stands between them.
pub(super) struct Content {
    pub(super) tree: Arc<dyn Tree>,
    pub(super) node: NodeId,
    pub(super) parts: VecDeque<Part>,
}

/// A part of a body.
pub(super) enum Part {
    Text(Bytes),
    Stretch(Range<u64>),
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Part::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Part::Stretch(range) => range.end.saturating_sub(range.start),
        }
    }
}

impl Source for Content {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let (piece, rest) = match self.parts.pop_front() {
            None => return Ok(None),
            Some(Part::Text(text)) => return Ok(Some(text)),
            Some(Part::Stretch(range)) => {
                let middle = range.start.saturating_add(PIECE_BYTES).min(range.end);
                (range.start..middle, middle..range.end)
            }
        };
        if !rest.is_empty() {
            self.parts.push_front(Part::Stretch(rest));
        }
        let wanted = usize::try_from(piece.end - piece.start).unwrap_or(0);
        let mut buffer = vec![0; wanted];
        let read = self.tree.read(self.node, None, piece.start, &mut buffer)?;
        if read != wanted {
            // Its length is promised already: neither zeros nor an early end may stand for what is not there.
            return Err(Error::corrupt("a file that ends before its size").at(piece.start));
        }
        Ok(Some(buffer.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Node};
    use spelunk_tree::ErrorKind;

    fn content(node: Node, part: Range<u64>) -> Content {
        let tree = Arc::new(fixture::tree([(2, node)]));
        Content { tree, node: NodeId::new(2).unwrap(), parts: VecDeque::from([Part::Stretch(part)]) }
    }

    #[test]
    fn stretch_comes_in_pieces_and_then_ends() {
        let size = PIECE_BYTES * 2 + 7;
        let mut content = content(Node::Large { size, written: size, unreadable_from: None }, 3..size);

        let mut place = 3;
        while let Some(piece) = content.next().unwrap() {
            assert!(piece.len() <= usize::try_from(PIECE_BYTES).unwrap() && !piece.is_empty());
            for byte in piece {
                assert_eq!(byte, fixture::large_byte(place));
                place += 1;
            }
        }

        assert_eq!(place, size);
    }

    #[test]
    fn file_that_ends_before_its_size_is_damaged() {
        let mut content = content(Node::File(b"abc"), 0..4);

        assert_eq!(content.next().map_err(|error| error.kind()), Err(ErrorKind::Corrupt));
    }
}
