//! Directories that are listed before somebody asks.
//!
//! Programs walk trees from a directory into its subdirectories, in the order in which they are listed. Once
//! somebody does that, a thread goes the same way ahead of him and asks for many directories at a time: the
//! worker parses while the program digests, and nobody waits for a round trip. How far it goes grows with
//! each page that it was right about, and falls to nothing with the first that it did not expect.

use super::line::Answer;
use super::link::Link;
use crate::wire::message::LIST_PLACES_MAX;
use crate::wire::{Decoded, Malformed, Request, whole};
use spelunk_tree::{Cursor, Error, Kind, Listed, NodeId, Page, Result, limits};
use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// A directory, and where in it a page begins.
pub(super) type Place = (NodeId, Cursor);

/// Pages that may wait to be asked for: at first, and at most. The first ones are few, in case somebody only
/// looks around; the last ones keep the thread ahead of any program.
const WAITING_MIN: usize = 4;
const WAITING_MAX: usize = 128;
/// Bytes of memory that waiting pages may take: some 16,000 ordinary entries. The last answer may bring some more.
const WAITING_BYTES_MAX: usize = 6 << 20;
/// Entries of one page: as many as can be, since the nodes of one large directory may lie all over a volume,
/// which is read through for each page.
const PAGE_ENTRIES: usize = limits::PAGE_ENTRIES_MAX;
/// Places that are asked for at once: few enough that the first of them is not late.
const ASKED_MAX: usize = 24;
/// Places that are remembered as a walk's further way; of more, those that come last are forgotten.
const EXPECTED_MAX: usize = 16 * 1024;
/// How long the end waits for an answer that is on its way.
const END_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(ASKED_MAX <= LIST_PLACES_MAX);

/// Asks the worker for pages.
pub(super) struct Lister {
    link: Arc<Link>,
    tree: u8,
}

impl Lister {
    pub(super) fn new(link: Arc<Link>, tree: u8) -> Lister {
        Lister { link, tree }
    }

    /// The page at one place.
    fn page(&self, place: Place, max: usize) -> Result<Page> {
        let max = max.min(limits::PAGE_ENTRIES_MAX);
        let (request, parse) = (self.request(&[place], max), |answer: &Answer| pages(answer, &[place], max));
        let mut pages = self.link.ask("listing a directory", &request, &mut [], parse)?;
        pages.pop().unwrap_or_else(|| Err(Error::internal("an answer without a page")))
    }

    /// The pages at the first of `places`, at least at one.
    fn pages_ahead(&self, places: &[Place]) -> Result<Vec<Result<Page>>> {
        let request = self.request(places, PAGE_ENTRIES);
        self.link.ask_ahead("listing ahead", &request, |answer| pages(answer, places, PAGE_ENTRIES))
    }

    fn request(&self, places: &[Place], max: usize) -> Request {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Request::List { tree: self.tree, places: places.to_vec(), max }
    }
}

/// Parses an answer about `places`.
fn pages(answer: &Answer, places: &[Place], max: usize) -> Decoded<Vec<Result<Page>>> {
    let pages: Vec<Result<Page>> = whole(&answer.body, |from| from.list(places.len()))?;
    if pages.is_empty() {
        return Err(Malformed("an answer without a page"));
    }
    for (page, (_, cursor)) in pages.iter().zip(places) {
        let Ok(page) = page else { continue };
        if page.entries.len() > max.max(1) {
            return Err(Malformed("more entries than asked for"));
        }
        if page.next == Some(*cursor) {
            return Err(Malformed("a listing that never ends"));
        }
    }
    Ok(pages)
}

/// What came of asking for a page that may have been listed ahead.
enum Taken {
    Page(Page),
    /// It was not; whether whoever asks walks, and will want what comes behind it, too.
    Missed {
        walks: bool,
    },
}

/// The directories of one tree.
pub(super) struct ListAhead {
    lister: Arc<Lister>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is known of the walk.
#[derive(Default)]
struct State {
    /// Where it will go, the next place last.
    expected: Vec<Place>,
    /// What was asked for ahead and has not been taken. `None` is on its way.
    pages: HashMap<Place, Option<Page>>,
    /// Bytes of memory that `pages` take.
    bytes: usize,
    /// How many pages may wait; 0 as long as nobody walks.
    waiting_max: usize,
    has_thread: bool,
    is_asking: bool,
    has_ended: bool,
}

impl ListAhead {
    pub(super) fn new(lister: Lister) -> ListAhead {
        ListAhead { lister: Arc::new(lister), shared: Arc::default() }
    }

    /// As [`spelunk_tree::Tree::list`].
    pub(super) fn list(&self, place: Place, max: usize) -> Result<Page> {
        let walks = match self.take(place, max) {
            Taken::Page(page) => return Ok(page),
            Taken::Missed { walks } => walks,
        };
        let mut page = self.lister.page(place, if walks { max.max(PAGE_ENTRIES) } else { max })?;
        let mut state = self.shared.lock();
        state.expect_below(place, &page);
        state.keep_rest(place.0, &mut page, max);
        if state.wants_more() {
            self.shared.changed.notify_all();
        }
        Ok(page)
    }

    /// The page that was asked for ahead, if it was.
    fn take(&self, place: Place, max: usize) -> Taken {
        let mut state = self.shared.lock();
        while let Some(None) = state.pages.get(&place) {
            state = self.shared.wait(state);
        }
        let Some(mut page) = state.pages.remove(&place).flatten() else {
            state.missed(place);
            self.start_thread(&mut state);
            return Taken::Missed { walks: state.waiting_max > 0 };
        };
        state.bytes = state.bytes.saturating_sub(page.memory_bytes());
        state.keep_rest(place.0, &mut page, max);
        state.waiting_max = state.waiting_max.saturating_mul(2).min(WAITING_MAX);
        if state.wants_more() {
            self.shared.changed.notify_all();
        }
        Taken::Page(page)
    }

    /// Starts the thread once somebody walks. Where there can be no thread, nothing is listed ahead.
    fn start_thread(&self, state: &mut State) {
        if state.waiting_max == 0 || state.has_thread {
            return;
        }
        let (shared, lister) = (self.shared.clone(), Arc::downgrade(&self.lister));
        let thread = std::thread::Builder::new().name("list-ahead".to_owned());
        state.has_thread = thread.spawn(move || go_ahead(&shared, &lister)).is_ok();
    }
}

impl Drop for ListAhead {
    /// The worker shall be gone when its trees are: waits for an answer on its way, though not for ever.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.has_ended = true;
        self.shared.changed.notify_all();
        let is_asking = |state: &mut State| state.is_asking;
        let _ = self.shared.changed.wait_timeout_while(state, END_TIMEOUT, is_asking);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many places may be asked for now.
    fn room(&self) -> usize {
        if self.bytes >= WAITING_BYTES_MAX {
            return 0;
        }
        self.waiting_max.saturating_sub(self.pages.len()).min(ASKED_MAX)
    }

    /// Whether the thread has enough to do to be woken: one place at a time would be as slow as none.
    fn wants_more(&self) -> bool {
        !self.expected.is_empty() && self.room() >= ASKED_MAX.min(self.waiting_max.div_ceil(2)).max(1)
    }

    /// Somebody asked for a page that is not here: it was expected, so he walks; or it was not, so what was
    /// expected is not what comes.
    fn missed(&mut self, place: Place) {
        match self.expected.iter().rposition(|expected| *expected == place) {
            Some(index) => {
                self.expected.remove(index);
                self.waiting_max = self.waiting_max.max(WAITING_MIN);
            }
            None => {
                self.expected.clear();
                self.pages.retain(|_, page| page.is_none());
                self.bytes = 0;
                self.waiting_max = 0;
            }
        }
    }

    /// Expects that a walk goes on behind this page, and then into the directories on it.
    fn expect_below(&mut self, (dir, _): Place, page: &Page) {
        let below = page.entries.iter().rev().filter_map(|listed| match listed {
            Listed::Entry { entry, .. } if entry.attr.kind == Kind::Directory => {
                Some((entry.node, Cursor::START))
            }
            _ => None,
        });
        self.expected.extend(below);
        self.expected.extend(page.next.map(|next| (dir, next)));
        if let Some(excess) = self.expected.len().checked_sub(EXPECTED_MAX) {
            self.expected.drain(..excess);
        }
    }

    /// Keeps what is over `max` entries on the page for when it is asked for.
    fn keep_rest(&mut self, dir: NodeId, page: &mut Page, max: usize) {
        if let Some((next, rest)) = split(page, max) {
            self.put((dir, next), rest);
        }
    }

    fn put(&mut self, place: Place, page: Page) {
        self.bytes = self.bytes.saturating_add(page.memory_bytes());
        let replaced = self.pages.insert(place, Some(page)).flatten();
        self.bytes = self.bytes.saturating_sub(replaced.map_or(0, |page| page.memory_bytes()));
    }

    /// Takes the next places to ask for. The further pages of a large directory are asked for by themselves:
    /// whatever came along with each of them would soon take up all room, long before it is wanted.
    fn next_places(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        let room = self.room();
        while places.len() < room {
            let Some(place) = self.expected.pop() else { break };
            if place.1 != Cursor::START && !places.is_empty() {
                self.expected.push(place);
                break;
            }
            // A forged directory may be in itself.
            if let MapEntry::Vacant(vacant) = self.pages.entry(place) {
                vacant.insert(None);
                places.push(place);
            }
            if place.1 != Cursor::START && !places.is_empty() {
                break;
            }
        }
        places
    }

    /// Keeps what came of `places`. What did not is expected again; a page that failed will fail for whoever
    /// wants it, too.
    fn keep(&mut self, places: &[Place], answer: Result<Vec<Result<Page>>>) {
        let pages = answer.unwrap_or_else(|error| places.iter().map(|_| Err(error.clone())).collect());
        for place in places.iter().skip(pages.len()).rev() {
            self.pages.remove(place);
            self.expected.push(*place);
        }
        for (place, page) in places.iter().zip(pages).rev() {
            match page {
                Ok(page) => {
                    self.expect_below(*place, &page);
                    self.put(*place, page);
                }
                Err(_) => {
                    self.pages.remove(place);
                }
            }
        }
    }
}

/// What the thread does until the tree is gone.
fn go_ahead(shared: &Shared, lister: &Weak<Lister>) {
    let mut state = shared.lock();
    while !state.has_ended {
        let places = if state.wants_more() { state.next_places() } else { Vec::new() };
        if places.is_empty() {
            state = shared.wait(state);
            continue;
        }
        let Some(lister) = lister.upgrade() else { break };
        state.is_asking = true;
        drop(state);
        let answer = lister.pages_ahead(&places);
        drop(lister);
        state = shared.lock();
        state.is_asking = false;
        state.keep(&places, answer);
        shared.changed.notify_all();
    }
}

/// Takes what is over `max` entries off the page, and returns where it begins.
fn split(page: &mut Page, max: usize) -> Option<(Cursor, Page)> {
    let max = max.max(1);
    if page.entries.len() <= max {
        return None;
    }
    let rest = Page { entries: page.entries.split_off(max), next: page.next };
    page.next = page.entries.last().map(|listed| match listed {
        Listed::Entry { next, .. } | Listed::Broken { next, .. } => *next,
    });
    page.next.map(|next| (next, rest))
}

#[cfg(test)]
mod tests;
