//! Workers that nobody needs are ended: they take memory, a process and descriptors.

use super::keeper::Keeper;
use spelunk_tree::{Error, Result};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// How often it is looked in the time after which a worker is ended.
const LOOKS: u32 = 4;

/// A thread that ends a keeper's worker when it is idle. It ends with this.
pub(super) struct Watch(#[expect(dead_code, reason = "the thread sees its end")] Sender<()>);

impl Watch {
    /// Ends the worker that was not asked for anything in a time of `idle`, each time.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(keeper: &Arc<Keeper>, idle: Duration) -> Result<Watch> {
        let (end, ended) = mpsc::channel();
        let keeper: Weak<Keeper> = Arc::downgrade(keeper);
        let watch = move || {
            while ended.recv_timeout(idle / LOOKS) == Err(RecvTimeoutError::Timeout) {
                let Some(keeper) = keeper.upgrade() else { return };
                keeper.end_idle(idle);
            }
        };
        thread::Builder::new()
            .name("idle-watch".to_owned())
            .spawn(watch)
            .map_err(|error| Error::from_io("starting a thread", &error))?;
        Ok(Watch(end))
    }
}
