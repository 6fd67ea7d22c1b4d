//! A worker process: started, greeted, killed, reaped.

use super::line::{Line, lost};
use crate::channel::Socket;
use crate::shared::{self, HostWindow};
use crate::wire::{BUILD_ID, Hello, Start, Wire};
use crate::{LayerReport, WORKER_COMMAND};
use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, shutdown};
use spelunk_tree::{Error, ErrorKind, Result};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Channels to a worker at most, each with a thread there: requests that are worked on at once.
pub(crate) const CHANNELS_MAX: usize = 4;
const CHANNELS_MIN: usize = 2;

/// Bytes of the worker's greeting: its layers and their reports.
const HELLO_BYTES_MAX: usize = 16 * 1024;

/// How long a supervisor may take to see that it is to end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A worker and its supervisor. Killed and reaped when dropped.
pub(crate) struct Process {
    supervisor: Mutex<Child>,
    control: Socket,
    /// The worker's process id.
    pub(crate) pid: u32,
    /// What it reported of its jail.
    pub(crate) layers: Vec<LayerReport>,
}

/// Starts a worker and waits until it is in its jail.
pub(crate) fn start(deadline: Instant) -> Result<(Process, Vec<Line>)> {
    let threads = std::thread::available_parallelism().map_or(CHANNELS_MIN, usize::from);
    start_as(&[WORKER_COMMAND], threads.clamp(CHANNELS_MIN, CHANNELS_MAX), deadline)
}

/// As [`start`], with other arguments and count of channels.
pub(crate) fn start_as(
    arguments: &[&str],
    channels: usize,
    deadline: Instant,
) -> Result<(Process, Vec<Line>)> {
    let (control, theirs) = Socket::pair().map_err(failed)?;
    let (lines, ends) = make_lines(channels)?;
    let supervisor = spawn(arguments, theirs)?;
    let mut process = Process { supervisor: Mutex::new(supervisor), control, pid: 0, layers: Vec::new() };
    let ends_borrowed: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
    let start = Start { channels: u8::try_from(channels).unwrap_or(u8::MAX) };
    let unstarted = |broken| not_started(&format!("{:?}", lost(broken)));
    process.control.send_by(&start.to_bytes(), &ends_borrowed, deadline).map_err(unstarted)?;
    drop(ends);
    process.layers = greeted(&lines, deadline)?;
    let mut pid = [0; 4];
    let len = process.control.receive(&mut pid, deadline).map_err(unstarted)?;
    process.pid = u32::from_bytes(&pid[..len]).map_err(|malformed| not_started(malformed.0))?;
    Ok((process, lines))
}

/// Makes channels: our ends, and the descriptors of theirs in the order in which they are sent.
fn make_lines(count: usize) -> Result<(Vec<Line>, Vec<OwnedFd>)> {
    let mut lines = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..count {
        let (ours, theirs) = Socket::pair().map_err(failed)?;
        let memory = shared::create().map_err(failed)?;
        lines.push(Line { socket: ours, window: HostWindow::new(&memory).map_err(failed)? });
        ends.extend([OwnedFd::from(theirs), memory]);
    }
    Ok((lines, ends))
}

/// Executes this program once more. Nothing of ours goes along but the socket: no environment, no terminal,
/// no process group.
fn spawn(arguments: &[&str], control: Socket) -> Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("spelunk-worker")
        .args(arguments)
        .env_clear()
        // One heap for all threads: less memory, and no calls that the jail forbids (glibc looks into
        // /proc before it shrinks another heap than the first).
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|cause| Error::from_io("starting the worker", &cause))
}

fn greeted(lines: &[Line], deadline: Instant) -> Result<Vec<LayerReport>> {
    let line = lines.last().ok_or_else(|| Error::internal("a worker without channels"))?;
    let mut buffer = vec![0; HELLO_BYTES_MAX];
    let len = line
        .socket
        .receive(&mut buffer, deadline)
        .map_err(|_| not_started("it did not greet: does the program's main function call worker_main?"))?;
    let hello = Hello::from_bytes(&buffer[..len]).map_err(|malformed| not_started(malformed.0))?;
    if hello.build_id != BUILD_ID {
        return Err(not_started("it is of another build"));
    }
    hello.jail
}

fn failed(errno: rustix::io::Errno) -> Error {
    Error::from_io("making a channel to the worker", &std::io::Error::from(errno))
}

fn not_started(reason: &str) -> Error {
    let cause = Error::new(ErrorKind::WorkerLost, reason.to_string());
    Error::new(ErrorKind::WorkerLost, "the worker did not start").because(cause)
}

impl Process {
    /// Has the worker killed. Its channels break at once; it is reaped when this is dropped.
    pub(crate) fn kill(&self) {
        // Fails when the supervisor is gone already.
        let _ = shutdown(&self.control, Shutdown::Write);
    }

    /// Waits for the end of a worker that was killed or is dying, and reaps it.
    pub(crate) fn reap(&self) -> Option<ExitStatus> {
        let mut supervisor = self.supervisor.lock().ok()?;
        if !self.control.wait_closed(Instant::now() + END_TIMEOUT) {
            // Without its supervisor the worker dies as well.
            let _ = supervisor.kill();
        }
        supervisor.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}
