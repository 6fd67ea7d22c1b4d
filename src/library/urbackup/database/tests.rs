//! When databases are read again, and which belong to a storage.

use super::*;
use rusqlite::Connection;
use spelunk_testkit::peer::Directory;
use spelunk_tree::Name;

const TABLES: &str = "
    CREATE TABLE misc (tkey TEXT, tvalue TEXT);
    INSERT INTO misc VALUES ('db_version', '68');
    CREATE TABLE clients (id INTEGER PRIMARY KEY, name TEXT, lastseen DATE);
    INSERT INTO clients VALUES (1, 'pc', '');
    CREATE TABLE backups (clientid, backuptime, incremental, path, running, size_bytes, archived, synctime,
        complete, delete_pending, done);
    INSERT INTO backups VALUES (1, '2026-01-02 03:04:05', 0, '260102-0304', NULL, 1, 0, NULL, 1, 0, 1);
    CREATE TABLE backup_images (id, clientid, backuptime, incremental, incremental_ref, path, complete, running,
        size_bytes, version, letter, synctime, archived, delete_pending);
    CREATE TABLE assoc_images (img_id, assoc_id);";

fn made() -> (Directory, Connection) {
    let directory = Directory::new().unwrap();
    let connection = Connection::open(directory.path().join(SERVER)).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(TABLES).unwrap();
    (directory, connection)
}

fn is_archived(rows: &Rows) -> bool {
    let name = |text: &str| Name::new(text.as_bytes()).unwrap();
    rows.get(&name("pc"), &name("260102-0304")).unwrap().details.is_archived
}

/// What is told when a change has been seen.
fn later(databases: &Databases, has_changed: impl Fn(&Arc<Rows>) -> bool) -> Arc<Rows> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let rows = databases.rows().unwrap();
        if has_changed(&rows) || Instant::now() > end {
            return rows;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_changes_is_read_again_and_what_tells_the_same_is_the_same() {
    let (directory, connection) = made();
    let databases = Databases::open(directory.path()).unwrap();
    let first = databases.rows().unwrap();

    connection.execute_batch("UPDATE clients SET lastseen = 'now'").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let same = databases.rows().unwrap();
    connection.execute_batch("UPDATE backups SET archived = 1").unwrap();
    let changed = later(&databases, |rows| is_archived(rows));

    assert!(Arc::ptr_eq(&first, &same));
    assert!(!is_archived(&first) && is_archived(&changed));
}

#[test]
fn what_was_told_stays_when_a_database_is_spoiled() {
    let (directory, connection) = made();
    let databases = Databases::open(directory.path()).unwrap();
    assert_eq!(databases.note(), None);

    connection.execute_batch("DROP TABLE backups").unwrap();
    later(&databases, |_| databases.note().is_some());

    assert!(databases.note().unwrap().ends_with("what it told before is shown"), "{:?}", databases.note());
    assert!(databases.rows().is_some());
}

#[test]
fn databases_are_those_of_the_storage_that_their_settings_name() {
    let (directory, _connection) = made();
    let (storage, other) = (Directory::new().unwrap(), Directory::new().unwrap());
    let settings = Connection::open(directory.path().join(SETTINGS)).unwrap();
    settings.execute_batch("CREATE TABLE settings (key, value, clientid)").unwrap();
    let named = storage.path().canonicalize().unwrap();
    let sql = "INSERT INTO settings VALUES ('backupfolder', ?1, 0), ('backupfolder', '/elsewhere', 3)";
    settings.execute(sql, [named.to_str().unwrap()]).unwrap();

    assert!(Databases::naming(directory.path(), storage.path()).is_some());
    assert!(Databases::naming(directory.path(), other.path()).is_none());
    assert!(Databases::naming(&directory.path().join("nowhere"), storage.path()).is_none());
}

#[test]
fn secrets_cannot_be_selected() {
    let mut connection = Connection::open_in_memory().unwrap();
    let sql = "CREATE TABLE settings (key, value, clientid); CREATE TABLE user_tokens (token);
               CREATE TABLE clients (id, name, uid);";
    connection.execute_batch(sql).unwrap();
    let database = Database::open(&connection.serialize("main").unwrap()).unwrap();

    for sql in [
        "SELECT uid FROM clients",
        "SELECT token FROM user_tokens",
        "SELECT sql FROM sqlite_master",
        "SELECT hex(name) FROM clients",
        "DELETE FROM clients",
        "ATTACH ':memory:' AS other",
        "PRAGMA trusted_schema = ON",
    ] {
        assert!(database.rows("clients", sql, |_| Some(())).is_err(), "{sql}");
    }
    assert!(database.rows("clients", "SELECT id, name FROM clients", |_| Some(())).is_ok());
}
