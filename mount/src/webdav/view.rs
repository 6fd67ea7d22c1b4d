//! The tree as one user's client sees it.

use super::Admits;
use super::client::Client;
use crate::path::{Links, Way, join};
use spelunk_tree::{Attr, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Result, Tree};
use std::sync::Arc;

/// See the module. Its methods block.
#[derive(Clone)]
pub(super) struct View {
    pub(super) tree: Arc<dyn Tree>,
    pub(super) admits: Arc<dyn Admits>,
    pub(super) links: Links,
    pub(super) client: Client,
}

/// A file or directory: WebDAV knows nothing else.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: NodeId,
    pub(super) attr: Attr,
}

impl Seen {
    pub(super) fn is_directory(&self) -> bool {
        self.attr.kind == Kind::Directory
    }
}

/// One line of a listing.
pub(super) type Line = (Name, Result<Seen>);

impl View {
    /// Finds what is at `names`, and the way there.
    ///
    /// # Errors
    /// `NotFound` for what is not there, not to be seen, or neither file nor directory; what the tree reports.
    pub(super) fn find(&self, names: &[Name], is_directory: bool) -> Result<Way> {
        if names.iter().any(|name| self.client.ignores(name)) || !self.sees_all(names) {
            return Err(nothing());
        }
        let mut path = names.iter().fold(Vec::new(), |path, name| join(&path, name.as_bytes()));
        if is_directory {
            path.push(b'/');
        }
        let way = Way::root(self.tree.as_ref())?.follow(self.tree.as_ref(), &path, self.links)?;
        // Links and other spellings lead to places of their own.
        if !self.sees_all(&way.names()) || !is_shown(way.end().attr.kind) {
            return Err(nothing());
        }
        Ok(way)
    }

    /// What the user sees of a line in the listing of the directory at the end of `dir`; `None` for nothing.
    pub(super) fn line(&self, dir: &Way, listed: Listed) -> Option<Line> {
        let (name, found) = match listed {
            Listed::Entry { entry: Entry { name, node, attr }, .. } => (name, Ok(Seen { node, attr })),
            Listed::Broken { name: Some(name), error, .. } => (name, Err(error)),
            Listed::Broken { name: None, error, .. } => {
                tracing::warn!(?error, "an entry without a name is left out of a WebDAV listing");
                return None;
            }
        };
        let mut path = dir.names();
        path.push(name.clone());
        if self.client.ignores(&name) || !self.admits.sees(&path) {
            return None;
        }
        match found {
            Ok(seen) if seen.attr.kind == Kind::Symlink => Some((name.clone(), self.target(dir, &name)?)),
            Ok(seen) => is_shown(seen.attr.kind).then_some((name, Ok(seen))),
            Err(error) => Some((name, Err(error))),
        }
    }

    /// What the link `name` leads to; `None` when that is nowhere, or nothing to be shown.
    fn target(&self, dir: &Way, name: &Name) -> Option<Result<Seen>> {
        let way = match dir.clone().follow(self.tree.as_ref(), name.as_bytes(), self.links) {
            Ok(way) => way,
            Err(error) => {
                // Among the limits: how many links one may lead through. Such a link is nowhere's, too.
                let is_nowhere =
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::Limit);
                return (!is_nowhere).then_some(Err(error));
            }
        };
        let seen = Seen { node: way.end().node, attr: way.end().attr.clone() };
        let is_seen = is_shown(seen.attr.kind) && self.sees_all(&way.names());
        is_seen.then_some(Ok(seen))
    }

    /// Whether the user sees each step of a path.
    fn sees_all(&self, names: &[Name]) -> bool {
        (1..=names.len()).all(|count| names.get(..count).is_some_and(|path| self.admits.sees(path)))
    }
}

/// Pipes, sockets and devices have no content, and a link that is not followed leads nowhere.
fn is_shown(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory)
}

fn nothing() -> Error {
    Error::not_found("nothing there, or not for this user")
}
