//! One path over all backups of its client.

use super::clients::Moment;
use super::clients::not_shared;
use super::entry::{Attributes, below, rfc3339};
use crate::index::{Compare, Version, versions as versions_of};
use crate::server::access::{Action, Principal};
use crate::server::location::Location;
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::state::App;
use axum::extract::State as Shared;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use spelunk_tree::Name;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use utoipa::{IntoParams, ToSchema};

/// How versions are told apart.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// 1: by their contents, which are read in full; else by size, times and kind.
    #[serde(default)]
    contents: u8,
}

/// The versions of one path.
#[derive(Debug, Serialize, ToSchema)]
pub struct Versions {
    /// The newest first.
    pub versions: Vec<PathVersion>,
}

/// A path in one backup.
#[derive(Debug, Serialize, ToSchema)]
pub struct PathVersion {
    /// The backup.
    #[serde(flatten)]
    pub moment: Moment,
    /// Its place, for URLs.
    pub path: String,
    /// `same` as in the next older backup, `changed`, `new`, `absent`, or `unknown` when it cannot be read.
    pub state: &'static str,
    /// What it is there.
    #[serde(flatten)]
    pub attributes: Option<Attributes>,
    /// SHA-256 of a file's content, when contents are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// The versions of a path.
#[utoipa::path(get, path = "/api/v1/versions/{path}", tag = "search",
    params(("path" = String, Path,), Options),
    responses((status = 200, body = Versions), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn versions(
    Shared(app): Shared<Arc<App>>,
    Extension(principal): Extension<Principal>,
    location: Location,
    Query(options): Query<Options>,
) -> Result<Json<Versions>, Problem> {
    not_shared(&principal)?;
    // Nobody waits any more when the request is dropped.
    let cancel = Cancel::default();
    let is_cancelled = cancel.0.clone();
    let answer = app.read(move |app| {
        let [client, _, item, within @ ..] = location.names() else {
            return Err(Problem::bad_request("Only what is in a backup has versions"));
        };
        principal.check(Action::Browse, location.names())?;
        let compare = if options.contents == 0 { Compare::Attributes } else { Compare::Contents };
        if compare == Compare::Contents {
            principal.check(Action::Download, location.names())?;
        }
        let path = within.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/');
        let found = versions_of(&app.library, client, item, &path, compare, &is_cancelled)?;
        let shown = |version: &Version| PathVersion::of(version, (client, item), within);
        Ok(Json(Versions { versions: found.iter().map(shown).collect() }))
    });
    answer.await
}

/// Is set when it is dropped.
#[derive(Default)]
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl PathVersion {
    fn of(version: &Version, (client, item): (&Name, &Name), within: &[Name]) -> PathVersion {
        let moment = Moment { moment: version.moment.name(), time: rfc3339(version.moment.time()) };
        let moment_name = Name::new(moment.moment.as_bytes());
        let above = [Some(client), moment_name.as_ref().ok(), Some(item)];
        let names = above.into_iter().flatten().chain(within);
        PathVersion {
            path: names.fold(String::new(), |path, name| below(&path, name)),
            moment,
            state: version.state.word(),
            attributes: version.attr.as_ref().map(Attributes::of),
            sha256: version.sha256.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect()),
            error: version.error.clone().map(Problem::from),
        }
    }
}
