//! A file's pieces, and where each begins.

use super::id::Id;
use super::repository::Repository;
use spelunk_tree::{Error, Result};
use std::ops::Range;

/// The pieces of one file.
pub(super) struct Content {
    pieces: Vec<Id>,
    /// Where each piece begins, and where the last one ends.
    starts: Vec<u64>,
    /// Pieces that no index names, with those between: how long each is, is not known.
    unknown: Range<usize>,
}

impl Content {
    /// Lays out a file of `size` bytes.
    ///
    /// # Errors
    /// `Corrupt` when its pieces are not as many bytes; when the index cannot be read.
    pub(super) fn new(pieces: Vec<Id>, size: u64, repository: &Repository) -> Result<Content> {
        let lengths: Vec<Option<u64>> = repository
            .lengths(&pieces)?
            .into_iter()
            .map(|length| length.and_then(|length| u64::try_from(length).ok()))
            .collect();
        let (starts, unknown) = lay_out(&lengths, size)?;
        Ok(Content { pieces, starts, unknown })
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.pieces.len().saturating_mul(size_of::<Id>() + size_of::<u64>())
    }

    /// Reads from `offset` on, and returns how many bytes: fewer than `buffer` holds at the end only.
    ///
    /// # Errors
    /// `Corrupt` when a piece of what is asked for is missing or damaged.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8], repository: &Repository) -> Result<usize> {
        let mut done = 0;
        let mut index = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        while let (Some(piece), Some(&[start, end])) = (
            self.pieces.get(index),
            self.starts.get(index..index.saturating_add(2)).and_then(|pair| pair.first_chunk()),
        ) {
            let rest = buffer.get_mut(done..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            if self.unknown.contains(&index) {
                let error = Error::corrupt("a piece of a file is missing").object(format!("blob {piece}"));
                return Err(error.at(at));
            }
            let data =
                repository.data(piece).map_err(|error| error.context(format!("reading a file at {at}")))?;
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            if end.checked_sub(start) != Some(length) {
                return Err(Error::corrupt("a piece of another length than before").at(at));
            }
            let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            let piece = data.get(skip..).unwrap_or_default();
            let count = piece.len().min(rest.len());
            if let (Some(to), Some(from)) = (rest.get_mut(..count), piece.get(..count)) {
                to.copy_from_slice(from);
            }
            done += count;
            index += 1;
        }
        Ok(done)
    }
}

/// Where pieces begin, and which lie between the first and the last whose length is not known: from the begin, and
/// from the end, the others are where they are.
fn lay_out(lengths: &[Option<u64>], size: u64) -> Result<(Vec<u64>, Range<usize>)> {
    let first = lengths.iter().position(Option::is_none).unwrap_or(lengths.len());
    let behind =
        lengths.iter().rposition(Option::is_none).map_or(lengths.len(), |last| last.saturating_add(1));
    let disagree =
        |sum: u64| Error::corrupt(format!("a file of {size} bytes by its entry, and of {sum} by its pieces"));
    let sum = |lengths: &[Option<u64>]| {
        lengths.iter().flatten().try_fold(0u64, |sum, length| sum.checked_add(*length))
    };
    let before = sum(lengths.get(..first).unwrap_or_default()).ok_or_else(|| disagree(u64::MAX))?;
    let after = sum(lengths.get(behind..).unwrap_or_default()).ok_or_else(|| disagree(u64::MAX))?;
    let tail = size.checked_sub(after).filter(|tail| *tail >= before).ok_or_else(|| disagree(before))?;
    if first == lengths.len() && before != size {
        return Err(disagree(before));
    }
    let mut starts = Vec::with_capacity(lengths.len().saturating_add(1));
    let mut at = 0u64;
    for (index, length) in lengths.iter().enumerate() {
        if index == behind && first < behind {
            at = tail;
        }
        starts.push(at);
        // One of those that are not known takes the place of all of them.
        let length = if index == first { tail.saturating_sub(before) } else { length.unwrap_or(0) };
        at = if index > first && index < behind { tail } else { at.saturating_add(length) };
    }
    starts.push(at);
    Ok((starts, first..behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other() {
        assert_eq!(lay_out(&[Some(3), Some(4)], 7).unwrap(), (vec![0, 3, 7], 2..2));
        assert_eq!(lay_out(&[], 0).unwrap(), (vec![0], 0..0));
    }

    #[test]
    fn pieces_around_a_missing_one_stay_where_they_are() {
        assert_eq!(lay_out(&[Some(3), None, Some(4)], 17).unwrap(), (vec![0, 3, 13, 17], 1..2));
        assert_eq!(
            lay_out(&[Some(3), None, Some(1), None, Some(4)], 17).unwrap(),
            (vec![0, 3, 13, 13, 13, 17], 1..4)
        );
        assert_eq!(lay_out(&[None], 5).unwrap(), (vec![0, 5], 0..1));
    }

    #[test]
    fn pieces_that_are_not_as_long_as_the_file_are_refused() {
        for (lengths, size) in [
            (&[Some(3)][..], 4),
            (&[Some(3)], 2),
            (&[], 1),
            (&[Some(3), None, Some(4)], 6),
            (&[Some(u64::MAX), Some(1)], 0),
        ] {
            assert!(lay_out(lengths, size).is_err(), "{lengths:?} {size}");
        }
    }
}
