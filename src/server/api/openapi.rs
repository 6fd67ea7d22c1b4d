//! The API's description for programs.

use super::{archive, clients, file, index, list, node, search, service, versions};
use crate::server::access;
use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(title = "Spelunk", description = "Backups as folders"),
    paths(
        service::service,
        clients::clients,
        clients::client,
        list::list,
        node::node,
        file::file,
        archive::zip,
        archive::tar,
        search::search,
        versions::versions,
        index::status,
        index::build
    )
)]
struct Library;

/// The description, OpenAPI 3.1.
pub async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    let mut all = Library::openapi();
    all.merge(access::openapi());
    Json(all)
}
