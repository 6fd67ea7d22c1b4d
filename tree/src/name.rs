//! Names of entries: bytes, safe to join to a path.

use crate::{Error, Result, limits};
use std::fmt;

/// The name of an entry or stream: 1 to [`limits::NAME_BYTES_MAX`] bytes, never `.` or `..`, no `/`,
/// no NUL. Not necessarily UTF-8, and hostile to terminals: escape before printing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// `Corrupt` when the bytes cannot be a name, `Limit` when there are too many.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Name> {
        let bytes = bytes.into();
        if bytes.len() > limits::NAME_BYTES_MAX {
            return Err(Error::limit(format!("a name of {} bytes", bytes.len())));
        }
        if bytes.is_empty() || &*bytes == b"." || &*bytes == b".." {
            return Err(Error::corrupt("a name that is empty, '.' or '..'"));
        }
        if bytes.iter().any(|&byte| byte == b'/' || byte == 0) {
            return Err(Error::corrupt("a name that holds '/' or NUL"));
        }
        Ok(Name(bytes))
    }

    /// Takes a UTF-16 name as WTF-8: unpaired surrogates become three bytes, as in UTF-8's scheme.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn from_utf16(units: &[u16]) -> Result<Name> {
        Name::new(wtf8_from_utf16(units))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Converts UTF-16 to WTF-8. Pairs become one four-byte sequence; unpaired surrogates three bytes.
pub fn wtf8_from_utf16(units: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len().saturating_mul(2));
    let mut buffer = [0; 4];
    for decoded in char::decode_utf16(units.iter().copied()) {
        match decoded {
            Ok(character) => bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes()),
            Err(unpaired) => {
                let [high, low] = unpaired.unpaired_surrogate().to_be_bytes();
                bytes.push(0xE0 | (high >> 4));
                bytes.push(0x80 | ((high & 0x0F) << 2) | (low >> 6));
                bytes.push(0x80 | (low & 0x3F));
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn names_that_would_escape_a_directory_are_refused() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", b"/"] {
            assert_eq!(Name::new(bad).map_err(|e| e.kind()), Err(ErrorKind::Corrupt), "{bad:?}");
        }
    }

    #[test]
    fn names_with_dots_and_odd_bytes_are_taken() {
        for good in [&b"..."[..], b".a", b"a\n", b"\xff", b"a\\b"] {
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_over_the_limit_are_refused() {
        let long = vec![b'x'; limits::NAME_BYTES_MAX + 1];

        assert_eq!(Name::new(long).map_err(|e| e.kind()), Err(ErrorKind::Limit));
    }

    #[test]
    fn utf16_pairs_and_unpaired_surrogates_become_wtf8() {
        assert_eq!(wtf8_from_utf16(&[0xD83D, 0xDE00]), "😀".as_bytes());
        assert_eq!(wtf8_from_utf16(&[0x61, 0xD800, 0x62]), b"a\xED\xA0\x80b");
        assert_eq!(wtf8_from_utf16(&[0xDFFF]), b"\xED\xBF\xBF");
    }
}
