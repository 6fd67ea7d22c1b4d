//! What requests bring, taken apart; what cannot be is answered as a problem.

use crate::server::problem::Problem;
use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

/// Bytes of a body: rights for some thousand clients.
const BYTES_MAX: usize = 1 << 20;

/// A body of JSON. Its type must be said: forms of other sites cannot.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Body<T>, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::bad_request("The body must be application/json"));
        }
        let bytes = to_bytes(request.into_body(), BYTES_MAX).await;
        let bytes = bytes.map_err(|_| Problem::bad_request("The body is too large, or ended early"))?;
        // The parser's words could quote a password.
        serde_json::from_slice(&bytes).map(Body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::bad_request(format!("The body is not what is expected (line {line}, column {column})"))
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Parameters of a query.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Parameters(query))
            .map_err(|_| Problem::bad_request("A parameter that cannot be"))
    }
}

/// The number in a path.
///
/// # Errors
/// `not-found`.
pub fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}
