//! One's own tokens.

use super::body::{Body, number};
use super::check_session;
use super::rights::client_names;
use crate::server::access::principal::Principal;
use crate::server::access::rights::{Action, Actions};
use crate::server::access::token::{self, Token};
use crate::server::access::{Access, Event, Peer, What, clock, paths};
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use spelunk_tree::Name;
use std::sync::Arc;
use utoipa::ToSchema;

/// Clients that a token can be limited to: more are better left to its user's rights.
const CLIENTS_MAX: usize = 1000;
/// Seconds that a token lasts at most, if it does not last for good: ten years.
const SECONDS_MAX: i64 = 10 * 366 * 24 * 3600;

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenInfo {
    /// Its number.
    id: i64,
    /// What its user calls it.
    name: String,
    /// What it is good for, as far as its user may do it.
    actions: Vec<Action>,
    /// The clients that it is good for, percent-encoded; absent: all that its user has.
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<String>>,
    /// When it was made (RFC 3339).
    made: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// When it was last used, give or take a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<String>,
}

impl From<Token> for TokenInfo {
    fn from(token: Token) -> TokenInfo {
        TokenInfo {
            id: token.id,
            name: token.name,
            actions: token.actions.list(),
            clients: token.clients.as_deref().map(client_names),
            made: clock::text(token.made),
            expires: token.expires.map(clock::text),
            used: token.used.map(clock::text),
        }
    }
}

/// One's tokens.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    /// The newest first.
    tokens: Vec<TokenInfo>,
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What to call it.
    name: String,
    /// What it shall be good for.
    actions: Vec<Action>,
    /// The clients that it shall be good for, percent-encoded; absent: all that its user has.
    clients: Option<Vec<String>>,
    /// Seconds until it ends; absent: it does not.
    expires_in: Option<i64>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    /// The token itself. It is never shown again.
    secret: String,
    /// What is kept of it.
    #[serde(flatten)]
    token: TokenInfo,
}

/// Lists one's own tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", responses(
    (status = 200, body = Tokens),
    (status = 403, body = Problem),
))]
pub async fn list(State(access): State<Arc<Access>>, principal: Principal) -> Result<Json<Tokens>, Problem> {
    check_session(&principal)?;
    let user = principal.user();
    let tokens = access.run(move |access| Ok(access.with(|db| token::of_user(db, user))?)).await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(TokenInfo::from).collect() }))
}

/// Makes a token. It never has more rights than its user has at the time.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = NewToken, responses(
    (status = 201, body = MadeToken),
    (status = 400, body = Problem),
    (status = 403, body = Problem),
    (status = 409, body = Problem, description = "There are too many"),
))]
pub async fn add(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Body(asked): Body<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    check_session(&principal)?;
    let new = new_token(asked, access.now())?;
    let made = access.run(move |access| {
        let (token, secret) = access.with(|db| token::make(db, principal.user(), &new))?;
        access.audit(Event::new(What::TokenMade, principal.name(), Some(peer)).about(&*token.name));
        Ok(MadeToken { secret, token: token.into() })
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

fn new_token(asked: NewToken, now: i64) -> Result<Token, Problem> {
    if asked.clients.as_ref().is_some_and(|clients| clients.len() > CLIENTS_MAX) {
        return Err(Problem::bad_request(format!("A token is for at most {CLIENTS_MAX} single clients")));
    }
    if asked.expires_in.is_some_and(|seconds| !(1..=SECONDS_MAX).contains(&seconds)) {
        return Err(Problem::bad_request(format!("A token lasts 1 to {SECONDS_MAX} seconds, or for good")));
    }
    let clients =
        asked.clients.map(|clients| clients.iter().map(|client| paths::decode_name(client)).collect());
    let clients: Option<Vec<Name>> = clients.transpose()?;
    Ok(Token {
        id: 0,
        name: asked.name,
        actions: asked.actions.into_iter().collect::<Actions>(),
        clients,
        made: now,
        expires: asked.expires_in.map(|seconds| now + seconds),
        used: None,
    })
}

/// Removes one of one's own tokens.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "access",
    params(("id" = i64, Path, description = "The token's number")), responses(
    (status = 204),
    (status = 404, body = Problem),
))]
pub async fn remove(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    check_session(&principal)?;
    let id = number(&id)?;
    let removed = access.run(move |access| {
        access.with(|db| token::remove(db, principal.user(), id))?;
        access.audit(Event::new(What::TokenRemoved, principal.name(), Some(peer)).about(id.to_string()));
        Ok(StatusCode::NO_CONTENT)
    });
    removed.await
}
