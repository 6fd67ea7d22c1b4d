//! Coming in and going out.

use super::body::Body;
use super::check_session;
use super::rights::{Right, to_list};
use crate::server::access::authenticate::setup_needed;
use crate::server::access::principal::{Kind, Principal, UserId};
use crate::server::access::users::{self, Change, New, User};
use crate::server::access::{
    Access, Event, Outcome, Peer, Rights, What, csrf, password as passwords, paths, secret, session,
};
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use utoipa::ToSchema;

/// Who asks, and what they may do.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The user's name; of a share link, its maker's.
    name: String,
    /// How they came in.
    kind: Kind,
    /// Whether they manage users.
    admin: bool,
    /// What they may do, with which clients.
    rights: Vec<Right>,
    /// What a share link leads to, percent-encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<String>,
}

impl Me {
    fn new(principal: &Principal) -> Me {
        let share = principal.root().and_then(|root| paths::split(root).ok());
        Me {
            name: principal.name().to_owned(),
            kind: principal.kind(),
            admin: principal.is_admin(),
            rights: to_list(principal.rights()),
            share: share.map(|path| paths::encode(&path)),
        }
    }

    fn of_user(user: &User) -> Me {
        let rights = to_list(&user.effective_rights());
        Me { name: user.name.clone(), kind: Kind::Session, admin: user.is_admin, rights, share: None }
    }
}

/// The first administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What stood in the link that the server printed.
    secret: String,
    /// The name.
    name: String,
    /// The password, of at least 10 characters.
    password: String,
}

/// Makes the first administrator, and logs in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "access", request_body = Setup, responses(
    (status = 200, body = Me, description = "Made; the cookie is set"),
    (status = 401, body = Problem, description = "A link that is not, or no longer, good"),
    (status = 409, body = Problem, description = "There is an administrator"),
))]
pub async fn setup(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    headers: HeaderMap,
    Body(asked): Body<Setup>,
) -> Result<Response, Problem> {
    csrf::check_origin(&headers, access.config.is_secure)?;
    let known = access.setup_secret()?;
    if !known.is_some_and(|known| secret::is_same(&known, &asked.secret)) {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "This link is not good any more",
        )
        .hint("as long as there is no administrator, the server prints a new link when it starts"));
    }
    users::check_name(&asked.name)?;
    let hash = access.passwords.hash(asked.password).await?;
    let answer = access.run(move |access| {
        let now = access.now();
        let rights = Rights::default();
        let new = New { name: &asked.name, password: &hash, is_admin: true, rights: &rights };
        let user = access.with(|db| users::add_first(db, &new, now))?;
        access.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
        access.audit(Event::new(What::Setup, &user.name, Some(peer)));
        begin_session(access, &user, &hash)
    });
    answer.await
}

/// Who comes in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's name.
    name: String,
    /// The password.
    password: String,
}

/// Logs in. A session that the browser had ends; the new one has a new id.
#[utoipa::path(post, path = "/api/v1/login", tag = "access", request_body = Login, responses(
    (status = 200, body = Me, description = "Logged in; the cookie is set"),
    (status = 401, body = Problem, description = "Wrong name or password"),
    (status = 429, body = Problem, description = "Too many attempts; `Retry-After` says when"),
))]
pub async fn login(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    headers: HeaderMap,
    Body(Login { name, password }): Body<Login>,
) -> Result<Response, Problem> {
    csrf::check_origin(&headers, access.config.is_secure)?;
    // What cannot be a name is nobody's: it is neither remembered nor logged.
    let name = if users::check_name(&name).is_ok() { name } else { String::new() };
    access.limiter.attempt(&name, peer, access.now())?;
    let Some((user, hash)) = verify(&access, &name, password).await? else {
        access.audit(Event::new(What::LoginFailed, &name, Some(peer)).outcome(Outcome::Refused));
        return Err(wrong_password());
    };
    access.limiter.succeeded(&name, peer);
    let answer = access.run(move |access| {
        if let Some(old) = session::from_headers(&headers, access.config.is_secure) {
            access.with(|db| session::end(db, &secret::hash(old)))?;
        }
        let response = begin_session(access, &user, &hash)?;
        access.audit(Event::new(What::Login, &user.name, Some(peer)));
        Ok(response)
    });
    answer.await
}

fn wrong_password() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Wrong name or password")
}

/// The user, and the hash, if the password is theirs and they may come in. It takes as long if there is none.
async fn verify(
    access: &Arc<Access>,
    name: &str,
    password: String,
) -> Result<Option<(User, String)>, Problem> {
    let name = name.to_owned();
    let found = access.run(move |access| {
        if !access.is_set_up()? {
            return Err(setup_needed());
        }
        let found = access.with(|db| {
            let user = users::by_name(db, &name)?.filter(|user| !user.is_disabled);
            user.map(|user| Ok((users::password(db, user.id)?, user))).transpose()
        });
        found.map_err(|error: crate::server::access::Error| error.into())
    });
    let found = found.await?.and_then(|(hash, user)| hash.map(|hash| (user, hash)));
    let is_right = access.passwords.verify(password, found.as_ref().map(|(_, hash)| hash.clone())).await?;
    Ok(found.filter(|_| is_right))
}

/// Begins a session of a user whose password's hash was `hash` a moment ago; if it no longer is, or they may no longer
/// come in, a session would outlive what ended all others.
fn begin_session(access: &Access, user: &User, hash: &str) -> Result<Response, Problem> {
    let (lifetime, is_secure) = (access.config.lifetime, access.config.is_secure);
    let id = access.with(|db| {
        let is_same = users::password(db, user.id)?.is_some_and(|now| now == hash);
        let may_come_in = users::by_id(db, user.id)?.is_some_and(|user| !user.is_disabled);
        if !is_same || !may_come_in {
            return Err(wrong_password());
        }
        Ok(session::start(db, user.id, lifetime, access.now())?)
    })?;
    let cookie = session::cookie(&id, lifetime, is_secure);
    Ok(with_cookie(Json(Me::of_user(user)).into_response(), cookie))
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// Ends this session.
#[utoipa::path(post, path = "/api/v1/logout", tag = "access", responses(
    (status = 204, description = "Ended; the cookie is taken away"),
    (status = 401, body = Problem),
))]
pub async fn logout(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
) -> Result<Response, Problem> {
    check_session(&principal)?;
    let is_secure = access.config.is_secure;
    let ended = access.run(move |access| {
        if let Some(id) = principal.session_id() {
            access.with(|db| session::end(db, id))?;
        }
        access.audit(Event::new(What::Logout, principal.name(), Some(peer)));
        Ok(())
    });
    ended.await?;
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), session::no_cookie(is_secure)))
}

/// A new password of one's own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password until now.
    old: String,
    /// The password from now on, of at least 10 characters.
    new: String,
}

/// Changes one's own password. All sessions end; this one goes on under a new id.
#[utoipa::path(post, path = "/api/v1/password", tag = "access", request_body = PasswordChange, responses(
    (status = 200, body = Me, description = "Changed; a new cookie is set"),
    (status = 400, body = Problem, description = "A password that is too short"),
    (status = 403, body = Problem, description = "The old password is wrong"),
    (status = 429, body = Problem, description = "Too many attempts; `Retry-After` says when"),
))]
pub async fn password(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Body(PasswordChange { old, new }): Body<PasswordChange>,
) -> Result<Response, Problem> {
    check_session(&principal)?;
    passwords::check(&new)?;
    // Who found an open browser must not be able to guess, either.
    access.limiter.attempt(principal.name(), peer, access.now())?;
    if verify(&access, principal.name(), old).await?.is_none() {
        let event = Event::new(What::PasswordChanged, principal.name(), Some(peer));
        access.audit(event.outcome(Outcome::Refused));
        return Err(Problem::denied("The old password is wrong"));
    }
    access.limiter.succeeded(principal.name(), peer);
    let hash = access.passwords.hash(new).await?;
    access.run(move |access| change_password(access, principal.user(), &hash, peer)).await
}

fn change_password(access: &Access, user: UserId, hash: &str, peer: IpAddr) -> Result<Response, Problem> {
    let user = access.with(|db| {
        let user = users::by_id(db, user)?.ok_or_else(Problem::unauthenticated)?;
        let change = Change { password: Some(hash.to_owned()), ..Change::default() };
        Ok::<User, Problem>(users::change(db, &user.name, &change)?)
    })?;
    access.audit(Event::new(What::PasswordChanged, &user.name, Some(peer)));
    begin_session(access, &user, hash)
}

/// Tells who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "access", responses(
    (status = 200, body = Me),
    (status = 401, body = Problem),
    (status = 503, body = Problem, description = "There is no administrator yet"),
))]
pub async fn me(principal: Principal) -> Json<Me> {
    Json(Me::new(&principal))
}
