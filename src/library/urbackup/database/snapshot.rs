//! A copy, in memory, of a database that a server may be writing at this moment. Nothing is locked, nothing is
//! created beside it, nobody is held up: the files are read, and read once more when it turns out that somebody
//! wrote them meanwhile in a way that can have torn the copy.
//!
//! With a write-ahead log a copy is whole when the log was not begun anew from before the database was read to
//! after the log was: whatever was written into the database's file meanwhile came from that log and is in the copy
//! of it. Without one, a copy is whole when no rollback journal was there, and the database's counter of changes,
//! which stands in its header, and the times of its file are the same before and after.

use super::super::jailed;
use super::wal;
use rustix::fs::Stat;
use rustix::io::Errno;
use spelunk_tree::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A database, and its log: what is larger is not read into memory.
const BYTES_MAX: usize = 512 << 20;

/// How often a copy is tried, and how long is waited in between.
const ATTEMPTS_MAX: usize = 8;
const PAUSE: Duration = Duration::from_millis(40);

/// The header of a database: sizes, counters, versions.
const HEADER_BYTES: usize = 100;
/// Where the header says how the database is written and read: 1 with a rollback journal, 2 with a log.
const FORMAT_VERSIONS: std::ops::Range<usize> = 18..20;

/// What tells whether a file has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    bytes: i64,
    changed: (i64, i64),
}

impl Stamp {
    /// Whether the file was changed longer ago than this.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(self.changed.0)
            .is_ok_and(|changed| now.saturating_sub(age) > Duration::from_secs(changed))
    }
}

/// What tells whether a database has changed: of its file and of its log.
pub(super) type Stamps = [Option<Stamp>; 2];

/// Looks whether a database has changed. Nothing is opened but to look.
pub(super) fn stamps(directory: &OwnedFd, name: &str) -> Stamps {
    [name.to_owned(), log_name(name)].map(|name| Some(Beside::open(directory, &name).ok()??.stamp))
}

/// Reads a database as it was at one moment, with what is in its log, in a form that needs no other file.
///
/// # Errors
/// `Limit` when it is too large, `Storage` when it was written each time; when it cannot be read.
pub(super) fn read(directory: &OwnedFd, name: &str) -> Result<Vec<u8>> {
    for attempt in 0..ATTEMPTS_MAX {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        if let Some(mut database) = copy(directory, name)? {
            // What was in the log is in the copy, which so is one without a log.
            if let Some(versions) = database.get_mut(FORMAT_VERSIONS) {
                versions.fill(1);
            }
            return Ok(database);
        }
    }
    Err(Error::new(ErrorKind::Storage, "it is being written, or its last writing was cut off"))
}

/// Copies a database; `None` when somebody wrote it meanwhile.
fn copy(directory: &OwnedFd, name: &str) -> Result<Option<Vec<u8>>> {
    let before = State::of(directory, name)?;
    if before.is_in_transaction {
        return Ok(None);
    }
    let main = Beside::open(directory, name)?.ok_or_else(|| Error::not_found("no such database"))?;
    let mut database = main.read()?;
    let log = Beside::open(directory, &log_name(name))?.map(|log| log.read()).transpose()?;
    if State::of(directory, name)? != before {
        return Ok(None);
    }
    wal::apply(&mut database, &log.unwrap_or_default(), BYTES_MAX)?;
    Ok(Some(database))
}

fn log_name(name: &str) -> String {
    format!("{name}-wal")
}

/// What must not change while a copy is made.
#[derive(PartialEq, Eq)]
struct State {
    is_in_transaction: bool,
    inode: (u64, u64),
    log_header: Vec<u8>,
    /// Of a database without a log.
    whole: Option<(Stamp, Vec<u8>)>,
}

impl State {
    fn of(directory: &OwnedFd, name: &str) -> Result<State> {
        let main = Beside::open(directory, name)?.ok_or_else(|| Error::not_found("no such database"))?;
        let log = Beside::open(directory, &log_name(name))?;
        let log_header = log.map_or(Ok(Vec::new()), |log| log.head(wal::HEADER_BYTES))?;
        let journal = Beside::open(directory, &format!("{name}-journal"))?;
        // One that begins with 0 is of a transaction that has ended.
        let journal = journal.map_or(Ok(Vec::new()), |journal| journal.head(1))?;
        let has_log = log_header.len() == wal::HEADER_BYTES;
        let whole = if has_log { None } else { Some((main.stamp.clone(), main.head(HEADER_BYTES)?)) };
        Ok(State {
            is_in_transaction: journal.first().is_some_and(|&byte| byte != 0),
            inode: main.stamp.inode,
            log_header,
            whole,
        })
    }
}

/// The database's file, or one beside it.
struct Beside {
    file: File,
    stamp: Stamp,
}

impl Beside {
    /// Opens a regular file, through no link. `None` when it is not there.
    fn open(directory: &OwnedFd, name: &str) -> Result<Option<Beside>> {
        match jailed::file(directory, name.as_bytes()) {
            Ok((file, stat)) => Ok(Some(Beside { file, stamp: stamp(&stat) })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.object(name.to_owned())),
        }
    }

    /// The first bytes, or fewer when there are not so many.
    fn head(&self, bytes: usize) -> Result<Vec<u8>> {
        let mut head = vec![0; bytes];
        let read = self.file.read_at(&mut head, 0).map_err(|error| failed(&error))?;
        head.truncate(read);
        Ok(head)
    }

    fn read(self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let most = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
        let read = self.file.take(most.saturating_add(1)).read_to_end(&mut bytes);
        if read.map_err(|error| failed(&error))? > BYTES_MAX {
            return Err(Error::limit(format!("a database of more than {} MiB", BYTES_MAX >> 20)));
        }
        Ok(bytes)
    }
}

fn failed(error: &std::io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // Sizes that are not what they seem, as of a file on a network.
        Some(Errno::OVERFLOW) => Error::limit("a database that is too large"),
        _ => Error::from_io("reading a database", error),
    }
}

fn stamp(stat: &Stat) -> Stamp {
    let nanoseconds = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
    Stamp { inode: (stat.st_dev, stat.st_ino), bytes: stat.st_size, changed: (stat.st_ctime, nanoseconds) }
}
