//! WebDAV: the presenter, with the eyes of whoever asks.

use super::access::{Access, Action, Event, Peer, Principal, What};
use super::state::App;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use spelunk_mount::webdav::Admits;
use spelunk_tree::Name;
use std::sync::Arc;

/// Who asks.
struct Asker {
    access: Arc<Access>,
    principal: Principal,
    peer: Peer,
}

impl Admits for Asker {
    fn sees(&self, path: &[Name]) -> bool {
        self.principal.sees(path) && (path.is_empty() || self.principal.may(Action::Browse, path))
    }

    fn may_read(&self, path: &[Name]) -> bool {
        self.principal.may(Action::Download, path)
    }

    fn was_read(&self, path: &[Name], bytes: u64) {
        let path: Vec<&[u8]> = path.iter().map(Name::as_bytes).collect();
        let event = Event::new(What::Download, self.principal.name(), Some(self.peer.0));
        self.access.audit(event.path(path.join(&b'/')).bytes(bytes));
    }
}

/// Answers a WebDAV request.
pub async fn dav(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    let asker = Asker { access: app.access.clone(), principal, peer };
    app.webdav.handle(request, Arc::new(asker)).await.map(Body::new)
}
