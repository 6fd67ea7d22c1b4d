//! What is in the index of names, and having it built.

use super::clients::not_shared;
use super::search::{Indexed, selection};
use crate::server::access::{Action, Principal};
use crate::server::indexer::Running;
use crate::server::problem::Problem;
use crate::server::query::Query;
use crate::server::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use spelunk_tree::Name;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Which part of the library.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// The place of a client, a backup or an item; everything when not given.
    #[serde(default, rename = "in")]
    within: String,
}

/// The state of the index.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// How much of the part is in the index.
    #[serde(flatten)]
    pub indexed: Indexed,
    /// Entries in it.
    pub entries: u64,
    /// Places that could not be read.
    pub damaged: u64,
    /// What is being read right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
}

/// What of a part of the library is in the index.
#[utoipa::path(get, path = "/api/v1/index", tag = "search", params(Options),
    responses((status = 200, body = Status), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn status(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Query(options): Query<Options>,
) -> Result<Json<Status>, Problem> {
    not_shared(&principal)?;
    app.read(move |app| {
        let within = selection(app, &options.within)?;
        if let Some(client) = &within.client {
            principal.check(Action::Browse, std::slice::from_ref(client))?;
        }
        let may = |client: &Name| principal.may(Action::Browse, std::slice::from_ref(client));
        let all = app.index.status(&app.library, &within)?;
        let seen = all.iter().filter(|status| may(&status.client));
        let mut status = Status {
            indexed: Indexed { done: 0, items: 0 },
            entries: 0,
            damaged: 0,
            running: app.indexer.running(),
        };
        for (entries, damaged) in seen.inspect(|_| status.indexed.items += 1).filter_map(|it| it.indexed) {
            status.indexed.done += 1;
            status.entries += entries;
            status.damaged += damaged;
        }
        // Who it is that is being read is not for everybody.
        status.running = status.running.filter(|_| principal.is_admin());
        Ok(Json(status))
    })
    .await
}

/// Has the whole index brought up to date now.
#[utoipa::path(post, path = "/api/v1/index", tag = "search",
    responses((status = 202, description = "it is being done"), (status = "4XX", body = Problem)))]
pub async fn build(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<StatusCode, Problem> {
    // The index is of all clients.
    principal.check(Action::Manage, &[])?;
    app.indexer.wake();
    Ok(StatusCode::ACCEPTED)
}
