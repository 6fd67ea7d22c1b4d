//! The worker in use, whichever it is at the time, how soon another is started when one is lost, and when one that
//! nobody needs is ended.

use super::running::Running;
use spelunk_tree::{Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Deaths are remembered for so long.
const DEATHS_WINDOW: Duration = Duration::from_secs(60);
/// So many deaths within the window cost nothing; each one more doubles the wait for the next worker.
const DEATHS_FREE: u32 = 4;
/// The first wait, and the longest: so hostile input cannot keep the machine busy with starting workers.
const DELAY_MIN: Duration = Duration::from_millis(10);
const DELAY_MAX: Duration = Duration::from_secs(2);

/// Keeps one worker.
#[derive(Default)]
pub(super) struct Keeper {
    state: Mutex<State>,
    /// Starts that failed so far.
    failures: AtomicU64,
}

#[derive(Default)]
struct State {
    running: Option<Arc<Running>>,
    /// When the worker was last asked for.
    used: Option<Instant>,
    deaths: VecDeque<Instant>,
    /// Why the last start that failed did.
    failure: Option<Error>,
}

/// How many starts had failed at a moment.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

impl Keeper {
    /// Begins with this worker.
    pub(super) fn with(running: Running) -> Keeper {
        let state =
            State { running: Some(Arc::new(running)), used: Some(Instant::now()), ..State::default() };
        Keeper { state: Mutex::new(state), failures: AtomicU64::new(0) }
    }

    /// Now, for [`Keeper::running`].
    pub(super) fn now(&self) -> Moment {
        Moment(self.failures.load(Ordering::Acquire))
    }

    /// The worker; one that `start` starts when there is none. Whoever asks `since` before a start that failed has its
    /// error, too: a start may take as long as a request, and those who wait must not try it one after the other.
    ///
    /// # Errors
    /// What `start` reports.
    pub(super) fn running(
        &self,
        since: Moment,
        start: impl FnOnce() -> Result<Running>,
    ) -> Result<Arc<Running>> {
        let mut state = self.state();
        state.used = Some(Instant::now());
        if let Some(running) = &state.running {
            return Ok(running.clone());
        }
        if self.now().0 != since.0
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        // Others wait for the lock meanwhile: they need the worker too.
        std::thread::sleep(delay(&mut state.deaths));
        let started = start();
        state.used = Some(Instant::now());
        match started {
            Ok(running) => Ok(state.running.insert(Arc::new(running)).clone()),
            Err(error) => {
                state.deaths.push_back(Instant::now());
                state.failure = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Ends the worker when nobody has asked for it for so long, and nobody waits for it. Returns whether it did.
    pub(super) fn end_idle(&self, idle: Duration) -> bool {
        let mut state = self.state();
        let is_idle = state.used.is_none_or(|used| used.elapsed() >= idle);
        // Whoever waits for an answer shares it, and to get it takes the lock.
        let is_free = state.running.as_ref().is_some_and(|running| Arc::strong_count(running) == 1);
        if is_idle && is_free {
            state.running = None;
        }
        is_idle && is_free
    }

    /// Ends the worker. When this returns it is gone.
    pub(super) fn end(&self) {
        self.state().running = None;
    }

    /// Gives up the worker that was lost, unless someone else has already.
    pub(super) fn bury(&self, lost: &Arc<Running>) {
        lost.lose();
        let mut state = self.state();
        if state.running.as_ref().is_some_and(|running| Arc::ptr_eq(running, lost)) {
            state.running = None;
            state.deaths.push_back(Instant::now());
        }
    }

    /// The process id of the worker, while there is one.
    pub(super) fn worker_pid(&self) -> Option<u32> {
        self.state().running.as_ref().map(|running| running.pid())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait before the next worker is started, after these deaths.
fn delay(deaths: &mut VecDeque<Instant>) -> Duration {
    while deaths.front().is_some_and(|death| death.elapsed() > DEATHS_WINDOW) {
        deaths.pop_front();
    }
    let counted = u32::try_from(deaths.len()).unwrap_or(u32::MAX);
    match counted.checked_sub(DEATHS_FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => DELAY_MIN.saturating_mul(1 << doublings.min(20)).min(DELAY_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_deaths_cost_nothing_and_many_cost_ever_more_up_to_a_limit() {
        let delay_after = |count| delay(&mut std::iter::repeat_n(Instant::now(), count).collect());

        assert_eq!(delay_after(0), Duration::ZERO);
        assert_eq!(delay_after(4), Duration::ZERO);
        assert_eq!(delay_after(5), DELAY_MIN);
        assert_eq!(delay_after(7), DELAY_MIN * 4);
        assert_eq!(delay_after(1000), DELAY_MAX);
    }

    #[test]
    fn those_who_wait_for_a_start_that_fails_have_its_error() {
        let keeper = Keeper::default();
        let starts = AtomicU64::new(0);
        let hung = || {
            starts.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(300));
            Err(Error::corrupt("it hangs"))
        };
        let begin = Instant::now();

        std::thread::scope(|scope| {
            for _ in 0..8 {
                let since = keeper.now();
                let (keeper, hung) = (&keeper, &hung);
                scope.spawn(move || assert!(keeper.running(since, hung).is_err()));
            }
        });

        assert_eq!(starts.load(Ordering::Relaxed), 1, "they tried one after the other");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert!(keeper.running(keeper.now(), hung).is_err());
        assert_eq!(starts.load(Ordering::Relaxed), 2, "who asks later does not try again");
    }

    #[test]
    fn old_deaths_are_forgotten() {
        let Some(old) = Instant::now().checked_sub(DEATHS_WINDOW * 2) else { return };
        let mut deaths = VecDeque::from(vec![old; 100]);

        assert_eq!(delay(&mut deaths), Duration::ZERO);
        assert!(deaths.is_empty());
    }
}
