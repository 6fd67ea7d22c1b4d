//! Extended attributes, which programs ask for one at a time and twice each.

use spelunk_tree::{Name, Result, Tree, TreeInfo, Xattr, Xattrs};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Nodes of which it is remembered that they have none: one lookup in `ls -l` asks for each entry, right
/// after a listing told. 512 KiB.
const BARE_SLOTS: usize = 64 * 1024;
/// Nodes whose attributes are kept for the next question about them; each at most
/// [`spelunk_tree::limits::XATTRS_BYTES_MAX`].
const KEPT_NODES: usize = 8;
/// Linux's XATTR_NAME_MAX: a longer name cannot be asked for, so it is not listed.
const NAME_BYTES_MAX: usize = 255;

/// What is remembered of nodes' extended attributes.
pub(super) struct XattrCache {
    /// Inode numbers, each at its number's slot; a later one takes the slot over.
    bare: Box<[AtomicU64]>,
    kept: Mutex<VecDeque<(u64, Arc<[Xattr]>)>>,
    /// Whether streams that the tree gives as attributes are taken out.
    hide_streams: bool,
}

impl XattrCache {
    pub(super) fn new(hide_streams: bool) -> XattrCache {
        let bare = (0..BARE_SLOTS).map(|_| AtomicU64::new(0)).collect();
        XattrCache { bare, kept: Mutex::default(), hide_streams }
    }

    /// Remembers what a node's attributes say about extended ones.
    pub(super) fn note(&self, ino: u64, xattrs: Xattrs) {
        if xattrs == Xattrs::None {
            self.slot(ino).store(ino, Ordering::Relaxed);
        }
    }

    /// The extended attributes of the node, as far as they can be had on Linux.
    pub(super) fn of(&self, tree: &dyn Tree, ino: u64, node: spelunk_tree::NodeId) -> Result<Arc<[Xattr]>> {
        if self.slot(ino).load(Ordering::Relaxed) == ino {
            return Ok(Arc::new([]));
        }
        if let Some((_, xattrs)) = self.kept().iter().find(|(kept, _)| *kept == ino) {
            return Ok(Arc::clone(xattrs));
        }
        let mut xattrs = tree.xattrs(node)?;
        xattrs.retain(|xattr| xattr.name().len() <= NAME_BYTES_MAX);
        if self.hide_streams && xattrs.iter().any(|xattr| xattr.name().starts_with(b"user.")) {
            let streams = tree.streams(node)?;
            xattrs.retain(|xattr| !streams.iter().any(|stream| is_stream(xattr, &stream.name)));
        }
        let xattrs: Arc<[Xattr]> = xattrs.into();
        let mut kept = self.kept();
        kept.truncate(KEPT_NODES - 1);
        kept.push_front((ino, Arc::clone(&xattrs)));
        Ok(xattrs)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Arc<[Xattr]>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, ino: u64) -> &AtomicU64 {
        let slot = usize::try_from(ino % BARE_SLOTS as u64).unwrap_or(0);
        &self.bare[slot]
    }
}

fn is_stream(xattr: &Xattr, stream: &Name) -> bool {
    xattr.name().strip_prefix(b"user.") == Some(stream.as_bytes())
}

/// Whether a node of this tree can have an extended attribute of this name. `ls -l` asks every file for
/// attributes that many guests do not know.
pub(super) fn can_be(tree: &TreeInfo, name: &[u8]) -> bool {
    let begins = |prefix: &String| name.starts_with(prefix.as_bytes());
    tree.xattr_prefixes.as_ref().is_none_or(|prefixes| prefixes.iter().any(begins))
}

/// The names that listxattr(2) gives, each with a NUL after it. Of the namespace `system` these are the
/// POSIX ACLs only, as with Linux's own filesystems and ntfs-3g: the others are there for who asks, but a
/// program that copies what is listed could not set them elsewhere.
pub(super) fn list(xattrs: &[Xattr]) -> Vec<u8> {
    let mut names = Vec::new();
    for name in xattrs.iter().map(Xattr::name) {
        if !name.starts_with(b"system.") || name.starts_with(b"system.posix_acl_") {
            names.extend_from_slice(name);
            names.push(0);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_system_attributes_are_not_listed() {
        let names = ["user.a", "system.ntfs_acl", "system.posix_acl_access", "security.selinux"];
        let xattrs = names.map(|name| Xattr::new(name.as_bytes(), Vec::new()).unwrap());

        assert_eq!(list(&xattrs), b"user.a\0system.posix_acl_access\0security.selinux\0");
    }

    #[test]
    fn names_that_a_guest_does_not_know_need_not_be_asked_for() {
        let tree = |prefixes: Option<&[&str]>| TreeInfo {
            xattr_prefixes: prefixes.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            ..TreeInfo::new("test")
        };

        assert!(can_be(&tree(None), b"security.selinux"));
        assert!(!can_be(&tree(Some(&[])), b"user.x"));
        assert!(can_be(&tree(Some(&["system.ntfs_", "user."])), b"user.x"));
        assert!(!can_be(&tree(Some(&["system.ntfs_", "user."])), b"system.posix_acl_access"));
    }
}
