//! What the access log is told of downloads.

use crate::server::access::{Access, Event, Outcome, Peer, Principal, What};
use crate::server::body::{Ending, Failure};
use crate::server::problem::Problem;
use crate::server::state::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::sync::{Arc, Mutex, PoisonError};

/// Who asks, and from where.
pub struct Asker {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub peer: Peer,
}

/// What stands in the extensions of every request that was let through.
impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asker, Problem> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let peer = parts.extensions.get::<Peer>().copied();
        Ok(Asker { principal, peer: peer.ok_or_else(Problem::unauthenticated)? })
    }
}

/// A download that has begun.
#[derive(Clone)]
pub struct Download {
    access: Arc<Access>,
    event: Event,
    note: Arc<Mutex<String>>,
}

impl Download {
    /// One of what is at `path`.
    pub fn new(app: &App, what: What, asker: &Asker, path: Vec<u8>) -> Download {
        let event = Event::new(what, asker.principal.name(), Some(asker.peer.0)).path(path);
        Download { access: app.access.clone(), event, note: Arc::default() }
    }

    /// What there is to say of it at its end.
    pub fn note(&self, text: String) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl Ending for Download {
    fn ended(&mut self, sent: u64, failure: Option<&Failure>) {
        let outcome = match failure {
            None => Outcome::Done,
            Some(Failure::ClientGone) => Outcome::Aborted,
            Some(Failure::Unreadable(_)) => Outcome::Failed,
        };
        let mut about = std::mem::take(&mut *self.note.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(Failure::Unreadable(why)) = failure {
            about.clone_from(why);
        }
        self.access.audit(self.event.clone().bytes(sent).outcome(outcome).about(about));
    }
}
