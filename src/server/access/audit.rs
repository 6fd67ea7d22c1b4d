//! The log of who did what. What a guest or a stranger wrote (paths, names at failed logins) is data in it.
//!
//! A thread of its own writes it, many lines at once. Whoever logs waits only when the disk is so slow that the queue
//! is full: no line is lost while the server runs.

use super::db;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use spelunk_tree::{Error, Result};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use utoipa::ToSchema;

/// Lines that wait to be written.
const QUEUE_MAX: usize = 4096;
/// Lines that are written at once.
const BATCH_MAX: usize = 512;
/// Lines after which old ones are removed.
const PRUNE_STEP: usize = 1000;
/// How long to wait after the disk failed.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 16 << 10;

const DAY_SECONDS: i64 = 24 * 3600;

/// How much of the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Lines.
    pub rows_max: i64,
    /// Days.
    pub days_max: i64,
}

impl Default for Kept {
    /// A million lines (some hundred MiB), a year.
    fn default() -> Kept {
        Kept { rows_max: 1_000_000, days_max: 365 }
    }
}

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Made the first administrator.
    Setup,
    /// Logged in.
    Login,
    /// Tried to.
    LoginFailed,
    /// Logged out.
    Logout,
    /// Changed their own password.
    PasswordChanged,
    /// Made a user.
    UserMade,
    /// Changed a user.
    UserChanged,
    /// Removed a user.
    UserRemoved,
    /// Made a token.
    TokenMade,
    /// Removed a token.
    TokenRemoved,
    /// Made a share link.
    ShareMade,
    /// Revoked a share link.
    ShareRevoked,
    /// Read a file's content.
    Download,
    /// Got an archive.
    Archive,
}

impl What {
    /// All that is logged.
    #[cfg(test)]
    pub const ALL: [What; 14] = [
        What::Setup,
        What::Login,
        What::LoginFailed,
        What::Logout,
        What::PasswordChanged,
        What::UserMade,
        What::UserChanged,
        What::UserRemoved,
        What::TokenMade,
        What::TokenRemoved,
        What::ShareMade,
        What::ShareRevoked,
        What::Download,
        What::Archive,
    ];

    /// Its name in the database and the API.
    pub fn name(self) -> &'static str {
        match self {
            What::Setup => "setup",
            What::Login => "login",
            What::LoginFailed => "login-failed",
            What::Logout => "logout",
            What::PasswordChanged => "password-changed",
            What::UserMade => "user-made",
            What::UserChanged => "user-changed",
            What::UserRemoved => "user-removed",
            What::TokenMade => "token-made",
            What::TokenRemoved => "token-removed",
            What::ShareMade => "share-made",
            What::ShareRevoked => "share-revoked",
            What::Download => "download",
            What::Archive => "archive",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not permitted.
    Refused,
    /// It failed.
    Failed,
    /// Whoever asked went away before it was done.
    Aborted,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Aborted => "aborted",
        }
    }
}

/// A line of the log, when it is not yet written.
#[derive(Clone, Debug)]
pub struct Event {
    /// What.
    pub what: What,
    /// Who, by name; of a share link its maker; empty when nobody knows.
    pub user: String,
    /// From where; `None` on this machine.
    pub peer: Option<IpAddr>,
    /// To whom or with what: a user's name, a token's, a share's number.
    pub about: String,
    /// With which path: names with `/` between them.
    pub path: Vec<u8>,
    /// Bytes that were sent.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Event {
    /// Something that was done.
    pub fn new(what: What, user: &str, peer: Option<IpAddr>) -> Event {
        let user = user.to_owned();
        Event { what, user, peer, about: String::new(), path: Vec::new(), bytes: 0, outcome: Outcome::Done }
    }

    /// With whom or what it was done.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Event {
        Event { about: about.into(), ..self }
    }

    /// With which path.
    #[must_use]
    pub fn path(self, path: impl Into<Vec<u8>>) -> Event {
        Event { path: path.into(), ..self }
    }

    /// How many bytes were sent.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Event {
        Event { bytes, ..self }
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(self, outcome: Outcome) -> Event {
        Event { outcome, ..self }
    }
}

enum Message {
    Line(Box<Event>, i64),
    /// Answers when all before it is written.
    Flush(SyncSender<()>),
}

/// Takes lines and has them written.
pub struct Log {
    /// Both are gone when the log is closed.
    queue: Option<SyncSender<Message>>,
    writer: Option<JoinHandle<()>>,
    is_closing: Arc<AtomicBool>,
}

impl Log {
    /// Starts the thread that writes to the database in `directory`.
    ///
    /// # Errors
    /// When the database cannot be opened, or no thread started.
    pub fn start(directory: &Path, kept: Kept) -> Result<Log> {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let is_closing = Arc::new(AtomicBool::new(false));
        let writer =
            Writer { db: db::open(directory)?, kept, unpruned: PRUNE_STEP, is_closing: is_closing.clone() };
        let thread =
            std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&receiver));
        let thread = thread.map_err(|error| Error::from_io("starting a thread", &error))?;
        Ok(Log { queue: Some(sender), writer: Some(thread), is_closing })
    }

    /// Logs `event` at the time `now`. Waits when the queue is full.
    pub fn add(&self, event: Event, now: i64) {
        self.send(Message::Line(Box::new(event), now));
    }

    /// Waits until all that was logged before is written.
    pub fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        self.send(Message::Flush(sender));
        // An error means that the log was closed: then all is written.
        let _ = receiver.recv();
    }

    fn send(&self, message: Message) {
        if self.queue.as_ref().is_none_or(|queue| queue.send(message).is_err()) {
            tracing::error!("a line for the audit log came after its end");
        }
    }
}

impl Drop for Log {
    /// Writes what is left.
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.queue.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    db: Connection,
    kept: Kept,
    /// Lines since old ones were removed.
    unpruned: usize,
    is_closing: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        let mut lines = Vec::new();
        while let Ok(first) = queue.recv() {
            let mut flushes = Vec::new();
            let mut next = Ok(first);
            while let Ok(message) = next {
                match message {
                    Message::Line(event, time) => lines.push((event, time)),
                    Message::Flush(done) => flushes.push(done),
                }
                next = if lines.len() < BATCH_MAX { queue.try_recv() } else { Err(TryRecvError::Empty) };
            }
            self.write(&lines);
            lines.clear();
            for done in flushes {
                let _ = done.send(());
            }
        }
    }

    /// Writes lines, again and again until it succeeds or the server ends.
    fn write(&mut self, lines: &[(Box<Event>, i64)]) {
        while let Err(error) = self.try_write(lines) {
            tracing::error!(%error, "the audit log cannot be written");
            if self.is_closing.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(RETRY);
        }
    }

    fn try_write(&mut self, lines: &[(Box<Event>, i64)]) -> rusqlite::Result<()> {
        let Some((_, now)) = lines.last() else { return Ok(()) };
        let transaction = self.db.transaction()?;
        for (event, time) in lines {
            insert(&transaction, event, *time)?;
        }
        let is_due = self.unpruned + lines.len() >= PRUNE_STEP;
        if is_due {
            let sql = "DELETE FROM audit WHERE time < ?1 OR id <= (SELECT max(id) FROM audit) - ?2";
            transaction.execute(sql, [now - self.kept.days_max * DAY_SECONDS, self.kept.rows_max])?;
        }
        transaction.commit()?;
        self.unpruned = if is_due { 0 } else { self.unpruned + lines.len() };
        Ok(())
    }
}

/// Writes one line at once: for who has no thread.
///
/// # Errors
/// The database's.
pub fn insert(db: &Connection, event: &Event, time: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO audit (time, event, user, peer, about, path, bytes, outcome)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let peer = event.peer.map(|peer| peer.to_canonical().to_string());
    let path = event.path.get(..PATH_BYTES_MAX).unwrap_or(&event.path);
    let bytes = i64::try_from(event.bytes).unwrap_or(i64::MAX);
    let values =
        params![time, event.what.name(), event.user, peer, event.about, path, bytes, event.outcome.name()];
    db.prepare_cached(sql)?.execute(values).map(drop)
}

/// A line of the log, as it was written.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number: the newest has the highest.
    pub id: i64,
    /// When.
    pub time: i64,
    /// What.
    pub what: String,
    /// Who.
    pub user: String,
    /// From where.
    pub peer: Option<String>,
    /// To whom or with what.
    pub about: String,
    /// With which path.
    pub path: Vec<u8>,
    /// Bytes that were sent.
    pub bytes: u64,
    /// How it ended.
    pub outcome: String,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only older ones than this.
    pub before: Option<i64>,
    /// Only this user's.
    pub user: Option<String>,
    /// Only of this kind.
    pub what: Option<What>,
    /// How many.
    pub limit: u32,
}

/// Lines of the log, the newest first.
///
/// # Errors
/// The database's.
pub fn read(db: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<Line>> {
    let sql = "SELECT id, time, event, user, peer, about, path, bytes, outcome FROM audit
        WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR user = ?2) AND (?3 IS NULL OR event = ?3)
        ORDER BY id DESC LIMIT ?4";
    let values = params![wanted.before, wanted.user, wanted.what.map(What::name), wanted.limit];
    db.prepare_cached(sql)?.query_map(values, line)?.collect()
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        id: row.get(0)?,
        time: row.get(1)?,
        what: row.get(2)?,
        user: row.get(3)?,
        peer: row.get(4)?,
        about: row.get(5)?,
        path: row.get(6)?,
        bytes: row.get::<_, i64>(7)?.try_into().unwrap_or(0),
        outcome: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::tests::Folder;

    fn wanted(limit: u32) -> Wanted {
        Wanted { limit, ..Wanted::default() }
    }

    #[test]
    fn hostile_paths_are_kept_as_they_are() {
        let folder = Folder::new();
        let log = Log::start(folder.path(), Kept::default()).unwrap();
        let path = b"pc/\xff\r\n'); DROP TABLE audit; --\"><script>".to_vec();
        let event = Event::new(What::Download, "alice", "10.0.0.1".parse().ok());
        log.add(event.path(path.clone()).bytes(u64::MAX).outcome(Outcome::Aborted), 5);
        log.flush();

        let lines = read(&db::open(folder.path()).unwrap(), &wanted(10)).unwrap();

        assert_eq!((lines.len(), lines[0].time, &lines[0].path), (1, 5, &path));
        assert_eq!((lines[0].what.as_str(), lines[0].outcome.as_str()), ("download", "aborted"));
        assert_eq!(lines[0].peer.as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn more_than_the_queue_holds_is_written_to_the_last_line() {
        let folder = Folder::new();
        let count = QUEUE_MAX * 2 + 7;
        let log = Log::start(folder.path(), Kept::default()).unwrap();
        for number in 0..count {
            log.add(Event::new(What::Download, &format!("u{number}"), None), 0);
        }
        // Without a flush: the end of the log must write what is left.
        drop(log);

        let db = db::open(folder.path()).unwrap();
        let written: usize =
            db.query_row("SELECT count(DISTINCT user) FROM audit", [], |row| row.get(0)).unwrap();
        assert_eq!(written, count);
    }

    #[test]
    fn old_lines_are_removed_by_count_and_by_age() {
        let folder = Folder::new();
        let kept = Kept { rows_max: 10, days_max: 1 };
        let log = Log::start(folder.path(), kept).unwrap();
        for number in 0..PRUNE_STEP {
            log.add(Event::new(What::Download, "a", None), i64::try_from(number).unwrap());
        }
        log.flush();
        drop(log);
        let db = db::open(folder.path()).unwrap();
        assert!(read(&db, &wanted(2000)).unwrap().len() <= 10 + PRUNE_STEP);

        // The next start begins with it.
        let log = Log::start(folder.path(), kept).unwrap();
        log.add(Event::new(What::Login, "a", None), 2 * DAY_SECONDS);
        log.flush();
        let lines = read(&db, &wanted(100)).unwrap();
        assert_eq!(lines.len(), 1, "only the newest is younger than a day");
    }

    #[test]
    fn lines_are_read_by_page_user_and_event() {
        let folder = Folder::new();
        let log = Log::start(folder.path(), Kept::default()).unwrap();
        for user in ["a", "b", "a", "b"] {
            log.add(Event::new(What::Login, user, None), 0);
            log.add(Event::new(What::Logout, user, None), 0);
        }
        log.flush();
        let db = db::open(folder.path()).unwrap();

        let first = read(&db, &wanted(3)).unwrap();
        let before = Some(first[2].id);
        let second = read(&db, &Wanted { before, ..wanted(3) }).unwrap();
        let logins = Wanted { user: Some("a".to_owned()), what: Some(What::Login), ..wanted(9) };

        assert_eq!(first.iter().chain(&second).map(|line| line.id).collect::<Vec<_>>(), [8, 7, 6, 5, 4, 3]);
        assert_eq!(read(&db, &logins).unwrap().iter().map(|line| line.id).collect::<Vec<_>>(), [5, 1]);
    }

    #[test]
    fn events_are_called_in_the_api_as_in_the_database() {
        for what in What::ALL {
            assert_eq!(serde_json::to_string(&what).unwrap(), format!("\"{}\"", what.name()));
        }
    }
}
