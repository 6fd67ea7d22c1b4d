//! What the rows of a database say of backups, by client and folder. Paths in them are taken apart: their last names
//! are looked up in the storage, the rest leads nowhere.

use super::query::{Database, integer, text};
use crate::library::{Details, Moment};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::Row as SqlRow;
use spelunk_tree::{Name, Result, Time};
use std::collections::HashMap;
use std::sync::Arc;

/// What the databases say, at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Rows {
    backups: HashMap<(Name, Name), Row>,
    /// Rows that could not be understood. Their backups are found by their folders.
    pub(super) failures: usize,
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Row {
    /// Whether it is complete and stays: what is not is shown to nobody.
    pub(in super::super) is_whole: bool,
    /// Whether it was made by a server that marks finished backups in the storage too.
    pub(in super::super) is_marked: bool,
    /// Of an image: the name of its file.
    pub(in super::super) file: Option<Name>,
    /// What is told of it.
    pub(in super::super) details: Arc<Details>,
}

impl Rows {
    /// Reads all that is told of backups.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub(super) fn read(database: &Database) -> Result<Rows> {
        database.require_version()?;
        let mut rows = Rows::default();
        let clients = rows.clients(database)?;
        rows.files(database, &clients)?;
        rows.images(database, &clients)?;
        Ok(rows)
    }

    /// What is told of a backup, if anything.
    pub(in super::super) fn get(&self, client: &Name, folder: &Name) -> Option<&Row> {
        self.backups.get(&(client.clone(), folder.clone()))
    }

    fn clients(&mut self, database: &Database) -> Result<HashMap<i64, Name>> {
        let mut clients = HashMap::new();
        self.failures += database.rows("clients", "SELECT id, name FROM clients", |row| {
            clients.insert(integer(row, 0)?, name(&text(row, 1)?)?);
            Some(())
        })?;
        Ok(clients)
    }

    fn files(&mut self, database: &Database, clients: &HashMap<i64, Name>) -> Result<()> {
        let sql = "SELECT clientid, path, backuptime, incremental, running, size_bytes, archived, synctime, \
                   complete, delete_pending, done FROM backups";
        self.failures += database.rows("backups", sql, |row| {
            let client = clients.get(&integer(row, 0)?)?.clone();
            let folder = last_names(&text(row, 1)?).next().and_then(name)?;
            let row = Row {
                is_whole: is_whole(row) && integer(row, 10) == Some(1),
                is_marked: integer(row, 7).is_some_and(|time| time > 0),
                file: None,
                details: Arc::new(details(row)?),
            };
            self.backups.insert((client, folder), row);
            Some(())
        })?;
        Ok(())
    }

    fn images(&mut self, database: &Database, clients: &HashMap<i64, Name>) -> Result<()> {
        let sql = "SELECT clientid, path, backuptime, incremental, running, size_bytes, archived, synctime, \
                   complete, delete_pending, id, incremental_ref, letter, version FROM backup_images";
        let mut found: HashMap<i64, Image> = HashMap::new();
        self.failures += database.rows("backup_images", sql, |row| {
            let image = Image::read(row, clients)?;
            found.insert(integer(row, 10)?, image);
            Some(())
        })?;
        let mut main = HashMap::new();
        self.failures +=
            database.rows("assoc_images", "SELECT assoc_id, img_id FROM assoc_images", |row| {
                main.insert(integer(row, 0)?, integer(row, 1)?);
                Some(())
            })?;
        let moment = |id: i64| Some(Moment::of(found.get(&id)?.details.started));
        for (id, image) in &found {
            let mut details = image.details.clone();
            details.parent = image.parent.and_then(moment);
            details.belongs_to = main.get(id).copied().and_then(moment);
            let row = Row {
                is_whole: image.is_whole,
                is_marked: image.is_marked,
                file: Some(image.file.clone()),
                details: Arc::new(details),
            };
            self.backups.insert(image.folder.clone(), row);
        }
        Ok(())
    }
}

/// An image before the others that it names are known.
struct Image {
    folder: (Name, Name),
    file: Name,
    parent: Option<i64>,
    is_whole: bool,
    is_marked: bool,
    details: Details,
}

impl Image {
    fn read(row: &SqlRow<'_>, clients: &HashMap<i64, Name>) -> Option<Image> {
        let client = clients.get(&integer(row, 0)?)?.clone();
        let path = text(row, 1)?;
        let mut names = last_names(&path);
        let (file, folder) = (name(names.next()?)?, name(names.next()?)?);
        let mut details = details(row)?;
        details.volume = text(row, 12).filter(|letter| !letter.is_empty());
        details.version = integer(row, 13).and_then(|version| u64::try_from(version).ok());
        Some(Image {
            folder: (client, folder),
            file,
            // A full image that was made of an incremental one still has the id of what that was based on.
            parent: integer(row, 11).filter(|&id| id != 0 && details.increment != 0),
            is_whole: is_whole(row),
            is_marked: integer(row, 7).is_some_and(|time| time > 0),
            details,
        })
    }
}

/// Whether a backup of either kind is complete, and is not being deleted.
fn is_whole(row: &SqlRow<'_>) -> bool {
    integer(row, 8) == Some(1) && integer(row, 9).unwrap_or(0) == 0
}

/// What the first columns of either kind say.
fn details(row: &SqlRow<'_>) -> Option<Details> {
    let started = time(&text(row, 2)?)?;
    let synchronised = integer(row, 7).filter(|&time| time > 0).map(Time::from_seconds);
    let ran = text(row, 4).and_then(|text| time(&text));
    let unsigned = |column| integer(row, column).and_then(|number| u64::try_from(number).ok());
    Some(Details {
        started,
        finished: synchronised.or(ran).filter(|finished| *finished >= started),
        increment: unsigned(3)?,
        bytes: unsigned(5),
        is_archived: integer(row, 6).is_some_and(|archived| archived != 0),
        volume: None,
        version: None,
        parent: None,
        belongs_to: None,
    })
}

/// The names of a path, the last first. Servers on Windows write `\`.
fn last_names(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit(['/', '\\'])
}

fn name(text: &str) -> Option<Name> {
    Name::new(text.as_bytes()).ok()
}

/// A time as SQLite writes it, in UTC.
fn time(text: &str) -> Option<Time> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(Time::from_seconds(zoned.timestamp().as_second()))
}
