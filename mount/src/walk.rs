//! Walking a tree, whoever made it: bounded in depth, in memory, and against cycles.

use crate::path;
use spelunk_tree::{Cursor, Entry, Error, Kind, Listed, Name, NodeId, Result, Tree, limits};
use std::collections::HashSet;
use std::vec::IntoIter;

/// Bytes of memory that the entries of a sorted listing, and those that a walk is in the midst of, may take at
/// once: some four million ordinary ones.
pub const HELD_BYTES_MAX: usize = 1 << 30;

/// Entries that a listing, or a walk, gives: no guest has more files. A worker that was taken over could go on for
/// ever.
pub const ENTRIES_MAX: u64 = 1 << 32;

/// Directories that one walk enters: it remembers them all, which takes some 600 MiB then.
pub const DIRECTORIES_MAX: usize = 16 << 20;

/// Entries per page of an unsorted walk, near the top and further down: what a walk holds is a page per
/// level, and a hostile tree has many levels.
const PAGE_ENTRIES: usize = limits::PAGE_ENTRIES_MAX;
const PAGE_ENTRIES_DEEP: usize = 64;
/// The level from which pages are short.
const DEEP: usize = 32;

/// In which order the entries of a directory come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the bytes of their names.
    Sorted,
    /// As the guest keeps them, page by page.
    AsStored,
}

/// The pages of one directory.
struct Pages {
    dir: NodeId,
    next: Option<Cursor>,
    /// Pages without entries since the last one with some.
    empty: u32,
    /// Entries so far.
    count: u64,
}

/// Pages in a row that may be empty: a filter may have nothing to show for some stretches, but a listing
/// that never gets anywhere must end.
const EMPTY_PAGES_MAX: u32 = 1 << 16;

/// Something in a directory that is broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its name, where that much could be read.
    pub name: Option<Name>,
    /// What is wrong.
    pub error: Error,
}

/// Entries of a directory, or what is broken in their place.
pub type Entries = Vec<Result<Entry, Broken>>;

impl Pages {
    fn new(dir: NodeId) -> Pages {
        Pages { dir, next: Some(Cursor::START), empty: 0, count: 0 }
    }

    /// The next page, and how many bytes of memory it takes; `None` at the end. After an error there is no further
    /// page.
    fn read(&mut self, tree: &dyn Tree, max: usize) -> Option<Result<(Entries, usize)>> {
        let page = match tree.list(self.dir, self.next.take()?, max) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        self.empty = if page.entries.is_empty() { self.empty + 1 } else { 0 };
        if self.empty > EMPTY_PAGES_MAX {
            return Some(Err(Error::corrupt("a directory whose listing does not end")));
        }
        self.count += page.entries.len() as u64;
        if self.count > ENTRIES_MAX {
            return Some(Err(Error::limit(format!("more than {ENTRIES_MAX} entries in one directory"))));
        }
        self.next = page.next;
        let bytes = page.memory_bytes();
        let entries = page.entries.into_iter().map(|listed| match listed {
            Listed::Entry { entry, .. } => Ok(entry),
            Listed::Broken { name, error, .. } => Err(Broken { name, error }),
        });
        Some(Ok((entries.collect(), bytes)))
    }
}

/// Calls `each` with the pages of the directory `dir`, in the order of the guest.
///
/// # Errors
/// What `each` returns; the inner result is the directory's.
pub fn pages<E>(
    tree: &dyn Tree,
    dir: NodeId,
    mut each: impl FnMut(Entries) -> Result<(), E>,
) -> Result<Result<()>, E> {
    let mut pages = Pages::new(dir);
    while let Some(page) = pages.read(tree, PAGE_ENTRIES) {
        match page {
            Ok((entries, _)) => each(entries)?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// Reads the whole directory `dir`, sorted by the bytes of the names; nameless broken entries last. When
/// it cannot be read to its end, or takes more than `bytes_max` bytes of memory, what is there comes with the error.
pub fn sorted(tree: &dyn Tree, dir: NodeId, bytes_max: usize) -> (Entries, Option<Error>) {
    let (entries, _, failure) = sorted_with_size(tree, dir, bytes_max);
    (entries, failure)
}

fn sorted_with_size(tree: &dyn Tree, dir: NodeId, bytes_max: usize) -> (Entries, usize, Option<Error>) {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut pages = Pages::new(dir);
    let failure = loop {
        match pages.read(tree, PAGE_ENTRIES) {
            Some(Ok((page, page_bytes))) => {
                if bytes + page_bytes > bytes_max {
                    break Some(Error::limit(format!("more than {} entries to sort", entries.len())));
                }
                bytes += page_bytes;
                entries.extend(page);
            }
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    entries.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    (entries, bytes, failure)
}

fn sort_key(entry: &Result<Entry, Broken>) -> (bool, &[u8]) {
    match entry {
        Ok(entry) => (false, entry.name.as_bytes()),
        Err(broken) => (broken.name.is_none(), broken.name.as_ref().map_or(&[], |name| name.as_bytes())),
    }
}

/// One step of a walk.
pub enum Step<'a> {
    /// An entry; its directory came before it.
    Entry {
        /// Where it is.
        path: &'a [u8],
        /// What it is.
        entry: &'a Entry,
        /// How many levels below the start: 1 is directly in it.
        depth: usize,
    },
    /// Something broken, or a directory that cannot be read (on).
    Broken {
        /// Where it is; the directory's path when the name is unknown.
        path: &'a [u8],
        /// What is wrong.
        error: Error,
    },
}

/// A walk over everything below a directory, each directory before what is in it.
pub struct Walk<'a> {
    tree: &'a dyn Tree,
    order: Order,
    depth_max: usize,
    levels: Vec<Level>,
    path: Vec<u8>,
    /// The directories already entered: a tree has no second way to any of them.
    entered: HashSet<NodeId>,
    /// Bytes of memory that the entries of all levels take.
    held: usize,
    /// Entries that may still come.
    entries_left: u64,
    /// Directories that may be entered.
    directories_max: usize,
    /// What the last step gave, when it is a directory to enter next.
    current: Option<Entry>,
}

/// A directory that the walk is in.
struct Level {
    dir: NodeId,
    entries: IntoIter<Result<Entry, Broken>>,
    /// What of it is still to be read.
    rest: Option<Pages>,
    failure: Option<Error>,
    /// Bytes of memory that its page takes.
    bytes: usize,
    /// Length of the directory's own path.
    path_len: usize,
}

impl<'a> Walk<'a> {
    /// A walk below `dir`, whose path is printed as `path`. `depth_max` levels are entered; 0 is none.
    pub fn new(tree: &'a dyn Tree, dir: NodeId, path: &[u8], order: Order, depth_max: usize) -> Walk<'a> {
        let mut walk = Walk {
            tree,
            order,
            depth_max,
            levels: Vec::new(),
            path: path.to_vec(),
            entered: HashSet::new(),
            held: 0,
            entries_left: ENTRIES_MAX,
            directories_max: DIRECTORIES_MAX,
            current: None,
        };
        if depth_max > 0 {
            walk.entered.insert(dir);
            walk.enter(dir);
        }
        walk
    }

    /// The next entry; `None` when everything was seen.
    pub fn step(&mut self) -> Option<Step<'_>> {
        if let Some(error) = self.descend() {
            return Some(Step::Broken { path: &self.path, error });
        }
        if self.entries_left == 0 && !self.levels.is_empty() {
            self.levels.clear();
            let error = Error::limit(format!("more than {ENTRIES_MAX} entries; the walk ends here"));
            return Some(Step::Broken { path: &self.path, error });
        }
        self.entries_left = self.entries_left.saturating_sub(1);
        loop {
            let depth = self.levels.len();
            let level = self.levels.last_mut()?;
            self.path.truncate(level.path_len);
            match level.entries.next() {
                Some(Ok(entry)) => {
                    path::push(&mut self.path, entry.name.as_bytes());
                    let entry = &*self.current.insert(entry);
                    return Some(Step::Entry { path: &self.path, entry, depth });
                }
                Some(Err(Broken { name, error })) => {
                    if let Some(name) = name {
                        path::push(&mut self.path, name.as_bytes());
                    }
                    return Some(Step::Broken { path: &self.path, error });
                }
                None => match level.failure.take() {
                    Some(error) => return Some(Step::Broken { path: &self.path, error }),
                    None => self.turn_page(),
                },
            }
        }
    }

    /// Whether the walk is in the directory `dir` now, at any level.
    pub fn is_inside(&self, dir: NodeId) -> bool {
        self.levels.iter().any(|level| level.dir == dir)
    }

    /// Enters the directory that the last step gave, if it was one.
    fn descend(&mut self) -> Option<Error> {
        let entry = self.current.take()?;
        if entry.attr.kind != Kind::Directory || self.levels.len() >= self.depth_max {
            return None;
        }
        if self.levels.len() >= limits::DEPTH_MAX {
            return Some(Error::limit(format!("directories more than {} deep", limits::DEPTH_MAX)));
        }
        if self.entered.len() >= self.directories_max && !self.entered.contains(&entry.node) {
            return Some(Error::limit(format!(
                "more than {} directories; not entered",
                self.directories_max
            )));
        }
        if !self.entered.insert(entry.node) {
            return Some(Error::corrupt("a directory that is also elsewhere in the tree; not entered again"));
        }
        self.enter(entry.node);
        None
    }

    fn enter(&mut self, dir: NodeId) {
        let path_len = self.path.len();
        let (entries, bytes, rest, failure) = match self.order {
            Order::AsStored => (Vec::new(), 0, Some(Pages::new(dir)), None),
            Order::Sorted => {
                let room = HELD_BYTES_MAX.saturating_sub(self.held);
                let (entries, bytes, failure) = sorted_with_size(self.tree, dir, room);
                (entries, bytes, None, failure)
            }
        };
        self.held += bytes;
        self.levels.push(Level { dir, entries: entries.into_iter(), rest, failure, bytes, path_len });
    }

    /// Reads on in the current directory, or leaves it at its end.
    fn turn_page(&mut self) {
        let max = if self.levels.len() > DEEP { PAGE_ENTRIES_DEEP } else { PAGE_ENTRIES };
        let Some(level) = self.levels.last_mut() else { return };
        self.held = self.held.saturating_sub(level.bytes);
        level.bytes = 0;
        match level.rest.as_mut().and_then(|pages| pages.read(self.tree, max)) {
            Some(Ok((_, bytes))) if bytes > HELD_BYTES_MAX.saturating_sub(self.held) => {
                level.rest = None;
                level.failure = Some(Error::limit("more entries in the directories above than can be held"));
            }
            Some(Ok((entries, bytes))) => {
                self.held += bytes;
                level.bytes = bytes;
                level.entries = entries.into_iter();
            }
            Some(Err(error)) => level.failure = Some(error),
            None => _ = self.levels.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Node, tree};

    /// All steps of a walk, a line each.
    fn steps(nodes: impl IntoIterator<Item = (u64, Node)>, order: Order, depth_max: usize) -> Vec<String> {
        let tree = tree(nodes);
        let mut walk = Walk::new(&tree, tree.root(), b"/", order, depth_max);
        let mut lines = Vec::new();
        while let Some(step) = walk.step() {
            lines.push(match step {
                Step::Entry { path, depth, .. } => format!("{depth} {}", String::from_utf8_lossy(path)),
                Step::Broken { path, error } => {
                    format!("! {}: {}", String::from_utf8_lossy(path), error.kind().phrase())
                }
            });
        }
        lines
    }

    fn nested() -> [(u64, Node); 5] {
        [
            (1, Node::Directory(vec![("z", 2), ("a.txt", 4), ("a", 3), ("m", 4)])),
            (2, Node::Directory(vec![("broken", 5), ("file", 4)])),
            (3, Node::Directory(vec![("x", 4)])),
            (4, Node::File(b"data")),
            (5, Node::Damaged),
        ]
    }

    #[test]
    fn sorted_walk_goes_by_the_bytes_of_names_and_into_each_directory_after_it() {
        let lines = steps(nested(), Order::Sorted, 9);

        assert_eq!(
            lines,
            ["1 /a", "2 /a/x", "1 /a.txt", "1 /m", "1 /z", "! /z/broken: damaged", "2 /z/file"]
        );
    }

    #[test]
    fn walk_as_stored_keeps_the_order_of_the_guest() {
        let lines = steps(nested(), Order::AsStored, 9);

        assert_eq!(
            lines,
            ["1 /z", "! /z/broken: damaged", "2 /z/file", "1 /a.txt", "1 /a", "2 /a/x", "1 /m"]
        );
    }

    #[test]
    fn walk_stops_at_the_asked_depth() {
        assert_eq!(steps(nested(), Order::Sorted, 1), ["1 /a", "1 /a.txt", "1 /m", "1 /z"]);
        assert!(steps(nested(), Order::Sorted, 0).is_empty());
    }

    #[test]
    fn directory_in_itself_is_told_and_not_entered() {
        let lines = steps(
            [(1, Node::Directory(vec![("loop", 1), ("next", 2)])), (2, Node::File(b""))],
            Order::Sorted,
            99,
        );

        assert_eq!(lines, ["1 /loop", "! /loop: damaged", "1 /next"]);
    }

    #[test]
    fn directory_with_two_names_is_entered_once() {
        // Doubling at each of many levels would never end.
        let doubling = (1..60).map(|id| (id, Node::Directory(vec![("a", id + 1), ("b", id + 1)])));
        let lines = steps(doubling.chain([(60, Node::Directory(Vec::new()))]), Order::AsStored, 99);

        assert_eq!(lines.iter().filter(|line| line.starts_with('!')).count(), 59);
    }

    #[test]
    fn walk_ends_at_the_depth_limit_and_says_so() {
        let deep = (1..=4000).map(|id| (id, Node::Directory(vec![("d", id + 1)])));
        let lines = steps(deep.chain([(4001, Node::File(b""))]), Order::AsStored, usize::MAX);

        assert_eq!(lines.len(), limits::DEPTH_MAX + 1);
        assert!(lines.last().unwrap().ends_with("over a limit"));
    }

    #[test]
    fn walk_ends_at_the_limits_of_entries_and_directories_and_says_so() {
        let wide = || {
            let dirs = (2..=9).map(|id| (id, Node::Directory(vec![("file", 10)])));
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let root = Node::Directory(names.into_iter().zip(2..=9).collect());
            tree([(1, root), (10, Node::File(b""))].into_iter().chain(dirs))
        };
        let kinds = |mut walk: Walk<'_>| {
            let mut kinds = Vec::new();
            while let Some(step) = walk.step() {
                kinds.push(match step {
                    Step::Entry { .. } => None,
                    Step::Broken { error, .. } => Some(error.kind()),
                });
            }
            kinds
        };
        let limit = Some(spelunk_tree::ErrorKind::Limit);
        let tree = wide();

        let few_entries = Walk { entries_left: 5, ..Walk::new(&tree, tree.root(), b"/", Order::AsStored, 9) };
        assert_eq!(kinds(few_entries), [None, None, None, None, None, limit]);

        let few = Walk { directories_max: 3, ..Walk::new(&tree, tree.root(), b"/", Order::Sorted, 9) };
        let kinds = kinds(few);
        assert_eq!(
            kinds.iter().filter(|kind| **kind == limit).count(),
            6,
            "the root and two more are entered"
        );
        assert_eq!(kinds.iter().filter(|kind| kind.is_none()).count(), 8 + 2);
    }

    #[test]
    fn sorted_listing_over_its_memory_is_cut_and_says_so() {
        let tree = tree([(1, Node::Directory(vec![("c", 2), ("b", 2), ("a", 2)])), (2, Node::File(b""))]);
        let two = 2 * (size_of::<Listed>() + 1);

        let (entries, failure) = sorted(&tree, tree.root(), two);

        let names: Vec<&[u8]> = entries.iter().flatten().map(|entry| entry.name.as_bytes()).collect();
        assert_eq!(names, [b"b", b"c"]);
        assert_eq!(failure.map(|error| error.kind()), Some(spelunk_tree::ErrorKind::Limit));
    }
}
