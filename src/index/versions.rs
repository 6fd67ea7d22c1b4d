//! One path over all backups of a client, read from the backups themselves: what is not indexed has versions, too.

use crate::library::{Backup, Client, Item, Library, Moment};
use sha2::{Digest, Sha256};
use spelunk_mount::path::{self, Found, Links};
use spelunk_tree::{Attr, Error, ErrorKind, Kind, Name, Result, Time, Tree};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Backups that are open at once: each image has a worker, with memory of its own.
const OPEN_MAX: usize = 4;
/// Bytes that are read at once to compare contents.
const READ_BYTES: usize = 1 << 20;

/// How versions are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// By what their entries say: kind, size, times of change; of symbolic links, where they lead. A file whose times
    /// were set back, and whose size is the same, looks the same where the guest has no time of change of attributes;
    /// one whose permissions alone were changed looks changed where it has one.
    Attributes,
    /// Files by the SHA-256 of their contents, which are read in full: times say nothing.
    Contents,
}

/// What became of a path from one backup to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As in the nearest older backup that could be read.
    Same,
    /// There, but not as in that one.
    Changed,
    /// There, and not in that one; or there is no older one.
    New,
    /// Not there.
    Absent,
    /// The backup cannot be read there: see [`Version::error`].
    Unknown,
}

impl State {
    /// What it is called, in JSON and to users.
    pub fn word(self) -> &'static str {
        match self {
            State::Same => "same",
            State::Changed => "changed",
            State::New => "new",
            State::Absent => "absent",
            State::Unknown => "unknown",
        }
    }
}

/// A path in one backup.
#[derive(Clone, Debug)]
pub struct Version {
    /// The backup.
    pub moment: Moment,
    /// What became of the path.
    pub state: State,
    /// What it is there, when it is there.
    pub attr: Option<Attr>,
    /// Of files, when contents are compared.
    pub sha256: Option<[u8; 32]>,
    /// Why nothing is known.
    pub error: Option<Error>,
}

/// What is at the path in one backup.
struct Seen {
    attr: Attr,
    target: Option<Vec<u8>>,
    sha256: Option<[u8; 32]>,
}

/// The versions of `path` in the backups of a client that have the item, the newest first. `path` is of the item, and
/// its links are not followed. Up to [`OPEN_MAX`] backups are read at the same time. Those that were not read when
/// `cancel` was set are [`State::Unknown`].
///
/// # Errors
/// `NotFound` when there is no such client, or it has no such item; when the library cannot be read.
pub fn versions(
    library: &Library,
    client: &Name,
    item: &Name,
    path: &[u8],
    compare: Compare,
    cancel: &AtomicBool,
) -> Result<Vec<Version>> {
    let catalogue = library.catalogue()?;
    let client = catalogue.clients.iter().find(|known| known.name == *client);
    let client = client.ok_or_else(|| Error::not_found("no such client"))?;
    let backups = with_item(client, item);
    if backups.is_empty() {
        return Err(Error::not_found("no backup has this volume or share"));
    }
    let look = |item: &Item| {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Denied, "not looked at any more"));
        }
        look(library.open_apart(item)?.as_ref(), path, compare, cancel)
    };
    let seen = in_parallel(&backups, |(_, item)| look(item));
    let moments = backups.iter().map(|(backup, _)| backup.moment);
    Ok(tell_apart(moments.zip(seen)))
}

/// The backups that have an item of this name, the newest first.
fn with_item<'a>(client: &'a Client, name: &Name) -> Vec<(&'a Backup, &'a Item)> {
    let item = |backup: &'a Backup| backup.items.iter().find(|item| item.name == *name);
    client.backups.iter().rev().filter_map(|backup| Some((backup, item(backup)?))).collect()
}

/// What `look` makes of each of `all`, in their order: a few at the same time, the first ones first.
fn in_parallel<T: Sync, R: Send>(all: &[T], look: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..all.len().min(OPEN_MAX) {
            scope.spawn(|| {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(one) = all.get(index)
                {
                    let result = look(one);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What is at the path; `None` when there is nothing.
fn look(tree: &dyn Tree, path: &[u8], compare: Compare, cancel: &AtomicBool) -> Result<Option<Seen>> {
    let found = match path::resolve(tree, path, Links::Keep) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let is_link = found.attr.kind == Kind::Symlink;
    let target = if is_link { Some(tree.link_target(found.node)?) } else { None };
    let is_read = compare == Compare::Contents && found.attr.kind == Kind::File;
    let sha256 = if is_read { Some(hash(tree, &found, cancel)?) } else { None };
    Ok(Some(Seen { attr: found.attr, target, sha256 }))
}

fn hash(tree: &dyn Tree, file: &Found, cancel: &AtomicBool) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Denied, "not read to its end"));
        }
        let len = tree.read(file.node, None, offset, &mut buffer)?;
        hash.update(&buffer[..len]);
        offset += u64::try_from(len).unwrap_or(u64::MAX);
        if len < buffer.len() {
            return Ok(hash.finalize().into());
        }
    }
}

/// Gives each backup its state. They come from new to old, and each is compared with older ones.
fn tell_apart(seen: impl DoubleEndedIterator<Item = (Moment, Result<Option<Seen>>)>) -> Vec<Version> {
    let mut versions = Vec::new();
    let mut older: Option<Seen> = None;
    for (moment, seen) in seen.rev() {
        let mut version = Version { moment, state: State::Absent, attr: None, sha256: None, error: None };
        match seen {
            Err(error) => {
                version.state = State::Unknown;
                version.error = Some(error);
            }
            Ok(None) => older = None,
            Ok(Some(seen)) => {
                version.state = older.as_ref().map_or(State::New, |older| compared(older, &seen));
                version.attr = Some(seen.attr.clone());
                version.sha256 = seen.sha256;
                older = Some(seen);
            }
        }
        versions.push(version);
    }
    versions.reverse();
    versions
}

fn compared(older: &Seen, newer: &Seen) -> State {
    let of_entry = |seen: &Seen| (seen.attr.size, seen.attr.modified);
    // Not every guest has it in every backup.
    let changed = |a: Option<Time>, b: Option<Time>| a.is_some() && b.is_some() && a != b;
    let is_same = older.attr.kind == newer.attr.kind
        && older.target == newer.target
        && match (older.sha256, newer.sha256) {
            (Some(older), Some(newer)) => older == newer,
            _ => of_entry(older) == of_entry(newer) && !changed(older.attr.changed, newer.attr.changed),
        };
    if is_same { State::Same } else { State::Changed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(size: u64, modified: i64, changed: Option<i64>) -> Result<Option<Seen>> {
        let attr = Attr {
            size,
            modified: Some(Time::from_seconds(modified)),
            changed: changed.map(Time::from_seconds),
            ..Attr::new(Kind::File)
        };
        Ok(Some(Seen { attr, target: None, sha256: None }))
    }

    #[test]
    fn each_version_is_compared_with_the_nearest_older_one_that_could_be_read() {
        let broken = || Err(Error::corrupt("x"));
        let from_old_to_new = vec![
            (Ok(None), State::Absent),
            (seen(1, 1, None), State::New),
            (seen(1, 1, Some(1)), State::Same),
            (seen(1, 1, Some(2)), State::Changed),
            (broken(), State::Unknown),
            (seen(1, 1, Some(2)), State::Same),
            (seen(2, 1, Some(2)), State::Changed),
            (Ok(None), State::Absent),
            (broken(), State::Unknown),
            (seen(2, 1, Some(2)), State::New),
        ];
        let (seen, expected): (Vec<_>, Vec<_>) = from_old_to_new.into_iter().unzip();

        let moments = (0..).map(Moment::of_minute);
        let mut newest_first: Vec<_> = moments.zip(seen).collect();
        newest_first.reverse();
        let mut states: Vec<State> =
            tell_apart(newest_first.into_iter()).iter().map(|version| version.state).collect();
        states.reverse();

        assert_eq!(states, expected);
    }

    #[test]
    fn results_come_in_order_and_few_are_open_at_once() {
        let open = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let all: Vec<usize> = (0..100).collect();

        let results = in_parallel(&all, |number| {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_micros(100));
            open.fetch_sub(1, Ordering::SeqCst);
            *number
        });

        assert_eq!(results, all);
        assert!(most.into_inner() <= OPEN_MAX);
    }
}
