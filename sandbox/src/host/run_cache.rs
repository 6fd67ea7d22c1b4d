//! Where the bytes of files lie, as the worker said lately: a large file costs a few round trips.

use spelunk_tree::{Name, NodeId, Place, Run};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Runs that are kept for one tree, about 2 MiB of them.
const RUNS_MAX: usize = 64 * 1024;
/// Pieces that are kept for one tree: files, or stretches of large ones.
const PIECES_MAX: usize = 8 * 1024;
/// Bytes of small files that are kept for one tree until somebody reads them.
const DATA_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A stretch of a stream and where its bytes lie; checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether the stream ends at `end`.
    pub(crate) is_last: bool,
    /// Each with its position in the stream.
    runs: Vec<(u64, Run)>,
    /// The bytes themselves, where they are few and had to be decoded.
    data: Option<Vec<u8>>,
}

impl Piece {
    /// A piece from `start` on, of runs whose sum does not overflow.
    pub(crate) fn new(start: u64, runs: Vec<Run>, is_last: bool) -> Piece {
        let mut end = start;
        let place = |run: Run| {
            let position = end;
            end = end.saturating_add(run.len);
            (position, run)
        };
        let runs = runs.into_iter().map(place).collect();
        Piece { start, end, is_last, runs, data: None }
    }

    /// The same piece with its bytes.
    pub(crate) fn with_data(self, data: Option<Vec<u8>>) -> Piece {
        Piece { data, ..self }
    }

    /// Where the bytes lie.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        self.runs.iter().map(|(_, run)| *run)
    }

    /// Copies the bytes from `position` on, where they are here, and returns how many.
    pub(crate) fn copy(&self, position: u64, buffer: &mut [u8]) -> Option<usize> {
        let skipped = usize::try_from(position.checked_sub(self.start)?).ok()?;
        let data = self.data.as_ref()?.get(skipped..)?;
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Some(len)
    }

    fn data_bytes(&self) -> usize {
        self.data.as_ref().map_or(0, Vec::len)
    }

    /// How many bytes from `position` on lie together, and where.
    pub(crate) fn at(&self, position: u64) -> Option<Run> {
        let index = self.runs.partition_point(|(start, _)| *start <= position).checked_sub(1)?;
        let (start, run) = self.runs.get(index)?;
        let skipped = position.checked_sub(*start)?;
        let len = run.len.checked_sub(skipped).filter(|len| *len > 0)?;
        let place = match run.place {
            Place::At { source, offset } => Place::At { source, offset: offset.checked_add(skipped)? },
            other => other,
        };
        Some(Run { len, place })
    }

    /// Whether it tells about `position`, be it that the stream has ended before.
    fn tells(&self, position: u64) -> bool {
        self.start <= position && (position < self.end || self.is_last)
    }
}

type Key = (NodeId, Option<Name>, u64);

#[derive(Default)]
struct Pieces {
    by_start: BTreeMap<Key, Arc<Piece>>,
    /// Oldest first.
    order: VecDeque<Key>,
    runs: usize,
    data_bytes: usize,
}

impl Pieces {
    fn forget(&mut self, piece: &Piece) {
        self.runs -= piece.runs.len();
        self.data_bytes -= piece.data_bytes();
    }
}

/// The pieces of one tree's streams. The oldest ones go first.
#[derive(Default)]
pub(crate) struct RunCache(Mutex<Pieces>);

impl RunCache {
    /// The piece that tells about `position`.
    pub(crate) fn find(&self, node: NodeId, stream: Option<&Name>, position: u64) -> Option<Arc<Piece>> {
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = (node, stream.cloned(), position);
        let ((found_node, found_stream, _), piece) = pieces.by_start.range(..=last).next_back()?;
        let is_same = *found_node == node && found_stream.as_ref() == stream;
        (is_same && piece.tells(position)).then(|| piece.clone())
    }

    /// Keeps a piece.
    pub(crate) fn insert(&self, node: NodeId, stream: Option<&Name>, piece: &Arc<Piece>) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node, stream.cloned(), piece.start);
        pieces.runs += piece.runs.len();
        pieces.data_bytes += piece.data_bytes();
        match pieces.by_start.insert(key.clone(), piece.clone()) {
            Some(replaced) => pieces.forget(&replaced),
            None => pieces.order.push_back(key),
        }
        while pieces.runs > RUNS_MAX || pieces.order.len() > PIECES_MAX || pieces.data_bytes > DATA_BYTES_MAX
        {
            let Some(oldest) = pieces.order.pop_front() else { break };
            if let Some(gone) = pieces.by_start.remove(&oldest) {
                pieces.forget(&gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn at(offset: u64, len: u64) -> Run {
        Run { len, place: Place::At { source: 1, offset } }
    }

    fn piece(start: u64, runs: Vec<Run>, is_last: bool) -> Arc<Piece> {
        Arc::new(Piece::new(start, runs, is_last))
    }

    #[test]
    fn piece_tells_where_the_rest_of_a_run_lies() {
        let piece = Piece::new(100, vec![at(5000, 10), Run { len: 5, place: Place::Zero }, at(70, 1)], true);

        assert_eq!(piece.at(103), Some(at(5003, 7)));
        assert_eq!(piece.at(110), Some(Run { len: 5, place: Place::Zero }));
        assert_eq!(piece.at(115), Some(at(70, 1)));
        assert_eq!(piece.at(116), None);
        assert_eq!(piece.at(99), None);
    }

    #[test]
    fn pieces_of_other_streams_and_nodes_tell_nothing() {
        let cache = RunCache::default();
        let stream = Name::new(*b"s").unwrap();
        let main = piece(0, vec![at(0, 10)], false);
        cache.insert(node(1), None, &main);
        cache.insert(node(3), Some(&stream), &piece(0, vec![at(9, 10)], true));

        assert_eq!(cache.find(node(1), None, 9), Some(main));
        assert_eq!(cache.find(node(1), None, 10), None, "it may go on there");
        assert_eq!(cache.find(node(1), Some(&stream), 0), None);
        assert_eq!(cache.find(node(2), None, 0), None);
        assert_eq!(cache.find(node(3), None, 0), None);
        assert!(cache.find(node(3), Some(&stream), 1 << 40).is_some(), "it has ended before");
    }

    #[test]
    fn bytes_of_small_files_are_copied_and_bounded() {
        let small = |id| Arc::new(piece_with(vec![id; 1 << 20]));
        let cache = RunCache::default();
        for id in 1..=6 {
            cache.insert(node(id.into()), None, &small(id));
        }

        let mut buffer = [0; 5];
        assert_eq!(small(7).copy(3, &mut buffer), Some(5));
        assert_eq!(buffer, [7; 5]);
        assert_eq!(small(7).copy((1 << 20) - 2, &mut buffer), Some(2));
        assert_eq!(small(7).copy((1 << 20) + 1, &mut buffer), None);
        assert_eq!(cache.find(node(2), None, 0), None);
        assert!(cache.find(node(3), None, 0).is_some());
    }

    fn piece_with(data: Vec<u8>) -> Piece {
        let run = Run { len: data.len() as u64, place: Place::Opaque };
        Piece::new(0, vec![run], true).with_data(Some(data))
    }

    #[test]
    fn oldest_pieces_go_first() {
        let cache = RunCache::default();
        let count = u64::try_from(PIECES_MAX).unwrap() + 10;
        for id in 0..count {
            cache.insert(node(id), None, &piece(0, vec![at(0, 1)], true));
        }

        assert_eq!(cache.find(node(9), None, 0), None);
        assert!(cache.find(node(10), None, 0).is_some());
        let large = piece(0, vec![at(0, 1); RUNS_MAX], true);
        cache.insert(node(0), None, &large);
        assert_eq!(cache.find(node(0), None, 0), Some(large));
        assert_eq!(cache.find(node(count - 1), None, 0), None);
        assert_eq!(cache.0.lock().unwrap().runs, RUNS_MAX);
    }
}
