//! What this is, and who is asking.

use crate::server::access::Principal;
use crate::server::location::Location;
use crate::server::problem::Problem;
use axum::{Extension, Json};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

/// The server, and who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub struct Service {
    /// `spelunk`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Who is asking; of a share link, who made it.
    pub user: String,
    /// `session`, `token` or `share`.
    pub kind: crate::server::access::Kind,
    /// Whether they may manage users.
    pub is_admin: bool,
    /// Of a share link: the place that is shared, for URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// The server, and who is asking.
#[utoipa::path(get, path = "/api/v1", tag = "service",
    responses((status = 200, body = Service), (status = "4XX", body = Problem)))]
pub async fn service(Extension(principal): Extension<Principal>) -> Json<Service> {
    let encoded = |root: &[u8]| percent_encode(root, NON_ALPHANUMERIC).to_string().replace("%2F", "/");
    let root = principal.root().map(encoded).and_then(|root| Location::parse(&root).ok());
    Json(Service {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        user: principal.name().to_owned(),
        kind: principal.kind(),
        is_admin: principal.is_admin(),
        root: root.map(|root| root.encoded()),
    })
}
