//! The API of users: what is under `/api/v1` of sessions, users, tokens, share links and the log.

mod audit;
mod body;
mod login;
mod rights;
mod shares;
mod tokens;
mod users;

use super::principal::{Kind, Principal};
use super::{Access, require};
use crate::server::problem::Problem;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use std::sync::Arc;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;

/// The routes, with their whole paths: to be merged, not nested. They look after themselves who may use them.
pub fn router(access: Arc<Access>) -> Router {
    let guarded = Router::new()
        .route("/api/v1/logout", post(login::logout))
        .route("/api/v1/password", post(login::password))
        .route("/api/v1/me", get(login::me))
        .route("/api/v1/users", get(users::list).post(users::add))
        .route("/api/v1/users/{name}", get(users::one).patch(users::change).delete(users::remove))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::add))
        .route("/api/v1/tokens/{id}", delete(tokens::remove))
        .route("/api/v1/shares", get(shares::list).post(shares::add))
        .route("/api/v1/shares/{id}", delete(shares::revoke))
        .route("/api/v1/audit", get(audit::read))
        .route_layer(from_fn_with_state(access.clone(), require));
    let no_store =
        SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Router::new()
        .route("/api/v1/login", post(login::login))
        .route("/api/v1/setup", post(login::setup))
        .merge(guarded)
        .layer(no_store)
        .with_state(access)
}

#[derive(OpenApi)]
#[openapi(paths(
    login::setup,
    login::login,
    login::logout,
    login::password,
    login::me,
    users::list,
    users::add,
    users::one,
    users::change,
    users::remove,
    tokens::list,
    tokens::add,
    tokens::remove,
    shares::list,
    shares::add,
    shares::revoke,
    audit::read
))]
struct Description;

/// The description of these routes, to be merged into the whole.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Lets those through who logged in: a token or a link that leaks must not be able to make others.
fn check_session(principal: &Principal) -> Result<(), Problem> {
    match principal.kind() {
        Kind::Session => Ok(()),
        Kind::Token | Kind::Share => Err(Problem::denied("This needs a login, not a token")),
    }
}

/// Lets administrators through.
fn check_admin(principal: &Principal) -> Result<(), Problem> {
    check_session(principal)?;
    if principal.is_admin() { Ok(()) } else { Err(Problem::denied("This is for administrators")) }
}
