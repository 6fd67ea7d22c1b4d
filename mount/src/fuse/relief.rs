//! Threads that take over where the session's own would all be at work: one must always be left to hear the kernel,
//! or a disk that hangs would hold up every other disk of the same mount.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Threads that take over at most. Each answers one request, and so do those of the kernel that wait for a hung disk: one
/// for each process, and the kernel's own readahead.
const THREADS_MAX: usize = 256;
/// How long a thread without work waits for some.
const IDLE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce() + Send>;

/// Threads that come when they are needed, and go when they are not.
#[derive(Default)]
pub(super) struct Relief {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl Relief {
    /// Has another thread do `work`, or this one when there are as many as may be.
    pub(super) fn take(self: &Arc<Relief>, work: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        let is_awaited = state.idle > state.waiting.len();
        if !is_awaited && state.threads >= THREADS_MAX {
            drop(state);
            return work();
        }
        state.waiting.push_back(Box::new(work));
        if is_awaited {
            drop(state);
            return self.work.notify_one();
        }
        state.threads += 1;
        drop(state);
        let new = Working(self.clone());
        let started = thread::Builder::new().name("fuse-relief".to_owned()).spawn(move || new.0.serve());
        if let Err(error) = started {
            tracing::warn!(%error, "no thread takes over");
            let work = self.lock().waiting.pop_back();
            work.into_iter().for_each(|work| work());
        }
    }

    /// Does what there is to do until there is nothing for a while.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            state.idle += 1;
            let is_idle = |state: &mut State| state.waiting.is_empty();
            let waited = self.work.wait_timeout_while(state, IDLE, is_idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
            let Some(work) = state.waiting.pop_front() else { return };
            drop(state);
            work();
            state = self.lock();
        }
    }

    /// Every change leaves the state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that is counted, however it ends.
struct Working(Arc<Relief>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn work_is_done_beside_work_that_hangs_up_to_a_number_of_threads() {
        let relief = Arc::new(Relief::default());
        let (done, all) = mpsc::channel();
        let (holds, held) = (Arc::new(Mutex::new(())), mpsc::channel());
        let hold = holds.lock().unwrap();
        for _ in 0..THREADS_MAX {
            let (holds, started) = (holds.clone(), held.0.clone());
            relief.take(move || {
                started.send(thread::current().id()).unwrap();
                drop(holds.lock());
            });
        }
        for _ in 0..THREADS_MAX {
            held.1.recv_timeout(PATIENCE).expect("all hang at the same time");
        }

        relief.take(move || done.send(thread::current().id()).unwrap());

        assert_eq!(all.recv_timeout(PATIENCE), Ok(thread::current().id()), "one more is done here");
        drop(hold);
        let end = Instant::now() + PATIENCE;
        while relief.lock().threads > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(relief.lock().threads, 0, "threads without work end");
    }

    #[test]
    fn a_thread_that_has_done_its_work_takes_the_next() {
        let relief = Arc::new(Relief::default());
        let (done, all) = mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..3 {
            let done = done.clone();
            relief.take(move || done.send(thread::current().id()).unwrap());
            threads.push(all.recv_timeout(PATIENCE).unwrap());
            while relief.lock().idle == 0 {
                thread::yield_now();
            }
        }

        assert_eq!((relief.lock().threads, &threads[1..]), (1, &[threads[0]; 2][..]));
    }

    #[test]
    fn work_that_panics_costs_its_thread_alone() {
        let relief = Arc::new(Relief::default());
        let (done, all) = mpsc::channel();

        relief.take(|| panic!("on purpose"));
        relief.take(move || done.send(()).unwrap());

        assert_eq!(all.recv_timeout(PATIENCE), Ok(()));
        let end = Instant::now() + PATIENCE;
        while relief.lock().threads > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(relief.lock().threads, 0);
    }
}
