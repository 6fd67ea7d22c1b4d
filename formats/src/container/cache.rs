//! What the layers of a disk keep in memory: bounded, and loaded once for all who wait for it.

use crate::bytes::{add, count, index};
use spelunk_tree::{Error, ReadAt, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of one page of a layer's tables and bitmaps.
const PAGE_BYTES: u64 = 4096;

/// Whose entry, and which of its entries.
type Key = (u32, u64);

/// A cache of so many bytes, which forgets what was used least lately.
///
/// One entry is loaded by one thread, whoever else wants it waits. A load may ask caches for entries of
/// *lower* layers, which cannot wait for a higher one in turn, so nobody waits in a circle.
pub(crate) struct Cache {
    bytes_max: u64,
    loading_bytes_max: u64,
    state: Mutex<State>,
    changed: Condvar,
    owners: AtomicU32,
}

#[derive(Default)]
struct State {
    kept: HashMap<Key, Kept>,
    kept_bytes: u64,
    /// The entries by when they were used last.
    order: BTreeMap<u64, Key>,
    /// Counts uses.
    now: u64,
    loading: HashSet<Key>,
    loading_bytes: u64,
}

/// An entry, and when it was used last.
struct Kept {
    bytes: Arc<Vec<u8>>,
    used: u64,
}

impl Cache {
    /// A cache of at most `bytes_max` bytes, while loads that together need no more than
    /// `loading_bytes_max` run at the same time. A single load may need more; it then runs alone.
    pub(crate) fn new(bytes_max: u64, loading_bytes_max: u64) -> Cache {
        Cache {
            bytes_max,
            loading_bytes_max,
            state: Mutex::default(),
            changed: Condvar::new(),
            owners: AtomicU32::new(0),
        }
    }

    /// A new owner of entries.
    pub(crate) fn owner(&self) -> u32 {
        self.owners.fetch_add(1, Ordering::Relaxed)
    }

    /// The entry `key`, loaded by `load`, which needs about `cost_bytes` of memory, where it is not there.
    pub(crate) fn get(
        &self,
        key: Key,
        cost_bytes: u64,
        load: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Arc<Vec<u8>>> {
        let mut state = self.lock();
        loop {
            if let Some(bytes) = state.find(key) {
                return Ok(bytes);
            }
            if state.may_load(key, cost_bytes, self.loading_bytes_max) {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.loading.insert(key);
        state.loading_bytes = state.loading_bytes.saturating_add(cost_bytes);
        drop(state);
        let _loading = Loading { cache: self, key, cost_bytes };
        let bytes = Arc::new(load()?);
        self.lock().insert(key, bytes.clone(), self.bytes_max);
        Ok(bytes)
    }

    /// Every change leaves the state whole, so one made by a thread that panicked later is good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, key: Key) -> Option<Arc<Vec<u8>>> {
        let now = self.tick();
        let kept = self.kept.get_mut(&key)?;
        self.order.remove(&kept.used);
        self.order.insert(now, key);
        kept.used = now;
        Some(kept.bytes.clone())
    }

    /// An entry that is larger than the whole cache is not kept.
    fn insert(&mut self, key: Key, bytes: Arc<Vec<u8>>, bytes_max: u64) {
        let len = count(bytes.len());
        while self.kept_bytes.saturating_add(len) > bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            let forgotten = self.kept.remove(&oldest).map_or(0, |kept| count(kept.bytes.len()));
            self.kept_bytes = self.kept_bytes.saturating_sub(forgotten);
        }
        let used = self.tick();
        self.order.insert(used, key);
        self.kept_bytes = self.kept_bytes.saturating_add(len);
        self.kept.insert(key, Kept { bytes, used });
    }

    fn tick(&mut self) -> u64 {
        self.now = self.now.saturating_add(1);
        self.now
    }

    fn may_load(&self, key: Key, cost_bytes: u64, loading_bytes_max: u64) -> bool {
        let fits = self.loading_bytes.saturating_add(cost_bytes) <= loading_bytes_max;
        !self.loading.contains(&key) && (fits || self.loading.is_empty())
    }
}

/// A load under way; however it ends, those who wait go on.
struct Loading<'a> {
    cache: &'a Cache,
    key: Key,
    cost_bytes: u64,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.loading.remove(&self.key);
        state.loading_bytes = state.loading_bytes.saturating_sub(self.cost_bytes);
        drop(state);
        self.cache.changed.notify_all();
    }
}

/// Small reads of one file through the cache: allocation tables and bitmaps.
pub(crate) struct Pages {
    cache: Arc<Cache>,
    owner: u32,
    file: Arc<dyn ReadAt>,
}

impl Pages {
    pub(crate) fn new(cache: &Arc<Cache>, file: Arc<dyn ReadAt>) -> Pages {
        Pages { cache: cache.clone(), owner: cache.owner(), file }
    }

    /// Fills `buffer` from `offset` on.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let page = self.page(position / PAGE_BYTES)?;
            let bytes = page.get(index(position % PAGE_BYTES)?..).unwrap_or_default();
            let len = bytes.len().min(rest.len());
            let (part, behind) = rest.split_at_mut(len);
            part.copy_from_slice(bytes.get(..len).unwrap_or_default());
            if len == 0 {
                return Err(Error::corrupt("truncated: a table goes past the end of the file").at(offset));
            }
            position = add(position, count(len))?;
            rest = behind;
        }
        Ok(())
    }

    /// The `N` bytes from `offset` on.
    pub(crate) fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn page(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        self.cache.get((self.owner, number), PAGE_BYTES, || {
            let start = number.saturating_mul(PAGE_BYTES);
            let len = self.file.size().saturating_sub(start).min(PAGE_BYTES);
            if len == 0 {
                return Ok(Vec::new());
            }
            let mut bytes = vec![0; index(len)?];
            self.file.read_at(start, &mut bytes)?;
            Ok(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn entry_wanted_by_many_threads_is_loaded_once() {
        let cache = Cache::new(1000, 1000);
        let loads = AtomicU64::new(0);

        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache.get((0, 7), 10, || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(20));
                        Ok(vec![1; 10])
                    })
                });
            }
        });

        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn loads_at_the_same_time_stay_within_their_bytes() {
        let cache = Cache::new(1000, 250);
        let running = AtomicU64::new(0);
        let most = AtomicU64::new(0);
        let (cache, running, most) = (&cache, &running, &most);

        thread::scope(|scope| {
            for key in 0..8 {
                scope.spawn(move || {
                    cache.get((0, key), 100, || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(5));
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok(vec![1; 10])
                    })
                });
            }
        });

        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn kept_bytes_stay_within_the_limit_and_used_entries_survive() {
        let cache = Cache::new(100, 100);
        let loads = AtomicU64::new(0);
        let get = |key| {
            cache.get((0, key), 10, || {
                loads.fetch_add(1, Ordering::Relaxed);
                Ok(vec![1; 10])
            })
        };

        for key in 1..=20 {
            get(0).unwrap();
            get(key).unwrap();
        }
        let loaded = loads.load(Ordering::Relaxed);
        // All that fit are those that were used last.
        (12..=20).for_each(|key| drop(get(key).unwrap()));

        let state = cache.lock();
        assert_eq!((loaded, loads.load(Ordering::Relaxed)), (21, 21));
        assert_eq!((state.kept.len(), state.order.len(), state.kept_bytes), (10, 10, 100));
    }

    #[test]
    fn failed_load_is_tried_again() {
        let cache = Cache::new(100, 100);

        assert!(cache.get((0, 0), 10, || Err(Error::corrupt("bad"))).is_err());
        assert_eq!(cache.get((0, 0), 10, || Ok(vec![5])).unwrap().as_slice(), [5]);
    }
}
