//! The walk over what was selected: each member of the archive once, parents before children, in the order in
//! which the tree keeps them.

use super::failures::{Failure, Outcome};
use super::selection::{self, Item, Selection};
use super::{ENTRIES_MAX, name};
use crate::path::{self, Links};
use crate::walk::{Order, Step, Walk};
use spelunk_tree::{Attr, Entry, Error, ErrorKind, Kind, NodeId, Tree, limits};
use std::vec::IntoIter;

/// Symbolic links to directories that may be followed one below the other: Linux's own limit.
const FOLLOWED_MAX: usize = 40;

/// Something that goes into the archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the archive: the names from the top on, parted by `/`, as the guest wrote them.
    pub name: Vec<u8>,
    /// Where it is in the tree.
    pub path: Vec<u8>,
    pub node: NodeId,
    pub attr: Attr,
    /// The target of a symbolic link.
    pub target: Vec<u8>,
}

impl Member {
    /// The name as ZIP has it: escaped, and of a directory with a slash behind it.
    pub fn zip_name(&self) -> String {
        let mut name = name::escape_path(&self.name);
        if self.attr.kind == Kind::Directory {
            name.push('/');
        }
        name
    }

    fn failed(self, outcome: Outcome, error: Error) -> Failure {
        Failure { path: self.path, outcome, error }
    }
}

/// A walk below one directory.
struct Source<'a> {
    walk: Walk<'a>,
    /// Where the directory stands in the archive and where it is in the tree.
    name_base: Vec<u8>,
    path_base: Vec<u8>,
}

/// The members of an archive; in the place of what is broken stands what is wrong.
pub struct Members<'a> {
    tree: &'a dyn Tree,
    follow: bool,
    items: IntoIter<Item>,
    /// The walk of an item, and below it those of the links that are followed from it.
    sources: Vec<Source<'a>>,
    count: u64,
}

/// What a step of a walk gave, free of the walk.
enum Found {
    Entry { name: Vec<u8>, path: Vec<u8>, entry: Box<Entry> },
    Broken { path: Vec<u8>, error: Error },
}

impl<'a> Members<'a> {
    pub fn new(tree: &'a dyn Tree, selection: &Selection, follow: bool) -> Members<'a> {
        let items = selection.items().to_vec().into_iter();
        Members { tree, follow, items, sources: Vec::new(), count: 0 }
    }

    /// Goes on below the directory `node`, before anything else.
    fn enter(&mut self, node: NodeId, name: Vec<u8>, path: Vec<u8>) {
        // As deep as a path can be: the walk itself says where it had to stop.
        let walk = Walk::new(self.tree, node, &name, Order::AsStored, limits::DEPTH_MAX + 1);
        self.sources.push(Source { walk, name_base: name, path_base: path });
    }

    fn step(&mut self) -> Option<Found> {
        while let Some(source) = self.sources.last_mut() {
            let in_tree = |name: &[u8]| {
                let below = name.get(source.name_base.len()..).unwrap_or_default();
                selection::below(&source.path_base, below)
            };
            match source.walk.step() {
                Some(Step::Entry { path: name, entry, .. }) => {
                    let (name, path) = (name.to_vec(), in_tree(name));
                    return Some(Found::Entry { name, path, entry: Box::new(entry.clone()) });
                }
                Some(Step::Broken { path: name, error }) => {
                    return Some(Found::Broken { path: in_tree(name), error });
                }
                None => _ = self.sources.pop(),
            }
        }
        None
    }

    /// What the next item of the selection gives by itself: nothing when its content is meant.
    fn begin(&mut self, item: Item) -> Option<Result<Member, Failure>> {
        let Item { node, attr, path, name } = item;
        let Some(name) = name else {
            self.enter(node, Vec::new(), path);
            return None;
        };
        let is_directory = attr.kind == Kind::Directory;
        let member = self.member(name.clone(), path.clone(), node, attr);
        if is_directory {
            self.enter(node, name, path);
        }
        Some(member)
    }

    /// Completes a member: the target of a link, or what it leads to.
    fn member(&mut self, name: Vec<u8>, path: Vec<u8>, node: NodeId, attr: Attr) -> Result<Member, Failure> {
        let mut member = Member { name, path, node, attr, target: Vec::new() };
        if member.attr.kind != Kind::Symlink {
            return Ok(member);
        }
        if self.follow {
            match self.lead(&member) {
                Ok(found) => {
                    (member.node, member.attr) = (found.node, found.attr);
                    if member.attr.kind == Kind::Directory {
                        self.enter(member.node, member.name.clone(), member.path.clone());
                    }
                    return Ok(member);
                }
                // It leads to nothing here: the link itself is what there is.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(member.failed(Outcome::LeftOut, error)),
            }
        }
        match self.tree.link_target(member.node) {
            Ok(target) => member.target = target,
            Err(error) => return Err(member.failed(Outcome::LeftOut, error)),
        }
        Ok(member)
    }

    /// What a link leads to, unless following it would never end.
    fn lead(&self, member: &Member) -> spelunk_tree::Result<path::Found> {
        let found = path::resolve(self.tree, &member.path, Links::Follow)?;
        if found.attr.kind != Kind::Directory {
            return Ok(found);
        }
        if self.sources.iter().any(|source| source.walk.is_inside(found.node)) {
            return Err(Error::limit("a symbolic link to a directory that it is in; not followed"));
        }
        if self.sources.len() > FOLLOWED_MAX {
            return Err(Error::limit(format!("more than {FOLLOWED_MAX} symbolic links below each other")));
        }
        Ok(found)
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member, Failure>;

    fn next(&mut self) -> Option<Result<Member, Failure>> {
        let found = loop {
            match self.step() {
                Some(Found::Entry { name, path, entry }) => {
                    break self.member(name, path, entry.node, entry.attr);
                }
                Some(Found::Broken { path, error }) => {
                    break Err(Failure { path, outcome: Outcome::LeftOut, error });
                }
                None => {
                    let item = self.items.next()?;
                    if let Some(member) = self.begin(item) {
                        break member;
                    }
                }
            }
        };
        self.count += 1;
        if self.count <= ENTRIES_MAX {
            return Some(found);
        }
        self.sources.clear();
        self.items = Vec::new().into_iter();
        let path = match found {
            Ok(member) => member.path,
            Err(failure) => failure.path,
        };
        let error = Error::limit(format!("an archive of more than {ENTRIES_MAX} entries: it ends here"));
        Some(Err(Failure { path, outcome: Outcome::LeftOut, error }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Node};

    fn members(nodes: Vec<(u64, Node)>, follow: bool) -> Vec<String> {
        let tree = fixture::tree(nodes);
        let root = tree.root();
        let selection = Selection::content_of(root, tree.attr(root).unwrap(), b"/");
        let line = |member: Result<Member, Failure>| match member {
            Ok(member) => {
                let target = String::from_utf8(member.target.clone()).unwrap();
                format!(
                    "{}{}",
                    member.zip_name(),
                    if target.is_empty() { target } else { format!(" -> {target}") }
                )
            }
            Err(failure) => {
                format!("! {}: {}", String::from_utf8_lossy(&failure.path), failure.error.kind().phrase())
            }
        };
        Members::new(&tree, &selection, follow).map(line).collect()
    }

    fn linked() -> Vec<(u64, Node)> {
        vec![
            (1, Node::Directory(vec![("a", 2), ("out", 5), ("to-a", 6), ("up", 7), ("file", 8), ("bad", 9)])),
            (2, Node::Directory(vec![("x", 3), ("back", 4)])),
            (3, Node::File(b"x")),
            (4, Node::Link("..")),
            (5, Node::Link("/etc/passwd")),
            (6, Node::Link("a")),
            (7, Node::Link("../../../../a/x")),
            (8, Node::Link("file")),
            (9, Node::Damaged),
        ]
    }

    #[test]
    fn links_are_links_unless_they_are_to_be_followed() {
        assert_eq!(
            members(linked(), false),
            [
                "a/",
                "a/x",
                "a/back -> ..",
                "out -> /etc/passwd",
                "to-a -> a",
                "up -> ../../../../a/x",
                "file -> file",
                "! /bad: damaged"
            ]
        );
    }

    #[test]
    fn followed_links_stay_inside_and_end() {
        assert_eq!(
            members(linked(), true),
            [
                "a/",
                "a/x",
                "! /a/back: over a limit",
                "out -> /etc/passwd",
                "to-a/",
                "to-a/x",
                "! /to-a/back: over a limit",
                "up",
                "! /file: over a limit",
                "! /bad: damaged"
            ]
        );
    }

    #[test]
    fn selected_things_stand_under_their_names() {
        let tree = fixture::tree(linked());
        let mut selection = Selection::default();
        for (path, id) in [("/a", 2), ("/a/x", 3)] {
            let node = NodeId::new(id).unwrap();
            selection.add(node, tree.attr(node).unwrap(), path.as_bytes());
        }

        let members: Vec<Member> = Members::new(&tree, &selection, false).map(Result::unwrap).collect();

        let name = |member: &Member| String::from_utf8_lossy(&member.name).into_owned();
        assert_eq!(members.iter().map(name).collect::<Vec<_>>(), ["a", "a/x", "a/back", "x"]);
        assert_eq!(members[1].path, b"/a/x");
    }
}
