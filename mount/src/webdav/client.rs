//! Clients that have to be told apart, by what they call themselves.

use http::{HeaderMap, header};
use spelunk_tree::Name;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// Windows: Explorer, mapped drives, Office.
    Windows,
    /// macOS's Finder and everything else on its mounts.
    Finder,
    Other,
}

/// Files by which macOS keeps its search out of a volume.
const SEARCH_MARK: &[u8] = b".metadata_never_index";
/// What Finder asks for beside every file, or once a volume: its own litter.
const LITTER: &[&[u8]] = &[
    b".DS_Store",
    b".metadata_never_index_unless_rootfs",
    b".metadata_direct_scope_only",
    b".ql_disablecache",
    b".ql_disablethumbnails",
    SEARCH_MARK,
];
const LITTER_PREFIX: &[u8] = b"._";

impl Client {
    pub(super) fn of(headers: &HeaderMap) -> Client {
        let agent = headers.get(header::USER_AGENT).map(|agent| agent.as_bytes()).unwrap_or_default();
        let names = |word: &str| agent.windows(word.len()).any(|part| part == word.as_bytes());
        if names("WebDAVFS") || names("WebDAVLib") {
            Client::Finder
        } else if names("Microsoft") {
            Client::Windows
        } else {
            Client::Other
        }
    }

    /// The header `DAV`: Finder mounts what has no locks as read-only, and then tries to write nothing.
    pub(super) fn classes(self) -> &'static str {
        match self {
            Client::Finder => "1",
            Client::Windows | Client::Other => "1, 2",
        }
    }

    /// Whether this name is not shown to this client, nor looked up: Finder asks for two such names beside every
    /// file, each of which would be a search in a directory of a guest.
    pub(super) fn ignores(self, name: &Name) -> bool {
        let name = name.as_bytes();
        self == Client::Finder && (name.starts_with(LITTER_PREFIX) || LITTER.contains(&name))
    }

    /// Whether the path is the mark that keeps macOS's search from reading every backup there is. It is an empty
    /// file at the root, that stands in no listing.
    pub(super) fn is_search_mark(self, names: &[Name]) -> bool {
        self == Client::Finder && matches!(names, [name] if name.as_bytes() == SEARCH_MARK)
    }
}
