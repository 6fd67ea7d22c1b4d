//! What goes into an archive.

use crate::path;
use spelunk_tree::{Attr, NodeId};
use std::collections::HashSet;

/// One thing that goes into an archive, with all that is below it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The node.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
    /// Where it is in the tree, from the root on.
    pub path: Vec<u8>,
    /// Its name at the top of the archive. Without one it is a directory whose content stands there.
    pub(super) name: Option<Vec<u8>>,
}

/// What goes into an archive: the content of one directory, or several things each under its name.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    items: Vec<Item>,
    names: HashSet<Vec<u8>>,
}

impl Selection {
    /// The content of a directory, at the archive's top.
    pub fn content_of(directory: NodeId, attr: Attr, path: &[u8]) -> Selection {
        let item = Item { node: directory, attr, path: path.to_vec(), name: None };
        Selection { items: vec![item], names: HashSet::new() }
    }

    /// Adds something under the last name of its path. When that is taken, a number is put behind it; the
    /// root of a tree, which has no name, is called `root`.
    pub fn add(&mut self, node: NodeId, attr: Attr, path: &[u8]) {
        let last = path.rsplit(|&byte| byte == b'/').find(|part| !matches!(*part, b"" | b"." | b".."));
        let wanted = last.unwrap_or(b"root");
        let mut name = wanted.to_vec();
        let mut number = 1_usize;
        // Ends: there are not more names than items.
        while !self.names.insert(name.clone()) {
            number += 1;
            name = [wanted, format!(" ({number})").as_bytes()].concat();
        }
        self.items.push(Item { node, attr, path: path.to_vec(), name: Some(name) });
    }

    /// Whether nothing was selected.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What was selected.
    pub fn items(&self) -> &[Item] {
        &self.items
    }
}

/// Where in the tree something is that stands `below` the place `base`.
pub(super) fn below(base: &[u8], below: &[u8]) -> Vec<u8> {
    match below.strip_prefix(b"/").unwrap_or(below) {
        b"" => base.to_vec(),
        rest => path::join(base, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::Kind;

    #[test]
    fn names_come_from_paths_and_are_never_twice() {
        let mut selection = Selection::default();
        for path in ["/a/x", "b/x/", "/", "c/x (2)", "/d/../x"] {
            selection.add(NodeId::new(1).unwrap(), Attr::new(Kind::Directory), path.as_bytes());
        }

        let names: Vec<&[u8]> = selection.items().iter().filter_map(|item| item.name.as_deref()).collect();

        assert_eq!(names, [&b"x"[..], b"x (2)", b"root", b"x (2) (2)", b"x (3)"]);
    }

    #[test]
    fn paths_below_a_place_have_one_slash() {
        assert_eq!(below(b"/", b"/a"), b"/a");
        assert_eq!(below(b"/x", b"a/b"), b"/x/a/b");
        assert_eq!(below(b"/x", b""), b"/x");
    }
}
