//! A small cache of metadata, bounded in bytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps what was used last, up to a number of bytes.
///
/// Two generations: what is used moves to the young one, and when that holds half of the bytes, the old one
/// is dropped and the young one becomes old. Every step costs the same, however much is kept.
pub(super) struct Cache<K> {
    generations: Mutex<Generations<K>>,
    generation_bytes_max: usize,
}

struct Generations<K> {
    young: HashMap<K, Arc<[u8]>>,
    young_bytes: usize,
    old: HashMap<K, Arc<[u8]>>,
}

impl<K: Copy + Eq + Hash> Cache<K> {
    /// A cache of at most `bytes_max` bytes (and one value more).
    pub(super) fn new(bytes_max: usize) -> Cache<K> {
        let generations = Generations { young: HashMap::new(), young_bytes: 0, old: HashMap::new() };
        Cache { generations: Mutex::new(generations), generation_bytes_max: bytes_max / 2 }
    }

    /// The value of `key`, when it is kept.
    pub(super) fn get(&self, key: K) -> Option<Arc<[u8]>> {
        let mut generations = self.lock();
        if let Some(value) = generations.young.get(&key) {
            return Some(value.clone());
        }
        let value = generations.old.remove(&key)?;
        self.insert(&mut generations, key, value.clone());
        Some(value)
    }

    /// Keeps `value` for `key`.
    pub(super) fn put(&self, key: K, value: Arc<[u8]>) {
        let mut generations = self.lock();
        self.insert(&mut generations, key, value);
    }

    fn insert(&self, generations: &mut Generations<K>, key: K, value: Arc<[u8]>) {
        if generations.young_bytes.saturating_add(value.len()) > self.generation_bytes_max {
            generations.old = mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        generations.young_bytes = generations.young_bytes.saturating_add(value.len());
        if let Some(replaced) = generations.young.insert(key, value) {
            generations.young_bytes = generations.young_bytes.saturating_sub(replaced.len());
        }
    }

    /// A panic elsewhere cannot leave the maps half changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Generations<K>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_over_its_limit_forgets_the_least_used() {
        let cache = Cache::new(200);
        for key in 0..10u32 {
            cache.put(key, Arc::from([0u8; 20]));
            assert!(cache.get(0).is_some(), "0 is used all the time");
        }

        let kept = (0..10).filter(|&key| cache.get(key).is_some()).count();

        assert!(kept < 10, "{kept}");
        assert!(cache.get(0).is_some());
        assert!(cache.get(9).is_some());
    }
}
