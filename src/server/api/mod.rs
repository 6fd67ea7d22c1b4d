//! The HTTP API, version 1: one file per question that can be asked. docs/api.md says what it is like.

mod archive;
mod clients;
mod download;
mod entry;
mod file;
mod index;
mod list;
mod node;
mod openapi;
mod search;
mod service;
mod versions;

pub use archive::Plans;
pub use list::Listings;

use super::problem::Problem;
use super::state::App;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

/// The questions about the library, below `/api/v1` or a share link. Who asks must stand in the request's extensions.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(service::service))
        .route("/clients", get(clients::clients))
        .route("/clients/{client}", get(clients::client))
        .route("/list", get(list::root))
        .route("/list/", get(list::root))
        .route("/list/{*path}", get(list::list))
        .route("/node/{*path}", get(node::node))
        .route("/file/{*path}", get(file::file))
        .route("/search", get(search::search))
        .route("/versions/{*path}", get(versions::versions))
        .route("/index", get(index::status).post(index::build))
        .route("/zip", get(archive::zip).post(archive::zip))
        .route("/tar", get(archive::tar).post(archive::tar))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::wrong_method())
}

/// What describes the API, for everybody.
pub fn description() -> Router<Arc<App>> {
    Router::new().route("/api/v1/openapi.json", get(openapi::openapi))
}
