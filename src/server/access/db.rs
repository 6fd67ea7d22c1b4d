//! The database of users: one SQLite file in the server's data directory, which nobody else may read.
//!
//! No secret stands in it: passwords are hashed slowly, all others are random and hashed once.

use rusqlite::{Connection, TransactionBehavior};
use spelunk_tree::{Error, ErrorKind, Result};
use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// Its file's name.
pub const FILE: &str = "access.sqlite";

/// How long to wait for another process (`spelunk user`) that writes.
const BUSY: Duration = Duration::from_secs(5);

/// What makes each version of the database out of the one before. Only ever appended to.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql")];

/// Opens the database in `directory`; makes both where they are missing.
///
/// # Errors
/// `Denied` for a directory that anybody may write to, `Unsupported` for a database of a newer Spelunk, `Storage`.
pub fn open(directory: &Path) -> Result<Connection> {
    prepare_directory(directory)?;
    let path = directory.join(FILE);
    let failed = |error| Error::from_io("opening the database of users", &error);
    // Before SQLite makes it with the modes of other files. Its helper files take their modes from this one.
    let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    connect(&path).map_err(|error| database_failed(&error)).and_then(migrated)
}

fn prepare_directory(directory: &Path) -> Result<()> {
    let failed = |error| Error::from_io("making the data directory", &error);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let mode = std::fs::metadata(directory).map_err(failed)?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(Error::new(ErrorKind::Denied, "a data directory that anybody may write to"));
    }
    if mode & 0o077 != 0 {
        tracing::warn!(path = %directory.display(), "other users may look into the data directory");
    }
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // What was revoked must not come back when the power fails.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}

/// Brings the database to the newest version. Two processes that start at once do it one after the other.
fn migrated(mut db: Connection) -> Result<Connection> {
    let failed = |error: rusqlite::Error| database_failed(&error);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, usize>(0));
    let version = version.map_err(failed)?;
    if version > MIGRATIONS.len() {
        return Err(Error::unsupported("the database of users is of a newer Spelunk"));
    }
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(db)
}

fn database_failed(error: &rusqlite::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("the database of users: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::tests::Folder;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_for_the_server_alone() {
        let folder = Folder::new();
        let data = folder.path().join("a/data");

        let db = open(&data).unwrap();
        db.execute("INSERT INTO users (name, password, is_admin, made) VALUES ('a', 'b', 0, 0)", []).unwrap();

        assert_eq!(mode(&data), 0o700);
        let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 2, "no WAL: {files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }

    #[test]
    fn a_directory_that_anybody_may_write_to_is_refused() {
        let folder = Folder::new();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();

        assert_eq!(open(folder.path()).unwrap_err().kind(), ErrorKind::Denied);
    }

    #[test]
    fn a_database_opens_again_but_not_one_of_a_newer_version() {
        let folder = Folder::new();
        drop(open(folder.path()).unwrap());
        let db = open(folder.path()).unwrap();
        let foreign_keys: bool = db.pragma_query_value(None, "foreign_keys", |row| row.get(0)).unwrap();
        assert!(foreign_keys);

        db.pragma_update(None, "user_version", MIGRATIONS.len() + 1).unwrap();
        drop(db);

        assert_eq!(open(folder.path()).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
