//! The worker in use, whichever it is at the time, and how soon another is started when one is lost.

use super::running::Running;
use spelunk_tree::Result;
use std::collections::VecDeque;
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
}

#[derive(Default)]
struct State {
    running: Option<Arc<Running>>,
    deaths: VecDeque<Instant>,
}

impl Keeper {
    /// Begins with this worker.
    pub(super) fn with(running: Running) -> Keeper {
        let state = State { running: Some(Arc::new(running)), deaths: VecDeque::new() };
        Keeper { state: Mutex::new(state) }
    }

    /// The worker; one that `start` starts when there is none.
    ///
    /// # Errors
    /// What `start` reports.
    pub(super) fn running(&self, start: impl FnOnce() -> Result<Running>) -> Result<Arc<Running>> {
        let mut state = self.state();
        if let Some(running) = &state.running {
            return Ok(running.clone());
        }
        // Others wait for the lock meanwhile: they need the worker too.
        std::thread::sleep(delay(&mut state.deaths));
        let running = Arc::new(start().inspect_err(|_| state.deaths.push_back(Instant::now()))?);
        state.running = Some(running.clone());
        Ok(running)
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
    fn old_deaths_are_forgotten() {
        let Some(old) = Instant::now().checked_sub(DEATHS_WINDOW * 2) else { return };
        let mut deaths = VecDeque::from(vec![old; 100]);

        assert_eq!(delay(&mut deaths), Duration::ZERO);
        assert!(deaths.is_empty());
    }
}
