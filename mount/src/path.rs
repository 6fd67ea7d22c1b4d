//! Paths inside an image: bytes, from the root of the view, walked name by name.
//!
//! A leading `/` changes nothing; `.` and `..` are taken by their letters and never lead above the root; a
//! guest's symbolic links are followed only when asked, and then stay inside their volume.

use spelunk_tree::{Attr, Entry, Error, ErrorKind, Kind, Name, NodeId, Result, Tree};
use std::collections::VecDeque;

/// Symbolic links that one path may lead through: Linux's own limit.
const LINKS_MAX: usize = 40;
/// Components that one path may have, links included: more than PATH_MAX can hold.
const COMPONENTS_MAX: usize = 8192;

/// What a path names.
#[derive(Clone, Debug)]
pub struct Found {
    /// The node.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
}

/// Whether symbolic links of the guest are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Never a guest's: a path through a link is an error, a path to a link names the link. Those that a library
    /// shows in its own directories (`latest`) are followed.
    Keep,
    /// Inside their volume.
    Follow,
}

/// `path` with `name` behind it.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    push(&mut joined, name);
    joined
}

/// Appends `name` to `path`, with a slash between where there is something to part.
pub fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The way from a tree's root to a node: the names under which its steps are stored, with links resolved.
#[derive(Clone, Debug)]
pub struct Way {
    root: Found,
    steps: Vec<(Name, Found)>,
}

impl Way {
    /// The way to the root.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn root(tree: &dyn Tree) -> Result<Way> {
        let root = Found { node: tree.root(), attr: tree.attr(tree.root())? };
        Ok(Way { root, steps: Vec::new() })
    }

    /// Where it leads.
    pub fn end(&self) -> &Found {
        self.steps.last().map_or(&self.root, |(_, found)| found)
    }

    /// The names that it leads through, without the root, which has none.
    pub fn names(&self) -> Vec<Name> {
        self.steps.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The way that goes on from here along `path`.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn follow(mut self, tree: &dyn Tree, path: &[u8], links: Links) -> Result<Way> {
        let typed = match links {
            Links::Keep => normalise(path),
            Links::Follow => split(path).collect(),
        };
        // Each name with the count of steps above which its `..` does not lead: none for what the user typed, those
        // to the root of its volume for what a link says.
        let mut pending: VecDeque<(Vec<u8>, usize)> =
            typed.into_iter().map(|name| (name.to_vec(), 0)).collect();
        let mut links_left = LINKS_MAX;
        let mut steps_left = COMPONENTS_MAX;
        while let Some((component, floor)) = pending.pop_front() {
            steps_left = steps_left.checked_sub(1).ok_or_else(|| Error::limit("a path of too many names"))?;
            if component == b".." {
                self.steps.truncate(self.steps.len().saturating_sub(1).max(floor));
                continue;
            }
            let here = self.end();
            let entry = step(tree, here, component)?;
            let is_followed = links == Links::Follow || tree.is_live(here.node);
            if entry.attr.kind != Kind::Symlink || !is_followed {
                self.steps.push((entry.name, Found { node: entry.node, attr: entry.attr }));
                continue;
            }
            links_left = links_left.checked_sub(1).ok_or_else(|| Error::limit("too many symbolic links"))?;
            let target = tree.link_target(entry.node)?;
            let volume_root = self.steps_to_volume(entry.node);
            if target.starts_with(b"/") {
                self.steps.truncate(volume_root);
            }
            for part in split(&target).collect::<Vec<_>>().into_iter().rev() {
                pending.push_front((part.to_vec(), volume_root));
            }
        }
        if path.ends_with(b"/") && self.end().attr.kind != Kind::Directory {
            return Err(Error::new(ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(self)
    }

    /// How many steps lead to the root of the volume that `node` is in.
    fn steps_to_volume(&self, node: NodeId) -> usize {
        let volume = |node: NodeId| (node.tree(), node.part());
        let mut on_the_way = std::iter::once(&self.root).chain(self.steps.iter().map(|(_, found)| found));
        on_the_way.position(|found| volume(found.node) == volume(node)).unwrap_or(0)
    }
}

/// Finds what `path` names.
///
/// # Errors
/// `NotFound`, `NotADirectory`, and what the tree reports.
pub fn resolve(tree: &dyn Tree, path: &[u8], links: Links) -> Result<Found> {
    Ok(Way::root(tree)?.follow(tree, path, links)?.end().clone())
}

fn step(tree: &dyn Tree, here: &Found, component: Vec<u8>) -> Result<Entry> {
    match here.attr.kind {
        Kind::Directory => {}
        Kind::Symlink => return Err(Error::new(ErrorKind::NotADirectory, "leads through a symbolic link")),
        _ => return Err(Error::new(ErrorKind::NotADirectory, "leads through something not a directory")),
    }
    let name = Name::new(component).map_err(|error| Error::not_found("no such name").because(error))?;
    tree.lookup(here.node, &name)
}

fn split(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The names of `path` after `.` and `..` are worked out by their letters.
fn normalise(path: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for part in split(path) {
        if part == b".." {
            names.pop();
        } else {
            names.push(part);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Node};
    use crate::{Composition, Part};
    use std::sync::Arc;

    #[test]
    fn dots_and_slashes_are_worked_out_by_their_letters() {
        let normal = |path: &str| {
            let names = normalise(path.as_bytes()).concat();
            String::from_utf8(names).unwrap()
        };

        assert_eq!(normal("/a/./b//c/"), "abc");
        assert_eq!(normal("a/../b"), "b");
        assert_eq!(normal("../../b/.."), "");
    }

    fn nodes() -> [(u64, Node); 6] {
        [
            (1, Node::Directory(vec![("etc", 2), ("link", 4), ("up", 5), ("self", 6)])),
            (2, Node::Directory(vec![("fstab", 3)])),
            (3, Node::File(b"fstab")),
            (4, Node::Link("/etc/./fstab")),
            (5, Node::Link("etc/../../../etc")),
            (6, Node::Link("self")),
        ]
    }

    fn found(path: &str, links: Links) -> Result<u64, ErrorKind> {
        let tree = fixture::tree(nodes());
        let found = resolve(&tree, path.as_bytes(), links);
        found.map(|found| found.node.get()).map_err(|error| error.kind())
    }

    #[test]
    fn path_of_too_many_names_is_over_the_limit() {
        let climbing =
            |names: usize| found(&format!("{}etc/fstab", "etc/../".repeat(names / 2)), Links::Follow);

        assert_eq!(climbing(COMPONENTS_MAX - 2), Ok(3));
        assert_eq!(climbing(COMPONENTS_MAX), Err(ErrorKind::Limit));
    }

    #[test]
    fn paths_lead_to_their_nodes_with_or_without_a_leading_slash() {
        for path in ["etc/fstab", "/etc/fstab", "//etc/./x/../fstab", "../etc/fstab"] {
            assert_eq!(found(path, Links::Keep), Ok(3), "{path}");
        }
        assert_eq!(found("", Links::Keep), Ok(1));
        assert_eq!(found("/etc/", Links::Keep), Ok(2));
    }

    #[test]
    fn wrong_paths_are_told_apart() {
        assert_eq!(found("etc/none", Links::Keep), Err(ErrorKind::NotFound));
        assert_eq!(found("etc/fstab/x", Links::Keep), Err(ErrorKind::NotADirectory));
        assert_eq!(found("etc/fstab/", Links::Keep), Err(ErrorKind::NotADirectory));
        assert_eq!(found("a\0b", Links::Keep), Err(ErrorKind::NotFound));
    }

    #[test]
    fn links_are_followed_only_when_asked_and_never_out_of_the_tree() {
        assert_eq!(found("link", Links::Keep), Ok(4));
        assert_eq!(found("up/fstab", Links::Keep), Err(ErrorKind::NotADirectory));
        assert_eq!(found("link", Links::Follow), Ok(3));
        assert_eq!(found("up/fstab", Links::Follow), Ok(3));
        assert_eq!(found("self", Links::Follow), Err(ErrorKind::Limit));
    }

    #[test]
    fn absolute_links_begin_at_the_root_of_their_volume() {
        let part = |name: &str| -> Part {
            (Name::new(name.as_bytes()).unwrap(), Ok(Arc::new(fixture::tree(nodes()))))
        };
        let tree = Composition::new(vec![part("p1"), part("p2")]).unwrap();

        let found = resolve(&tree, b"p2/link", Links::Follow).unwrap();

        assert_eq!((found.node.part(), found.node.own().get()), (2, 3));
    }

    #[test]
    fn way_has_the_names_as_stored_behind_links() {
        let tree = fixture::tree(nodes());
        let root = Way::root(&tree).unwrap();

        let way = root.follow(&tree, b"link", Links::Follow).unwrap();

        assert_eq!(way.names(), [Name::new(*b"etc").unwrap(), Name::new(*b"fstab").unwrap()]);
    }

    #[test]
    fn joining_puts_one_slash_between() {
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert_eq!(join(b"", b"a"), b"a");
    }
}
