//! Which leg of a RAID1 is up to date: the state that device mapper keeps beside each (Linux `drivers/md/dm-raid.c`,
//! `struct dm_raid_superblock`).

use crate::assembly::read_if_there;
use crate::bytes::{le_u32, le_u64};
use spelunk_tree::{Error, ErrorKind, ReadAt, Result};

/// `DmRd`.
const MAGIC: u32 = 0x6452_6D44;
/// A leg of which everything is up to date.
const RECOVERED: u64 = u64::MAX;

/// What one leg knows of itself and the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Its place among the legs.
    position: u32,
    /// Counts the changes of the array's state.
    events: u64,
    /// A bit for each leg that had failed.
    failed: u64,
    /// Up to where the leg is up to date, in sectors.
    recovered: u64,
}

impl State {
    /// The state in a leg's metadata volume; `None` when none was ever written (the array was never in use).
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<State>> {
        let Some(bytes) = read_if_there::<512>(volume, 0)? else { return Ok(None) };
        if le_u32(&bytes, 0)? != MAGIC {
            return Ok(None);
        }
        Ok(Some(State {
            position: le_u32(&bytes, 12)?,
            events: le_u64(&bytes, 16)?,
            failed: le_u64(&bytes, 24)?,
            recovered: le_u64(&bytes, 32)?,
        }))
    }
}

/// The number of the first leg that is up to date, of those that are there, each with its state.
pub(super) fn best(legs: &[(usize, Option<&State>)]) -> Result<usize> {
    let Some(newest) = newest(legs) else {
        // No leg says anything: none has ever been written through the array, or all are alike.
        return legs.first().map(|(number, _)| *number).ok_or_else(|| Error::corrupt("no legs"));
    };
    let good = legs.iter().find(|(number, state)| is_good(*number, *state, &newest));
    good.map(|(number, _)| *number).ok_or_else(|| {
        Error::new(
            ErrorKind::Storage,
            "none of the legs of the mirror that are there is up to date; give the other images as well",
        )
    })
}

/// The state of the newest legs; failed is what any of them takes for failed.
fn newest(legs: &[(usize, Option<&State>)]) -> Option<State> {
    let states = || legs.iter().filter_map(|(_, state)| *state);
    let newest = states().max_by_key(|state| state.events)?;
    let failed = states().filter(|state| state.events == newest.events).fold(0, |all, it| all | it.failed);
    Some(State { failed, ..newest.clone() })
}

fn is_good(number: usize, state: Option<&State>, newest: &State) -> bool {
    let has_failed = |failed: u64| {
        u32::try_from(number).ok().and_then(|bit| failed.checked_shr(bit)).is_none_or(|it| it & 1 == 1)
    };
    state.is_some_and(|state| {
        state.events == newest.events
            && state.recovered == RECOVERED
            && u32::try_from(number) == Ok(state.position)
            && !has_failed(newest.failed)
    })
}

/// What is to be told of legs that are not as good as the one that is shown.
pub(super) fn notes(legs: &[(usize, Option<&State>)], count: usize, best: usize) -> Vec<String> {
    let newest = newest(legs);
    let mut notes = Vec::new();
    for number in 0..count.min(crate::assembly::NOTES_MAX) {
        match (legs.iter().find(|(it, _)| *it == number), &newest) {
            (None, _) => notes.push(format!("leg {number} of the mirror is missing; leg {best} is shown")),
            (Some((_, state)), Some(newest)) if !is_good(number, *state, newest) => {
                notes.push(format!("leg {number} of the mirror is not up to date; leg {best} is shown"));
            }
            _ => {}
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(position: u32, events: u64, failed: u64, recovered: u64) -> State {
        State { position, events, failed, recovered }
    }

    #[test]
    fn legs_that_are_old_failed_or_being_rebuilt_are_not_taken() {
        let good = state(1, 7, 0, RECOVERED);
        for bad in [state(0, 6, 0, RECOVERED), state(0, 7, 0, 800), state(5, 7, 0, RECOVERED)] {
            assert_eq!(best(&[(0, Some(&bad)), (1, Some(&good))]), Ok(1), "{bad:?}");
        }
        let knows = state(1, 7, 1, RECOVERED);
        assert_eq!(best(&[(0, Some(&state(0, 7, 0, RECOVERED))), (1, Some(&knows))]), Ok(1));
        assert_eq!(best(&[(0, Some(&state(0, 6, 0, RECOVERED))), (1, Some(&knows))]), Ok(1));
        assert!(best(&[(0, Some(&state(0, 7, 0, 800)))]).is_err());
        assert_eq!(best(&[(1, None)]), Ok(1));
    }
}
