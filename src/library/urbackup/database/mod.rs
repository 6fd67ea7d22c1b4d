//! The databases of the server that wrote a storage: what they tell of its backups.
//!
//! ```text
//! snapshot.rs  a whole copy in memory, whatever the server does meanwhile; wal.rs puts the log's pages into it
//! query.rs     SQLite, with all but reading some columns taken from it
//! rows.rs      backups by client and folder
//! ```

mod query;
mod rows;
mod snapshot;
mod wal;

use super::jailed;
use query::Database;
pub(super) use rows::{Row, Rows};
use snapshot::Stamps;
use spelunk_tree::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The database of clients and backups, and that of settings.
const SERVER: &str = "backup_server.db";
const SETTINGS: &str = "backup_server_settings.db";

/// Where UrBackup keeps its databases on Linux.
const USUAL: &str = "/var/urbackup";

/// A database that changes all the time is read again after this many times what it took to read it.
const REST: u32 = 20;

/// And at the latest after this time.
const REST_MAX: Duration = Duration::from_secs(600);

/// How long ago a file must have been changed so that its next change is at another time: storage far away may keep
/// whole seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// The databases of one storage.
pub(super) struct Databases {
    path: PathBuf,
    directory: OwnedFd,
    known: Mutex<Known>,
}

/// What was read last.
#[derive(Default)]
struct Known {
    stamps: Stamps,
    /// Whether whatever is written from then on changes the stamps: times of files go on in steps.
    is_settled: bool,
    /// When it may be read again.
    next: Option<Instant>,
    rows: Option<Arc<Rows>>,
    note: Option<String>,
}

impl Databases {
    /// Opens the directory with a server's databases, and reads them.
    ///
    /// # Errors
    /// When there is no such directory, or no database in it. What is wrong with a database is a note.
    pub(super) fn open(path: &Path) -> Result<Databases> {
        let directory = jailed::root(path)?;
        let found = jailed::look(&directory, SERVER.as_bytes());
        if let Some(missing) = found.err().filter(|error| error.kind() == ErrorKind::NotFound) {
            return Err(missing.object(SERVER).context(path.display().to_string()));
        }
        let databases = Databases { path: path.to_owned(), directory, known: Mutex::default() };
        databases.rows();
        Ok(databases)
    }

    /// Those where UrBackup usually keeps them, when their settings name this storage.
    pub(super) fn of_storage(storage: &Path) -> Option<Databases> {
        Databases::naming(Path::new(USUAL), storage)
    }

    /// Those in `path`, when their settings name this storage.
    pub(super) fn naming(path: &Path, storage: &Path) -> Option<Databases> {
        let directory = jailed::root(path).ok()?;
        let bytes = snapshot::read(&directory, SETTINGS).ok()?;
        let named = Database::open(&bytes).and_then(|settings| settings.storage()).ok()??;
        // As texts: a path in a database is not to be looked at.
        let storage = storage.canonicalize().ok()?;
        (Path::new(&named) == storage).then(|| Databases::open(path).ok())?
    }

    /// What the databases tell now. When they cannot be read, what they told last; `None` when they never could.
    pub(super) fn rows(&self) -> Option<Arc<Rows>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = snapshot::stamps(&self.directory, SERVER);
        let is_time = known.next.is_none_or(|next| Instant::now() >= next);
        let is_same = stamps == known.stamps && known.is_settled;
        if (known.next.is_some() && is_same) || !is_time {
            return known.rows.clone();
        }
        let start = Instant::now();
        let read = snapshot::read(&self.directory, SERVER)
            .and_then(|bytes| Database::open(&bytes))
            .and_then(|database| Rows::read(&database));
        match read {
            Ok(rows) => {
                known.note = note_of_failures(rows.failures);
                // What tells the same is the same, so that nothing is looked at again because of it.
                if known.rows.as_deref() != Some(&rows) {
                    known.rows = Some(Arc::new(rows));
                }
            }
            Err(error) => known.note = Some(note(&error, known.rows.is_some())),
        }
        known.is_settled = stamps.iter().flatten().all(|stamp| stamp.is_older_than(SETTLED));
        known.stamps = stamps;
        known.next = Some(Instant::now() + start.elapsed().saturating_mul(REST).min(REST_MAX));
        if let Some(note) = &known.note {
            tracing::warn!(path = %self.path.display(), note, "databases");
        }
        known.rows.clone()
    }

    /// What is wrong with them, if anything is.
    pub(super) fn note(&self) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.note.as_ref().map(|note| format!("{}: {note}", self.path.join(SERVER).display()))
    }
}

fn note(error: &Error, has_rows: bool) -> String {
    let instead = match has_rows {
        true => "what it told before is shown",
        false => "backups are shown as their folders say",
    };
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    format!("{}; {instead}", chain.join(": "))
}

fn note_of_failures(failures: usize) -> Option<String> {
    (failures > 0)
        .then(|| format!("{failures} rows make no sense; those backups are shown as their folders say"))
}

#[cfg(test)]
mod tests;
