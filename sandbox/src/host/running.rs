//! A worker with its disk open, if it is one for a disk: channels to take from, until it is lost.

use super::line::{Answer, Line, Lost};
use super::process::{self, Process};
use super::{OpenOptions, SNAPSHOT_BYTES_MAX};
use crate::parents::Chain;
use crate::wire::{Malformed, Opening, ParentQuestion, Request, Status, Wire};
use spelunk_tree::{Error, ErrorKind, Result};
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A worker that has the disk open.
pub(crate) struct Running {
    process: Process,
    idle: Mutex<Vec<Line>>,
    returned: Condvar,
    is_lost: AtomicBool,
}

impl Running {
    /// Starts a worker and has it open `chain`, which is made longer by the parents that it asks for.
    pub(crate) fn start(chain: &mut Chain, options: &OpenOptions) -> Result<(Running, Opening)> {
        let deadline = Instant::now() + options.deadline;
        let (process, lines) = process::start(deadline)?;
        let line = lines.first().ok_or_else(|| Error::internal("a worker without channels"))?;
        let opening = open(line, chain, options, deadline).map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Lost(lost) => worker_lost(lost, &process, "opening the image"),
        })?;
        Ok((Running::of(process, lines), opening))
    }

    /// Starts a worker without a disk.
    pub(crate) fn start_without_disk(timeout: Duration) -> Result<Running> {
        let (process, lines) = process::start(Instant::now() + timeout)?;
        Ok(Running::of(process, lines))
    }

    fn of(process: Process, lines: Vec<Line>) -> Running {
        let (idle, returned) = (Mutex::new(lines), Condvar::new());
        Running { process, idle, returned, is_lost: AtomicBool::new(false) }
    }

    /// Asks on the next channel that is free.
    pub(crate) fn exchange(
        &self,
        request: &Request,
        data: &mut [u8],
        timeout: Duration,
    ) -> Result<Answer, Lost> {
        self.exchange_with(request, None, data, timeout)
    }

    /// As [`Running::exchange`]; the file's descriptor goes along.
    pub(crate) fn exchange_with(
        &self,
        request: &Request,
        file: Option<&File>,
        data: &mut [u8],
        timeout: Duration,
    ) -> Result<Answer, Lost> {
        let line = self.take().ok_or(Lost::Died)?;
        let answer = line.exchange(request, file, data, Instant::now() + timeout);
        if answer.is_err() {
            // The channel is not used again: an answer that comes late must not be taken for the next one's.
            self.lose();
            return answer;
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        self.returned.notify_one();
        answer
    }

    fn take(&self) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_lost() {
                return None;
            }
            if let Some(line) = idle.pop() {
                return Some(line);
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives the worker up: it is killed, and whoever waits for it is told.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.process.kill();
        // Under the lock, or a taker between its look and its wait would sleep on.
        let _idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        self.returned.notify_all();
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The error of a request that lost this worker.
    pub(crate) fn error(&self, lost: Lost, doing: &'static str) -> Error {
        worker_lost(lost, &self.process, doing)
    }
}

enum Failure {
    Refused(Error),
    Lost(Lost),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Failure {
        Failure::Lost(Lost::Broke(malformed))
    }
}

/// The dialogue of opening: the worker may ask for parents and further disks, again and again, until the deadline.
fn open(
    line: &Line,
    chain: &mut Chain,
    options: &OpenOptions,
    deadline: Instant,
) -> Result<Opening, Failure> {
    chain.begin();
    let image = chain.image(0).ok_or_else(|| Failure::Refused(Error::internal("a chain of nothing")))?;
    let snapshot = options.snapshot.clone();
    if snapshot.as_ref().is_some_and(|name| name.len() > SNAPSHOT_BYTES_MAX) {
        return Err(Failure::Refused(Error::limit("a snapshot's name that no snapshot has")));
    }
    let request = Request::Open {
        size: image.size,
        snapshot,
        show_metafiles: options.show_metafiles,
        code_page: options.code_page.number(),
        time_zone: options.time_zone.to_string(),
    };
    let mut answer = line.exchange(&request, Some(&image.file), &mut [], deadline).map_err(Failure::Lost)?;
    let mut has_last_disk = false;
    loop {
        match answer.status {
            Status::Done => return Ok(Opening::from_bytes(&answer.body)?),
            Status::Failed => return Err(Failure::Refused(Error::from_bytes(&answer.body)?)),
            Status::NeedParent | Status::NeedDisk => {}
        }
        let image = if answer.status == Status::NeedDisk {
            if has_last_disk {
                return Err(Malformed("a disk behind the last one").into());
            }
            let disk = chain.next_disk();
            has_last_disk = matches!(disk, Ok(None));
            disk
        } else {
            let question = ParentQuestion::from_bytes(&answer.body)?;
            let source =
                usize::try_from(question.source).map_err(|_| Malformed("an image that is not there"))?;
            chain.next_candidate(source, &question.wanted)
        };
        let image = image.map_err(Failure::Refused)?;
        let (request, file) = match &image {
            Some(image) => (Request::Parent { size: image.size }, Some(&image.file)),
            None => (Request::NoParent, None),
        };
        answer = line.exchange(&request, file, &mut [], deadline).map_err(Failure::Lost)?;
    }
}

/// Signals by the names that explain a worker's death.
const SIGNALS: [(i32, &str); 6] = [
    (libc::SIGSYS, "it made a system call that the jail forbids"),
    (libc::SIGSEGV, "it crashed"),
    (libc::SIGBUS, "it crashed"),
    (libc::SIGABRT, "it gave up"),
    (libc::SIGILL, "it crashed"),
    (libc::SIGKILL, "it was killed"),
];

fn worker_lost(lost: Lost, process: &Process, doing: &'static str) -> Error {
    let reason = match lost {
        Lost::Hung => "the worker did not answer in time and was killed".to_string(),
        Lost::Broke(malformed) => format!("the worker broke the protocol and was killed: {}", malformed.0),
        Lost::System(errno) => format!("talking to the worker: {errno}"),
        Lost::Died => {
            process.kill();
            format!("the worker died: {}", cause_of_death(process))
        }
    };
    Error::new(ErrorKind::WorkerLost, doing).because(Error::new(ErrorKind::WorkerLost, reason))
}

/// A supervisor ends by its worker's code, or by 128 and its worker's signal.
fn cause_of_death(process: &Process) -> String {
    let Some(status) = process.reap() else { return "no one knows why".into() };
    let code = status.code().unwrap_or(0);
    match SIGNALS.iter().find(|(signal, _)| code == 128 + signal) {
        Some((signal, text)) => format!("{text} (signal {signal})"),
        None => format!("code {code}"),
    }
}
