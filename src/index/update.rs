//! Puts into the index what is not in it yet, and takes out what is gone.

use super::block::Attributes;
use super::directory::{Directory, Place, execute, forget_trigrams, names_of, next_number, take_number};
use super::{Index, Selection, block, failed, ids, write};
use crate::library::{Catalogue, Client, Item, Library, Moment};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use spelunk_mount::walk::{Order, Step, Walk};
use spelunk_tree::{Entry, Error, ErrorKind, Kind, Name, Result, Tree, limits};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// Entries of one item: more than any filesystem of a machine has, and an end to what a hostile guest can fill.
const ENTRIES_MAX: u64 = 200_000_000;
/// Volumes of one index, so that their numbers fit above those of blocks.
const VOLUMES_MAX: i64 = i32::MAX as i64;
/// Entries between two reports of progress.
const REPORT_ENTRIES: u64 = 1 << 10;
/// Failures that a summary names.
const FAILURES_MAX: usize = 1000;

/// How far an update is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Items that are done, and that are to be done.
    pub done: usize,
    /// All of them.
    pub items: usize,
    /// Entries that were read, of all items.
    pub entries: u64,
    /// What is read now.
    pub client: &'a Name,
    /// Its backup.
    pub moment: Moment,
    /// Its name.
    pub item: &'a Name,
}

/// What an update did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Items that were put in.
    pub indexed: usize,
    /// Items that were in the index already.
    pub known: usize,
    /// Items that were taken out, since they are in the library no more.
    pub removed: usize,
    /// Entries that were read.
    pub entries: u64,
    /// Places of those items that could not be read. They are not in the index.
    pub damaged: u64,
    /// Items that could not be put in, the first thousand of them.
    pub failures: Vec<Failure>,
    /// All of those.
    pub failed: usize,
    /// Whether it was told to stop before its end. What was complete is kept.
    pub is_interrupted: bool,
}

/// An item that could not be put in. It is tried again by the next update.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whose it is.
    pub client: Name,
    /// Its backup.
    pub moment: Moment,
    /// Its name.
    pub item: Name,
    /// Why.
    pub error: Error,
}

/// What the index knows of one item of the library.
#[derive(Clone, Debug)]
pub struct ItemStatus {
    /// Whose it is.
    pub client: Name,
    /// Its backup.
    pub moment: Moment,
    /// Its name.
    pub item: Name,
    /// `None` when it is not in the index; else how many entries it has, and how many places of it could not be read.
    pub indexed: Option<(u64, u64)>,
}

/// An item with whose it is.
type Member<'a> = (&'a Client, Moment, &'a Item);

/// What was found in one item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) damaged: u64,
}

/// The items of a catalogue that are selected, by client and then from old to new.
fn members<'a>(catalogue: &'a Catalogue, selection: &'a Selection) -> impl Iterator<Item = Member<'a>> {
    catalogue.clients.iter().flat_map(move |client| {
        client.backups.iter().flat_map(move |backup| {
            let items = backup.items.iter().filter(move |item| selection.takes(client, backup, item));
            items.map(move |item| (client, backup.moment, item))
        })
    })
}

impl Index {
    /// Reads what is selected and not in the index yet, and takes out of it what is in the library no more. Each item
    /// is searchable as soon as it is complete; readers are never kept waiting. A place of a library that cannot be
    /// read just now takes nothing out.
    ///
    /// `cancel` ends it between two entries.
    ///
    /// # Errors
    /// When the library or the index cannot be read, or the index not be written. An item that cannot be read is none.
    pub fn update(
        &self,
        library: &Library,
        selection: &Selection,
        observer: &mut dyn FnMut(&Progress),
        cancel: &AtomicBool,
    ) -> Result<Summary> {
        let catalogue = library.catalogue()?;
        let mut summary = Summary::default();
        if catalogue.is_complete {
            summary.removed = self.remove_gone(&catalogue, selection)?;
        }
        let items: Vec<Member> = members(&catalogue, selection).collect();
        for (done, (client, moment, item)) in items.iter().copied().enumerate() {
            if cancel.load(Ordering::Relaxed) {
                summary.is_interrupted = true;
                break;
            }
            let mut progress = Progress {
                done,
                items: items.len(),
                entries: summary.entries,
                client: &client.name,
                moment,
                item: &item.name,
            };
            observer(&progress);
            let at =
                Stored { client: &client.name, item: &item.name, minute: moment.minute(), key: &item.key };
            let mut observe = |entries| {
                progress.entries = summary.entries + entries;
                observer(&progress);
            };
            match self.put(&at, || library.open_apart(item), &mut observe, cancel) {
                Ok(None) => summary.known += 1,
                Ok(Some(counts)) => summary.add(counts),
                Err(Stop::Cancelled) => {
                    summary.is_interrupted = true;
                    break;
                }
                Err(Stop::Index(error)) => return Err(error),
                Err(Stop::Item(error)) => summary.fail((client, moment, item), error),
            }
        }
        Ok(summary)
    }

    /// What is selected, and whether it is in the index.
    ///
    /// # Errors
    /// When the library or the index cannot be read.
    pub fn status(&self, library: &Library, selection: &Selection) -> Result<Vec<ItemStatus>> {
        let catalogue = library.catalogue()?;
        let known = self.read(|connection| {
            let mut select = connection
                .prepare_cached(
                    "SELECT client, item, minute, key, entries, damaged
                     FROM backup JOIN volume ON volume.id = backup.volume",
                )
                .map_err(failed)?;
            let rows = select.query_map([], |row| {
                let item: (Vec<u8>, Vec<u8>, i64, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((item, (row.get::<_, i64>(4)?, row.get::<_, i64>(5)?)))
            });
            rows.and_then(Iterator::collect::<rusqlite::Result<HashMap<_, _>>>).map_err(failed)
        })?;
        let status = |(client, moment, item): Member| {
            let names = (client.name.as_bytes().to_vec(), item.name.as_bytes().to_vec());
            let counts = known.get(&(names.0, names.1, moment.minute(), item.key.clone()));
            let indexed = counts.map(|(entries, damaged)| (entries.cast_unsigned(), damaged.cast_unsigned()));
            ItemStatus { client: client.name.clone(), moment, item: item.name.clone(), indexed }
        };
        Ok(members(&catalogue, selection).map(status).collect())
    }

    /// Puts in one item, unless it is there. `None` when it is.
    pub(super) fn put(
        &self,
        at: &Stored,
        open: impl FnOnce() -> Result<std::sync::Arc<dyn Tree>>,
        observe: &mut dyn FnMut(u64),
        cancel: &AtomicBool,
    ) -> Result<Option<Counts>, Stop> {
        let mut writer = self.writer();
        if at.is_known(&writer)? {
            return Ok(None);
        }
        let tree = open().map_err(Stop::Item)?;
        let transaction = write(&mut writer)?;
        // Another process may have been faster.
        if at.is_known(&transaction)? {
            return Ok(None);
        }
        let volume = at.volume(&transaction)?;
        let mut indexed = indexed_minutes(&transaction, volume)?;
        if indexed.contains(&at.minute) {
            // Another image lies there now.
            execute(&transaction, "DELETE FROM backup WHERE volume = ? AND minute = ?", [volume, at.minute])?;
            prune(&transaction, volume)?;
            indexed.retain(|minute| *minute != at.minute);
        }
        let place = Place {
            before: indexed.iter().copied().rfind(|minute| *minute < at.minute),
            minute: at.minute,
            after: indexed.iter().copied().find(|minute| *minute > at.minute),
        };
        if place.before.is_none() && place.after.is_some() {
            fit(&transaction, volume, &indexed, true)?;
        }
        let counts = Filling::new(&transaction, volume, place)?.walk(tree.as_ref(), observe, cancel)?;
        execute(
            &transaction,
            "INSERT INTO backup (volume, minute, key, entries, damaged) VALUES (?, ?, ?, ?, ?)",
            params![volume, at.minute, at.key, counts.entries.cast_signed(), counts.damaged.cast_signed()],
        )?;
        transaction.commit().map_err(failed)?;
        Ok(Some(counts))
    }

    /// Takes out the backups of selected volumes that are in the library no more. Returns how many.
    pub(super) fn remove_gone(&self, catalogue: &Catalogue, selection: &Selection) -> Result<usize> {
        let all = Selection::default();
        let kept: HashSet<(&[u8], &[u8], i64)> = members(catalogue, &all)
            .map(|(client, moment, item)| (client.name.as_bytes(), item.name.as_bytes(), moment.minute()))
            .collect();
        let mut writer = self.writer();
        let mut removed = 0;
        for (volume, client, item) in volumes(&writer)? {
            if !selection.takes_volume(&client, &item) {
                continue;
            }
            let minutes = indexed_minutes(&writer, volume)?;
            let all = minutes.len();
            let is_gone = |minute: &i64| !kept.contains(&(client.as_bytes(), item.as_bytes(), *minute));
            let gone: Vec<i64> = minutes.into_iter().filter(is_gone).collect();
            if !gone.is_empty() {
                let transaction = write(&mut writer)?;
                for minute in &gone {
                    execute(
                        &transaction,
                        "DELETE FROM backup WHERE volume = ? AND minute = ?",
                        [volume, *minute],
                    )?;
                }
                prune(&transaction, volume)?;
                if gone.len() == all {
                    execute(&transaction, "DELETE FROM volume WHERE id = ?", [volume])?;
                }
                transaction.commit().map_err(failed)?;
                removed += gone.len();
            }
        }
        Ok(removed)
    }
}

impl Summary {
    fn add(&mut self, counts: Counts) {
        self.indexed += 1;
        self.entries += counts.entries;
        self.damaged += counts.damaged;
    }

    fn fail(&mut self, (client, moment, item): Member, error: Error) {
        self.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            let (client, item) = (client.name.clone(), item.name.clone());
            self.failures.push(Failure { client, moment, item, error });
        }
    }
}

/// Why an item was not put in.
#[derive(Debug)]
pub(super) enum Stop {
    Cancelled,
    /// The index is at fault: no other item can be put in either.
    Index(Error),
    /// The item is.
    Item(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Index(error)
    }
}

/// How an item is called in the index.
pub(super) struct Stored<'a> {
    pub(super) client: &'a Name,
    pub(super) item: &'a Name,
    pub(super) minute: i64,
    pub(super) key: &'a str,
}

impl Stored<'_> {
    fn is_known(&self, connection: &Connection) -> Result<bool> {
        let mut select = connection
            .prepare_cached(
                "SELECT 1 FROM backup JOIN volume ON volume.id = backup.volume
                 WHERE client = ? AND item = ? AND minute = ? AND key = ?",
            )
            .map_err(failed)?;
        let names = params![self.client.as_bytes(), self.item.as_bytes(), self.minute, self.key];
        select.exists(names).map_err(failed)
    }

    /// The volume's number, which it is given if need be.
    fn volume(&self, connection: &Connection) -> Result<i64> {
        let names = params![self.client.as_bytes(), self.item.as_bytes()];
        execute(connection, "INSERT OR IGNORE INTO volume (client, item) VALUES (?, ?)", names)?;
        let volume: i64 = connection
            .query_row("SELECT id FROM volume WHERE client = ? AND item = ?", names, |row| row.get(0))
            .map_err(failed)?;
        if volume > VOLUMES_MAX {
            return Err(Error::limit("more volumes than the index can number"));
        }
        Ok(volume)
    }
}

/// All volumes, with client and item.
pub(super) fn volumes(connection: &Connection) -> Result<Vec<(i64, Name, Name)>> {
    let mut select =
        connection.prepare_cached("SELECT id, client, item FROM volume ORDER BY id").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    let mut volumes = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let name = |column| Name::new(row.get::<_, Vec<u8>>(column).map_err(failed)?);
        volumes.push((row.get(0).map_err(failed)?, name(1)?, name(2)?));
    }
    Ok(volumes)
}

/// The minutes of a volume's backups that are indexed, sorted.
fn indexed_minutes(connection: &Connection, volume: i64) -> Result<Vec<i64>> {
    let mut select = connection
        .prepare_cached("SELECT minute FROM backup WHERE volume = ? ORDER BY minute")
        .map_err(failed)?;
    let minutes = select.query_map([volume], |row| row.get(0)).map_err(failed)?;
    minutes.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Removes from a volume what was in none of the backups that are left.
fn prune(transaction: &Transaction, volume: i64) -> Result<()> {
    let minutes = indexed_minutes(transaction, volume)?;
    if minutes.is_empty() {
        forget_blocks(transaction, volume)?;
    } else {
        fit(transaction, volume, &minutes, false)?;
    }
    // From the leaves on.
    let mut leaves = transaction
        .prepare_cached(
            "DELETE FROM directory WHERE id BETWEEN ? AND ?
             AND NOT EXISTS (SELECT 1 FROM block WHERE block.directory = directory.id)
             AND NOT EXISTS (SELECT 1 FROM directory AS child WHERE child.parent = directory.id)",
        )
        .map_err(failed)?;
    let range = ids(volume);
    while leaves.execute([range.start(), range.end()]).map_err(failed)? > 0 {}
    Ok(())
}

/// Fits all rows of a volume to the backups of these minutes; see [`Directory::fit`].
fn fit(transaction: &Transaction, volume: i64, minutes: &[i64], is_exact: bool) -> Result<()> {
    let range = ids(volume);
    let mut select = transaction
        .prepare_cached("SELECT DISTINCT directory FROM block WHERE id BETWEEN ? AND ?")
        .map_err(failed)?;
    let directories = select.query_map([range.start(), range.end()], |row| row.get(0)).map_err(failed)?;
    let directories: Vec<i64> = directories.collect::<rusqlite::Result<_>>().map_err(failed)?;
    for id in directories {
        let mut directory = Directory::load(transaction, id)?;
        directory.fit(minutes, is_exact);
        // Nothing is added, so no number is taken.
        directory.save(transaction, &mut range.end().clone())?;
    }
    Ok(())
}

fn forget_blocks(transaction: &Transaction, volume: i64) -> Result<()> {
    let range = ids(volume);
    let range = [range.start(), range.end()];
    let mut select =
        transaction.prepare_cached("SELECT id, rows FROM block WHERE id BETWEEN ? AND ?").map_err(failed)?;
    let mut blocks = select.query(range).map_err(failed)?;
    while let Some(row) = blocks.next().map_err(failed)? {
        let bytes: Vec<u8> = row.get(1).map_err(failed)?;
        let names = names_of(&block::Block::new(&bytes)?.to_rows()?);
        forget_trigrams(transaction, row.get(0).map_err(failed)?, &names)?;
    }
    drop(blocks);
    execute(transaction, "DELETE FROM block WHERE id BETWEEN ? AND ?", range)
}

/// A directory that the walk is in.
struct Level {
    id: i64,
    listing: HashMap<Vec<u8>, Attributes>,
}

/// An item that is being put in.
struct Filling<'a> {
    transaction: &'a Transaction<'a>,
    place: Place,
    root: i64,
    next_directory: i64,
    next_block: i64,
    levels: Vec<Level>,
    counts: Counts,
}

impl<'a> Filling<'a> {
    fn new(transaction: &'a Transaction<'a>, volume: i64, place: Place) -> Result<Filling<'a>> {
        Ok(Filling {
            transaction,
            place,
            root: *ids(volume).start(),
            next_directory: next_number(transaction, "directory", volume)?,
            next_block: next_number(transaction, "block", volume)?,
            levels: Vec::new(),
            counts: Counts::default(),
        })
    }

    fn walk(
        mut self,
        tree: &dyn Tree,
        observe: &mut dyn FnMut(u64),
        cancel: &AtomicBool,
    ) -> Result<Counts, Stop> {
        self.levels.push(Level { id: self.root, listing: HashMap::new() });
        let mut walk = Walk::new(tree, tree.root(), b"", Order::AsStored, limits::DEPTH_MAX);
        let mut first_error = None;
        while let Some(step) = walk.step() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            match step {
                Step::Entry { entry, depth, .. } => self.take(entry, depth)?,
                // The storage may be back tomorrow: then all of it is to be indexed.
                Step::Broken { error, .. } if error.kind() == ErrorKind::Storage => {
                    return Err(Stop::Item(error));
                }
                Step::Broken { error, .. } => {
                    self.counts.damaged += 1;
                    first_error.get_or_insert(error);
                }
            }
            if self.counts.entries.is_multiple_of(REPORT_ENTRIES) {
                observe(self.counts.entries);
            }
        }
        // An item of which nothing can be read is one that cannot be read.
        if let Some(error) = first_error.filter(|_| self.counts.entries == 0) {
            return Err(Stop::Item(error));
        }
        self.leave(0)?;
        Ok(self.counts)
    }

    /// Takes an entry of the directory at level `depth`, from 1.
    fn take(&mut self, entry: &Entry, depth: usize) -> Result<(), Stop> {
        self.leave(depth)?;
        self.counts.entries += 1;
        if self.counts.entries > ENTRIES_MAX {
            return Err(Stop::Item(Error::limit(format!("more than {ENTRIES_MAX} entries to index"))));
        }
        let level = self.levels.last_mut().ok_or_else(|| Error::internal("an entry of no directory"))?;
        let parent = level.id;
        let attr = &entry.attr;
        let attributes = Attributes { kind: attr.kind, size: attr.size, modified: attr.modified };
        level.listing.insert(entry.name.as_bytes().to_vec(), attributes);
        if attr.kind == Kind::Directory {
            let id = self.directory(parent, entry.name.as_bytes())?;
            self.levels.push(Level { id, listing: HashMap::new() });
        }
        Ok(())
    }

    /// Finishes all directories further down than `depth`.
    fn leave(&mut self, depth: usize) -> Result<()> {
        while self.levels.len() > depth {
            let Some(level) = self.levels.pop() else { break };
            self.finish(level)?;
        }
        Ok(())
    }

    /// Writes what has changed in a directory, and in those that were in it and are no more.
    fn finish(&mut self, level: Level) -> Result<()> {
        let mut pending = vec![level];
        while let Some(Level { id, listing }) = pending.pop() {
            let directories: HashSet<Vec<u8>> = listing
                .iter()
                .filter(|(_, attributes)| attributes.kind == Kind::Directory)
                .map(|(name, _)| name.clone())
                .collect();
            let mut gone = Vec::new();
            let mut directory = Directory::load(self.transaction, id)?;
            directory.put(self.place, listing, |name, attributes| {
                if attributes.kind == Kind::Directory && !directories.contains(name) {
                    gone.push(name.to_vec());
                }
            });
            directory.save(self.transaction, &mut self.next_block)?;
            for name in gone {
                if let Some(id) = self.known_directory(id, &name)? {
                    pending.push(Level { id, listing: HashMap::new() });
                }
            }
        }
        Ok(())
    }

    fn known_directory(&self, parent: i64, name: &[u8]) -> Result<Option<i64>> {
        let mut select = self
            .transaction
            .prepare_cached("SELECT id FROM directory WHERE parent = ? AND name = ?")
            .map_err(failed)?;
        select.query_row(params![parent, name], |row| row.get(0)).optional().map_err(failed)
    }

    fn directory(&mut self, parent: i64, name: &[u8]) -> Result<i64> {
        if let Some(id) = self.known_directory(parent, name)? {
            return Ok(id);
        }
        let id = take_number(&mut self.next_directory)?;
        let row = params![id, parent, name];
        execute(self.transaction, "INSERT INTO directory (id, parent, name) VALUES (?, ?, ?)", row)?;
        Ok(id)
    }
}
