//! A UrBackup server's databases beside its storage: what they tell is shown, what is wrong with them does no harm.

use super::{Ended, spelunk};
use rusqlite::Connection;
use serde_json::Value;
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{corpus, skip, tool};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DATABASE: &str = "backup_server.db";
const FINISHED: &str = ".hashes/.sync_f3a50226-f49a-4195-afef-c75b21781ae1";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn with_databases(command: &[&str], storage: &Path, databases: &Path) -> Ended {
    let rest = ["--library", "--urbackup-db", text(databases), text(storage)];
    let (command, path) = command.split_at(command.len() - usize::from(command[0] == "ls"));
    spelunk([command, &rest, path].concat())
}

fn info(storage: &Path, databases: &Path) -> Vec<Value> {
    let ended = with_databases(&["info", "--json"], storage, databases);
    ended.success();
    ended.objects()
}

/// The sample's databases where SQLite may write beside them, and the sample as it is.
fn databases(root: &Path) -> PathBuf {
    root.join("samples/urbackup/db")
}

/// What another program reads.
fn query(databases: &Path, sql: &str) -> BTreeSet<String> {
    let file = format!("file:{}?mode=ro&immutable=1", text(&databases.join(DATABASE)));
    let rows = tool::run("sqlite3", ["-separator", "|", &file, sql]).expect("the sqlite3 program");
    String::from_utf8(rows).expect("rows in UTF-8").lines().map(str::to_owned).collect()
}

fn field(object: &Value, name: &str) -> String {
    match &object[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn fields(objects: &[Value], names: &[&str]) -> BTreeSet<String> {
    let line = |object| names.iter().map(|name| field(object, name)).collect::<Vec<_>>().join("|");
    objects.iter().map(line).collect()
}

#[test]
fn what_is_told_of_backups_is_what_the_databases_say() {
    let Some(root) = corpus::root() else { return };
    if tool::find("sqlite3").is_none() {
        return skip::because("no sqlite3");
    }
    let databases = databases(&root);
    let time = |column| format!("strftime('%Y-%m-%dT%H:%M:%S.000000000Z', {column})");
    let (started, finished) = (time("b.backuptime"), time("b.synctime, 'unixepoch'"));
    let common = format!(
        "strftime('%Y-%m-%d_%H%M', b.backuptime), {started}, {finished}, b.incremental, b.size_bytes, \
         iif(b.archived, 'true', 'false')"
    );
    let names = ["client", "moment", "started", "finished", "increment", "backup_bytes", "archived"];

    let files = query(
        &databases,
        &format!("SELECT c.name, {common} FROM backups b JOIN clients c ON c.id = b.clientid"),
    );
    let images = query(
        &databases,
        &format!(
            "SELECT c.name, {common}, b.letter, b.version, replace(substr(b.letter, 2), '/', '_'), \
             iif(b.incremental, strftime('%Y-%m-%d_%H%M', p.backuptime), '') \
             FROM backup_images b JOIN clients c ON c.id = b.clientid \
             LEFT JOIN backup_images p ON p.id = b.incremental_ref"
        ),
    );

    let shown = info(&corpus::urbackup_file_backups(&root).expect("the sample"), &databases);
    assert_eq!((fields(&shown, &names), files.len()), (files, 2));
    let shown = info(&corpus::urbackup_storage(&root).expect("the sample"), &databases);
    let names = [&names[..], &["volume", "image_version", "item", "parent"]].concat();
    assert_eq!((fields(&shown, &names), images.len()), (images, 17));
}

#[test]
fn files_of_backups_are_the_same_with_databases() {
    let Some(root) = corpus::root() else { return };
    let storage = corpus::urbackup_file_backups(&root).expect("the sample");
    let plain = spelunk(["manifest", "--library", text(&storage)]);
    let with = with_databases(&["manifest"], &storage, &databases(&root));

    // The directories of the library itself have the exact times.
    let files = |ended: &Ended| -> BTreeSet<String> {
        let lines = ended.success().lines().filter(|line| line.matches('/').count() > 2);
        lines.map(str::to_owned).collect()
    };
    let (plain, with) = (files(&plain), files(&with));
    assert!(plain.len() > 600);
    assert_eq!(plain, with);
}

/// All that stands in columns of secrets.
fn secrets(databases: &Path) -> Vec<String> {
    let settings = Connection::open(databases.join("backup_server_settings.db")).expect("settings");
    let server = Connection::open(databases.join(DATABASE)).expect("a database");
    let select = |connection: &Connection, sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.map(|row| row.expect("a text")).collect()
    };
    let keys = "SELECT value FROM settings WHERE key LIKE '%key%' AND value <> ''";
    let mut secrets = select(&settings, keys);
    secrets.extend(select(&server, "SELECT token FROM user_tokens UNION SELECT token FROM tokens_on_client"));
    secrets
}

#[test]
fn secrets_in_databases_are_never_shown() {
    let Some(root) = corpus::root() else { return };
    let copied = copy_of(&databases(&root));
    let secrets = secrets(copied.path());
    assert!(secrets.len() >= 5, "{secrets:?}");
    let storage = corpus::urbackup_file_backups(&root).expect("the sample");
    // Also of databases that cannot be read, and of the settings in the place of the other.
    let broken = copy_of(copied.path());
    fs::copy(broken.path().join("backup_server_settings.db"), broken.path().join(DATABASE)).expect("a copy");

    for databases in [copied.path(), broken.path()] {
        for command in [
            &["info"][..],
            &["info", "--json"],
            &["manifest"],
            &["ls", "-lR", "/"],
            &["find"],
            &["tar", "-o", "-"],
        ] {
            let rest = ["--library", "--urbackup-db", text(databases), text(&storage)];
            let mut arguments = vec![command[0]];
            arguments.extend(rest);
            arguments.extend(&command[1..]);
            let mut command = super::command(&arguments);
            let output = command.env("SPELUNK_LOG", "trace").output().expect("it runs");
            assert!(!output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            for secret in &secrets {
                let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!holds(&output.stdout) && !holds(&output.stderr), "{secret} in {arguments:?}");
            }
        }
    }
}

fn copy_of(databases: &Path) -> Directory {
    let copy = Directory::new().expect("a directory");
    for name in [DATABASE, "backup_server_settings.db"] {
        // Not its mode: the sample cannot be written.
        fs::write(copy.path().join(name), fs::read(databases.join(name)).expect("a database"))
            .expect("a copy");
    }
    copy
}

/// A storage of one client with file backups of these folders, and an image of two.
fn storage(folders: &[&str]) -> Directory {
    let storage = Directory::new().expect("a directory");
    for folder in folders {
        let folder = storage.path().join("pc").join(folder);
        fs::create_dir_all(folder.join("share")).expect("a share");
        fs::create_dir_all(folder.join(".hashes")).expect("metadata");
        fs::write(folder.join(FINISHED), "").expect("a mark");
    }
    for volume in ["C", "SYSVOL"] {
        let folder = storage.path().join(format!("pc/260105-0304_Image_{volume}"));
        fs::create_dir_all(&folder).expect("a folder");
        let file = format!("Image_{volume}_260105-0304.vhdz");
        fs::write(folder.join(&file), "").expect("an image");
        fs::write(folder.join(file + ".sync"), "").expect("a mark");
    }
    storage
}

const TABLES: &str = "
    CREATE TABLE misc (id INTEGER PRIMARY KEY, tkey TEXT, tvalue TEXT);
    INSERT INTO misc (tkey, tvalue) VALUES ('db_version', '68');
    CREATE TABLE clients (id INTEGER PRIMARY KEY, name TEXT);
    INSERT INTO clients VALUES (1, 'pc');
    CREATE TABLE backups (id INTEGER PRIMARY KEY, clientid INTEGER, backuptime DATE DEFAULT CURRENT_TIMESTAMP,
        incremental INTEGER, path TEXT, complete INTEGER, running DATE, size_bytes INTEGER, done INTEGER,
        archived INTEGER, synctime INTEGER, delete_pending INTEGER);
    CREATE TABLE backup_images (id INTEGER PRIMARY KEY, clientid INTEGER, backuptime DATE, incremental INTEGER,
        incremental_ref INTEGER, path TEXT, complete INTEGER, running DATE, size_bytes INTEGER, version INTEGER,
        letter TEXT, synctime INTEGER, archived INTEGER, delete_pending INTEGER);
    CREATE TABLE assoc_images (img_id INTEGER, assoc_id INTEGER);";

/// A database with the rows that `sql` adds.
fn made(sql: &str) -> (Directory, Connection) {
    let directory = Directory::new().expect("a directory");
    let connection = Connection::open(directory.path().join(DATABASE)).expect("a database");
    connection.execute_batch(TABLES).expect("tables");
    connection.execute_batch(sql).expect("rows");
    (directory, connection)
}

/// A row of a file backup: `more` are complete, done, archived, synctime, delete_pending.
fn backup(time: &str, path: &str, more: &str) -> String {
    format!(
        "INSERT INTO backups (clientid, backuptime, incremental, path, complete, done, archived, synctime, \
         delete_pending) VALUES (1, '{time}', 0, '{path}', {more});"
    )
}

#[test]
fn half_backups_are_not_offered_and_what_has_no_row_is_found_by_its_folder() {
    let folders = ["260101-0304", "260102-0304", "260103-0304", "260104-0304", "260106-0304", "260107-0304"];
    let storage = storage(&folders);
    fs::remove_file(storage.path().join("pc/260106-0304").join(FINISHED)).expect("it was there");
    let image = |id: u32, letter: &str, volume: &str| {
        format!(
            "INSERT INTO backup_images VALUES ({id}, 1, '2026-01-05 03:04:0{id}', 0, 0, \
             'D:\\backups\\pc\\260105-0304_Image_{volume}\\Image_{volume}_260105-0304.vhdz', 1, '', 5, 1, \
             '{letter}', 1767582250, {id}, NULL);"
        )
    };
    let sql = [
        backup("2026-01-01 03:05:06", "260101-0304", "1, 1, 7, 1767236800, NULL"),
        backup("2026-01-02 03:04:06", "260102-0304", "1, 0, 0, NULL, NULL"),
        backup("2026-01-03 03:04:06", "260103-0304", "0, 1, 0, NULL, NULL"),
        backup("2026-01-04 03:04:06", "260104-0304", "1, 1, 0, NULL, 1"),
        backup("2026-01-06 03:04:06", "260106-0304", "1, 1, 0, NULL, NULL"),
        backup("2026-01-08 03:04:06", "260108-0304", "1, 1, 0, 1, NULL"),
        image(1, "C:", "C"),
        image(2, "SYSVOL", "SYSVOL"),
        "INSERT INTO assoc_images VALUES (1, 2);".to_owned(),
    ];
    let (databases, _connection) = made(&sql.concat());

    let shown = info(storage.path(), databases.path());

    let expected = [
        "2026-01-01_0305|share|2026-01-01T03:05:06.000000000Z|true||",
        "2026-01-05_0304|C|2026-01-05T03:04:01.000000000Z|true|C:|",
        "2026-01-05_0304|SYSVOL|2026-01-05T03:04:02.000000000Z|true|SYSVOL|2026-01-05_0304",
        "2026-01-06_0304|share|2026-01-06T03:04:06.000000000Z|false||",
        "2026-01-07_0304|share||||",
    ];
    let names = ["moment", "item", "started", "archived", "volume", "belongs_to"];
    assert_eq!(fields(&shown, &names), expected.map(str::to_owned).into());
    let listed = with_databases(&["ls", "pc"], storage.path(), databases.path());
    let moments = ["2026-01-01_0305", "2026-01-05_0304", "2026-01-06_0304", "2026-01-07_0304", "latest"];
    assert_eq!(listed.success().lines().collect::<Vec<_>>(), moments);
}

#[test]
fn rows_lead_nowhere_but_into_the_storage() {
    let storage = storage(&["260101-0304"]);
    let outside = storage.path().join("outside/260102-0304/share");
    fs::create_dir_all(&outside).expect("a directory");
    symlink(storage.path().join("outside"), storage.path().join("pc/260103-0304")).expect("a link");
    let paths = [
        "../outside/260102-0304",
        "/etc",
        "../../etc/passwd",
        "..",
        ".",
        "",
        "/",
        "260103-0304",
        "a\nb",
        "260101-0304/..",
    ];
    let mut sql: String =
        paths.iter().map(|path| backup("2026-01-09 03:04:06", path, "1, 1, 0, NULL, NULL")).collect();
    // Values of other types, in each column, and bytes that are no text.
    for (column, value) in [
        ("backuptime", "x'00ff'"),
        ("backuptime", "'9999999-01-01'"),
        ("path", "x'ff2f'"),
        ("path", "zeroblob(9000)"),
        ("clientid", "'1 OR 1'"),
        ("clientid", "99"),
        ("incremental", "-1"),
        ("incremental", "'x'"),
        ("path", "NULL"),
        ("backuptime", "1e300"),
    ] {
        sql += &backup("2026-01-09 03:04:06", "260101-0304", "1, 1, 0, NULL, NULL");
        sql += &format!("UPDATE backups SET {column} = {value} WHERE id = (SELECT max(id) FROM backups);");
    }
    sql += "INSERT INTO clients VALUES (2, '../pc'), (3, '/etc'), (4, ''), (5, x'ff'), (6, NULL);";
    sql += "INSERT INTO backup_images VALUES (1, 1, '2026-01-05 03:04:05', 0, 1, '/x/260105-0304_Image_C/../../x', 1, '',
            5, 1, '../../etc', 1, 0, 0), (2, 1, '2026-01-05 03:04:05', 3, 2,
            '/etc/260105-0304_Image_SYSVOL/Image_SYSVOL_260105-0304.vhdz', 1, '', 5, 1, '../../etc', 1, 0, 0);
            INSERT INTO assoc_images VALUES (2, 2), ('a', NULL);";
    let (databases, _connection) = made(&sql);

    let ended = with_databases(&["info", "--json"], storage.path(), databases.path());

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("spelunk: note: ") && ended.stderr.contains("rows make no sense"));
    let expected = ["pc|2026-01-01_0304|share", "pc|2026-01-05_0304|.._.._etc", "pc|2026-01-05_0304|C"];
    assert_eq!(fields(&ended.objects(), &["client", "moment", "item"]), expected.map(str::to_owned).into());
}

/// Rewrites a database, or takes its place.
type Spoil = fn(&Path);

fn run_sql(path: &Path, sql: &str) {
    Connection::open(path).expect("a database").execute_batch(sql).expect("it is executed");
}

/// What may stand where a database is expected.
const SPOILT: &[(&str, Spoil)] = &[
    ("truncated", |path| fs::write(path, &fs::read(path).expect("it")[..5000]).expect("written")),
    ("empty", |path| fs::write(path, "").expect("written")),
    ("random bytes", |path| {
        let bytes: Vec<u8> =
            (0..40_960u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        fs::write(path, bytes).expect("written");
    }),
    ("damaged pages", |path| {
        let mut bytes = fs::read(path).expect("it");
        bytes[4096..].iter_mut().for_each(|byte| *byte = byte.wrapping_add(0x55));
        fs::write(path, bytes).expect("written");
    }),
    ("a view", |path| {
        run_sql(path, "ALTER TABLE backups RENAME TO b; CREATE VIEW backups AS SELECT * FROM b;");
    }),
    ("an endless view", |path| {
        run_sql(
            path,
            "DROP TABLE clients; CREATE VIEW clients AS WITH RECURSIVE n(id, name) AS
                 (SELECT 1, 'a' UNION ALL SELECT id + 1, name FROM n) SELECT id, name FROM n;",
        );
    }),
    ("a module", |path| {
        run_sql(path, "DROP TABLE clients; CREATE VIRTUAL TABLE clients USING fts5(id, name);");
    }),
    ("a column that is computed", |path| {
        run_sql(
            path,
            "DROP TABLE clients; CREATE TABLE clients (id INTEGER, name TEXT AS (hex(zeroblob(100000000))));
                 INSERT INTO clients VALUES (1);",
        );
    }),
    ("two million rows", |path| {
        run_sql(
            path,
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000)
                 INSERT INTO clients SELECT i, 'c' || i FROM n;",
        );
    }),
    ("more bytes than are read", |path| {
        fs::File::options().write(true).open(path).expect("it").set_len((512 << 20) + 4096).expect("longer");
    }),
    ("a schema without end", |path| {
        let column = "x".repeat(100_000);
        run_sql(
            path,
            &format!("DROP TABLE clients; CREATE TABLE clients (id INTEGER, name TEXT, {column} TEXT);"),
        );
    }),
    ("no table", |path| run_sql(path, "DROP TABLE assoc_images;")),
    ("no column", |path| run_sql(path, "ALTER TABLE backups DROP COLUMN synctime;")),
    ("a strange version", |path| run_sql(path, "UPDATE misc SET tvalue = '\u{1b}[2J';")),
    ("a version to come", |path| run_sql(path, "UPDATE misc SET tvalue = '1000';")),
    ("a link", |path| {
        let elsewhere = path.with_file_name("elsewhere.db");
        fs::rename(path, &elsewhere).expect("it is there");
        symlink(elsewhere, path).expect("a link");
    }),
    ("a directory", |path| {
        fs::remove_file(path).expect("it is there");
        fs::create_dir(path).expect("a directory");
    }),
    ("a pipe", |path| {
        fs::remove_file(path).expect("it is there");
        tool::run("mkfifo", [text(path)]).expect("a pipe");
    }),
    ("a transaction that was cut off", |path| {
        fs::write(path.with_file_name("backup_server.db-journal"), [0xd9; 64]).expect("written");
    }),
    ("a log of nothing", |path| {
        fs::write(path.with_file_name("backup_server.db-wal"), [0x37; 64]).expect("written");
    }),
    ("a log that is a link", |path| {
        symlink("/etc/passwd", path.with_file_name("backup_server.db-wal")).expect("a link");
    }),
];

#[test]
fn hostile_databases_leave_the_folders_alone_and_end_soon() {
    let storage = storage(&["260101-0304", "260102-0304"]);
    let rows = backup("2026-01-01 05:06:07", "260101-0304", "1, 1, 0, 1, NULL");
    let plain = spelunk(["info", "--json", "--library", text(storage.path())]);
    for (what, spoil) in SPOILT {
        let (databases, connection) = made(&rows);
        drop(connection);
        spoil(&databases.path().join(DATABASE));
        let before = names_in(databases.path());
        let start = Instant::now();
        let ended = with_databases(&["info", "--json"], storage.path(), databases.path());

        assert_eq!((ended.code, ended.text()), (Some(0), plain.success()), "{what}: {}", ended.stderr);
        assert!(
            ended.stderr.ends_with("backups are shown as their folders say\n"),
            "{what}: {}",
            ended.stderr
        );
        assert!(ended.stderr.lines().count() == 1 && !ended.stderr.contains('\u{1b}'), "{what}");
        assert!(start.elapsed() < Duration::from_secs(40), "{what}: {:?}", start.elapsed());
        assert_eq!(names_in(databases.path()), before, "{what}");
    }
}

fn names_in(directory: &Path) -> BTreeSet<std::ffi::OsString> {
    fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn triggers_are_not_run_and_nothing_is_written() {
    let storage = storage(&["260101-0304"]);
    let (databases, connection) = made(&backup("2026-01-01 05:06:07", "260101-0304", "1, 1, 0, 1, NULL"));
    let trigger = "CREATE TRIGGER t AFTER INSERT ON backups BEGIN DELETE FROM clients; END;";
    connection.execute_batch(trigger).expect("a trigger");
    drop(connection);
    let file = databases.path().join(DATABASE);
    let (bytes, before) = (fs::read(&file).expect("it"), fs::metadata(&file).expect("it").modified().ok());

    let shown = info(storage.path(), databases.path());

    assert!(fields(&shown, &["moment"]).contains("2026-01-01_0506"));
    assert_eq!(fs::read(&file).expect("it"), bytes);
    assert_eq!(fs::metadata(&file).expect("it").modified().ok(), before);
    assert_eq!(names_in(databases.path()), [DATABASE.into()].into());
}

#[test]
fn databases_that_are_not_there_are_wrong_usage_or_an_error() {
    let storage = storage(&["260101-0304"]);
    let empty = Directory::new().expect("a directory");

    for missing in [empty.path().to_owned(), empty.path().join("nowhere")] {
        let ended = with_databases(&["ls", "/"], storage.path(), &missing);
        assert_eq!((ended.code, ended.text()), (Some(10), ""), "{}", ended.stderr);
    }
    let image = spelunk(["ls", "--urbackup-db", text(empty.path()), text(storage.path())]);
    assert_eq!(image.code, Some(2), "{}", image.stderr);
}

/// Writes all rows anew, again and again, each time with one number, while `look` looks; returns how often.
fn written_while(connection: &Connection, look: impl Fn() + Sync) -> u32 {
    let is_over = AtomicBool::new(false);
    let mut count = 0;
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            look();
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) && !looking.is_finished() {
            count += 1;
            let sql = format!("BEGIN IMMEDIATE; UPDATE backups SET size_bytes = {count}; COMMIT;");
            // There is no patience: to be held up is an error.
            connection.execute_batch(&sql).expect("nobody holds the database");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    count
}

#[test]
fn a_database_that_is_written_is_seen_as_it_was_at_one_moment() {
    let days: Vec<String> = (1..=28).map(|day| format!("2602{day:02}-0304")).collect();
    let storage = storage(&days.iter().map(String::as_str).collect::<Vec<_>>());
    let mut rows: String = (1..=28)
        .map(|day| {
            let path = format!("2602{day:02}-0304");
            backup(&format!("2026-02-{day:02} 03:04:05"), &path, "1, 1, 0, 1, NULL")
        })
        .collect();
    // So that the rows are on many pages.
    rows += "ALTER TABLE backups ADD COLUMN padding TEXT; UPDATE backups SET padding = hex(zeroblob(3000));";

    for (mode, pages) in [("wal", 7), ("wal", 1_000_000), ("delete", 0)] {
        let (databases, connection) = made(&rows);
        connection.busy_timeout(Duration::ZERO).expect("a setting");
        connection.pragma_update(None, "journal_mode", mode).expect("a setting");
        // Nobody pulls the plug here, and a slow disk must not keep the writer from writing often.
        connection.pragma_update(None, "synchronous", "OFF").expect("a setting");
        connection.pragma_update(None, "wal_autocheckpoint", pages).expect("a setting");
        connection.execute_batch("UPDATE backups SET size_bytes = 0").expect("written");

        let count = written_while(&connection, || {
            for _ in 0..15 {
                let shown = info(storage.path(), databases.path());
                let numbers: BTreeSet<String> = shown
                    .iter()
                    .filter(|line| field(line, "item") == "share")
                    .map(|line| field(line, "backup_bytes"))
                    .collect();
                assert_eq!(numbers.len(), 1, "{mode}: {numbers:?}");
            }
        });

        assert!(count > 15, "{mode}: written {count} times");
        // What was written last is seen, wherever it stands.
        let shown = info(storage.path(), databases.path());
        assert!(fields(&shown, &["backup_bytes"]).contains(&count.to_string()), "{mode}");
    }
}
