//! Keeps the index of names up to date, in the background.

use crate::index::{Index, Progress, Selection};
use crate::library::Library;
use serde::Serialize;
use spelunk_tree::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use utoipa::ToSchema;

/// How often it looks for new backups.
const PERIOD: Duration = Duration::from_secs(60);

/// A thread that reads the names in backups that are not in the index yet. It ends when dropped.
pub struct Indexer {
    wake: Mutex<Option<Sender<()>>>,
    cancel: Arc<AtomicBool>,
    running: Arc<Mutex<Option<Running>>>,
}

/// What is being read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Running {
    /// The client's name as text.
    client: String,
    /// The backup.
    moment: String,
    /// The volume's or share's name as text.
    item: String,
    /// Volumes and shares that are done.
    done: usize,
    /// All of them.
    items: usize,
    /// Entries read.
    entries: u64,
}

impl Indexer {
    /// Starts it; without `by_itself` it works only when it is woken.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(library: Arc<Library>, index: Arc<Index>, by_itself: bool) -> Result<Indexer> {
        let (wake, woken) = mpsc::channel();
        let indexer =
            Indexer { wake: Mutex::new(Some(wake)), cancel: Arc::default(), running: Arc::default() };
        let (cancel, running) = (indexer.cancel.clone(), indexer.running.clone());
        let work = move || keep_up(&library, &index, &cancel, &running, &woken, by_itself);
        let thread = thread::Builder::new().name("indexer".to_owned()).spawn(work);
        thread.map_err(|error| Error::from_io("starting a thread", &error))?;
        Ok(indexer)
    }

    /// Has it look for new backups now.
    pub fn wake(&self) {
        if let Some(wake) = &*self.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            // When it is gone, nobody is served either.
            _ = wake.send(());
        }
    }

    /// What it is reading, if it is.
    pub fn running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        self.wake.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn keep_up(
    library: &Library,
    index: &Index,
    cancel: &AtomicBool,
    running: &Mutex<Option<Running>>,
    woken: &Receiver<()>,
    by_itself: bool,
) {
    let mut is_due = by_itself;
    while !cancel.load(Ordering::Relaxed) {
        if is_due {
            let mut observe = |progress: &Progress| {
                *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running::of(progress));
            };
            match index.update(library, &Selection::default(), &mut observe, cancel) {
                Ok(summary) => tracing::debug!(?summary, "the index is up to date"),
                Err(error) => tracing::warn!(%error, "the index is not up to date"),
            }
            *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        is_due = match woken.recv_timeout(PERIOD) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => by_itself,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // Who woke it twice wants it done once.
        while woken.try_recv().is_ok() {}
    }
}

impl Running {
    fn of(progress: &Progress) -> Running {
        let text = |name: &spelunk_tree::Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
        Running {
            client: text(progress.client),
            moment: progress.moment.name(),
            item: text(progress.item),
            done: progress.done,
            items: progress.items,
            entries: progress.entries,
        }
    }
}
