//! The outer process: it waits for one of two deaths, the host's or the worker's, and sees to the other.
#![allow(unsafe_code)]

use super::{Layer, descriptors, seccomp};
use crate::channel::Socket;
use crate::wire::Wire;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    set_dumpable_behavior, set_parent_process_death_signal, waitid,
};
use std::mem::ManuallyDrop;

/// Splits the process in two; the child gets `None`.
pub(super) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the process has a single thread, so the child is as whole as its parent.
    match unsafe { libc::fork() } {
        -1 => Err(descriptors::last_errno()),
        child => Ok(Pid::from_raw(child)),
    }
}

/// In the worker: dies when the supervisor dies, and cannot be looked into by other workers. Called after
/// the last change of identity, which would take the signal back.
pub(super) fn die_with_parent() -> Layer {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| errno.to_string())?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| errno.to_string())?;
    Ok("the worker dies with its host".into())
}

/// Tells the host the worker's process id, then waits: when the host closes its end of `control` (or dies),
/// the worker is killed; when the worker ends, so does this process, by the same code, or 128 and the signal.
pub(super) fn supervise(control: &Socket, worker: Pid) -> ! {
    let code = watch(control, worker).unwrap_or(1);
    descriptors::exit(code)
}

fn watch(control: &Socket, worker: Pid) -> Result<u8, Errno> {
    let watched = pidfd_open(worker, PidfdFlags::empty());
    // From here on an error return leaves the worker to its parent-death signal.
    // Never dropped: closing is not among the calls that are left.
    let watched = ManuallyDrop::new(keep_only(control, watched?)?);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let _ = control.send(&worker.as_raw_nonzero().get().cast_unsigned().to_bytes(), &[]);
    // Where seccomp cannot be had, the worker refuses to work. It must live long enough to say so, and would die
    // with this process.
    let _ = seccomp::lock(seccomp::SUPERVISOR);
    wait_for_either(control, &watched)?;
    // Fails when it is dead already.
    let _ = pidfd_send_signal(&*watched, Signal::KILL);
    reap(&watched)
}

/// Closes everything but the two descriptors: above all the channels, which the host must see closed when
/// the worker dies.
fn keep_only(control: &Socket, watched: OwnedFd) -> Result<OwnedFd, Errno> {
    let (one, other) = (control.as_fd().as_raw_fd(), watched.as_raw_fd());
    let (low, high) = (one.min(other).cast_unsigned(), one.max(other).cast_unsigned());
    descriptors::close_all_but(low, high)?;
    Ok(watched)
}

fn wait_for_either(control: &Socket, watched: &OwnedFd) -> Result<(), Errno> {
    let mut deaths = [PollFd::new(control, PollFlags::RDHUP), PollFd::new(watched, PollFlags::IN)];
    loop {
        match poll(&mut deaths, None) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

fn reap(worker: &OwnedFd) -> Result<u8, Errno> {
    loop {
        match waitid(WaitId::PidFd(worker.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(None) => return Ok(1),
            Ok(Some(status)) => {
                let signal = status.terminating_signal().map(|signal| signal.saturating_add(128));
                let code = status.exit_status().or(signal).unwrap_or(1);
                return Ok(u8::try_from(code).unwrap_or(1));
            }
        }
    }
}
