//! Names of a repository's files and blobs: the SHA-256 of what they name.

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;

/// Bytes of an id.
pub(super) const ID_BYTES: usize = 32;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) [u8; ID_BYTES]);

impl Id {
    /// The id of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Id {
        Id(Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits in lower case, as files are called.
    pub(super) fn parse(text: &[u8]) -> Option<Id> {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        if text.len() != ID_BYTES * 2 {
            return None;
        }
        let mut bytes = [0; ID_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(*pair.first()?)? << 4 | digit(*pair.last()?)?;
        }
        Some(Id(bytes))
    }

    /// All its digits.
    pub(super) fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(ID_BYTES * 2), |mut text, byte| {
            _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The first eight digits, as restic itself shows ids.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Id::parse(text.as_bytes()).ok_or_else(|| de::Error::custom("an id that is not 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = Id::of(b"");

        assert_eq!(id.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(id.to_string(), "e3b0c442");
        assert_eq!(Id::parse(id.hex().as_bytes()), Some(id));
        assert_eq!(Id::parse(id.hex().to_uppercase().as_bytes()), None);
        assert_eq!(Id::parse(b"e3"), None);
    }
}
