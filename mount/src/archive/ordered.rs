//! Work in several threads whose results come in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs that go from thread to thread together: to wake a thread takes longer than a small job. Together they weigh
/// no more than this, or are a single one.
const BATCH_JOBS_MAX: usize = 32;
const BATCH_WEIGHT_MAX: usize = 128 << 10;
/// Batches that may be under way, from being made to being taken.
const BATCHES_MAX: usize = 64;
/// Sum of the weights of jobs under way: with what packing makes of them, about twice this is in memory.
const WEIGHT_MAX: usize = 32 << 20;

/// Jobs, or what came of them, and what they weigh together.
struct Batch<T> {
    items: Vec<T>,
    weight: usize,
}

/// What the threads share.
struct State<J, R> {
    waiting: VecDeque<(u64, Batch<J>)>,
    done: BTreeMap<u64, Batch<R>>,
    /// Batches, and their weights, that were made and not taken.
    batches: usize,
    weight: usize,
    is_all_made: bool,
    /// Somebody gave up, or fell.
    is_over: bool,
}

struct Shared<J, R> {
    state: Mutex<State<J, R>>,
    /// For who makes jobs, who does them, who takes results.
    room: Condvar,
    work: Condvar,
    result: Condvar,
}

impl<J, R> Shared<J, R> {
    fn lock(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.room.notify_all();
        self.work.notify_all();
        self.result.notify_all();
    }
}

/// Ends everything when its thread falls: nobody may wait for what will not come.
struct EndOnPanic<'a, J, R>(&'a Shared<J, R>);

impl<J, R> Drop for EndOnPanic<'_, J, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

/// Gives each of `jobs`, in one thread, to `work`, in `threads` others, and what comes of it to `take`, on this
/// thread and in the order of the jobs. Each job has a weight, the bytes that it will bring. What a worker
/// keeps between jobs is made by `new_state`.
///
/// # Errors
/// The first that `take` returns; nothing is begun after it.
pub fn for_each<J: Send, R: Send, S, E>(
    threads: usize,
    jobs: impl Iterator<Item = (usize, J)> + Send,
    new_state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, J) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let state = State {
        waiting: VecDeque::new(),
        done: BTreeMap::new(),
        batches: 0,
        weight: 0,
        is_all_made: false,
        is_over: false,
    };
    let shared = Shared {
        state: Mutex::new(state),
        room: Condvar::new(),
        work: Condvar::new(),
        result: Condvar::new(),
    };
    thread::scope(|scope| {
        scope.spawn(|| make(&shared, jobs));
        for _ in 0..threads.max(1) {
            scope.spawn(|| work_off(&shared, &new_state, &work));
        }
        let _guard = EndOnPanic(&shared);
        let mut next = 0;
        while let Some(results) = wait_for(&shared, next) {
            next += 1;
            if let Err(error) = results.into_iter().try_for_each(&mut take) {
                shared.end();
                return Err(error);
            }
        }
        Ok(())
    })
}

fn make<J, R>(shared: &Shared<J, R>, jobs: impl Iterator<Item = (usize, J)>) {
    let _guard = EndOnPanic(shared);
    let mut number = 0;
    let mut batch = Batch { items: Vec::new(), weight: 0 };
    for (weight, job) in jobs {
        let is_full = batch.items.len() >= BATCH_JOBS_MAX || batch.weight + weight > BATCH_WEIGHT_MAX;
        if is_full && !batch.items.is_empty() {
            let full = std::mem::replace(&mut batch, Batch { items: Vec::new(), weight: 0 });
            if !hand_over(shared, number, full) {
                return;
            }
            number += 1;
        }
        batch.items.push(job);
        batch.weight = batch.weight.saturating_add(weight);
    }
    if !batch.items.is_empty() && !hand_over(shared, number, batch) {
        return;
    }
    shared.lock().is_all_made = true;
    shared.work.notify_all();
    shared.result.notify_all();
}

/// Waits until there is room for a batch; returns false when nobody wants it any more.
fn hand_over<J, R>(shared: &Shared<J, R>, number: u64, batch: Batch<J>) -> bool {
    let mut state = shared.lock();
    while !state.is_over
        && state.batches > 0
        && (state.batches >= BATCHES_MAX || state.weight.saturating_add(batch.weight) > WEIGHT_MAX)
    {
        state = shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    if state.is_over {
        return false;
    }
    state.batches += 1;
    state.weight += batch.weight;
    state.waiting.push_back((number, batch));
    drop(state);
    shared.work.notify_one();
    true
}

fn work_off<J, R, S>(shared: &Shared<J, R>, new_state: impl Fn() -> S, work: impl Fn(&mut S, J) -> R) {
    let _guard = EndOnPanic(shared);
    let mut own = new_state();
    loop {
        let mut state = shared.lock();
        let (number, Batch { items, weight }) = loop {
            if state.is_over {
                return;
            }
            if let Some(batch) = state.waiting.pop_front() {
                break batch;
            }
            if state.is_all_made {
                return;
            }
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let items = items.into_iter().map(|job| work(&mut own, job)).collect();
        shared.lock().done.insert(number, Batch { items, weight });
        shared.result.notify_one();
    }
}

/// The results of the batch with this number; `None` when there is none to come.
fn wait_for<J, R>(shared: &Shared<J, R>, number: u64) -> Option<Vec<R>> {
    let mut state = shared.lock();
    loop {
        if let Some(batch) = state.done.remove(&number) {
            state.batches -= 1;
            state.weight -= batch.weight;
            drop(state);
            shared.room.notify_one();
            return Some(batch.items);
        }
        if state.is_over || (state.is_all_made && state.batches == 0) {
            return None;
        }
        state = shared.result.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 3] {
            let jobs = (0..2000_u64).map(|number| (1 << 20, number));
            let mut taken = Vec::new();

            let work = |own: &mut u64, number: u64| {
                *own += 1;
                (0..number % 7 * 100).fold(number, |sum, _| std::hint::black_box(sum))
            };
            let ended: Result<(), ()> = for_each(
                threads,
                jobs,
                || 0,
                work,
                |number| {
                    taken.push(number);
                    Ok(())
                },
            );

            assert_eq!(ended, Ok(()));
            assert!(taken.iter().copied().eq(0..2000));
        }
    }

    #[test]
    fn error_of_the_taker_ends_it_though_the_jobs_are_endless() {
        let ended =
            for_each(2, (0_u64..).map(|n| (1, n)), || (), |(), n| n, |n| if n < 9 { Ok(()) } else { Err(n) });

        assert_eq!(ended, Err(9));
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn worker_that_falls_leaves_nobody_waiting() {
        let work = |(): &mut (), number: u64| assert!(number < 5, "on purpose");
        _ = for_each(2, (0_u64..).map(|n| (1, n)), || (), work, |()| Ok::<(), ()>(()));
    }
}
