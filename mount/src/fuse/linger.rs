//! Waiting for the next request awake.
//!
//! A program that walks a tree sends one small request after the other, each as soon as it has digested the
//! last answer. To put a thread to sleep in between and to wake it again takes several times as long as the
//! answer itself, above all in a virtual machine. So after a small request its thread stays awake for
//! a moment, ready for the next.

use rustix::event::{PollFd, PollFlags, Timespec};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a thread stays awake: longer than `find` digests a page of a listing, and so short that the last
/// request of many costs next to nothing.
const AWAKE: Duration = Duration::from_micros(100);

/// Pauses of the processor between two looks.
const PAUSES: u32 = 32;

/// The waiting of one mount's threads.
pub(super) struct Linger {
    /// The connection with the kernel; none where waiting awake would only take the processor from others.
    connection: Option<OwnedFd>,
}

impl Linger {
    /// Waits at `connection`, unless there is no processor to spare or no descriptor for it.
    pub(super) fn at(connection: impl AsFd) -> Linger {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let connection = connection.as_fd().try_clone_to_owned().ok().filter(|_| processors > 1);
        Linger { connection }
    }

    /// Returns as soon as there is a request to be read, and after [`AWAKE`] in any case.
    pub(super) fn wait(&self) {
        let Some(connection) = &self.connection else { return };
        let end = Instant::now() + AWAKE;
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut connection = [PollFd::new(connection, PollFlags::IN)];
        while rustix::event::poll(&mut connection, Some(&at_once)) == Ok(0) && Instant::now() < end {
            // Some hundred nanoseconds: between two looks the kernel shall be left alone.
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
    }
}
