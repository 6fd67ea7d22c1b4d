//! Work in several threads whose results come in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs that may be under way, from being made to being taken.
const JOBS_MAX: usize = 512;
/// Sum of the weights of jobs under way: with what packing makes of them, about twice this is in memory.
const WEIGHT_MAX: usize = 32 << 20;

/// What the threads share.
struct State<J, R> {
    waiting: VecDeque<(u64, usize, J)>,
    done: BTreeMap<u64, (usize, R)>,
    /// Jobs, and their weights, that were made and not taken.
    jobs: usize,
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
        jobs: 0,
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
        while let Some(result) = wait_for(&shared, next) {
            next += 1;
            if let Err(error) = take(result) {
                shared.end();
                return Err(error);
            }
        }
        Ok(())
    })
}

fn make<J, R>(shared: &Shared<J, R>, jobs: impl Iterator<Item = (usize, J)>) {
    let _guard = EndOnPanic(shared);
    for (number, (weight, job)) in (0..).zip(jobs) {
        let mut state = shared.lock();
        while !state.is_over
            && state.jobs > 0
            && (state.jobs >= JOBS_MAX || state.weight.saturating_add(weight) > WEIGHT_MAX)
        {
            state = shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_over {
            return;
        }
        state.jobs += 1;
        state.weight += weight;
        state.waiting.push_back((number, weight, job));
        drop(state);
        shared.work.notify_one();
    }
    shared.lock().is_all_made = true;
    shared.work.notify_all();
    shared.result.notify_all();
}

fn work_off<J, R, S>(shared: &Shared<J, R>, new_state: impl Fn() -> S, work: impl Fn(&mut S, J) -> R) {
    let _guard = EndOnPanic(shared);
    let mut own = new_state();
    loop {
        let mut state = shared.lock();
        let (number, weight, job) = loop {
            if state.is_over {
                return;
            }
            if let Some(job) = state.waiting.pop_front() {
                break job;
            }
            if state.is_all_made {
                return;
            }
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let result = work(&mut own, job);
        shared.lock().done.insert(number, (weight, result));
        shared.result.notify_one();
    }
}

/// The result with this number; `None` when there is none to come.
fn wait_for<J, R>(shared: &Shared<J, R>, number: u64) -> Option<R> {
    let mut state = shared.lock();
    loop {
        if let Some((weight, result)) = state.done.remove(&number) {
            state.jobs -= 1;
            state.weight -= weight;
            drop(state);
            shared.room.notify_one();
            return Some(result);
        }
        if state.is_over || (state.is_all_made && state.jobs == 0) {
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
