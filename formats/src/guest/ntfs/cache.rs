//! A bounded cache.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Keeps what was used last, up to a weight. Two generations: what is found in the old one moves to the
/// young one, and when that is full it becomes the old one; so both forgetting and finding are cheap.
pub(super) struct Cache<K, V> {
    generations: Mutex<Generations<K, V>>,
    weight_max: usize,
}

struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_weight: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// An empty cache of at most `weight_max`, in the unit of [`Cache::insert`]'s weights.
    pub fn new(weight_max: usize) -> Cache<K, V> {
        let generations = Generations { young: HashMap::new(), old: HashMap::new(), young_weight: 0 };
        Cache { generations: Mutex::new(generations), weight_max }
    }

    /// The value under `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = generations.old.remove(key)?;
        generations.insert(key.clone(), value.clone(), weight, self.weight_max);
        Some(value)
    }

    /// Keeps `value` under `key`; a value of more than half of the whole weight is not kept.
    pub fn insert(&self, key: K, value: V, weight: usize) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.insert(key, value, weight, self.weight_max);
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn insert(&mut self, key: K, value: V, weight: usize, weight_max: usize) {
        let half = weight_max / 2;
        if weight > half {
            return;
        }
        if self.young_weight.saturating_add(weight) > half {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight = self.young_weight.saturating_add(weight);
        if let Some((_, replaced)) = self.young.insert(key, (value, weight)) {
            self.young_weight = self.young_weight.saturating_sub(replaced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_use_stay_and_others_go() {
        let cache = Cache::new(8);
        for key in 0..20 {
            cache.insert(key, key, 1);
            assert_eq!(cache.get(&0), Some(0));
        }

        assert_eq!((cache.get(&2), cache.get(&19)), (None, Some(19)));
    }

    #[test]
    fn heavy_values_are_not_kept() {
        let cache = Cache::new(8);

        cache.insert(1, (), 5);

        assert_eq!(cache.get(&1), None);
    }
}
