//! The tree as one user's client sees it.

use super::Admits;
use super::client::Client;
use crate::path::{Links, Way};
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

/// Something that was found, and how.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The way to it, as it is stored.
    pub(super) way: Way,
    /// The nodes that the path came through, from the root to this one.
    passed: Vec<NodeId>,
}

impl Found {
    pub(super) fn seen(&self) -> Seen {
        Seen { node: self.way.end().node, attr: self.way.end().attr.clone() }
    }
}

/// One line of a listing.
pub(super) type Line = (Name, Result<Seen>);

impl View {
    /// Finds what is at `names`.
    ///
    /// # Errors
    /// `NotFound` for what is not there, not to be seen, neither file nor directory, or a directory that the path
    /// came through before; what the tree reports.
    pub(super) fn find(&self, names: &[Name], is_directory: bool) -> Result<Found> {
        if names.iter().any(|name| self.client.ignores(name)) || !self.sees_all(names) {
            return Err(nothing());
        }
        let mut way = Way::root(self.tree.as_ref())?;
        let mut passed = vec![way.end().node];
        for name in names {
            way = way.follow(self.tree.as_ref(), name.as_bytes(), self.links)?;
            if passed.contains(&way.end().node) {
                return Err(nothing());
            }
            passed.push(way.end().node);
        }
        // Links and other spellings lead to places of their own.
        let kind = way.end().attr.kind;
        if !self.sees_all(&way.names()) || !is_shown(kind) || (is_directory && kind != Kind::Directory) {
            return Err(nothing());
        }
        Ok(Found { way, passed })
    }

    /// What the user sees of a line in the listing of the directory `dir`; `None` for nothing.
    pub(super) fn line(&self, dir: &Found, listed: Listed) -> Option<Line> {
        let (name, found) = match listed {
            Listed::Entry { entry: Entry { name, node, attr }, .. } => (name, Ok(Seen { node, attr })),
            Listed::Broken { name: Some(name), error, .. } => (name, Err(error)),
            Listed::Broken { name: None, error, .. } => {
                tracing::warn!(?error, "an entry without a name is left out of a WebDAV listing");
                return None;
            }
        };
        let mut path = dir.way.names();
        path.push(name.clone());
        if self.client.ignores(&name) || !self.admits.sees(&path) {
            return None;
        }
        match found {
            Ok(seen) if seen.attr.kind == Kind::Symlink => Some((name.clone(), self.target(dir, &name)?)),
            Ok(seen) if dir.passed.contains(&seen.node) => {
                Some((name, Err(Error::corrupt("a directory that is in itself"))))
            }
            Ok(seen) => is_shown(seen.attr.kind).then_some((name, Ok(seen))),
            Err(error) => Some((name, Err(error))),
        }
    }

    /// What the link `name` leads to; `None` when that is nowhere, nothing to be shown, or back to a directory that
    /// the path came through: whoever walks the tree would walk in circles.
    fn target(&self, dir: &Found, name: &Name) -> Option<Result<Seen>> {
        let way = match dir.way.clone().follow(self.tree.as_ref(), name.as_bytes(), self.links) {
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
        (is_seen && !dir.passed.contains(&seen.node)).then_some(Ok(seen))
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
