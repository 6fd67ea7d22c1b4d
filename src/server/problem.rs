//! Errors as they go over HTTP: problem details (RFC 9457), with the error's kind kept apart.

use crate::escape;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use spelunk_tree::{Error, ErrorKind};
use utoipa::ToSchema;

/// The media type of problems.
pub const PROBLEM: &str = "application/problem+json";

/// An answer that is an error. Its texts may quote a guest: they are made safe to print, and are never HTML.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

/// What a problem says.
#[derive(Debug, Serialize, ToSchema)]
pub struct Details {
    /// `urn:spelunk:` and the kind.
    r#type: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong, in a few words.
    title: String,
    /// What was being done, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Why, the nearest cause first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Seconds after which to try again.
    #[serde(skip)]
    retry_after: Option<u64>,
    /// Bytes that there are, where a range was asked for that there is not.
    #[serde(skip)]
    len: Option<u64>,
}

impl Problem {
    /// A problem of the request itself: `kind` in the form of [`kind_name`].
    pub fn new(status: StatusCode, kind: &str, title: impl Into<String>) -> Problem {
        Problem(Box::new(Details {
            r#type: format!("urn:spelunk:{kind}"),
            status: status.as_u16(),
            title: title.into(),
            detail: None,
            causes: Vec::new(),
            hint: None,
            retry_after: None,
            len: None,
        }))
    }

    /// With what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = Some(hint.into());
        self
    }

    /// With the seconds after which to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Problem {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Something in the request that cannot be.
    pub fn bad_request(title: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", title)
    }

    /// Nobody says who asks.
    pub fn unauthenticated() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Log in first")
    }

    /// Not there, or not for the one who asks: which of the two is not told.
    pub fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, kind_name(ErrorKind::NotFound), title(ErrorKind::NotFound))
    }

    /// Something is there, but this cannot be done with it.
    pub fn wrong_method() -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "This cannot be done here")
    }

    /// Not for the one who asks, who may know that it is there.
    pub fn denied(title: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, kind_name(ErrorKind::Denied), title)
    }

    /// Too much is going on.
    pub fn busy() -> Problem {
        let title = "Too many archives are being made";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", title).retry_after(10)
    }

    /// The server ends.
    pub fn stopping() -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "The server is being stopped")
    }

    /// A range outside of the `len` bytes that there are.
    pub fn no_such_range(len: u64) -> Problem {
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let mut problem = Problem::new(status, "range", "There are no such bytes");
        problem.0.len = Some(len);
        problem
    }

    /// What a status says by itself.
    pub fn of_status(status: StatusCode) -> Problem {
        match status {
            StatusCode::NOT_FOUND => Problem::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Problem::wrong_method(),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(status, kind_name(ErrorKind::Limit), "This is more than a request may send")
            }
            _ if status.is_client_error() => Problem::new(status, "bad-request", "This request cannot be"),
            _ => Problem::new(status, kind_name(ErrorKind::Internal), title(ErrorKind::Internal)),
        }
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let kind = error.kind();
        let mut chain = error.chain().map(|link| escape::message(&link.to_string()).into_owned());
        let mut problem = Problem::new(status(kind), kind_name(kind), title(kind));
        problem.0.detail = chain.next();
        problem.0.causes = chain.collect();
        problem.0.retry_after = (kind == ErrorKind::WorkerLost).then_some(1);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(range) = self.0.len.and_then(|len| HeaderValue::from_str(&format!("bytes */{len}")).ok())
        {
            headers.insert(header::CONTENT_RANGE, range);
        }
        response
    }
}

/// The name of a kind of error, as it stands in `type`.
pub fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::NotADirectory => "not-a-directory",
        ErrorKind::IsADirectory => "is-a-directory",
        ErrorKind::NotALink => "not-a-link",
        ErrorKind::Corrupt => "damaged",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Storage => "storage",
        ErrorKind::Limit => "limit",
        ErrorKind::WorkerLost => "worker-lost",
        ErrorKind::Denied => "denied",
        ErrorKind::Internal => "internal",
    }
}

fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "There is no such thing",
        ErrorKind::NotADirectory => "This is no directory",
        ErrorKind::IsADirectory => "This is a directory",
        ErrorKind::NotALink => "This is no symbolic link",
        ErrorKind::Corrupt => "This is damaged in the backup",
        ErrorKind::Unsupported => "Spelunk cannot read this yet",
        ErrorKind::Storage => "The backup's storage cannot be read",
        ErrorKind::Limit => "This is larger than Spelunk's limit",
        ErrorKind::WorkerLost => "The reader of this backup was lost, and starts again",
        ErrorKind::Denied => "This is not permitted",
        ErrorKind::Internal => "This is a fault of Spelunk's own",
    }
}

/// Damage is the guest's, so neither the client's fault nor the server's: 422 says that what is there cannot be
/// processed.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::NotALink => StatusCode::CONFLICT,
        ErrorKind::Corrupt => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Storage => StatusCode::BAD_GATEWAY,
        ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::WorkerLost => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
