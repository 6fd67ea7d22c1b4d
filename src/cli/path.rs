//! Paths on the command line.

pub use spelunk_mount::path::{Found, Links, join};
use spelunk_tree::{Result, Tree};
use std::ffi::OsStr;

/// The bytes of a path argument.
pub fn bytes(path: &OsStr) -> &[u8] {
    path.as_encoded_bytes()
}

/// Finds what `path` names, as [`spelunk_mount::path::resolve`].
///
/// # Errors
/// As there; the path is named.
pub fn resolve(tree: &dyn Tree, path: &[u8], links: Links) -> Result<Found> {
    spelunk_mount::path::resolve(tree, path, links)
        .map_err(|error| error.context(super::escape::escape(path).into_owned()))
}
