//! Searches the index. Blocks in question are those with the trigrams of what is searched for, or, without any, all
//! of a volume whose sizes and times do not rule it out; their rows are compared.

use super::block::{Block, Row};
use super::directory::stored_size;
use super::query::{Query, Test};
use super::{Index, failed, fold, ids, update, volume_of};
use crate::library::Moment;
use rusqlite::{Connection, ErrorCode, ToSql, params};
use spelunk_mount::path;
use spelunk_tree::{Error, Kind, Name, Result, Time, limits};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Hits that are collected and put in order. A search that finds more ends there and says so.
const HITS_MAX: usize = 10_000;
/// Steps of SQLite's machine between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;

/// An entry that was found: as it was over some backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Whose it is.
    pub client: Name,
    /// The volume or share.
    pub item: Name,
    /// Where it is in the item, without a slash before it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// When it was modified, if that is known.
    pub modified: Option<Time>,
    /// The newest backup in question that has it so.
    pub moment: Moment,
    /// The oldest backup that has it so.
    pub first: Moment,
    /// The newest backup that has it so.
    pub last: Moment,
    /// How many backups have it so.
    pub backups: u64,
}

impl Hit {
    /// Where it is in the library: `<client>/<moment>/<item>/<path>`.
    pub fn library_path(&self) -> Vec<u8> {
        let moment = self.moment.name();
        [self.client.as_bytes(), moment.as_bytes(), self.item.as_bytes(), &self.path].join(&b'/')
    }
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The page: first those whose whole name was searched for, then those that begin so, then others; then by name.
    pub hits: Vec<Hit>,
    /// Hits on all pages.
    pub total: usize,
    /// Whether there are more than `total`, which were not looked for: the search is to be narrowed.
    pub has_more: bool,
    /// Whether time was up before everything was looked at.
    pub is_incomplete: bool,
}

/// A hit before it is known where it is.
struct Held {
    rank: u8,
    directory: i64,
    row: Row<Vec<u8>>,
}

impl Index {
    /// Searches what is indexed of the clients that the asker `may` see.
    ///
    /// # Errors
    /// `Unsupported` for a pattern that cannot be, `Limit` for one that is too long; when the index cannot be read.
    pub fn search(&self, query: &Query, may: impl Fn(&Name) -> bool) -> Result<Found> {
        let test = Test::new(query)?;
        let end = Instant::now() + query.deadline;
        let is_timed = Arc::new(AtomicBool::new(false));
        let watched = is_timed.clone();
        let is_time_up = move || watched.load(Ordering::Relaxed) && Instant::now() >= end;
        self.read(|connection| {
            connection.progress_handler(STEPS, Some(is_time_up)).map_err(failed)?;
            let found = search(connection, query, test, &is_timed, may);
            connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
            found
        })
    }
}

/// Searches as long as SQLite may; `is_timed` says whether it looks at the clock.
fn search(
    connection: &mut Connection,
    query: &Query,
    test: Test,
    is_timed: &AtomicBool,
    may: impl Fn(&Name) -> bool,
) -> Result<Found> {
    // One state of the index for all that is asked.
    let transaction = connection.transaction().map_err(failed)?;
    let minutes = minutes(query, &transaction)?;
    let has_it = |volume| minutes.as_ref().is_none_or(|minutes| minutes.contains_key(volume));
    let volumes = update::volumes(&transaction)?;
    let allowed = volumes
        .iter()
        .filter(|(id, client, item)| has_it(id) && query.within.takes_volume(client, item) && may(client))
        .map(|(id, _, _)| *id)
        .collect::<Vec<_>>();
    let mut search =
        Search { minutes, test, held: Vec::new(), found: Found::default(), names: String::new() };
    is_timed.store(true, Ordering::Relaxed);
    search.all(&transaction, &ranges(&allowed))?;
    // What was found is told, however long it took.
    is_timed.store(false, Ordering::Relaxed);
    let names = volumes.into_iter().map(|(id, client, item)| (id, (client, item))).collect();
    search.page(&transaction, &names, query)
}

/// The numbers of blocks of these volumes, which are sorted: volumes that follow one another are one range.
fn ranges(volumes: &[i64]) -> Vec<(i64, i64)> {
    let next = |a: &i64, b: &i64| a + 1 == *b;
    let whole = |run: &[i64]| Some((*ids(*run.first()?).start(), *ids(*run.last()?).end()));
    volumes.chunk_by(next).filter_map(whole).collect()
}

/// The one backup of each volume that hits must be in, by volume; `None` when they may be in any.
type Minutes = Option<HashMap<i64, i64>>;

fn minutes(query: &Query, connection: &Connection) -> Result<Minutes> {
    let sql = match query.within.moment {
        // Between two backups of a volume its rows say nothing, though it is in their time.
        Some(_) => "SELECT volume, minute FROM backup WHERE minute = ?1",
        None if query.latest => "SELECT volume, max(minute) FROM backup WHERE ?1 IS NULL GROUP BY volume",
        None => return Ok(None),
    };
    let mut select = connection.prepare_cached(sql).map_err(failed)?;
    let wanted = query.within.moment.map(Moment::minute);
    let minutes = select.query_map([wanted], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    minutes.collect::<rusqlite::Result<_>>().map(Some).map_err(failed)
}

struct Search {
    test: Test,
    minutes: Minutes,
    held: Vec<Held>,
    found: Found,
    /// The folded names of the block that is looked at.
    names: String,
}

impl Search {
    /// The one backup of a volume that hits must be in, if it is one.
    fn minute(&self, volume: i64) -> Option<i64> {
        self.minutes.as_ref()?.get(&volume).copied()
    }

    /// Looks at the blocks of all ranges, until there are enough hits or time is up.
    fn all(&mut self, connection: &Connection, ranges: &[(i64, i64)]) -> Result<()> {
        let trigrams = fold::trigrams(&self.test.literals);
        let (size_min, size_max) = (stored_size(*self.test.size.start()), stored_size(*self.test.size.end()));
        let after = self.test.after.map(Time::seconds);
        let before = self.test.before.map(Time::seconds);
        let mut sql = String::from("SELECT block.id, directory, rows FROM ");
        sql.push_str(match trigrams {
            Some(_) => {
                "trigram CROSS JOIN block ON block.id = trigram.rowid WHERE trigram MATCH ?5
                 AND trigram.rowid BETWEEN ?1 AND ?2"
            }
            None => "block WHERE block.id BETWEEN ?1 AND ?2 AND ?5 IS NULL",
        });
        sql.push_str(" AND size_max >= ?3 AND size_min <= ?4");
        sql.push_str(if after.is_some() { " AND second_max >= ?6" } else { " AND ?6 IS NULL" });
        sql.push_str(if before.is_some() { " AND second_min <= ?7" } else { " AND ?7 IS NULL" });
        for (first, last) in ranges {
            let values: [&dyn ToSql; 7] = [first, last, &size_min, &size_max, &trigrams, &after, &before];
            match self.range(connection, &sql, &values) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Ended::TimeUp) => {
                    self.found.is_incomplete = true;
                    break;
                }
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
        self.found.total = self.held.len();
        Ok(())
    }

    /// Looks at the blocks that a statement gives. Returns whether there may be more hits elsewhere.
    fn range(&mut self, connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<bool, Ended> {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query(values)?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(2)?.as_blob().map_err(|_| Error::corrupt("no block"))?;
            self.block(row.get(1)?, bytes)?;
            if self.held.len() > HITS_MAX {
                self.held.truncate(HITS_MAX);
                self.found.has_more = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn block(&mut self, directory: i64, bytes: &[u8]) -> Result<()> {
        let block = Block::new(bytes)?;
        let is_of_names = self.test.is_of_names();
        if is_of_names {
            block.fold_into(&mut self.names)?;
            if !self.test.literals.iter().all(|literal| self.names.contains(literal.as_str())) {
                return Ok(());
            }
        }
        let mut names = self.names.split(fold::EDGE).skip(1);
        let mut full_names = block.names();
        // Names that were looked at, folded and in full: to part them takes as long as the rest.
        let (mut seen, mut seen_full) = (0, 0);
        let minute = self.minute(volume_of(directory));
        for (index, row) in block.rows().enumerate() {
            let row = row?;
            if minute.is_some_and(|minute| !row.is_at(minute)) || !self.test.takes(&row.attributes) {
                continue;
            }
            let mut name = "";
            if is_of_names {
                name = names.nth(index - seen).unwrap_or_default();
                seen = index + 1;
            }
            if !self.test.takes_name(name) {
                continue;
            }
            let full = full_names.nth(index - seen_full);
            let full = full.ok_or_else(|| Error::corrupt("a block without a name"))?;
            seen_full = index + 1;
            self.held.push(Held { rank: self.test.rank(name), directory, row: row.called(full.to_vec()) });
        }
        Ok(())
    }

    /// Puts what was found in order, and says of one page all that is known.
    fn page(
        mut self,
        connection: &Connection,
        names: &HashMap<i64, (Name, Name)>,
        query: &Query,
    ) -> Result<Found> {
        // Of one path the newest first.
        self.held.sort_by(|a, b| {
            let key = |held: &Held| (held.rank, held.directory, std::cmp::Reverse(held.row.since));
            a.rank.cmp(&b.rank).then_with(|| a.row.name.cmp(&b.row.name)).then_with(|| key(a).cmp(&key(b)))
        });
        let mut paths = HashMap::new();
        for held in std::mem::take(&mut self.held).into_iter().skip(query.offset).take(query.limit) {
            let volume = volume_of(held.directory);
            let (client, item) = names.get(&volume).ok_or_else(|| Error::corrupt("a block of no volume"))?;
            let directory = match paths.get(&held.directory) {
                Some(path) => path,
                None => paths.entry(held.directory).or_insert(path_of(connection, held.directory)?),
            };
            let (first, last, backups) = backups_of(connection, volume, held.row.since, held.row.until)?;
            let newest = self.minute(volume).unwrap_or(last);
            self.found.hits.push(Hit {
                client: client.clone(),
                item: item.clone(),
                path: path::join(directory, &held.row.name),
                kind: held.row.attributes.kind,
                size: held.row.attributes.size,
                modified: held.row.attributes.modified,
                moment: Moment::of_minute(newest),
                first: Moment::of_minute(first),
                last: Moment::of_minute(last),
                backups,
            });
        }
        Ok(self.found)
    }
}

/// Why a search ended early.
enum Ended {
    TimeUp,
    Failed(Error),
}

impl From<rusqlite::Error> for Ended {
    fn from(error: rusqlite::Error) -> Ended {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ended::TimeUp,
            _ => Ended::Failed(failed(error)),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

/// A directory's path in its volume.
fn path_of(connection: &Connection, mut directory: i64) -> Result<Vec<u8>> {
    let root = *ids(volume_of(directory)).start();
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut select =
        connection.prepare_cached("SELECT parent, name FROM directory WHERE id = ?").map_err(failed)?;
    while directory != root {
        if names.len() > limits::DEPTH_MAX {
            return Err(Error::corrupt("directories of the index that are in one another"));
        }
        let row = select.query_row([directory], |row| Ok((row.get(0)?, row.get(1)?)));
        let (parent, name) = row.map_err(failed)?;
        directory = parent;
        names.push(name);
    }
    names.reverse();
    Ok(names.join(&b'/'))
}

/// The oldest and the newest backup that has a row, and how many have it.
fn backups_of(
    connection: &Connection,
    volume: i64,
    since: i64,
    until: Option<i64>,
) -> Result<(i64, i64, u64)> {
    let mut select = connection
        .prepare_cached(
            "SELECT min(minute), max(minute), count(*) FROM backup
             WHERE volume = ? AND minute >= ? AND minute < ?",
        )
        .map_err(failed)?;
    let found = select.query_row(params![volume, since, until.unwrap_or(i64::MAX)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()))
    });
    found.map_err(failed)
}
