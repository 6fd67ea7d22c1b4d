//! The log, for administrators.

use super::body::Parameters;
use super::check_admin;
use crate::server::access::audit::{self, Line, Wanted, What};
use crate::server::access::error::Error;
use crate::server::access::principal::Principal;
use crate::server::access::{Access, clock, paths};
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Lines of a page, unless another number is asked for.
const LINES: u32 = 100;
/// Lines of a page.
const LINES_MAX: u32 = 1000;

/// Which lines are wanted.
// Named in full, as the handler's macro does.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only this user's.
    user: Option<String>,
    /// Only of this kind.
    event: Option<What>,
    /// Only older ones than this: `next` of the page before.
    before: Option<i64>,
    /// How many: 100, at most 1000.
    limit: Option<u32>,
}

/// A line of the log.
#[derive(Serialize, ToSchema)]
pub struct AuditLine {
    /// Its number.
    id: i64,
    /// When (RFC 3339).
    time: String,
    /// What, one of the kinds in the query.
    event: String,
    /// Who; of a share link its maker; empty on the machine itself.
    user: String,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// To whom or with what: a user's name, a token's, a number.
    #[serde(skip_serializing_if = "String::is_empty")]
    about: String,
    /// With which path, percent-encoded.
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    /// Bytes that were sent.
    bytes: u64,
    /// `done`, `refused`, `failed` or `aborted`.
    outcome: String,
}

impl From<Line> for AuditLine {
    fn from(line: Line) -> AuditLine {
        AuditLine {
            id: line.id,
            time: clock::text(line.time),
            event: line.what,
            user: line.user,
            peer: line.peer,
            about: line.about,
            path: paths::split(&line.path).map(|path| paths::encode(&path)).unwrap_or_default(),
            bytes: line.bytes,
            outcome: line.outcome,
        }
    }
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    /// The newest first.
    events: Vec<AuditLine>,
    /// What `before` is for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// Reads the log of who did what.
#[utoipa::path(get, path = "/api/v1/audit", tag = "access", params(AuditQuery), responses(
    (status = 200, body = AuditPage),
    (status = 403, body = Problem),
))]
pub async fn read(
    State(access): State<Arc<Access>>,
    principal: Principal,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    check_admin(&principal)?;
    let limit = query.limit.unwrap_or(LINES).clamp(1, LINES_MAX);
    let AuditQuery { user, event: what, before, .. } = query;
    let lines = access.run(move |access| {
        access.log.flush();
        // One more, to know whether there is another page.
        let wanted = Wanted { user, what, before, limit: limit + 1 };
        Ok(access.with(|db| audit::read(db, &wanted)).map_err(Error::from)?)
    });
    let mut lines = lines.await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().map(|line| line.id).filter(|_| has_more);
    Ok(Json(AuditPage { events: lines.into_iter().map(AuditLine::from).collect(), next }))
}
