//! Finding by name, through the index.

use super::clients::not_shared;
use super::entry::{Attributes, below};
use crate::index::{Hit, NameTest, Query as IndexQuery, Selection};
use crate::library::Moment;
use crate::server::access::{Action, Principal};
use crate::server::location::Location;
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::state::App;
use crate::time;
use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use spelunk_tree::{Attr, Kind, Name, Time};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Hits of a page at most.
const LIMIT_MAX: usize = 1000;

/// What is searched for. All that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// A part of the name, in any case; with `*` or `?` a pattern for the whole name.
    #[serde(default)]
    q: String,
    /// Where: the place of a client, a backup or an item; everywhere when not given.
    #[serde(default, rename = "in")]
    within: String,
    /// 1: only the newest backup of each volume or share.
    #[serde(default)]
    latest: u8,
    /// `file`, `directory`, `symlink`, ...
    r#type: Option<String>,
    /// What the name ends with, behind a dot.
    ext: Option<String>,
    /// Bytes at least.
    min_size: Option<u64>,
    /// Bytes at most.
    max_size: Option<u64>,
    /// Changed after this: RFC 3339, a date, or an age such as `7d`.
    after: Option<String>,
    /// Changed before this.
    before: Option<String>,
    /// Hits to leave out at the beginning.
    #[serde(default)]
    offset: usize,
    /// Hits at most: 100 when not given, never more than 1000.
    limit: Option<usize>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    /// The hits: names that are what was searched for first, then those that begin so, then others.
    pub hits: Vec<SearchHit>,
    /// Hits in all, as far as they were counted.
    pub total: usize,
    /// Whether there are still more: the search is to be narrowed.
    pub has_more: bool,
    /// Whether time was up before everything was looked at.
    pub is_incomplete: bool,
    /// What of the place that was searched is in the index.
    pub indexed: Indexed,
}

/// How much of a place is in the index.
#[derive(Debug, Serialize, ToSchema)]
pub struct Indexed {
    /// Volumes and shares, of all backups, that are.
    pub done: usize,
    /// All of them.
    pub items: usize,
}

/// A file that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchHit {
    /// Its name as text.
    pub name: String,
    /// Its place in the newest backup in question, for URLs.
    pub path: String,
    /// The place of the directory that it is in.
    pub directory: String,
    /// Its attributes there.
    #[serde(flatten)]
    pub attributes: Attributes,
    /// Its client's name as text.
    pub client: String,
    /// The volume's or share's name as text.
    pub item: String,
    /// The backups that have it so.
    pub moments: Moments,
}

/// Backups, from the first to the last.
#[derive(Debug, Serialize, ToSchema)]
pub struct Moments {
    /// The oldest.
    pub from: String,
    /// The newest.
    pub to: String,
    /// How many.
    pub count: u64,
}

/// Searches for names.
#[utoipa::path(get, path = "/api/v1/search", tag = "search", params(Options),
    responses((status = 200, body = Found), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn search(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Query(options): Query<Options>,
) -> Result<Json<Found>, Problem> {
    not_shared(&principal)?;
    app.read(move |app| {
        let within = selection(app, &options.within)?;
        if let Some(client) = &within.client {
            principal.check(Action::Browse, std::slice::from_ref(client))?;
        }
        let may = |client: &Name| principal.may(Action::Browse, std::slice::from_ref(client));
        let found = app.index.search(&query(&options, within.clone())?, may)?;
        let status = app.index.status(&app.library, &within)?;
        let seen = status.iter().filter(|status| may(&status.client));
        let (done, items) = seen
            .fold((0, 0), |(done, items), status| (done + usize::from(status.indexed.is_some()), items + 1));
        Ok(Json(Found {
            hits: found.hits.iter().map(SearchHit::of).collect(),
            total: found.total,
            has_more: found.has_more,
            is_incomplete: found.is_incomplete,
            indexed: Indexed { done, items },
        }))
    })
    .await
}

fn query(options: &Options, within: Selection) -> Result<IndexQuery, Problem> {
    let default = IndexQuery::default();
    Ok(IndexQuery {
        within,
        latest: options.latest != 0,
        name: NameTest::of_text(&options.q),
        kinds: options.r#type.as_deref().map(kind).transpose()?.into_iter().collect(),
        extension: options.ext.clone().map(|ext| ext.trim_start_matches('.').to_owned()),
        size: options.min_size.unwrap_or(0)..=options.max_size.unwrap_or(u64::MAX),
        after: options.after.as_deref().map(moment).transpose()?,
        before: options.before.as_deref().map(moment).transpose()?,
        offset: options.offset,
        limit: options.limit.unwrap_or(default.limit).clamp(1, LIMIT_MAX),
        ..default
    })
}

fn kind(word: &str) -> Result<Kind, Problem> {
    const KINDS: [Kind; 7] = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::CharDevice,
        Kind::BlockDevice,
    ];
    let kind = KINDS.into_iter().find(|kind| kind.word() == word);
    kind.ok_or_else(|| Problem::bad_request("There is no such type").hint("file, directory, symlink, ..."))
}

fn moment(text: &str) -> Result<Time, Problem> {
    time::parse(text).map_err(|error| Problem::bad_request(format!("A time that cannot be: {error}")))
}

/// What part of the library a place is: client, backup, item.
///
/// # Errors
/// `bad-request` for what is no such place, or is within an item.
pub fn selection(app: &App, encoded: &str) -> Result<Selection, Problem> {
    let location = app.canonical(Location::parse(encoded)?)?;
    let mut names = location.names().iter().cloned();
    let (client, moment, item) = (names.next(), names.next(), names.next());
    let no_place = || Problem::bad_request("This is no client, backup or item");
    if names.next().is_some() {
        return Err(no_place());
    }
    let moment = moment.map(|name| {
        let text = std::str::from_utf8(name.as_bytes()).ok();
        text.and_then(Moment::parse).ok_or_else(no_place)
    });
    Ok(Selection { client, moment: moment.transpose()?, item })
}

impl SearchHit {
    fn of(hit: &Hit) -> SearchHit {
        let names: Vec<&[u8]> =
            hit.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let moment = hit.moment.name();
        let above = [hit.client.as_bytes(), moment.as_bytes(), hit.item.as_bytes()];
        let encoded = |names: &[&[u8]]| {
            let names = above.iter().chain(names).filter_map(|name| Name::new(*name).ok());
            names.fold(String::new(), |path, name| below(&path, &name))
        };
        let attr = Attr { size: hit.size, modified: hit.modified, ..Attr::new(hit.kind) };
        SearchHit {
            name: names.last().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default(),
            path: encoded(&names),
            directory: encoded(names.split_last().map(|(_, above)| above).unwrap_or_default()),
            attributes: Attributes::of(&attr),
            client: super::entry::text(&hit.client),
            item: super::entry::text(&hit.item),
            moments: Moments { from: hit.first.name(), to: hit.last.name(), count: hit.backups },
        }
    }
}
