//! Directories: pages of the tree are large, the kernel's buffers small, and neither side keeps state.
//!
//! A listing goes on from an offset: 0 is `.`, 1 is `..`, and from 2 on it is the tree's cursor, plus 2.
//! What the kernel's buffer did not hold of a page waits here for the kernel to ask again from there;
//! when it was dropped meanwhile, the tree is asked again from the cursor. So directories need no handles.

use spelunk_tree::{Cursor, Error, Listed, NodeId, Result, Tree};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Entries asked of the tree at a time: enough that the round trip to it does not count.
const PAGE_ENTRIES: usize = 1024;
/// Rests of pages that wait for the kernel: one for each directory that is being listed at the time.
const RESTS_MAX: usize = 16;
/// Pages without anything to show that are passed over in one request.
const EMPTY_PAGES_MAX: usize = 1024;

/// The offset after `.` and `..`: where the tree's own listing begins.
const FIRST: u64 = 2;

/// One line of a directory, and the offset after it.
pub(super) enum Line<'a> {
    /// `.`
    Own,
    /// `..`
    Parent,
    /// An entry, or what is left of it.
    Listed(&'a Listed),
}

/// What became of a line that was offered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in the reply.
    Yes,
    /// There is nothing of it to show.
    Skipped,
    /// The reply is full without it.
    Full,
}

/// The listings under way.
#[derive(Default)]
pub(super) struct Listings {
    rests: Mutex<VecDeque<Rest>>,
}

/// What is left of a page.
struct Rest {
    dir: NodeId,
    offset: u64,
    entries: VecDeque<Listed>,
    next: Option<Cursor>,
}

impl Listings {
    /// Offers the lines of `dir` from `offset` on, each with the offset after it, until the reply is full or
    /// a page has been shown.
    ///
    /// # Errors
    /// The tree's; `Limit` for cursors that the kernel cannot hold, and too many pages with nothing to show.
    pub(super) fn serve(
        &self,
        tree: &dyn Tree,
        dir: NodeId,
        mut offset: u64,
        mut offer: impl FnMut(Line<'_>, u64) -> Taken,
    ) -> Result<()> {
        let mut has_shown = false;
        for (dots, line) in [(0, Line::Own), (1, Line::Parent)] {
            if offset == dots {
                offset += 1;
                has_shown = true;
                if offer(line, offset) == Taken::Full {
                    return Ok(());
                }
            }
        }
        let mut rest = self.take(dir, offset).map_or_else(|| Rest::ask(tree, dir, offset), Ok)?;
        for _ in 0..EMPTY_PAGES_MAX {
            has_shown |= rest.offer(&mut offer)?;
            match rest.next {
                Some(next) if !has_shown && rest.entries.is_empty() => {
                    rest = Rest::ask(tree, dir, offset_of(next)?)?;
                }
                _ => {
                    self.keep(rest, has_shown);
                    return Ok(());
                }
            }
        }
        Err(Error::limit(format!("more than {EMPTY_PAGES_MAX} pages of a directory without an entry")))
    }

    fn take(&self, dir: NodeId, offset: u64) -> Option<Rest> {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let index = rests.iter().position(|rest| rest.dir == dir && rest.offset == offset)?;
        rests.remove(index)
    }

    /// Keeps what the kernel will ask for next: entries, or that there are none. Once that has been told,
    /// nothing is left.
    fn keep(&self, rest: Rest, has_shown: bool) {
        if rest.entries.is_empty() && (rest.next.is_some() || !has_shown) {
            return;
        }
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.truncate(RESTS_MAX - 1);
        rests.push_front(rest);
    }
}

impl Rest {
    fn ask(tree: &dyn Tree, dir: NodeId, offset: u64) -> Result<Rest> {
        let page = tree.list(dir, Cursor(offset - FIRST), PAGE_ENTRIES)?;
        Ok(Rest { dir, offset, entries: page.entries.into(), next: page.next })
    }

    /// Offers entries until one does not fit, and returns whether the reply has any.
    fn offer(&mut self, offer: &mut impl FnMut(Line<'_>, u64) -> Taken) -> Result<bool> {
        let mut has_shown = false;
        while let Some(listed) = self.entries.front() {
            let (Listed::Entry { next, .. } | Listed::Broken { next, .. }) = listed;
            let after = offset_of(*next)?;
            match offer(Line::Listed(listed), after) {
                Taken::Yes => has_shown = true,
                Taken::Skipped => {}
                Taken::Full => return Ok(true),
            }
            self.entries.pop_front();
            self.offset = after;
        }
        Ok(has_shown)
    }
}

/// The kernel's offsets are signed.
fn offset_of(cursor: Cursor) -> Result<u64> {
    let offset = cursor.0.checked_add(FIRST).filter(|&offset| i64::try_from(offset).is_ok());
    offset.ok_or_else(|| Error::limit(format!("a place in a directory of {:#x}", cursor.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Node, tree};

    #[test]
    fn rests_of_more_directories_than_are_kept_are_asked_for_again() {
        const DIRECTORIES: u64 = 20;
        let directories =
            (2..2 + DIRECTORIES).map(|dir| (dir, Node::Directory(vec![("a", 100), ("b", 100)])));
        let tree = tree(directories.chain([(100, Node::File(b""))]));
        let listings = Listings::default();
        let list = |dir: u64, offset: u64, max: usize| {
            let mut names = Vec::new();
            let offer = |line: Line<'_>, _| {
                let Line::Listed(Listed::Entry { entry, .. }) = line else { return Taken::Skipped };
                if names.len() == max {
                    return Taken::Full;
                }
                names.push(String::from_utf8_lossy(entry.name.as_bytes()).into_owned());
                Taken::Yes
            };
            listings.serve(&tree, NodeId::new(dir).unwrap(), offset, offer).unwrap();
            names
        };

        (2..2 + DIRECTORIES).for_each(|dir| assert_eq!(list(dir, 0, 1), ["a"]));
        let kept = listings.rests.lock().unwrap().len();

        assert_eq!(kept, RESTS_MAX);
        (2..2 + DIRECTORIES).for_each(|dir| assert_eq!(list(dir, FIRST + 1, 1), ["b"]));
    }
}
