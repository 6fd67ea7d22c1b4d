//! SEEK_DATA and SEEK_HOLE (lseek(2)), by which programs copy sparse files without reading their holes.

use spelunk_tree::{Name, NodeId, Place, Result, Tree};

/// Bytes of the file that are asked about at first; doubled as long as nothing is found.
const PIECE_BYTES: u64 = 16 * 1024 * 1024;
/// Pieces asked about in one call: with their doubling more than a file can have.
const PIECES_MAX: usize = 48;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Bytes that may be other than zero.
    Data,
    /// Zeros that are stored nowhere.
    Hole,
}

impl Wanted {
    /// Linux's SEEK_DATA and SEEK_HOLE.
    pub(super) fn of_whence(whence: i32) -> Option<Wanted> {
        match whence {
            3 => Some(Wanted::Data),
            4 => Some(Wanted::Hole),
            _ => None,
        }
    }
}

/// Finds the first place of what is wanted from `offset` on; a file's end is a hole. `None` when there is
/// none.
///
/// # Errors
/// The tree's.
pub(super) fn seek(
    tree: &dyn Tree,
    (node, stream): (NodeId, Option<&Name>),
    size: u64,
    offset: u64,
    wanted: Wanted,
) -> Result<Option<u64>> {
    if offset >= size {
        return Ok(None);
    }
    let mut place = offset;
    let mut piece = PIECE_BYTES;
    let mut runs = Vec::new();
    for _ in 0..PIECES_MAX {
        runs.clear();
        tree.runs(node, stream, place, piece.min(size - place), &mut runs)?;
        let start = place;
        for run in &runs {
            if (run.place == Place::Zero) == (wanted == Wanted::Hole) {
                return Ok(Some(place));
            }
            place = place.saturating_add(run.len).min(size);
        }
        if place == size || place == start {
            break;
        }
        piece = piece.saturating_mul(2);
    }
    // At the end, or too far away: what is called data may well be zeros.
    Ok(match wanted {
        Wanted::Hole => Some(size),
        Wanted::Data if place == size => None,
        Wanted::Data => Some(place),
    })
}
