//! The way to the worker, whichever it is at the time: starts another when one is lost.
//!
//! A request whose worker did not answer in time, or broke the protocol, has lost it: it fails. A request
//! that finds its worker dead may be innocent (another request, or the machine, killed it), so it is asked
//! once more of the next worker, alone; when that one dies as well, the request is what kills.

use super::line::{Answer, Lost};
use super::running::Running;
use super::{Image, OpenOptions, Stats, open_image};
use crate::parents::Chain;
use crate::wire::{Decoded, Opening, Request, Status, Wire};
use spelunk_tree::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Deaths are remembered for so long.
const DEATHS_WINDOW: Duration = Duration::from_secs(60);
/// So many deaths within the window cost nothing; each one more doubles the wait for the next worker.
const DEATHS_FREE: u32 = 4;
/// The first wait, and the longest: so a hostile image cannot keep the machine busy with starting workers.
const DELAY_MIN: Duration = Duration::from_millis(10);
const DELAY_MAX: Duration = Duration::from_secs(2);

/// The way to the worker of one disk.
pub(crate) struct Link {
    opening: Opening,
    images: Vec<Arc<Image>>,
    options: OpenOptions,
    state: Mutex<State>,
    /// Shared by requests, exclusive for one that is asked once more.
    alone: RwLock<()>,
    round_trips: AtomicU64,
    bytes_decoded: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    restarts: AtomicU64,
}

struct State {
    chain: Chain,
    running: Option<Arc<Running>>,
    deaths: VecDeque<Instant>,
}

impl Link {
    pub(crate) fn open(image: &Path, options: &OpenOptions) -> Result<Link> {
        let mut chain = Chain::new(open_image(image)?, image);
        let (running, opening) = Running::start(&mut chain, options.show_metafiles, options.deadline)?;
        let images = chain.complete();
        let running = Some(Arc::new(running));
        Ok(Link {
            opening,
            images,
            options: options.clone(),
            state: Mutex::new(State { chain, running, deaths: VecDeque::new() }),
            alone: RwLock::new(()),
            round_trips: AtomicU64::new(0),
            bytes_decoded: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
        })
    }

    pub(crate) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The image files, by their index in the chain.
    pub(crate) fn images(&self) -> &[Arc<Image>] {
        &self.images
    }

    /// Asks, and parses the answer, whose data is written to `data`.
    pub(crate) fn ask<T>(
        &self,
        doing: &'static str,
        request: &Request,
        data: &mut [u8],
        parse: impl Fn(&Answer) -> Decoded<T>,
    ) -> Result<T> {
        let shared = self.alone.read().unwrap_or_else(PoisonError::into_inner);
        let first = self.attempt(doing, request, data, &parse)?;
        drop(shared);
        if let Some(answer) = first {
            return answer;
        }
        let _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
        self.attempt(doing, request, data, &parse)?.unwrap_or_else(|| {
            let cause = Error::new(ErrorKind::WorkerLost, "the worker died of this request, twice");
            Err(Error::new(ErrorKind::WorkerLost, doing).because(cause))
        })
    }

    /// Asks for what may be wanted later: once, since whoever wants it then can ask again.
    pub(crate) fn ask_ahead<T>(
        &self,
        doing: &'static str,
        request: &Request,
        parse: impl Fn(&Answer) -> Decoded<T>,
    ) -> Result<T> {
        let _shared = self.alone.read().unwrap_or_else(PoisonError::into_inner);
        let lost = || Error::new(ErrorKind::WorkerLost, doing);
        self.attempt(doing, request, &mut [], &parse)?.unwrap_or_else(|| Err(lost()))
    }

    /// Asks once. `Ok(None)` when the worker was found dead, perhaps not because of this request.
    fn attempt<T>(
        &self,
        doing: &'static str,
        request: &Request,
        data: &mut [u8],
        parse: &impl Fn(&Answer) -> Decoded<T>,
    ) -> Result<Option<Result<T>>> {
        let running = self.running()?;
        let parsed = running.exchange(request, data, self.options.deadline).and_then(|answer| {
            let parsed = match answer.status {
                Status::Done => parse(&answer).map(Ok),
                Status::Failed => Error::from_bytes(&answer.body).map(Err),
                Status::NeedParent => Err(crate::wire::Malformed("a parent for an open disk")),
            };
            self.round_trips.fetch_add(1, Ordering::Relaxed);
            self.bytes_decoded.fetch_add(answer.data_len as u64, Ordering::Relaxed);
            parsed.map_err(Lost::Broke)
        });
        match parsed {
            Ok(outcome) => Ok(Some(outcome)),
            Err(lost) => {
                self.bury(&running);
                if lost == Lost::Died { Ok(None) } else { Err(running.error(lost, doing)) }
            }
        }
    }

    /// Gives up the worker that was lost, unless someone else has already.
    fn bury(&self, lost: &Arc<Running>) {
        lost.lose();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running.as_ref().is_some_and(|running| Arc::ptr_eq(running, lost)) {
            state.running = None;
            state.deaths.push_back(Instant::now());
        }
    }

    /// The worker; another one when it was lost.
    fn running(&self) -> Result<Arc<Running>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &state.running {
            return Ok(running.clone());
        }
        // Others wait for the lock meanwhile: they need the worker too.
        std::thread::sleep(delay(&mut state.deaths));
        let started = Running::start(&mut state.chain, self.options.show_metafiles, self.options.deadline);
        let same = started.and_then(|(running, opening)| {
            let changed = || Error::new(ErrorKind::Storage, "the image has changed since it was opened");
            if opening == self.opening { Ok(running) } else { Err(changed()) }
        });
        let running = same.inspect_err(|_| state.deaths.push_back(Instant::now()))?;
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let running = Arc::new(running);
        state.running = Some(running.clone());
        Ok(running)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            round_trips: self.round_trips.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_decoded: self.bytes_decoded.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn worker_pid(&self) -> Option<u32> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.as_ref().map(|running| running.pid())
    }
}

/// How long to wait before the next worker is started, after these deaths.
pub(super) fn delay(deaths: &mut VecDeque<Instant>) -> Duration {
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
