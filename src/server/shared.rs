//! Share links: the API below `/s/SECRET`, for whoever has the link.

use super::access::Peer;
use super::problem::Problem;
use super::state::App;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Lets a request through whose link is good.
///
/// # Errors
/// `not-found` for any other.
pub async fn require(
    State(app): State<Arc<App>>,
    Path(parts): Path<HashMap<String, String>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let secret = parts.get("secret").cloned().ok_or_else(Problem::not_found)?;
    let principal = app.access.run(move |access| access.share(&secret)).await?;
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let connection = connection.map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
    let peer = Peer(app.access.peer(request.headers(), connection));
    request.extensions_mut().insert(principal);
    request.extensions_mut().insert(peer);
    Ok(next.run(request).await)
}
