//! What a database tells of backups. Its file may have been made to do harm, so SQLite is given no more than is
//! needed to read some columns of some tables: no file, no view, no trigger, no function but one, no other column; a size for
//! each value, a time for all. Secrets stand in other columns.

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use spelunk_tree::{Error, Result};
use std::time::{Duration, Instant};

/// All that is ever read, by table.
const COLUMNS: &[(&str, &[&str])] = &[
    ("sqlite_master", &["name", "type", "rootpage"]),
    ("misc", &["tkey", "tvalue"]),
    ("clients", &["id", "name"]),
    (
        "backups",
        &[
            "id",
            "clientid",
            "backuptime",
            "incremental",
            "path",
            "complete",
            "running",
            "size_bytes",
            "done",
            "archived",
            "synctime",
            "delete_pending",
        ],
    ),
    (
        "backup_images",
        &[
            "id",
            "clientid",
            "backuptime",
            "incremental",
            "incremental_ref",
            "path",
            "complete",
            "running",
            "size_bytes",
            "version",
            "letter",
            "synctime",
            "archived",
            "delete_pending",
        ],
    ),
    ("assoc_images", &["img_id", "assoc_id"]),
    ("settings", &["key", "value", "clientid"]),
];

/// What the settings may be asked for.
const SETTING: &str = "backupfolder";

/// How long all queries of one database may take together.
const DEADLINE: Duration = Duration::from_secs(20);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;
/// Rows of one table. A table of more is refused.
const ROWS_MAX: usize = 1 << 20;
/// Bytes of a value, of a row, and of a statement in the schema.
const LENGTH_MAX: i32 = 1 << 20;
const SQL_MAX: i32 = 1 << 16;
/// Bytes of a text that is kept.
const TEXT_MAX: usize = 4096;
/// Versions of the schema that are read. 68 is that of UrBackup 2.5; what is missing in an older one is found out.
const VERSIONS: std::ops::RangeInclusive<i64> = 1..=99;

/// A database in memory.
pub(super) struct Database(Connection);

impl Database {
    /// Opens the bytes of a database.
    ///
    /// # Errors
    /// `Corrupt` when they are none.
    pub(super) fn open(bytes: &[u8]) -> Result<Database> {
        let open = || -> rusqlite::Result<Connection> {
            // It cannot be told to read only before there is something to be read.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_in_memory_with_flags(flags)?;
            restrict(&connection)?;
            connection.deserialize_read_exact("main", bytes, bytes.len(), true)?;
            for (pragma, value) in [
                ("trusted_schema", 0),
                ("query_only", 1),
                ("cell_size_check", 1),
                ("mmap_size", 0),
                ("temp_store", 2),
            ] {
                connection.pragma_update(None, pragma, value)?;
            }
            let end = Instant::now() + DEADLINE;
            connection.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
            connection.authorizer(Some(authorize))?;
            Ok(connection)
        };
        open().map(Database).map_err(|error| failed(&error))
    }

    /// Reads the version of the schema.
    ///
    /// # Errors
    /// `Unsupported` for none, and for one that is not read.
    pub(super) fn require_version(&self) -> Result<()> {
        let version = "SELECT tvalue FROM misc WHERE tkey = 'db_version'";
        let mut found = None;
        self.rows("misc", version, |row| {
            found = text(row, 0);
            Some(())
        })?;
        let found = found.ok_or_else(|| Error::unsupported("databases that do not tell their version"))?;
        match found.parse() {
            Ok(number) if VERSIONS.contains(&number) => Ok(()),
            _ => Err(Error::unsupported(format!("databases of version {}", crate::escape::message(&found)))),
        }
    }

    /// The directory that the settings name as the storage.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub(super) fn storage(&self) -> Result<Option<String>> {
        let mut storage = None;
        let sql = format!("SELECT value FROM settings WHERE key = '{SETTING}' AND clientid = 0");
        self.rows("settings", &sql, |row| {
            storage = text(row, 0);
            Some(())
        })?;
        Ok(storage)
    }

    /// Gives the rows of a query of one table to `take`, which says `None` of a row that cannot be. Returns how many
    /// those were.
    ///
    /// # Errors
    /// `Corrupt` for damage, `Unsupported` for what is not a table or lacks a column, `Limit` for too many rows and
    /// when it takes too long.
    pub(super) fn rows(
        &self,
        table: &str,
        sql: &str,
        mut take: impl FnMut(&Row<'_>) -> Option<()>,
    ) -> Result<usize> {
        let mut failures = 0;
        let mut run = || -> Result<()> {
            self.require_table(table)?;
            let mut statement = self.0.prepare(sql).map_err(|error| failed(&error))?;
            let mut rows = statement.query([]).map_err(|error| failed(&error))?;
            let mut count = 0;
            while let Some(row) = rows.next().map_err(|error| failed(&error))? {
                count += 1;
                if count > ROWS_MAX {
                    return Err(Error::limit(format!("a table of more than {ROWS_MAX} rows")));
                }
                failures += usize::from(take(row).is_none());
            }
            Ok(())
        };
        run().map_err(|error| error.object(format!("table {table}")))?;
        Ok(failures)
    }

    /// A view, or a table of some module, could run what its author likes.
    fn require_table(&self, table: &str) -> Result<()> {
        let sql = "SELECT 1 FROM sqlite_master WHERE name = ?1 AND type = 'table' AND rootpage > 0";
        let is_table = self.0.prepare(sql).and_then(|mut statement| statement.exists([table]));
        match is_table {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::unsupported("no such table")),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Before a byte of the database is there.
fn restrict(connection: &Connection) -> rusqlite::Result<()> {
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, LENGTH_MAX),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_MAX),
        (Limit::SQLITE_LIMIT_COLUMN, 200),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 50),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 2),
        (Limit::SQLITE_LIMIT_VDBE_OP, 50_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 10),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 10),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    Ok(())
}

/// Permits to select from the columns that are known here, and nothing else.
fn authorize(context: AuthContext<'_>) -> Authorization {
    let is_allowed = match context.action {
        AuthAction::Select => true,
        // It stands in UrBackup's own schema, as what a column is when nothing is written there.
        AuthAction::Function { function_name } => function_name == "CURRENT_TIMESTAMP",
        AuthAction::Read { table_name, column_name } => COLUMNS.iter().any(|(table, columns)| {
            // SQLite asks for no column where a table is only counted or looked at.
            *table == table_name && (column_name.is_empty() || columns.contains(&column_name))
        }),
        _ => false,
    };
    if is_allowed { Authorization::Allow } else { Authorization::Deny }
}

/// A number, where one stands there.
pub(super) fn integer(row: &Row<'_>, column: usize) -> Option<i64> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => Some(number),
        _ => None,
    }
}

/// A text, where one stands there that is UTF-8 and not too long.
pub(super) fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(text)) if text.len() <= TEXT_MAX => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    }
}

/// The kind of an error alone: what SQLite says quotes the database.
fn failed(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::corrupt("a damaged database"),
        Some(ErrorCode::OperationInterrupted) => Error::limit("a database that takes too long to read"),
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => Error::limit("a value that is too large"),
        _ => Error::unsupported("a database that is not as UrBackup makes it"),
    }
}
