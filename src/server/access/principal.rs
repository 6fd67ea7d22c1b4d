//! Who asks, and what they may see.
//!
//! A handler finds a [`Principal`] in its request's extensions and asks it before it touches the library. Paths are
//! compared name by name, as they stand: what follows a link (`latest` is one) asks again about where it leads.

use super::rights::{Action, Actions, Rights};
use super::secret::Hash;
use crate::server::problem::Problem;
use serde::Serialize;
use spelunk_tree::Name;
use std::sync::Arc;
use utoipa::ToSchema;

/// How somebody has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By logging in.
    Session,
    /// By a token of a user's.
    Token,
    /// By a share link: anybody.
    Share,
}

/// Who asks: what they may do was looked up when the request came, and holds for it alone.
#[derive(Clone, Debug)]
pub struct Principal(Arc<Who>);

#[derive(Debug)]
struct Who {
    user: UserId,
    name: String,
    kind: Kind,
    is_admin: bool,
    rights: Rights,
    /// The one place that a share link leads to.
    shared: Option<Shared>,
    /// Which session it is.
    session: Option<Hash>,
}

#[derive(Debug)]
struct Shared {
    names: Vec<Name>,
    path: Vec<u8>,
}

/// A user's number in the database. It is never given to another.
pub type UserId = i64;

impl Principal {
    /// A user who logged in.
    pub(super) fn session(user: UserId, name: String, is_admin: bool, rights: Rights, id: Hash) -> Principal {
        let kind = Kind::Session;
        let rights = if is_admin { Rights::all() } else { rights };
        Principal(Arc::new(Who { user, name, kind, is_admin, rights, shared: None, session: Some(id) }))
    }

    /// Whoever has a token of the user `name`; `rights` are what the token leaves of the user's. It is no
    /// administrator, whoever the user is: a token that leaks must not be able to make users.
    pub(super) fn token(user: UserId, name: String, rights: Rights) -> Principal {
        let kind = Kind::Token;
        Principal(Arc::new(Who { user, name, kind, is_admin: false, rights, shared: None, session: None }))
    }

    /// Whoever has a link to `path` (not empty) that the user `name` made, who has `rights` now.
    pub(super) fn share(user: UserId, name: String, rights: &Rights, path: Vec<Name>) -> Principal {
        let rights = rights.narrowed(Actions::SHARED, path.get(..1));
        let bytes = path.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/');
        let shared = Some(Shared { names: path, path: bytes });
        let kind = Kind::Share;
        Principal(Arc::new(Who { user, name, kind, is_admin: false, rights, shared, session: None }))
    }

    /// The user's name; of a share link, its maker's.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How they have shown who they are.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether they may manage users. Then they may do everything else, too.
    pub fn is_admin(&self) -> bool {
        self.0.is_admin
    }

    /// What they may do.
    pub fn rights(&self) -> &Rights {
        &self.0.rights
    }

    /// The path that a share link leads to, its names with `/` between them; `None` for users.
    pub fn root(&self) -> Option<&[u8]> {
        self.0.shared.as_ref().map(|shared| &*shared.path)
    }

    /// Whether they may do `action` with what is at `path`: client, moment, item, and on. The library's root, an
    /// empty path, may be browsed by every user, since it shows only the clients that [`Principal::sees`] says.
    pub fn may(&self, action: Action, path: &[Name]) -> bool {
        let is_within = self.0.shared.as_ref().is_none_or(|shared| path.starts_with(&shared.names));
        is_within
            && match path.first() {
                Some(client) => self.0.rights.of(client).has(action),
                None => action == Action::Browse || self.0.rights.every.has(action),
            }
    }

    /// Whether they may know that `path` is there. Of a share link these are also the directories above what is
    /// shared: they may be listed as long as every entry that is not seen is left out.
    pub fn sees(&self, path: &[Name]) -> bool {
        let is_on_the_way = self
            .0
            .shared
            .as_ref()
            .is_none_or(|shared| path.starts_with(&shared.names) || shared.names.starts_with(path));
        is_on_the_way && path.first().is_none_or(|client| !self.0.rights.of(client).is_empty())
    }

    /// Whether they may know that there is a client of this name.
    pub fn sees_client(&self, client: &Name) -> bool {
        self.sees(std::slice::from_ref(client))
    }

    /// Lets those through who may do `action` at `path`.
    ///
    /// # Errors
    /// `not-found` for what they may not know of, `denied` for what they see and may not do this with.
    pub fn check(&self, action: Action, path: &[Name]) -> Result<(), Problem> {
        if self.may(action, path) {
            return Ok(());
        }
        if !self.sees(path) {
            return Err(Problem::not_found());
        }
        Err(Problem::denied(match action {
            Action::Browse => "You may not look into this",
            Action::Download => "You may not download this",
            Action::Manage => "You may not manage this",
        }))
    }

    /// The user's number.
    pub(super) fn user(&self) -> UserId {
        self.0.user
    }

    /// Which session it is.
    pub(super) fn session_id(&self) -> Option<&Hash> {
        self.0.session.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::collections::BTreeMap;

    fn path(text: &str) -> Vec<Name> {
        let names = text.split('/').filter(|name| !name.is_empty());
        names.map(|name| Name::new(name.as_bytes()).unwrap()).collect()
    }

    fn rights(client: &str, actions: &[Action]) -> Rights {
        let actions = actions.iter().copied().collect();
        Rights { every: Actions::NONE, clients: BTreeMap::from([(path(client).remove(0), actions)]) }
    }

    fn user(rights: Rights, is_admin: bool) -> Principal {
        Principal::session(1, "alice".to_owned(), is_admin, rights, Hash::default())
    }

    fn status(principal: &Principal, action: Action, at: &str) -> Option<StatusCode> {
        principal.check(action, &path(at)).err().map(|problem| problem.status())
    }

    #[test]
    fn unknown_clients_are_not_found_and_missing_actions_denied() {
        let alice = user(rights("pc", &[Action::Browse]), false);

        assert_eq!(status(&alice, Action::Browse, "pc/2026-11-23_0243/C/x"), None);
        assert_eq!(status(&alice, Action::Download, "pc/x"), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(&alice, Action::Download, "pc"), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(&alice, Action::Browse, "other"), Some(StatusCode::NOT_FOUND));
        assert_eq!(status(&alice, Action::Download, "other/x"), Some(StatusCode::NOT_FOUND));
        assert_eq!(status(&alice, Action::Browse, ""), None);
        assert_eq!(status(&alice, Action::Download, ""), Some(StatusCode::FORBIDDEN));
        assert!(alice.sees_client(&path("pc")[0]) && !alice.sees_client(&path("other")[0]));
    }

    #[test]
    fn a_client_whose_name_only_begins_the_same_is_another() {
        let alice = user(rights("pc", &Action::ALL), false);

        assert_eq!(status(&alice, Action::Browse, "pc2/x"), Some(StatusCode::NOT_FOUND));
        assert_eq!(status(&alice, Action::Browse, "PC/x"), Some(StatusCode::NOT_FOUND));
    }

    #[test]
    fn administrators_may_do_everything() {
        let root = user(Rights::default(), true);

        for action in Action::ALL {
            assert!(root.may(action, &[]) && root.may(action, &path("any/where")));
        }
    }

    #[test]
    fn tokens_do_not_administer() {
        let token = Principal::token(1, "root".to_owned(), Rights::all());

        assert!(!token.is_admin() && token.may(Action::Manage, &path("pc")));
    }

    #[test]
    fn a_share_reaches_its_path_and_below_and_nothing_else() {
        let share = |rights| Principal::share(1, "alice".to_owned(), &rights, path("pc/m/C/docs"));
        let link = share(Rights::all());

        for inside in ["pc/m/C/docs", "pc/m/C/docs/a/b"] {
            assert_eq!(status(&link, Action::Browse, inside), None, "{inside}");
            assert_eq!(status(&link, Action::Download, inside), None, "{inside}");
            assert_eq!(status(&link, Action::Manage, inside), Some(StatusCode::FORBIDDEN), "{inside}");
        }
        for above in ["", "pc", "pc/m", "pc/m/C"] {
            assert!(link.sees(&path(above)), "{above}");
            assert_eq!(status(&link, Action::Browse, above), Some(StatusCode::FORBIDDEN), "{above}");
            assert_eq!(status(&link, Action::Download, above), Some(StatusCode::FORBIDDEN), "{above}");
        }
        for beside in ["pc/m/C/docs2", "pc/m/C/doc", "pc/m/D", "pc/m2/C/docs", "other", "pc/m/C/docs /x"] {
            assert_eq!(status(&link, Action::Browse, beside), Some(StatusCode::NOT_FOUND), "{beside}");
        }
        assert_eq!(link.root(), Some(&b"pc/m/C/docs"[..]));
        assert!(link.sees_client(&path("pc")[0]) && !link.sees_client(&path("other")[0]));
        // Its maker may no longer do it.
        assert_eq!(
            status(&share(rights("pc", &[Action::Browse])), Action::Download, "pc/m/C/docs"),
            Some(StatusCode::FORBIDDEN)
        );
        assert_eq!(
            status(&share(Rights::default()), Action::Browse, "pc/m/C/docs"),
            Some(StatusCode::NOT_FOUND)
        );
    }
}
