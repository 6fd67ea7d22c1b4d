//! The FUSE presenter: a tree as a directory of this Linux machine.
//!
//! [`MountPoint::new`] checks the directory, [`Mount::start`] mounts and serves, [`Mount::wait`] returns
//! when the mount has ended; [`umount`] ends the mount of another process.
//!
//! Invariants: a mount is always read-only, without devices and set-uid programs; a guest's links are
//! passed on as written and never followed; no handle is kept for an open file or directory, so nothing
//! is lost when the tree behind is restarted; tables that grow with use have named limits.

mod attributes;
mod errno;
mod inode;
mod library_nodes;
mod linger;
mod listing;
mod mountinfo;
mod options;
mod point;
mod presenter;
mod relief;
mod requests;
mod seek;
mod streams;
mod xattrs;

pub use options::{Access, OptionError, Options, Streams};
pub use point::{MountPoint, Obstacle};

use fuser::{Config, Session, SessionACL};
use linger::Linger;
use point::Attached;
use presenter::Presenter;
use requests::Requests;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use spelunk_tree::{Error, Result, Tree};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// Threads that serve requests: reads wait for storage, so more than processors even on small machines. One of them is
/// always left to hear the kernel.
const THREADS: std::ops::RangeInclusive<usize> = 5..=17;
/// How long programs that still use a mount are served after a stop.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long [`umount`] waits for the mount's process after the mount is gone.
const UMOUNT_WAIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// How far the kernel reads ahead, where it lets us say: the bytes that it asks for in one request.
const READ_AHEAD_KIB: &str = "1024";

/// A mounted tree. Dropping it unmounts.
pub struct Mount {
    /// The mount, unless someone unmounted it before it could be served.
    attached: Option<Attached>,
    events: Receiver<Event>,
    stop: Sender<Event>,
}

enum Event {
    /// Someone wants the mount to end.
    Stop,
    /// The kernel has ended the session, or it failed.
    Ended(std::io::Result<()>),
}

/// Ends a mount from another thread.
#[derive(Clone)]
pub struct Stopper(Sender<Event>);

impl Stopper {
    /// Has [`Mount::wait`] unmount and return.
    pub fn stop(&self) {
        // No one receives any more when the mount has ended by itself.
        let _ = self.0.send(Event::Stop);
    }
}

impl Mount {
    /// Mounts a tree and serves it in threads of its own; when this returns, the mount is ready, or someone
    /// was quick to unmount it again, and [`Mount::wait`] says so. `image` is what the mount table shows as its
    /// source.
    ///
    /// # Errors
    /// `Denied` when the system refuses, `Unsupported` when it needs a helper that is not installed.
    pub fn start(tree: Arc<dyn Tree>, point: &MountPoint, image: &Path, options: &Options) -> Result<Mount> {
        let Some((device, attached)) = point.attach(image, options)? else { return Ok(Mount::ended()) };
        let presenter = Presenter::new(tree, options, Linger::at(&device));
        let mut config = Config::default();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors + 1).clamp(*THREADS.start(), *THREADS.end());
        config.n_threads = Some(threads);
        config.clone_fd = true;
        // The kernel itself admits the mounter alone unless it is told `allow_other`.
        let acl = if options.access == Access::Root { SessionACL::RootAndOwner } else { SessionACL::All };
        let session = match Session::from_fd(Requests::new(presenter, threads), device, acl, config) {
            Ok(session) => session,
            Err(error) if attached.is_mounted()? => {
                return Err(Error::from_io("starting the session with the kernel", &error));
            }
            Err(_) => return Ok(Mount::ended()),
        };
        read_far_ahead(&attached);
        let (stop, events) = mpsc::channel();
        let ended = stop.clone();
        thread::Builder::new()
            .name("fuse-session".to_owned())
            .spawn(move || ended.send(Event::Ended(session.run())))
            .map_err(|error| Error::from_io("starting a thread", &error))?;
        Ok(Mount { attached: Some(attached), events, stop })
    }

    /// A mount that is gone already.
    fn ended() -> Mount {
        let (stop, events) = mpsc::channel();
        let _ = stop.send(Event::Ended(Ok(())));
        Mount { attached: None, events, stop }
    }

    /// A handle by which other threads can end the mount.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Waits until the mount is unmounted from outside, or a [`Stopper`] ends it. In the latter case
    /// programs that still use it are served for a short while; then they get errors.
    ///
    /// # Errors
    /// When unmounting or the session with the kernel failed.
    pub fn wait(self) -> Result<()> {
        let ended = match self.events.recv() {
            Ok(Event::Ended(result)) => result,
            Ok(Event::Stop) | Err(_) => {
                self.attached.as_ref().map_or(Ok(()), Attached::detach)?;
                self.wait_for_end()
            }
        };
        ended.map_err(|error| Error::from_io("serving the mount", &error))
    }

    fn wait_for_end(&self) -> std::io::Result<()> {
        loop {
            match self.events.recv_timeout(STOP_GRACE) {
                Ok(Event::Ended(result)) => return result,
                Ok(Event::Stop) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
}

/// Unmounts a tree that some process has mounted at `directory`, and waits until that process has ended.
/// `lazily` takes the mount away even if it is in use, and does not wait.
///
/// # Errors
/// `NotFound` when no tree is mounted there; `Denied` when it is in use or not the user's.
pub fn umount(directory: &Path, lazily: bool) -> Result<()> {
    let directory = point::find(directory)?;
    // Before it is gone; a dead mount answers nothing. One that hangs is not to be asked: lazily, it goes.
    let process = if lazily { None } else { serving_process(&directory) };
    point::unmount(&directory, lazily)?;
    if let Some(process) = process {
        // Without the process, or after the time, there is no more to be done: it is unmounted.
        let _ = rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&UMOUNT_WAIT));
    }
    Ok(())
}

/// The process that serves a mount of ours.
fn serving_process(directory: &Path) -> Option<std::os::fd::OwnedFd> {
    let mut digits = [0; 16];
    let length = rustix::fs::getxattr(directory, presenter::PROCESS_XATTR, &mut digits[..]).ok()?;
    let pid = std::str::from_utf8(digits.get(..length)?).ok()?.parse().ok()?;
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Lets the kernel read ahead as far as one request reaches. FUSE itself allows no more than the kernel's
/// default of 128 KiB; only root can raise it.
fn read_far_ahead(attached: &Attached) {
    let path = format!("/sys/class/bdi/{}/read_ahead_kb", attached.device());
    if let Err(error) = std::fs::write(&path, READ_AHEAD_KIB) {
        tracing::debug!(path, %error, "the kernel's readahead stays as it is");
    }
}
