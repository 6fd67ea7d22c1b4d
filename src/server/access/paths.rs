//! Paths in the library as they are stored and as they stand in requests.

use super::error::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use spelunk_tree::Name;

/// Bytes of a path.
const PATH_BYTES_MAX: usize = 64 << 10;

/// All but RFC 3986's unreserved characters: `*` too, which stands for all clients.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names of a path with `/` between them: no name holds one.
pub fn join(path: &[Name]) -> Vec<u8> {
    path.iter().map(Name::as_bytes).collect::<Vec<_>>().join(&b'/')
}

/// The names of a joined path. Empty ones are passed over.
///
/// # Errors
/// `Bad` for `.`, `..`, NUL, and what is too long.
pub fn split(path: &[u8]) -> Result<Vec<Name>> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::Bad("A path that is too long".to_owned()));
    }
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let names: Result<Vec<Name>, _> = names.map(Name::new).collect();
    names.map_err(|_| Error::Bad("A path that cannot be".to_owned()))
}

/// A path as it stands in URLs and JSON: percent-encoded name by name.
pub fn encode(path: &[Name]) -> String {
    path.iter().map(encode_name).collect::<Vec<_>>().join("/")
}

/// One name of it.
pub fn encode_name(name: &Name) -> String {
    percent_encode(name.as_bytes(), ENCODED).to_string()
}

/// The path that a request names.
///
/// # Errors
/// As [`split`], and for a name that holds an encoded `/`.
pub fn decode(text: &str) -> Result<Vec<Name>> {
    if text.len() > PATH_BYTES_MAX {
        return Err(Error::Bad("A path that is too long".to_owned()));
    }
    text.split('/').filter(|name| !name.is_empty()).map(decode_name).collect()
}

/// One name of it.
///
/// # Errors
/// As [`decode`].
pub fn decode_name(text: &str) -> Result<Name> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    Name::new(bytes).map_err(|_| Error::Bad("A name that cannot be".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_survive_storage_and_requests() {
        let path = [&b"\"><script>"[..], b"\xff\r\n", b"*", b"%2F", "\u{202e}".as_bytes(), b"..."];
        let path: Vec<Name> = path.into_iter().map(|name| Name::new(name).unwrap()).collect();

        assert_eq!(split(&join(&path)).unwrap(), path);
        assert_eq!(decode(&encode(&path)).unwrap(), path);
        assert!(encode(&path).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%/-._~".contains(&byte)));
    }

    #[test]
    fn paths_that_would_climb_are_refused() {
        for bad in ["a/../b", "a/%2e%2e/b", "a/..", ".", "a%2fb", "a/%00"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        assert!(decode(&"a".repeat(PATH_BYTES_MAX + 1)).is_err());
    }
}
