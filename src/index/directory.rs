//! One directory of a volume in the index: what becomes of its rows when a backup comes in.

use super::block::{Attributes, Block, ROWS_MAX, Row, encode};
use super::{failed, fold, ids, volume_of};
use rusqlite::{Connection, params};
use spelunk_tree::{Error, Result, Time};
use std::collections::HashMap;

/// A backup that comes into a volume's row of backups, and those beside it that are indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) before: Option<i64>,
    pub(super) minute: i64,
    pub(super) after: Option<i64>,
}

/// What becomes of a row that says it was so in a backup, which it was not.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    /// It goes on, shorter.
    Shorter,
    /// It goes on, and with it a second one from this minute on.
    InTwo { since: i64, until: Option<i64> },
    /// It was so in no backup.
    Gone,
}

impl Place {
    fn cut<N>(self, row: &mut Row<N>) -> Cut {
        let is_before = self.before.is_some_and(|before| row.since <= before);
        let after = self.after.filter(|after| row.until.is_none_or(|until| *after < until));
        match (is_before, after) {
            (true, None) => {
                row.until = Some(self.minute);
                Cut::Shorter
            }
            (false, Some(after)) => {
                row.since = after;
                Cut::Shorter
            }
            (true, Some(since)) => {
                let until = row.until.replace(self.minute);
                Cut::InTwo { since, until }
            }
            (false, None) => Cut::Gone,
        }
    }

    /// Whether a row that was not so yet in this backup begins with the next one.
    fn is_followed_by<N>(self, row: &Row<N>) -> bool {
        self.minute < row.since && self.after.is_some_and(|after| row.since <= after)
    }
}

/// A directory's blocks, to be changed.
pub(super) struct Directory {
    id: i64,
    blocks: Vec<Changing>,
}

struct Changing {
    /// `None` for a new one.
    id: Option<i64>,
    rows: Vec<Row<Vec<u8>>>,
    /// What FTS5 knows of it, where that is not so any more.
    known_names: Option<String>,
    is_changed: bool,
}

impl Directory {
    pub(super) fn load(connection: &Connection, id: i64) -> Result<Directory> {
        let mut select = connection
            .prepare_cached("SELECT id, rows FROM block WHERE directory = ? ORDER BY id")
            .map_err(failed)?;
        let mut found = select.query([id]).map_err(failed)?;
        let mut blocks = Vec::new();
        while let Some(row) = found.next().map_err(failed)? {
            let bytes = row.get_ref(1).map_err(failed)?.as_blob().map_err(|_| Error::corrupt("no block"))?;
            blocks.push(Changing {
                id: Some(row.get(0).map_err(failed)?),
                rows: Block::new(bytes)?.to_rows()?,
                known_names: None,
                is_changed: false,
            });
        }
        Ok(Directory { id, blocks })
    }

    /// Puts in what a backup has in this directory. Tells of each name whose row is not so in this backup; it may
    /// be there otherwise.
    pub(super) fn put(
        &mut self,
        place: Place,
        mut listing: HashMap<Vec<u8>, Attributes>,
        mut cut: impl FnMut(&[u8], Attributes),
    ) {
        let mut added: Vec<Row<Vec<u8>>> = Vec::new();
        for block in &mut self.blocks {
            let mut gone = Vec::new();
            for (index, row) in block.rows.iter_mut().enumerate() {
                if !row.is_at(place.minute) {
                    continue;
                }
                if listing.get(&row.name) == Some(&row.attributes) {
                    listing.remove(&row.name);
                    continue;
                }
                cut(&row.name, row.attributes);
                block.is_changed = true;
                match place.cut(row) {
                    Cut::Shorter => {}
                    Cut::InTwo { since, until } => added.push(Row { since, until, ..row.clone() }),
                    Cut::Gone => gone.push(index),
                }
            }
            block.remove(&gone);
        }
        self.begin_earlier(place, &mut listing);
        let new = listing.into_iter().map(|(name, attributes)| Row {
            name,
            attributes,
            since: place.minute,
            until: place.after,
        });
        added.extend(new);
        // Names that are alike share trigrams when they lie together.
        added.sort_unstable_by(|a, b| (&a.name, a.since).cmp(&(&b.name, b.since)));
        self.append(added);
    }

    /// What begins with the next backup in the index was so in this one already.
    fn begin_earlier(&mut self, place: Place, listing: &mut HashMap<Vec<u8>, Attributes>) {
        for block in &mut self.blocks {
            for row in block.rows.iter_mut().filter(|row| place.is_followed_by(row)) {
                if listing.get(&row.name) == Some(&row.attributes) {
                    listing.remove(&row.name);
                    row.since = place.minute;
                    block.is_changed = true;
                }
            }
        }
    }

    fn append(&mut self, added: Vec<Row<Vec<u8>>>) {
        for row in added {
            match self.blocks.last_mut().filter(|last| last.rows.len() < ROWS_MAX) {
                Some(last) => {
                    last.forget_names();
                    last.is_changed = true;
                    last.rows.push(row);
                }
                None => self.blocks.push(Changing {
                    id: None,
                    rows: vec![row],
                    known_names: None,
                    is_changed: true,
                }),
            }
        }
    }

    /// Fits the rows to the backups of `minutes`, which are sorted: what was so in none of them goes, the others begin
    /// and end with one of them. So a directory and what is in it end alike, whatever backups come between. What
    /// begins before the first of them may do so, unless it `is_exact`: the removal of the oldest backup is to change
    /// few rows.
    pub(super) fn fit(&mut self, minutes: &[i64], is_exact: bool) {
        let at_or_after =
            |minute: i64| minutes.get(minutes.partition_point(|known| *known < minute)).copied();
        let floor = minutes.first().copied().filter(|_| !is_exact).unwrap_or(i64::MIN);
        for block in &mut self.blocks {
            let mut gone = Vec::new();
            for (index, row) in block.rows.iter_mut().enumerate() {
                let Some(first) = at_or_after(row.since).filter(|first| row.is_at(*first)) else {
                    gone.push(index);
                    continue;
                };
                let since = if row.since > floor { first } else { row.since };
                let until = row.until.and_then(at_or_after);
                if (since, until) != (row.since, row.until) {
                    (row.since, row.until) = (since, until);
                    block.is_changed = true;
                }
            }
            block.remove(&gone);
        }
    }

    /// Writes what has changed. `next` numbers new blocks.
    pub(super) fn save(self, connection: &Connection, next: &mut i64) -> Result<()> {
        for block in self.blocks.into_iter().filter(|block| block.is_changed) {
            let names = names_of(&block.rows);
            if let (Some(id), Some(known)) = (block.id, &block.known_names) {
                forget_trigrams(connection, id, known)?;
            }
            let is_unknown = block.id.is_none() || block.known_names.is_some();
            let id = match block.id {
                Some(id) if block.rows.is_empty() => {
                    execute(connection, "DELETE FROM block WHERE id = ?", [id])?;
                    continue;
                }
                Some(id) => id,
                None => take_number(next)?,
            };
            insert(connection, id, self.id, &block.rows)?;
            if is_unknown {
                execute(connection, "INSERT INTO trigram (rowid, names) VALUES (?, ?)", params![id, names])?;
            }
        }
        Ok(())
    }
}

impl Changing {
    fn forget_names(&mut self) {
        if self.id.is_some() && self.known_names.is_none() {
            self.known_names = Some(names_of(&self.rows));
        }
    }

    /// Removes the rows with these indices, which are sorted.
    fn remove(&mut self, gone: &[usize]) {
        if gone.is_empty() {
            return;
        }
        self.forget_names();
        self.is_changed = true;
        let mut index = 0;
        self.rows.retain(|_| {
            index += 1;
            gone.binary_search(&(index - 1)).is_err()
        });
    }
}

/// The number after the last that a volume has in a table.
pub(super) fn next_number(connection: &Connection, table: &str, volume: i64) -> Result<i64> {
    let range = ids(volume);
    let last: Option<i64> = connection
        .query_row(
            &format!("SELECT max(id) FROM {table} WHERE id BETWEEN ? AND ?"),
            [range.start(), range.end()],
            |row| row.get(0),
        )
        .map_err(failed)?;
    Ok(last.unwrap_or(*range.start()) + 1)
}

/// The next number of a volume.
pub(super) fn take_number(next: &mut i64) -> Result<i64> {
    let number = *next;
    if volume_of(number) != volume_of(number + 1) {
        return Err(Error::limit("more directories than the index can number"));
    }
    *next += 1;
    Ok(number)
}

fn insert(connection: &Connection, id: i64, directory: i64, rows: &[Row<Vec<u8>>]) -> Result<()> {
    let sizes = || rows.iter().map(|row| stored_size(row.attributes.size));
    let seconds = || rows.iter().filter_map(|row| row.attributes.modified.map(Time::seconds));
    execute(
        connection,
        "INSERT OR REPLACE INTO block (id, directory, size_min, size_max, second_min, second_max, rows)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![id, directory, sizes().min(), sizes().max(), seconds().min(), seconds().max(), encode(rows)],
    )
}

/// A size as SQLite can compare it.
pub(super) fn stored_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What FTS5 is told of a block.
pub(super) fn names_of(rows: &[Row<Vec<u8>>]) -> String {
    let mut names = String::from(fold::EDGE);
    for row in rows {
        names.push_str(&fold::fold(&row.name));
        names.push(fold::EDGE);
    }
    names
}

/// FTS5 holds no text, so it must be told again what it forgets.
pub(super) fn forget_trigrams(connection: &Connection, id: i64, names: &str) -> Result<()> {
    execute(
        connection,
        "INSERT INTO trigram (trigram, rowid, names) VALUES ('delete', ?, ?)",
        params![id, names],
    )
}

pub(super) fn execute(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params))
        .map(drop)
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(since: i64, until: Option<i64>) -> Row<()> {
        let attributes = Attributes { kind: spelunk_tree::Kind::File, size: 0, modified: None };
        Row { name: (), attributes, since, until }
    }

    /// Whatever a row's ends are, it is left to be so in the other backups alone.
    #[test]
    fn cut_rows_hold_for_all_backups_but_the_one() {
        let backups = [10, 20, 30, 40, 50];
        for minute in backups {
            let others: Vec<i64> = backups.into_iter().filter(|other| *other != minute).collect();
            let place = Place {
                before: others.iter().copied().filter(|other| *other < minute).max(),
                minute,
                after: others.iter().copied().find(|other| *other > minute),
            };
            for since in (5..=minute).step_by(5) {
                for until in (minute + 1..=60).map(Some).chain([None]) {
                    let before = row(since, until);
                    let mut left = before.clone();
                    let mut rows = match place.cut(&mut left) {
                        Cut::Shorter => vec![left],
                        Cut::InTwo { since, until } => vec![left, row(since, until)],
                        Cut::Gone => vec![],
                    };
                    rows.retain(|row| backups.iter().any(|minute| row.is_at(*minute)));

                    let holds = |at: i64| rows.iter().filter(|row| row.is_at(at)).count();
                    let expected = |at: i64| usize::from(at != minute && before.is_at(at));
                    for at in backups {
                        assert_eq!(holds(at), expected(at), "{before:?} without {minute}, at {at}");
                    }
                }
            }
        }
    }
}
