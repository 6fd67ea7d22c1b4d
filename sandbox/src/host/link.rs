//! The way to the worker, whichever it is at the time: starts another when one is lost.
//!
//! A request whose worker did not answer in time, or broke the protocol, has lost it: it fails. A request
//! that finds its worker dead may be innocent (another request, or the machine, killed it), so it is asked
//! once more of the next worker, alone; when that one dies as well, the request is what kills.

use super::idle::Watch;
use super::keeper::{Keeper, Moment};
use super::line::{Answer, Lost};
use super::running::Running;
use super::{Image, OpenOptions, Stats, open_image};
use crate::parents::Chain;
use crate::wire::{Decoded, Opening, Request, Status, Wire};
use spelunk_tree::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The way to the worker of one disk.
pub(crate) struct Link {
    opening: Opening,
    images: Vec<Arc<Image>>,
    options: OpenOptions,
    keeper: Arc<Keeper>,
    /// Ends the worker when nobody asks it anything for a while.
    _watch: Option<Watch>,
    chain: Mutex<Chain>,
    /// Shared by requests, exclusive for one that is asked once more.
    alone: RwLock<()>,
    round_trips: AtomicU64,
    bytes_decoded: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    restarts: AtomicU64,
}

impl Link {
    /// Opens these images, one for each disk, and their parents.
    pub(crate) fn open(images: &[&Path], options: &OpenOptions) -> Result<Link> {
        let mut disks = Vec::with_capacity(images.len());
        for (number, path) in images.iter().enumerate() {
            let image = open_image(path);
            // Whoever asked knows which the first one is.
            let image = image.map_err(|error| match number {
                0 => error,
                _ => error.context(format!("the image {}", path.display())),
            })?;
            disks.push((image, *path));
        }
        let mut chain = Chain::new(disks)?;
        let (running, opening) = Running::start(&mut chain, options)?;
        let images = chain.complete();
        let keeper = Arc::new(Keeper::with(running));
        Ok(Link {
            opening,
            images,
            options: options.clone(),
            _watch: options.idle.map(|idle| Watch::start(&keeper, idle)).transpose()?,
            keeper,
            chain: Mutex::new(chain),
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

    /// The image files of all disks, by their index.
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
        let since = self.keeper.now();
        let shared = self.alone.read().unwrap_or_else(PoisonError::into_inner);
        let first = self.attempt(since, doing, request, data, &parse)?;
        drop(shared);
        if let Some(answer) = first {
            return answer;
        }
        let _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
        self.attempt(since, doing, request, data, &parse)?.unwrap_or_else(|| {
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
        self.attempt(self.keeper.now(), doing, request, &mut [], &parse)?.unwrap_or_else(|| Err(lost()))
    }

    /// Asks once. `Ok(None)` when the worker was found dead, perhaps not because of this request.
    fn attempt<T>(
        &self,
        since: Moment,
        doing: &'static str,
        request: &Request,
        data: &mut [u8],
        parse: &impl Fn(&Answer) -> Decoded<T>,
    ) -> Result<Option<Result<T>>> {
        let running = self.running(since)?;
        let parsed = running.exchange(request, data, self.options.deadline).and_then(|answer| {
            let parsed = match answer.status {
                Status::Done => parse(&answer).map(Ok),
                Status::Failed => Error::from_bytes(&answer.body).map(Err),
                Status::NeedParent | Status::NeedDisk => {
                    Err(crate::wire::Malformed("an image for an open disk"))
                }
            };
            self.round_trips.fetch_add(1, Ordering::Relaxed);
            self.bytes_decoded.fetch_add(answer.data_len as u64, Ordering::Relaxed);
            parsed.map_err(Lost::Broke)
        });
        match parsed {
            Ok(outcome) => Ok(Some(outcome)),
            Err(lost) => {
                self.keeper.bury(&running);
                if lost == Lost::Died { Ok(None) } else { Err(running.error(lost, doing)) }
            }
        }
    }

    /// The worker; another one when it was lost.
    fn running(&self, since: Moment) -> Result<Arc<Running>> {
        self.keeper.running(since, || {
            let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
            let (running, opening) = Running::start(&mut chain, &self.options)?;
            if opening != self.opening {
                return Err(Error::new(ErrorKind::Storage, "the image has changed since it was opened"));
            }
            self.restarts.fetch_add(1, Ordering::Relaxed);
            Ok(running)
        })
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
        self.keeper.worker_pid()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The watch may hold the keeper a moment longer.
        self.keeper.end();
    }
}
