//! The trees of a library's items: opened when somebody looks into them, closed when nobody does for a while.

use sha2::{Digest, Sha256};
use spelunk_sandbox::OpenOptions;
use spelunk_tree::{Error, Result, Tree};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an item stays open that nobody looks at.
const IDLE: Duration = Duration::from_secs(60);
/// Items that are open at once. Of more, the one that was looked at least lately is closed.
const OPEN_MAX: usize = 200;
/// How long it is remembered that an item cannot be opened, before it is tried again.
const FAILED: Duration = Duration::from_secs(10);

/// The items of a library by their numbers. A number is made of the item's key, so that it is the same in every
/// process; where two keys make one number, the one that was seen later takes the next.
pub(super) struct Slots {
    options: OpenOptions,
    table: Mutex<HashMap<u32, Arc<Slot>>>,
}

struct Slot {
    source: usize,
    key: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    opened: Option<(Instant, Result<Arc<dyn Tree>>)>,
}

impl Slots {
    pub(super) fn new(options: OpenOptions) -> Slots {
        Slots { options, table: Mutex::default() }
    }

    /// The number of the item that its source calls `key`.
    pub(super) fn number(&self, source: usize, key: &str) -> u32 {
        let mut table = lock(&self.table);
        let mut number = first_number(source, key);
        loop {
            match table.get(&number) {
                Some(slot) if slot.source == source && slot.key == key => return number,
                // 0 is the library's own.
                Some(_) => number = number.wrapping_add(1).max(1),
                None => {
                    let slot = Slot { source, key: key.to_owned(), state: Mutex::default() };
                    table.insert(number, Arc::new(slot));
                    return number;
                }
            }
        }
    }

    /// The item's tree; `open` is called with its source and key when it is not open.
    ///
    /// # Errors
    /// `NotFound` for no number; what `open` reports, also some seconds later.
    pub(super) fn open(
        &self,
        number: u32,
        open: impl FnOnce(usize, &str, &OpenOptions) -> Result<Arc<dyn Tree>>,
    ) -> Result<Arc<dyn Tree>> {
        let slot = lock(&self.table).get(&number).cloned();
        let slot = slot.ok_or_else(|| Error::not_found("no such backup"))?;
        let mut state = lock(&slot.state);
        if let Some((used, opened)) = &mut state.opened {
            let is_good = opened.is_ok() || used.elapsed() < FAILED;
            if is_good {
                if opened.is_ok() {
                    *used = Instant::now();
                }
                return opened.clone();
            }
        }
        let opened = open(slot.source, &slot.key, &self.options);
        state.opened = Some((Instant::now(), opened.clone()));
        drop(state);
        self.close_excess();
        opened
    }

    /// The item's tree: the one that is open, or one that is closed when the caller is done with it.
    ///
    /// # Errors
    /// `NotFound` for no number; what `open` reports.
    pub(super) fn open_apart(
        &self,
        number: u32,
        open: impl FnOnce(usize, &str, &OpenOptions) -> Result<Arc<dyn Tree>>,
    ) -> Result<Arc<dyn Tree>> {
        let slot = lock(&self.table).get(&number).cloned();
        let slot = slot.ok_or_else(|| Error::not_found("no such backup"))?;
        if let Some((_, Ok(tree))) = &lock(&slot.state).opened {
            return Ok(tree.clone());
        }
        open(slot.source, &slot.key, &self.options)
    }

    /// Closes what nobody looked at for a while.
    pub(super) fn close_idle(&self) {
        for (used, slot) in self.open_slots() {
            if used.elapsed() >= IDLE {
                close(&slot, used);
            }
        }
    }

    #[cfg(test)]
    fn open_count(&self) -> usize {
        self.open_slots().len()
    }

    fn close_excess(&self) {
        let mut open = self.open_slots();
        if let Some(excess) = open.len().checked_sub(OPEN_MAX).filter(|excess| *excess > 0) {
            open.sort_by_key(|(used, _)| *used);
            open.iter().take(excess).for_each(|(used, slot)| close(slot, *used));
        }
    }

    /// What is open, and when it was last used. What is being opened is left out.
    fn open_slots(&self) -> Vec<(Instant, Arc<Slot>)> {
        let slots: Vec<Arc<Slot>> = lock(&self.table).values().cloned().collect();
        let used = |slot: &Slot| match &slot.state.try_lock().ok()?.opened {
            Some((used, Ok(_))) => Some(*used),
            _ => None,
        };
        slots.into_iter().filter_map(|slot| Some((used(&slot)?, slot))).collect()
    }
}

/// Closes a slot unless it was used since. A reader who still has the tree keeps it until he is done.
fn close(slot: &Slot, used: Instant) {
    let mut state = lock(&slot.state);
    if state.opened.as_ref().is_some_and(|(now, _)| *now == used) {
        state.opened = None;
    }
}

fn first_number(source: usize, key: &str) -> u32 {
    let digest = Sha256::new().chain_update(source.to_le_bytes()).chain_update(key).finalize();
    digest.iter().take(4).fold(0, |number: u32, byte| number << 8 | u32::from(*byte)).max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_mount::Composition;

    fn open(_: usize, _: &str, _: &OpenOptions) -> Result<Arc<dyn Tree>> {
        Ok(Arc::new(Composition::new(Vec::new())?))
    }

    #[test]
    fn numbers_are_the_same_whenever_asked_and_never_zero() {
        let slots = Slots::new(OpenOptions::default());

        let numbers: Vec<u32> = (0..1000).map(|key| slots.number(0, &key.to_string())).collect();
        let again: Vec<u32> = (0..1000).map(|key| slots.number(0, &key.to_string())).collect();

        assert_eq!(numbers, again);
        assert!(!numbers.contains(&0));
        assert_ne!(slots.number(0, "a"), slots.number(1, "a"));
    }

    #[test]
    fn what_is_open_is_not_opened_again_and_what_failed_not_at_once() {
        let slots = Slots::new(OpenOptions::default());
        let (good, bad) = (slots.number(0, "good"), slots.number(0, "bad"));

        slots.open(good, open).unwrap();
        slots.open(good, |_, _, _| panic!("it is open")).unwrap();
        let failed = slots.open(bad, |_, _, _| Err(Error::corrupt("bad"))).map(drop);
        let again = slots.open(bad, |_, _, _| panic!("it failed just now")).map(drop);

        assert_eq!(slots.open_count(), 1);
        assert_eq!((failed.is_err(), again), (true, failed));
        assert!(slots.open(0, open).is_err(), "no such number");
    }

    #[test]
    fn more_than_may_be_open_at_once_close_those_that_were_used_least_lately() {
        let slots = Slots::new(OpenOptions::default());

        for key in 0..OPEN_MAX + 3 {
            slots.open(slots.number(0, &key.to_string()), open).unwrap();
        }

        assert_eq!(slots.open_count(), OPEN_MAX);
        let mut opened = false;
        let first = slots.number(0, "0");
        slots
            .open(first, |a, b, c| {
                opened = true;
                open(a, b, c)
            })
            .unwrap();
        assert!(opened, "the first one was closed");
    }
}
