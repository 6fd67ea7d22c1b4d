//! Share links.

use super::body::{Body, number};
use super::check_session;
use crate::server::access::principal::{Principal, UserId};
use crate::server::access::share::{self, Share};
use crate::server::access::{Access, Event, Peer, What, clock, paths};
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A share, without its secret.
#[derive(Serialize, ToSchema)]
pub struct ShareInfo {
    /// Its number.
    id: i64,
    /// Who made it.
    user: String,
    /// What is shared, percent-encoded.
    path: String,
    /// When it was made (RFC 3339).
    made: String,
    /// When it ends.
    expires: String,
}

impl From<Share> for ShareInfo {
    fn from(share: Share) -> ShareInfo {
        ShareInfo {
            id: share.id,
            user: share.user,
            path: paths::encode(&share.path),
            made: clock::text(share.made),
            expires: clock::text(share.expires),
        }
    }
}

/// Shares.
#[derive(Serialize, ToSchema)]
pub struct Shares {
    /// The newest first.
    shares: Vec<ShareInfo>,
}

/// A share to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShare {
    /// The file or directory, percent-encoded.
    path: String,
    /// Seconds until it ends: a year and a day at most.
    expires_in: i64,
}

/// A share that was made.
#[derive(Serialize, ToSchema)]
pub struct MadeShare {
    /// The link's secret. It is never shown again.
    secret: String,
    /// The link: its path on this server.
    link: String,
    /// What is kept of it.
    #[serde(flatten)]
    share: ShareInfo,
}

/// Lists one's own shares; for administrators, all.
#[utoipa::path(get, path = "/api/v1/shares", tag = "access", responses(
    (status = 200, body = Shares),
    (status = 403, body = Problem),
))]
pub async fn list(State(access): State<Arc<Access>>, principal: Principal) -> Result<Json<Shares>, Problem> {
    check_session(&principal)?;
    let user = whose(&principal);
    let shares = access.run(move |access| Ok(access.with(|db| share::list(db, user))?)).await?;
    Ok(Json(Shares { shares: shares.into_iter().map(ShareInfo::from).collect() }))
}

/// Makes a link to one file or directory, for whoever has it.
#[utoipa::path(post, path = "/api/v1/shares", tag = "access", request_body = NewShare, responses(
    (status = 201, body = MadeShare),
    (status = 400, body = Problem),
    (status = 403, body = Problem, description = "One may not download it oneself"),
    (status = 404, body = Problem),
    (status = 409, body = Problem, description = "There are too many"),
))]
pub async fn add(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Body(asked): Body<NewShare>,
) -> Result<(StatusCode, Json<MadeShare>), Problem> {
    check_session(&principal)?;
    let path = paths::decode(&asked.path)?;
    let made = access.run(move |access| {
        let now = access.now();
        let (share, secret) = access.with(|db| share::make(db, &principal, path, asked.expires_in, now))?;
        let event = Event::new(What::ShareMade, principal.name(), Some(peer));
        access.audit(event.about(share.id.to_string()).path(paths::join(&share.path)));
        Ok(MadeShare { link: format!("/s/{secret}/"), secret, share: share.into() })
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

/// Ends one of one's own shares; administrators end any.
#[utoipa::path(delete, path = "/api/v1/shares/{id}", tag = "access",
    params(("id" = i64, Path, description = "The share's number")), responses(
    (status = 204),
    (status = 404, body = Problem),
))]
pub async fn revoke(
    State(access): State<Arc<Access>>,
    Peer(peer): Peer,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    check_session(&principal)?;
    let id = number(&id)?;
    let revoked = access.run(move |access| {
        let path = access.with(|db| share::revoke(db, whose(&principal), id))?;
        let event = Event::new(What::ShareRevoked, principal.name(), Some(peer));
        access.audit(event.about(id.to_string()).path(path));
        Ok(StatusCode::NO_CONTENT)
    });
    revoked.await
}

/// Whose shares one may see and end: all, or one's own.
fn whose(principal: &Principal) -> Option<UserId> {
    (!principal.is_admin()).then(|| principal.user())
}
