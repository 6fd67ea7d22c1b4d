//! Finding inodes: one by number, and many at once in large reads.

use super::Filesystem;
use super::inode::Inode;
use crate::bytes::{add, index, mul, range, sub};
use spelunk_tree::{Error, ErrorKind, Result};
use std::sync::Arc;

/// What is cached of an inode table at once: 16 inodes of 256 bytes. Small, since the inodes of a directory in
/// hash order lie all over the table.
const PIECE_BYTES: u64 = 4 * 1024;
/// The most that one read takes of an inode table.
const READ_BYTES_MAX: u64 = 1024 * 1024;
/// What lies between two wanted pieces is read along when it is no more than this: cheaper than another read.
const GAP_BYTES_MAX: u64 = 32 * 1024;
/// Pieces of one page of a listing that are kept: of a page with more, every piece would push out one that is
/// needed again as soon.
const KEPT_PIECES_MAX: usize = 512;

/// Where an inode lies.
#[derive(Clone, Copy)]
struct Position {
    number: u32,
    /// Where the answer goes.
    slot: usize,
    /// Where its piece begins in the volume.
    piece: u64,
    /// How long the piece is.
    piece_bytes: u64,
    /// Where the inode begins in the piece.
    within: u64,
}

impl Filesystem {
    /// The inode `number`, whatever it is used for.
    ///
    /// # Errors
    /// `NotFound` when it is not in use, `Corrupt`.
    pub(super) fn inode(&self, number: u32) -> Result<Inode> {
        if let Some(changed) = self.changes.inode(number) {
            return changed.clone();
        }
        let position = self.position(number, &mut None)?;
        if let Ok(piece) = self.piece(position) {
            return self.decode(position, &piece);
        }
        self.inode_alone(position)
    }

    /// The inodes with these numbers, which must be sorted, in the same order.
    pub(super) fn inodes(&self, numbers: &[u32]) -> Vec<Result<Inode>> {
        let mut found: Vec<Option<Result<Inode>>> = numbers.iter().map(|_| None).collect();
        let mut missing = Vec::new();
        let mut table = None;
        for ((slot, &number), found) in numbers.iter().enumerate().zip(&mut found) {
            if let Some(changed) = self.changes.inode(number) {
                *found = Some(changed.clone());
                continue;
            }
            match self.position(number, &mut table) {
                Err(error) => *found = Some(Err(error)),
                Ok(position) => match self.pieces.get(position.piece) {
                    Some(piece) => *found = Some(self.decode(position, &piece)),
                    None => missing.push(Position { slot, ..position }),
                },
            }
        }
        missing.sort_unstable_by_key(|position| (position.piece, position.within));
        let is_kept = missing.chunk_by(|a, b| a.piece == b.piece).count() <= KEPT_PIECES_MAX;
        let mut buffer = Vec::new();
        let mut rest = &missing[..];
        while let Some(first) = rest.first() {
            let (positions, behind) = rest.split_at(span(first, rest));
            self.read_span(positions, is_kept, &mut buffer, &mut found);
            rest = behind;
        }
        let lost = || Err(Error::internal("an inode that was not looked up"));
        found.into_iter().map(|inode| inode.unwrap_or_else(lost)).collect()
    }

    /// Reads the pieces of `positions`, which lie close together, at once.
    fn read_span(
        &self,
        positions: &[Position],
        is_kept: bool,
        buffer: &mut Vec<u8>,
        found: &mut [Option<Result<Inode>>],
    ) {
        let start = positions.first().map_or(0, |first| first.piece);
        let is_read = self.fill_span(positions, buffer).is_ok();
        for pieces in positions.chunk_by(|a, b| a.piece == b.piece) {
            let Some(first) = pieces.first() else { continue };
            let piece =
                cut(buffer, first.piece.saturating_sub(start), first.piece_bytes).ok().filter(|_| is_read);
            if let Some(piece) = piece
                && is_kept
            {
                self.pieces.put(first.piece, Arc::from(piece));
            }
            for &position in pieces {
                // When something in the span cannot be read, what else is in it can.
                let inode =
                    piece.map_or_else(|| self.inode_alone(position), |piece| self.decode(position, piece));
                if let Some(found) = found.get_mut(position.slot) {
                    *found = Some(inode);
                }
            }
        }
    }

    fn fill_span(&self, positions: &[Position], buffer: &mut Vec<u8>) -> Result<()> {
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else { return Ok(()) };
        let len = sub(add(last.piece, last.piece_bytes)?, first.piece)?;
        buffer.resize(index(len)?, 0);
        self.volume.read_at(first.piece, buffer)
    }

    fn piece(&self, position: Position) -> Result<Arc<[u8]>> {
        if let Some(piece) = self.pieces.get(position.piece) {
            return Ok(piece);
        }
        let mut bytes = vec![0; index(position.piece_bytes)?];
        self.volume.read_at(position.piece, &mut bytes)?;
        let piece: Arc<[u8]> = bytes.into();
        self.pieces.put(position.piece, piece.clone());
        Ok(piece)
    }

    /// Reads nothing but the inode: where its surroundings cannot be read (a truncated image).
    fn inode_alone(&self, position: Position) -> Result<Inode> {
        Inode::decode(&self.superblock, position.number, &self.raw_inode_at(position)?)
    }

    /// The bytes of inode `number` in its table, unchecked.
    pub(super) fn raw_inode(&self, number: u32) -> Result<Vec<u8>> {
        self.raw_inode_at(self.position(number, &mut None)?)
    }

    fn raw_inode_at(&self, position: Position) -> Result<Vec<u8>> {
        let mut raw = vec![0; index(self.superblock.inode_bytes)?];
        self.volume.read_at(add(position.piece, position.within)?, &mut raw).map_err(|error| {
            error.context("reading an inode").object(format!("inode {}", position.number))
        })?;
        Ok(raw)
    }

    fn decode(&self, position: Position, piece: &[u8]) -> Result<Inode> {
        let raw = range(piece, index(position.within)?, index(self.superblock.inode_bytes)?)?;
        Inode::decode(&self.superblock, position.number, raw)
    }

    /// Where an inode lies. `table` keeps the group that was looked up last, and where its table begins.
    fn position(&self, number: u32, table: &mut Option<(u32, u64)>) -> Result<Position> {
        let superblock = &self.superblock;
        if number == 0 || number > superblock.inodes_count {
            return Err(Error::not_found(format!("inode {number} of {}", superblock.inodes_count)));
        }
        let zero_based = number.saturating_sub(1);
        let per_group = superblock.inodes_per_group;
        let group = zero_based / per_group;
        let start = match *table {
            Some((known, start)) if known == group => start,
            _ => self.inode_table(group).map_err(|error| {
                // What could not be found is the descriptor, not the inode.
                let kind =
                    if error.kind() == ErrorKind::NotFound { ErrorKind::Corrupt } else { error.kind() };
                Error::new(kind, "finding an inode").object(format!("inode {number}")).because(error)
            })?,
        };
        *table = Some((group, start));
        let inode_bytes = u64::from(superblock.inode_bytes);
        let table_bytes = mul(u64::from(per_group.get()), inode_bytes)?;
        let at = mul(u64::from(zero_based % per_group), inode_bytes)?;
        // Both are powers of two, so no inode lies in two pieces.
        let piece_bytes = PIECE_BYTES.max(inode_bytes);
        let within = at & piece_bytes.saturating_sub(1);
        let piece_at = sub(at, within)?;
        Ok(Position {
            number,
            slot: 0,
            piece: add(start, piece_at)?,
            piece_bytes: piece_bytes.min(sub(table_bytes, piece_at)?),
            within,
        })
    }
}

/// How many of `positions`, of which `first` is the first, one read takes.
fn span(first: &Position, positions: &[Position]) -> usize {
    let mut end = first.piece;
    let mut count = 0usize;
    for position in positions {
        let piece_end = position.piece.saturating_add(position.piece_bytes);
        let is_near = position.piece.saturating_sub(end) <= GAP_BYTES_MAX;
        let is_small = piece_end.saturating_sub(first.piece) <= READ_BYTES_MAX;
        if count > 0 && !(is_near && is_small) {
            break;
        }
        count = count.saturating_add(1);
        end = end.max(piece_end);
    }
    count
}

fn cut(bytes: &[u8], at: u64, len: u64) -> Result<&[u8]> {
    range(bytes, index(at)?, index(len)?)
}
