//! Why something about users was not done. Refusals are the caller's to put right, and say how; a failure of the
//! database is told as what it is, without its words, which could hold what is stored.

use crate::server::problem::Problem;
use axum::http::StatusCode;
use std::fmt;

/// The result of what is done with the database of users.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug)]
pub enum Error {
    /// What was asked for cannot be: a bad name, a short password.
    Bad(String),
    /// It cannot be as things are: a name that is taken, the last administrator.
    Conflict(&'static str),
    /// There is no such user, token or share.
    NotFound(&'static str),
    /// The database failed.
    Storage(rusqlite::Error),
    /// The machine failed: no random bytes, no memory.
    Internal(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bad(what) => f.write_str(what),
            Error::Conflict(what) | Error::NotFound(what) | Error::Internal(what) => f.write_str(what),
            Error::Storage(error) => write!(f, "the database of users: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        Error::Storage(error)
    }
}

impl From<spelunk_tree::Error> for Error {
    fn from(error: spelunk_tree::Error) -> Error {
        tracing::error!(%error, "access");
        Error::Internal("the machine failed")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Bad(what) => Problem::bad_request(what),
            Error::Conflict(what) => Problem::new(StatusCode::CONFLICT, "conflict", what),
            Error::NotFound(what) => Problem::new(StatusCode::NOT_FOUND, "not-found", what),
            Error::Storage(error) => {
                tracing::error!(%error, "the database of users");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "The server's database of users cannot be used",
                )
            }
            Error::Internal(what) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what),
        }
    }
}
