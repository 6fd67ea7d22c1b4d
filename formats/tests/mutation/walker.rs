//! A walk that is bounded in all directions, whatever the tree says, and checks what must hold for every
//! tree.

use spelunk_tree::{Cursor, Entry, Error, Kind, Listed, NodeId, Place, ReadAt, Run, Tree, limits};
use std::sync::Arc;

const ENTRIES_MAX: usize = 1000;
const PAGES_MAX: usize = 200;
const BYTES_MAX: usize = 4 << 20;
const DEPTH_MAX: usize = 16;
const READ_BYTES: usize = 70_000;

/// Walks trees until its budget is used up.
pub struct Walker {
    image: Arc<dyn ReadAt>,
    /// Entries that were met.
    pub entries: usize,
    /// Requests that failed, and broken entries.
    pub errors: usize,
    /// The first of them.
    pub first_error: Option<Error>,
    pages: usize,
    bytes: usize,
}

impl Walker {
    pub fn new(image: Arc<dyn ReadAt>) -> Walker {
        Walker { image, entries: 0, errors: 0, first_error: None, pages: 0, bytes: 0 }
    }

    pub fn walk(&mut self, tree: &dyn Tree) {
        self.directory(tree, tree.root(), 0);
    }

    fn take<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
                None
            }
        }
    }

    fn directory(&mut self, tree: &dyn Tree, directory: NodeId, depth: usize) {
        let mut cursor = Cursor::START;
        while self.entries < ENTRIES_MAX && self.pages < PAGES_MAX {
            self.pages += 1;
            let Some(page) = self.take(tree.list(directory, cursor, 50)) else { return };
            assert!(page.entries.len() <= limits::PAGE_ENTRIES_MAX);
            for listed in page.entries {
                match listed {
                    Listed::Entry { entry, .. } => self.entry(tree, directory, &entry, depth),
                    Listed::Broken { error, .. } => drop(self.take::<()>(Err(error))),
                }
            }
            match page.next {
                Some(next) => cursor = next,
                None => return,
            }
        }
    }

    fn entry(&mut self, tree: &dyn Tree, directory: NodeId, entry: &Entry, depth: usize) {
        self.entries += 1;
        let node = entry.node;
        if self.entries.is_multiple_of(8) {
            self.take(tree.lookup(directory, &entry.name));
        }
        self.take(tree.attr(node));
        self.take(tree.xattrs(node));
        for stream in self.take(tree.streams(node)).unwrap_or_default() {
            let mut buffer = vec![0; READ_BYTES];
            self.take(tree.read(node, Some(&stream.name), stream.size / 2, &mut buffer));
        }
        match entry.attr.kind {
            Kind::Directory if depth < DEPTH_MAX => self.directory(tree, node, depth + 1),
            Kind::Symlink => drop(self.take(tree.link_target(node))),
            Kind::File => {
                for offset in [0, entry.attr.size / 2, entry.attr.size.saturating_sub(100)] {
                    self.file(tree, node, offset);
                }
            }
            _ => {}
        }
    }

    /// Reads, and compares with what the runs say.
    fn file(&mut self, tree: &dyn Tree, node: NodeId, offset: u64) {
        if self.bytes > BYTES_MAX {
            return;
        }
        let mut buffer = vec![0; READ_BYTES];
        let Some(len) = self.take(tree.read(node, None, offset, &mut buffer)) else { return };
        self.bytes += READ_BYTES;
        let mut runs = Vec::new();
        if self.take(tree.runs(node, None, offset, READ_BYTES as u64, &mut runs)).is_none() {
            return;
        }
        let covered: u64 = runs.iter().map(|run| run.len).sum();
        assert_eq!(covered, len as u64, "runs and bytes of {node:?} at {offset}");
        let mut at = 0;
        for Run { len, place } in runs {
            let bytes = &buffer[at..][..len as usize];
            match place {
                Place::At { source, offset } => {
                    let mut stored = vec![0; bytes.len()];
                    assert_eq!(source, 0);
                    self.image.read_at(offset, &mut stored).unwrap();
                    assert!(stored == bytes, "a run of {node:?} lies elsewhere");
                }
                Place::Zero => assert!(bytes.iter().all(|byte| *byte == 0), "zeros of {node:?}"),
                Place::Opaque => {}
            }
            at += bytes.len();
        }
    }
}
