//! Who a request comes from.

use super::csrf::{self, Csrf};
use super::principal::Principal;
use super::session;
use super::token;
use super::users::User;
use super::{Access, Error};
use crate::server::problem::Problem;
use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Where plain forms are posted to: they start downloads and change nothing.
const FORM_PATHS: &[&str] = &["/api/v1/zip", "/api/v1/tar"];

impl Access {
    /// Who asks: by `Authorization` where there is one (Bearer with a token, or Basic with a user's name and a token),
    /// else by the session's cookie, which must also pass `csrf`.
    ///
    /// # Errors
    /// `setup-needed` before there is an administrator; `unauthenticated`; `denied` for what another site may have
    /// sent.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        method: &Method,
        csrf: Csrf,
    ) -> Result<Principal, Problem> {
        if !self.is_set_up()? {
            return Err(setup_needed());
        }
        let who = match headers.get(header::AUTHORIZATION) {
            Some(authorization) => self.by_token(authorization, headers, method)?,
            None => self.by_session(headers, method, csrf)?,
        };
        who.ok_or_else(Problem::unauthenticated)
    }

    fn by_session(
        &self,
        headers: &HeaderMap,
        method: &Method,
        csrf: Csrf,
    ) -> Result<Option<Principal>, Problem> {
        let (is_secure, lifetime, now) = (self.config.is_secure, self.config.lifetime, self.now());
        let Some(id) = session::from_headers(headers, is_secure) else { return Ok(None) };
        csrf::check(method, headers, csrf, is_secure)?;
        let found = self.with(|db| session::find(db, id, lifetime, now))?;
        Ok(found.map(|(user, id)| {
            let User { id: number, name, is_admin, rights, .. } = user;
            Principal::session(number, name, is_admin, rights, id)
        }))
    }

    fn by_token(
        &self,
        authorization: &HeaderValue,
        headers: &HeaderMap,
        method: &Method,
    ) -> Result<Option<Principal>, Problem> {
        let Some((name, secret)) = credentials(authorization) else { return Ok(None) };
        // Browsers send the name and password of Basic by themselves, too.
        if name.is_some() && !method.is_safe() {
            csrf::check_origin(headers, self.config.is_secure)?;
        }
        let now = self.now();
        let found = self.with(|db| token::find(db, &secret, now))?;
        let found =
            found.filter(|(user, _)| name.is_none_or(|name| name.to_lowercase() == user.name.to_lowercase()));
        Ok(found.map(|(user, rights)| Principal::token(user.id, user.name, rights)))
    }
}

/// The name, which Bearer has not, and the token.
fn credentials(authorization: &HeaderValue) -> Option<(Option<String>, String)> {
    let (scheme, rest) = authorization.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((None, rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    Some((Some(name.to_owned()), secret.to_owned()))
}

/// What is answered before there is an administrator.
pub fn setup_needed() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "setup-needed", "Spelunk is not set up yet")
        .hint("open the link that the server printed when it started")
}

/// Lets a request through that says who asks, with the [`Principal`] and the [`Peer`] in its extensions. To be used with
/// `axum::middleware::from_fn_with_state`.
pub async fn require(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let peer = peer(&access, request.extensions(), request.headers());
    let path = original_uri(&request).path();
    let is_dav = path == "/dav" || path.starts_with("/dav/");
    let csrf = if FORM_PATHS.contains(&path) { Csrf::Form } else { Csrf::Header };
    let (method, headers) = (request.method().clone(), with_host(&request));
    let who = access.run(move |access| access.authenticate(&headers, &method, csrf)).await;
    match who {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            request.extensions_mut().insert(Peer(peer));
            next.run(request).await
        }
        Err(problem) => refusal(problem, is_dav),
    }
}

fn refusal(problem: Problem, is_dav: bool) -> Response {
    let is_unauthenticated = problem.status() == StatusCode::UNAUTHORIZED;
    let mut response = problem.into_response();
    // On other paths a browser would show its own window for a password.
    if is_dav && is_unauthenticated {
        let challenge = HeaderValue::from_static("Basic realm=\"Spelunk\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The address as it came, when this is a router in a router.
fn original_uri(request: &Request) -> &Uri {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |original| &original.0)
}

/// The headers with `Host`, which HTTP/2 keeps in the address.
fn with_host(request: &Request) -> HeaderMap {
    let mut headers = request.headers().clone();
    let authority = original_uri(request).authority();
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        headers.entry(header::HOST).or_insert(host);
    }
    headers
}

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

fn peer(access: &Access, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
    let connection = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    access.peer(headers, connection.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
}

impl FromRequestParts<Arc<Access>> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, access: &Arc<Access>) -> Result<Peer, Self::Rejection> {
        let known = parts.extensions.get::<Peer>().copied();
        Ok(known.unwrap_or_else(|| Peer(peer(access, &parts.extensions, &parts.headers))))
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    /// Whoever [`require`] let through.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Principal, Problem> {
        let principal = parts.extensions.get::<Principal>().cloned();
        principal.ok_or_else(|| Error::Internal("A path that nobody guards").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_bearer_and_basic() {
        let read = |text: &'static str| credentials(&HeaderValue::from_static(text));

        assert_eq!(read("Bearer spl_x"), Some((None, "spl_x".to_owned())));
        assert_eq!(
            read("basic YWxpY2U6c3BsX3g6eQ=="),
            Some((Some("alice".to_owned()), "spl_x:y".to_owned()))
        );
        for bad in ["Basic !!!", "Basic YWxpY2U=", "Digest x", "Bearer", "Basic /w=="] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
