//! Directories, sorted and in pages.

use super::clients::not_shared;
use super::entry::{self, Entry};
use crate::server::access::{Action, Principal};
use crate::server::location::Location;
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use spelunk_mount::path::{Found, Links};
use spelunk_tree::{Attr, Cursor, Error, Kind, Listed, Name, NodeId, Tree};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::{IntoParams, ToSchema};

/// Entries of a page, when nobody says otherwise, and at most.
const PAGE: usize = 1000;
const PAGE_MAX: usize = 10_000;

/// Entries of one directory: to be sorted they are held in memory.
const DIRECTORY_ENTRIES_MAX: usize = 1_000_000;

/// From so many entries on, a directory is read while no other one of the kind is: they are megabytes.
const LARGE: usize = 50_000;

/// Entries that are asked for at once.
const BATCH: usize = 4096;

/// How a directory is to be listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// By what; directories come first. By name when not given.
    #[serde(default)]
    sort: Sort,
    /// `asc` or `desc`.
    #[serde(default)]
    order: Order,
    /// Entries to leave out at the beginning.
    #[serde(default)]
    offset: usize,
    /// Entries at most: 1000 when not given, never more than 10,000.
    limit: Option<usize>,
    /// A part of the name, in any case.
    filter: Option<String>,
}

/// By what a listing is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// As people do: in any case, digits by their value.
    #[default]
    Name,
    /// Bytes.
    Size,
    /// Last change.
    Modified,
    /// What the name ends with.
    Type,
}

/// Upwards or downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Upwards.
    #[default]
    Asc,
    /// Downwards.
    Desc,
}

/// A page of a directory.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing {
    /// The directory's place, for URLs, with the moment in place of `latest`.
    pub path: String,
    /// Entries in all, after the filter.
    pub total: usize,
    /// Entries left out at the beginning.
    pub offset: usize,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Lists the clients' directories.
#[utoipa::path(get, path = "/api/v1/list", tag = "library", params(Options),
    responses((status = 200, body = Listing), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn root(
    app: State<Arc<App>>,
    principal: Extension<Principal>,
    options: Query<Options>,
) -> Result<Json<Listing>, Problem> {
    list(app, principal, Location::default(), options).await
}

/// Lists a directory.
#[utoipa::path(get, path = "/api/v1/list/{path}", tag = "library",
    params(("path" = String, Path,), Options),
    responses((status = 200, body = Listing), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    location: Location,
    Query(options): Query<Options>,
) -> Result<Json<Listing>, Problem> {
    app.read(move |app| {
        let location = app.canonical(location)?;
        if location.names().is_empty() {
            not_shared(&principal)?;
        } else {
            principal.check(Action::Browse, location.names())?;
        }
        let found = app.find(&location, Links::Keep)?;
        let mut rows = app.listings.get(&*app.tree, &found)?;
        if location.names().is_empty() {
            // The library's root: only what the user may see.
            let is_seen = |row: &&Row| row.name().is_some_and(|name| principal.sees_client(name));
            rows = Arc::new(rows.iter().filter(is_seen).cloned().collect());
        }
        Ok(Json(page(&*app.tree, &location, &rows, &options)))
    })
    .await
}

fn page(tree: &dyn Tree, location: &Location, rows: &[Row], options: &Options) -> Listing {
    let filter = options.filter.as_deref().map(str::to_lowercase).filter(|filter| !filter.is_empty());
    let passes = |row: &&Row| filter.as_deref().is_none_or(|filter| row.key.contains(filter));
    let mut chosen: Vec<&Row> = rows.iter().filter(passes).collect();
    match (options.sort, options.order) {
        // So they are kept.
        (Sort::Name, Order::Asc) => {}
        (sort, order) => chosen.sort_by(|a, b| {
            let compared = compare(sort, a, b);
            let compared = if order == Order::Desc { compared.reverse() } else { compared };
            b.is_directory().cmp(&a.is_directory()).then(compared)
        }),
    }
    let limit = options.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let directory = location.encoded();
    let shown = chosen.iter().skip(options.offset).take(limit);
    let entries = shown.map(|row| row.entry(tree, &directory)).collect();
    Listing { path: directory, total: chosen.len(), offset: options.offset, entries }
}

/// One entry, as it is kept.
#[derive(Clone, Debug)]
struct Row {
    /// The name in lower case, to be searched and sorted by.
    key: Box<str>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Entry { name: Name, node: NodeId, attr: Box<Attr> },
    Broken { name: Option<Name>, error: Error },
}

impl Row {
    /// A line of a listing. The links of a library's own directories are shown as what they lead to.
    fn of(listed: Listed, is_live: bool) -> Row {
        let content = match listed {
            Listed::Entry { mut entry, .. } => {
                if is_live && entry.attr.kind == Kind::Symlink {
                    (entry.attr.kind, entry.attr.size) = (Kind::Directory, 0);
                }
                Content::Entry { name: entry.name, node: entry.node, attr: Box::new(entry.attr) }
            }
            Listed::Broken { name, error, .. } => Content::Broken { name, error },
        };
        let mut row = Row { key: Box::default(), content };
        let name = row.name().map(entry::text).unwrap_or_default();
        row.key = name.to_lowercase().into();
        row
    }

    fn name(&self) -> Option<&Name> {
        match &self.content {
            Content::Entry { name, .. } => Some(name),
            Content::Broken { name, .. } => name.as_ref(),
        }
    }

    fn attr(&self) -> Option<&Attr> {
        match &self.content {
            Content::Entry { attr, .. } => Some(attr),
            Content::Broken { .. } => None,
        }
    }

    fn is_directory(&self) -> bool {
        self.attr().is_some_and(|attr| attr.kind == Kind::Directory)
    }

    fn entry(&self, tree: &dyn Tree, directory: &str) -> Entry {
        match &self.content {
            Content::Broken { name, error } => Entry::broken(directory, name.as_ref(), error),
            Content::Entry { name, node, attr } => {
                let mut entry = Entry::new(directory, name, attr);
                if attr.kind == Kind::Symlink {
                    // One that cannot be read is listed all the same; its details tell why.
                    entry.target = tree.link_target(*node).ok().map(|target| entry::target(&target));
                }
                entry
            }
        }
    }
}

fn compare(sort: Sort, a: &Row, b: &Row) -> Ordering {
    let extension = |row: &Row| row.key.rsplit_once('.').map(|(_, extension)| extension.to_owned());
    let of = match sort {
        Sort::Name => Ordering::Equal,
        Sort::Size => a.attr().map(|attr| attr.size).cmp(&b.attr().map(|attr| attr.size)),
        Sort::Modified => a.attr().map(|attr| attr.modified).cmp(&b.attr().map(|attr| attr.modified)),
        Sort::Type => extension(a).cmp(&extension(b)),
    };
    of.then_with(|| natural(&a.key, &b.key)).then_with(|| a.name().cmp(&b.name()))
}

/// As people sort names: `file9` before `file10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number_a, number_b) = (digits(a), digits(b));
        if number_a > 0 && number_b > 0 {
            let value_a = a[..number_a].trim_start_matches('0');
            let value_b = b[..number_b].trim_start_matches('0');
            let compared = value_a.len().cmp(&value_b.len()).then_with(|| value_a.cmp(value_b));
            if compared != Ordering::Equal {
                return compared;
            }
            (a, b) = (&a[number_a..], &b[number_b..]);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(first), Some(second)) if first == second => {
                (a, b) = (&a[first.len_utf8()..], &b[second.len_utf8()..]);
            }
            (first, second) => return first.cmp(&second),
        }
    }
}

/// Directories that were listed lately, sorted by name: pages of one that somebody scrolls through cost no listing
/// each. A guest's directory never changes.
#[derive(Debug, Default)]
pub struct Listings {
    kept: Mutex<Kept>,
    large: Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one used last is last.
    listings: VecDeque<(NodeId, Arc<Vec<Row>>)>,
    rows: usize,
}

/// Rows that are kept in all: some hundred megabytes.
const KEPT_ROWS_MAX: usize = 500_000;

/// Listings that are kept, however short.
const KEPT_MAX: usize = 1024;

impl Listings {
    fn get(&self, tree: &dyn Tree, directory: &Found) -> Result<Arc<Vec<Row>>, Problem> {
        if tree.is_live(directory.node) {
            return Ok(Arc::new(self.read(tree, directory.node)?));
        }
        if let Some(rows) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).touch(directory.node) {
            return Ok(rows);
        }
        let rows = Arc::new(self.read(tree, directory.node)?);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).keep(directory.node, rows.clone());
        Ok(rows)
    }

    /// All of a directory, sorted by name.
    fn read(&self, tree: &dyn Tree, directory: NodeId) -> Result<Vec<Row>, Problem> {
        let mut rows = Vec::new();
        let mut cursor = Some(Cursor::START);
        let mut alone = None;
        let is_live = tree.is_live(directory);
        while let Some(at) = cursor {
            if rows.len() >= LARGE && alone.is_none() {
                alone = Some(self.large.lock().unwrap_or_else(PoisonError::into_inner));
            }
            let page = tree.list(directory, at, BATCH)?;
            rows.extend(page.entries.into_iter().map(|listed| Row::of(listed, is_live)));
            if rows.len() > DIRECTORY_ENTRIES_MAX {
                let message = format!("a directory of over {DIRECTORY_ENTRIES_MAX} entries");
                return Err(Error::limit(message).into());
            }
            // A hostile worker may give the same page for ever.
            cursor = page.next.filter(|next| *next != at);
        }
        rows.sort_by(|a, b| b.is_directory().cmp(&a.is_directory()).then_with(|| compare(Sort::Name, a, b)));
        Ok(rows)
    }
}

impl Kept {
    fn touch(&mut self, node: NodeId) -> Option<Arc<Vec<Row>>> {
        let at = self.listings.iter().rposition(|(known, _)| *known == node)?;
        let listing = self.listings.remove(at)?;
        let rows = listing.1.clone();
        self.listings.push_back(listing);
        Some(rows)
    }

    fn keep(&mut self, node: NodeId, rows: Arc<Vec<Row>>) {
        if rows.len() > KEPT_ROWS_MAX || self.touch(node).is_some() {
            return;
        }
        self.rows += rows.len();
        self.listings.push_back((node, rows));
        while self.rows > KEPT_ROWS_MAX || self.listings.len() > KEPT_MAX {
            let Some((_, oldest)) = self.listings.pop_front() else { break };
            self.rows -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_sort_them() {
        let mut names = ["b", "a10", "a9", "a09b", "a", "ä", "a1.2", "10", "9", ""];

        names.sort_by(|a, b| natural(a, b));

        assert_eq!(names, ["", "9", "10", "a", "a1.2", "a9", "a09b", "a10", "b", "ä"]);
    }

    #[test]
    fn rows_kept_are_bounded_and_the_oldest_go_first() {
        let rows = |count: usize| {
            let row =
                Row { key: "a".into(), content: Content::Broken { name: None, error: Error::limit("") } };
            Arc::new(vec![row; count])
        };
        let mut kept = Kept::default();
        let node = |id| NodeId::new(id).unwrap();

        for id in 0..4 {
            kept.keep(node(id), rows(KEPT_ROWS_MAX / 4));
        }
        kept.touch(node(0));
        kept.keep(node(9), rows(1));
        kept.keep(node(10), rows(KEPT_ROWS_MAX + 1));

        assert!(kept.touch(node(0)).is_some() && kept.touch(node(9)).is_some());
        assert!(kept.touch(node(1)).is_none() && kept.touch(node(10)).is_none());
        assert!(kept.rows <= KEPT_ROWS_MAX);
    }
}
