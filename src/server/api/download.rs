//! What the access log is told of downloads.

use crate::server::access::{Access, Principal};
use crate::server::body::Ending;
use crate::server::state::App;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A download that has begun.
#[derive(Clone)]
pub struct Download {
    access: Arc<Access>,
    kind: &'static str,
    principal: Principal,
    peer: Option<IpAddr>,
    path: Vec<u8>,
    note: Arc<Mutex<Option<String>>>,
}

impl Download {
    /// One of what is at `path`.
    pub fn new(
        app: &App,
        kind: &'static str,
        principal: &Principal,
        peer: Option<IpAddr>,
        path: Vec<u8>,
    ) -> Download {
        let access = app.access.clone();
        Download { access, kind, principal: principal.clone(), peer, path, note: Arc::default() }
    }

    /// What there is to say of it at its end.
    pub fn note(&self, text: String) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

impl Ending for Download {
    fn ended(&mut self, sent: u64, failure: Option<&str>) {
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = failure.map(str::to_owned).or(note);
        self.access.log(self.kind, &self.principal, self.peer, &self.path, sent, outcome.as_deref());
    }
}
