//! Paths of URLs: names, percent-encoded one by one.

use super::Refusal;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use spelunk_tree::{Name, limits};

/// What stands in a URL as it is: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Bytes of a URL's path: far more than PATH_MAX, percent-encoded.
const PATH_BYTES_MAX: usize = 64 << 10;

/// The directories above the tree's root, in URLs.
#[derive(Debug)]
pub(super) struct Prefix(Vec<Name>);

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A directory above the tree's root, by its depth.
    Above(usize),
    /// Something in the tree.
    Within {
        names: Vec<Name>,
        /// Whether it ends in a slash, as those of directories do.
        is_directory: bool,
    },
}

impl Prefix {
    pub(super) fn new(path: &str) -> Prefix {
        Prefix(path.split('/').filter_map(|name| Name::new(name.as_bytes()).ok()).collect())
    }

    /// What the path of a URL names. `.`, `..`, and names that hold a slash or NUL once they are decoded are no names:
    /// such a path names nothing.
    pub(super) fn target(&self, path: &str) -> Result<Target, Refusal> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Refusal::Status(http::StatusCode::URI_TOO_LONG));
        }
        let path = path.strip_prefix('/').ok_or_else(Refusal::bad_request)?;
        let names = path.split('/').filter(|name| !name.is_empty()).map(decode);
        let names = names.take(limits::DEPTH_MAX + 1).collect::<Result<Vec<Name>, Refusal>>()?;
        // Each step of a path is looked up, and asked about.
        if names.len() > limits::DEPTH_MAX {
            return Err(Refusal::not_found());
        }
        if let Some(within) = names.strip_prefix(self.0.as_slice()) {
            return Ok(Target::Within { names: within.to_vec(), is_directory: path.ends_with('/') });
        }
        if self.0.starts_with(&names) { Ok(Target::Above(names.len())) } else { Err(Refusal::not_found()) }
    }

    /// The name below the directory above the tree's root at this depth, by which one goes on.
    pub(super) fn name(&self, depth: usize) -> Option<&Name> {
        self.0.get(depth)
    }

    /// The path of a URL to a directory above the tree's root.
    pub(super) fn href_above(&self, depth: usize) -> String {
        let mut href = "/".to_owned();
        self.0.iter().take(depth).for_each(|name| push(&mut href, name, true));
        href
    }

    /// The path of a URL to something in the tree.
    pub(super) fn href(&self, names: &[Name], is_directory: bool) -> String {
        let mut href = self.href_above(self.0.len());
        for (index, name) in names.iter().enumerate() {
            push(&mut href, name, is_directory || index + 1 < names.len());
        }
        href
    }
}

/// Appends a name to the path of a URL that ends in a slash.
pub(super) fn push(href: &mut String, name: &Name, is_directory: bool) {
    href.extend(percent_encode(name.as_bytes(), ENCODED));
    if is_directory {
        href.push('/');
    }
}

fn decode(name: &str) -> Result<Name, Refusal> {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let is_hexadecimal = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(is_hexadecimal(bytes.next()) && is_hexadecimal(bytes.next())) {
            return Err(Refusal::bad_request());
        }
    }
    Name::new(percent_decode(name.as_bytes()).collect::<Vec<u8>>()).map_err(|_| Refusal::not_found())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(path: &str) -> Option<Vec<Vec<u8>>> {
        match Prefix::new("/dav").target(path).ok()? {
            Target::Within { names, .. } => Some(names.iter().map(|name| name.as_bytes().to_vec()).collect()),
            Target::Above(_) => None,
        }
    }

    #[test]
    fn names_of_any_bytes_come_back_from_their_urls() {
        let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        let names = [Name::new(every).unwrap(), Name::new(*b"%2e%2e?#").unwrap()];

        let href = Prefix::new("dav").href(&names, false);

        assert!(href.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%/-_.~".contains(&byte)), "{href}");
        assert_eq!(within(&href).unwrap(), names.map(|name| name.as_bytes().to_vec()));
    }

    #[test]
    fn paths_that_would_leave_the_tree_name_nothing() {
        for path in ["..", "a/..", "%2e%2e", ".%2E/etc", "a%2Fb", "a%00", "."] {
            assert_eq!(within(&format!("/dav/{path}")), None, "{path}");
        }
        assert_eq!(within("/davy"), None);
        assert_eq!(within("/dav/%zz"), None);
        assert_eq!(within("/dav/%"), None);
    }

    #[test]
    fn backslashes_are_letters_and_empty_names_are_skipped() {
        assert_eq!(within("/dav//..%5C..//x/").unwrap(), [b"..\\..".to_vec(), b"x".to_vec()]);
        assert_eq!(within("/dav").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn directories_above_the_prefix_are_known_by_their_depth() {
        let prefix = Prefix::new("/a/b/");

        assert_eq!(prefix.target("/").ok(), Some(Target::Above(0)));
        assert_eq!(prefix.target("/a/").ok(), Some(Target::Above(1)));
        assert!(prefix.target("/b").is_err());
        assert_eq!(prefix.href_above(1), "/a/");
    }
}
