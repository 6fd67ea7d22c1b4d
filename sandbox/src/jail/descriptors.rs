//! Open files: a worker has those it is given, and no other; nor does a program in the background.
#![allow(unsafe_code)]

use super::Layer;
use crate::channel::Socket;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::AsFd;

/// Closes every descriptor above the standard ones: what whoever started this program had open, whatever it
/// was. Only for the start of a program, before it has opened anything itself: what it uses would be closed,
/// too.
///
/// # Errors
/// When the system does not have `close_range` (Linux before 5.9), or forbids it.
pub fn close_inherited() -> std::io::Result<()> {
    Ok(close_range(3, u32::MAX)?)
}

/// Lets this process have as many descriptors as the system grants it: each open disk takes some, and shells start
/// programs with 1024, which is the other limit for those that can only count so far.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // It may be refused; then fewer disks can be open at once.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Closes what the host leaked and returns the host's socket, which is standard input.
pub(crate) fn control() -> Result<Socket, std::io::Error> {
    close_inherited()?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(Socket::from(socket))
}

/// Closes standard input, output and error: what is printed must not reach a terminal.
pub(super) fn close_standard() -> Layer {
    close_range(0, 2).map_err(|errno| errno.to_string())?;
    Ok("only the channels; images as they come".into())
}

/// Closes all descriptors but two, `low` and `high`.
pub(super) fn close_all_but(low: u32, high: u32) -> Result<(), Errno> {
    for (first, last) in [(0, low.checked_sub(1)), (low + 1, high.checked_sub(1)), (high + 1, Some(u32::MAX))]
    {
        if let Some(last) = last.filter(|last| first <= *last) {
            close_range(first, last)?;
        }
    }
    Ok(())
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: no memory is involved. Callers close descriptors that nothing in this process uses any more:
    // at its start those that it inherited, and in the supervisor, which never returns, all but one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

pub(super) fn exit(code: u8) -> ! {
    // SAFETY: ends the process without running handlers, which might do what the jail forbids.
    unsafe { libc::_exit(i32::from(code)) }
}
