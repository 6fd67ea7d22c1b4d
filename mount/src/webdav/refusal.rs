//! Answers that are errors.

use super::{ALLOW, Body};
use http::{HeaderValue, Response, StatusCode, header};
use spelunk_tree::{Error, ErrorKind};

/// Why something is not answered as asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A status that says it all.
    Status(StatusCode),
    /// A method that nothing here allows.
    Method,
    /// A condition of RFC 4918, by its element's name.
    Condition(StatusCode, &'static str),
    /// No range of a file of this many bytes.
    Range(u64),
    /// The tree failed.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl Refusal {
    /// Nothing there, or nothing that this user sees: which of the two is not told.
    pub(super) fn not_found() -> Refusal {
        Refusal::Status(StatusCode::NOT_FOUND)
    }

    pub(super) fn bad_request() -> Refusal {
        Refusal::Status(StatusCode::BAD_REQUEST)
    }

    /// The answer, with a line of text for those who read it: the kind, never what a guest says.
    pub(super) fn response(self, is_head: bool) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let mut text = String::new();
        let mut content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        *response.status_mut() = match self {
            Refusal::Status(status) => status,
            Refusal::Method => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
                "this is a backup: nothing can be changed\n".clone_into(&mut text);
                StatusCode::METHOD_NOT_ALLOWED
            }
            Refusal::Condition(status, name) => {
                content_type = super::xml::content_type();
                text = format!("{}<D:error xmlns:D=\"DAV:\"><D:{name}/></D:error>", super::xml::HEAD);
                status
            }
            Refusal::Range(len) => {
                let range = HeaderValue::from_str(&format!("bytes */{len}"));
                response.headers_mut().extend(range.map(|range| (header::CONTENT_RANGE, range)));
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            Refusal::Failed(error) => {
                tracing::debug!(?error, "a WebDAV request failed");
                let status = status(error.kind());
                if status != StatusCode::NOT_FOUND {
                    text = format!("{}\n", error.kind().phrase());
                }
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                }
                status
            }
        };
        // Windows remembers for a while that a name is not there, in any case: not for long.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        if !text.is_empty() {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            if !is_head {
                *response.body_mut() = Body::full(text);
            }
        }
        response
    }
}

/// The status for each kind of error.
///
/// Clients of WebDAV know few: they make an error of input and output of any 500, which is what damage and limits
/// are to a user. 422 and 413 would blame the request, and 507 is shown as a full disk. Paths that lead through a
/// file, or to what WebDAV has no word for, lead nowhere.
pub(super) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::NotALink => {
            StatusCode::NOT_FOUND
        }
        ErrorKind::Corrupt | ErrorKind::Limit | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Storage => StatusCode::BAD_GATEWAY,
        ErrorKind::WorkerLost => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
    }
}
