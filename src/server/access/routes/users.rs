//! Users, for administrators.

use super::body::Body;
use super::check_admin;
use super::rights::{Right, from_list, to_list};
use crate::server::access::clock;
use crate::server::access::principal::Principal;
use crate::server::access::users::{self, Change, New, User};
use crate::server::access::{Access, Event, Peer, What};
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A user.
#[derive(Serialize, ToSchema)]
pub struct UserInfo {
    /// The name.
    name: String,
    /// Whether they manage the others, and may do everything.
    admin: bool,
    /// Whether they may not come in at present.
    disabled: bool,
    /// What they may do, with which clients.
    rights: Vec<Right>,
    /// When they were made (RFC 3339).
    made: String,
}

impl From<User> for UserInfo {
    fn from(user: User) -> UserInfo {
        UserInfo {
            rights: to_list(&user.rights),
            name: user.name,
            admin: user.is_admin,
            disabled: user.is_disabled,
            made: clock::text(user.made),
        }
    }
}

/// All users.
#[derive(Serialize, ToSchema)]
pub struct Users {
    /// By name.
    users: Vec<UserInfo>,
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: 1 to 64 letters, digits, and characters of `.-_@+`.
    name: String,
    /// The password, of at least 10 characters.
    password: String,
    /// Whether they manage the others, and may do everything.
    #[serde(default)]
    admin: bool,
    /// What they may do, with which clients.
    #[serde(default)]
    rights: Vec<Right>,
}

/// What becomes different of a user; the rest stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// A new password, of at least 10 characters. Their sessions end.
    password: Option<String>,
    /// Whether they manage the others, and may do everything.
    admin: Option<bool>,
    /// Whether they may not come in. Their sessions end.
    disabled: Option<bool>,
    /// What they may do from now on, with which clients.
    rights: Option<Vec<Right>>,
}

/// Lists users.
#[utoipa::path(get, path = "/api/v1/users", tag = "access", responses(
    (status = 200, body = Users),
    (status = 403, body = Problem),
))]
pub async fn list(State(access): State<Arc<Access>>, principal: Principal) -> Result<Json<Users>, Problem> {
    check_admin(&principal)?;
    let users = access.run(|access| Ok(access.with(|db| users::all(db))?)).await?;
    Ok(Json(Users { users: users.into_iter().map(UserInfo::from).collect() }))
}

/// Makes a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "access", request_body = NewUser, responses(
    (status = 201, body = UserInfo),
    (status = 400, body = Problem),
    (status = 403, body = Problem),
    (status = 409, body = Problem, description = "There is a user of this name"),
))]
pub async fn add(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Body(asked): Body<NewUser>,
) -> Result<(StatusCode, Json<UserInfo>), Problem> {
    check_admin(&principal)?;
    users::check_name(&asked.name)?;
    let rights = from_list(asked.rights)?;
    let hash = access.passwords.hash(asked.password).await?;
    let made = access.run(move |access| {
        let now = access.now();
        let new = New { name: &asked.name, password: &hash, is_admin: asked.admin, rights: &rights };
        let user = access.with(|db| users::add(db, &new, now))?;
        access.audit(Event::new(What::UserMade, principal.name(), Some(peer)).about(&*user.name));
        Ok(user)
    });
    Ok((StatusCode::CREATED, Json(made.await?.into())))
}

/// Tells of one user.
#[utoipa::path(get, path = "/api/v1/users/{name}", tag = "access",
    params(("name" = String, Path, description = "The user's name")), responses(
    (status = 200, body = UserInfo),
    (status = 403, body = Problem),
    (status = 404, body = Problem),
))]
pub async fn one(
    State(access): State<Arc<Access>>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Json<UserInfo>, Problem> {
    check_admin(&principal)?;
    let user = access.run(move |access| Ok(access.with(|db| users::by_name(db, &name))?)).await?;
    user.map(|user| Json(user.into())).ok_or_else(Problem::not_found)
}

/// Changes a user. Somebody must be left who manages users.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "access", request_body = UserChange,
    params(("name" = String, Path, description = "The user's name")), responses(
    (status = 200, body = UserInfo),
    (status = 400, body = Problem),
    (status = 403, body = Problem),
    (status = 404, body = Problem),
    (status = 409, body = Problem, description = "Nobody would be left to manage users"),
))]
pub async fn change(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Path(name): Path<String>,
    Body(asked): Body<UserChange>,
) -> Result<Json<UserInfo>, Problem> {
    check_admin(&principal)?;
    let rights = asked.rights.map(from_list).transpose()?;
    let password = match asked.password {
        Some(password) => Some(access.passwords.hash(password).await?),
        None => None,
    };
    let change = Change { password, is_admin: asked.admin, is_disabled: asked.disabled, rights };
    let changed = access.run(move |access| {
        let user = access.with(|db| users::change(db, &name, &change))?;
        access.audit(Event::new(What::UserChanged, principal.name(), Some(peer)).about(&*user.name));
        Ok(user)
    });
    Ok(Json(changed.await?.into()))
}

/// Removes a user with their sessions, tokens and shares. Somebody must be left who manages users.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "access",
    params(("name" = String, Path, description = "The user's name")), responses(
    (status = 204),
    (status = 403, body = Problem),
    (status = 404, body = Problem),
    (status = 409, body = Problem, description = "Nobody would be left to manage users"),
))]
pub async fn remove(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    check_admin(&principal)?;
    let removed = access.run(move |access| {
        access.with(|db| users::remove(db, &name))?;
        access.audit(Event::new(What::UserRemoved, principal.name(), Some(peer)).about(name));
        Ok(StatusCode::NO_CONTENT)
    });
    removed.await
}
