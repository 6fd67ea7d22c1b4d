//! Work for all processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads are worth starting.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` on each item, several at a time; the results stand in the items' order.
///
/// # Panics
/// When `work` panics.
pub fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let slots: Vec<Mutex<(Option<T>, Option<R>)>> =
        items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    let next = AtomicUsize::new(0);
    let take_turns = || {
        while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut slot = slot.lock().expect("each slot is locked once");
            let item = slot.0.take().expect("each slot is taken once");
            slot.1 = Some(work(item));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(take_turns);
        }
    });
    let results = slots.into_iter().filter_map(|slot| slot.into_inner().ok()?.1);
    results.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn map_keeps_the_order() {
        let items: Vec<u64> = (0..1000).collect();

        let doubled = super::map(items.clone(), |item| item * 2);

        assert!(items.iter().zip(&doubled).all(|(item, double)| item * 2 == *double));
        assert_eq!(doubled.len(), items.len());
    }
}
