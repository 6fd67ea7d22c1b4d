//! What was used lately.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by keys, the one that was used last first; those beyond a weight are forgotten. At most a few hundred are
/// kept: they are looked through one by one.
pub(super) struct Recent<K, V> {
    weight_max: usize,
    kept: Mutex<VecDeque<Kept<K, V>>>,
}

struct Kept<K, V> {
    key: K,
    value: Arc<V>,
    weight: usize,
}

impl<K: PartialEq, V> Recent<K, V> {
    /// Keeps what weighs at most `weight_max` together, and the last value in any case.
    pub(super) fn new(weight_max: usize) -> Recent<K, V> {
        Recent { weight_max, kept: Mutex::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|known| known.key == *key)?;
        let known = kept.remove(at)?;
        kept.push_front(known);
        kept.front().map(|known| known.value.clone())
    }

    pub(super) fn put(&self, key: K, value: Arc<V>, weight: usize) {
        /// Values that are kept.
        const COUNT_MAX: usize = 512;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.key != key);
        kept.push_front(Kept { key, value, weight });
        let mut sum = 0usize;
        let mut fits = |known: &Kept<K, V>| {
            sum = sum.saturating_add(known.weight);
            sum <= self.weight_max
        };
        let count = kept.iter().take(COUNT_MAX).take_while(|known| fits(known)).count();
        kept.truncate(count.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_least_lately_is_forgotten_first() {
        let recent = Recent::new(10);
        for (key, weight) in [(1, 4), (2, 4)] {
            recent.put(key, Arc::new(key), weight);
        }

        recent.get(&1);
        recent.put(3, Arc::new(3), 4);

        assert_eq!([1, 2, 3].map(|key| recent.get(&key).is_some()), [true, false, true]);
    }

    #[test]
    fn what_is_too_heavy_for_all_is_kept_alone() {
        let recent = Recent::new(10);
        recent.put(1, Arc::new(1), 1);

        recent.put(2, Arc::new(2), 1000);

        assert_eq!([1, 2].map(|key| recent.get(&key).is_some()), [false, true]);
    }
}
