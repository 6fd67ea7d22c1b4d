//! The index: what is called how in which backups, so that a search opens none of them.
//!
//! ```text
//! update.rs    walks what is not indexed yet ──> directory.rs  what changed in a directory ──> block.rs  as bytes
//! search.rs    query.rs: what is wanted ──> trigrams (FTS5) or a scan ──> blocks ──> hits
//! versions.rs  one path over all backups, read from the backups themselves
//! fold.rs      how names are compared
//! ```
//!
//! A **volume** is an item's name of a client: what is called so in one backup and in the next is one volume at two
//! times. For each directory of a volume the index holds [blocks](block) of rows: an entry, and from which backup on
//! and before which it was so. What stays the same from backup to backup costs nothing. The names of a block stand in
//! FTS5's trigrams under the block's number.
//!
//! Numbers of blocks and directories hold their volume's number in their upper half ([`ids`]), so a volume is a range.
//!
//! The index is a cache: it can be deleted at any time, and is made anew from the backups. One file is of one library.

mod block;
mod directory;
mod fold;
mod query;
mod search;
mod update;
mod versions;

pub use query::{NameTest, Query};
pub use search::{Found, Hit};
pub use update::{Failure, ItemStatus, Progress, Summary};
pub use versions::{Compare, Version, versions};

use crate::library::{Backup, Client, Item, Moment};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use spelunk_tree::{Error, ErrorKind, Name, Result};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Marks the file as ours: `SPIX`.
const APPLICATION_ID: i32 = 0x5350_4958;
/// What the tables are; a change of them is another version.
const SCHEMA: &str = include_str!("schema.sql");
const VERSION: i32 = 1;
/// How long somebody else may write before a writer gives up.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// Connections that are kept for searches to come.
const READERS_MAX: usize = 8;

/// An index file.
pub struct Index {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

/// What part of a library is meant: all that is not named is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One client.
    pub client: Option<Name>,
    /// The backups of one minute.
    pub moment: Option<Moment>,
    /// One volume or share.
    pub item: Option<Name>,
}

impl Selection {
    fn takes(&self, client: &Client, backup: &Backup, item: &Item) -> bool {
        self.takes_volume(&client.name, &item.name)
            && self.moment.is_none_or(|wanted| wanted == backup.moment)
    }

    fn takes_volume(&self, client: &Name, item: &Name) -> bool {
        self.client.as_ref().is_none_or(|wanted| wanted == client)
            && self.item.as_ref().is_none_or(|wanted| wanted == item)
    }
}

impl Index {
    /// Opens an index, or makes an empty one where there is no file.
    ///
    /// # Errors
    /// `Corrupt` for what is no index or damaged, `Unsupported` for one that a newer Spelunk made, `Denied` and
    /// `Storage`. Nothing is changed in a file that is not an index.
    pub fn open(path: &Path) -> Result<Arc<Index>> {
        let open = || {
            create(path)?;
            let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            prepare(&mut writer)?;
            Ok(writer)
        };
        let writer = open().map_err(|error: Error| {
            error.context(format!(
                "opening the index {}",
                crate::escape::escape(path.as_os_str().as_encoded_bytes())
            ))
        })?;
        Ok(Arc::new(Index { path: path.to_owned(), writer: Mutex::new(writer), readers: Mutex::default() }))
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `read` with a connection that nobody else has, and which sees all that was written before.
    fn read<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let readers = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = readers().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        };
        let result = read(&mut connection);
        let mut readers = readers();
        if readers.len() < READERS_MAX {
            readers.push(connection);
        }
        result
    }
}

/// Sees that there is a file, which its owner alone can read: names are nobody else's business.
fn create(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map(drop).map_err(|error| Error::from_io("opening a file", &error))
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    const CACHE_KIB: i64 = 32 << 10;
    let connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY_MAX).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed)?;
    Ok(connection)
}

/// Sees that a file is an index of this version.
fn prepare(connection: &mut Connection) -> Result<()> {
    // Pages hold several blocks each.
    const PAGE_BYTES: i64 = 16 << 10;
    // What one backup changes may be much more than stays in the log.
    const LOG_BYTES: i64 = 16 << 20;
    let number = |connection: &Connection, pragma: &str| {
        connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failed)
    };
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 && number(connection, "application_id")? != APPLICATION_ID {
        return Err(Error::corrupt("this is a database of something else"));
    }
    if tables == 0 {
        connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(failed)?;
    let transaction = write(connection)?;
    let version = number(&transaction, "user_version")?;
    if version > VERSION {
        return Err(Error::unsupported(
            "this index was made by a newer version; delete it, and it is made anew",
        ));
    }
    if version < VERSION {
        transaction.execute_batch(SCHEMA).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Begins to write: alone, in all processes.
fn write(connection: &mut Connection) -> Result<rusqlite::Transaction<'_>> {
    connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)
}

/// The numbers of a volume's blocks, and of its directories; the first one is that of its root.
fn ids(volume: i64) -> RangeInclusive<i64> {
    (volume << 32)..=(volume << 32 | i64::from(u32::MAX))
}

/// The volume that a block or directory is of.
fn volume_of(id: i64) -> i64 {
    id >> 32
}

/// SQLite's error as ours.
#[allow(clippy::needless_pass_by_value, reason = "so that `map_err` takes it as it is")]
fn failed(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ErrorKind::Corrupt,
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => ErrorKind::Denied,
        Some(_) => ErrorKind::Storage,
        // A value of a type that does not stand there.
        None => ErrorKind::Corrupt,
    };
    Error::new(kind, "reading or writing the index").because(Error::new(kind, error.to_string()))
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
