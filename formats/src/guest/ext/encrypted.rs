//! Names in encrypted directories (fscrypt). Without the key, the kernel shows what is stored in a form that can
//! be a name, and so do we: base64 with the URL alphabet (RFC 4648, section 5) and no padding, of the name's hash
//! in the directory's index and the stored bytes; of long names, the end is replaced by its SHA-256.

use super::Filesystem;
use super::features::Compat;
use super::hash::NameHash;
use super::inode::{Flags, Inode};
use sha2::{Digest, Sha256};

const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Stored bytes of a name that are shown as they are.
const PLAIN_BYTES_MAX: usize = 149;

/// How names of one encrypted directory are shown.
pub(super) struct ShownNames {
    /// `None` where the kernel puts zeros: a directory without index, or whose hashes need the key.
    hash: Option<NameHash>,
}

impl Filesystem {
    /// How names of `dir` are shown; `None` when it is not encrypted.
    pub(super) fn shown_names(&self, dir: &Inode) -> Option<ShownNames> {
        if !dir.flags.has(Flags::ENCRYPT) {
            return None;
        }
        let superblock = &self.superblock;
        let is_small = dir.size <= u64::from(superblock.block_bytes);
        let is_hashed = superblock.features.compat.has(Compat::DIR_INDEX) && !dir.flags.has(Flags::CASEFOLD);
        let hash = if !is_hashed {
            None
        } else if dir.flags.has(Flags::INDEX) {
            self.index_hash(dir).ok()
        } else if is_small {
            NameHash::new(superblock.hash_version, superblock.hash_unsigned, superblock.hash_seed)
        } else {
            None
        };
        Some(ShownNames { hash })
    }
}

impl ShownNames {
    /// The shown form of a stored name.
    pub(super) fn of(&self, stored: &[u8]) -> Vec<u8> {
        let (major, minor) = self.hash.as_ref().map_or((0, 0), |hash| hash.both(stored));
        let mut bytes = Vec::with_capacity(stored.len().saturating_add(8));
        bytes.extend_from_slice(&major.to_le_bytes());
        bytes.extend_from_slice(&minor.to_le_bytes());
        match stored.split_at_checked(PLAIN_BYTES_MAX) {
            Some((start, end)) if !end.is_empty() => {
                bytes.extend_from_slice(start);
                bytes.extend_from_slice(&Sha256::digest(end));
            }
            _ => bytes.extend_from_slice(stored),
        }
        base64url(&bytes)
    }
}

fn base64url(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digits = [bits >> 18, bits >> 12, bits >> 6, bits].map(|digit| {
            usize::try_from(digit & 0x3F).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'_')
        });
        // Three bytes make four digits, two three, one two.
        text.extend_from_slice(digits.get(..=group.len()).unwrap_or(&digits));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_has_no_padding_and_no_slash() {
        assert_eq!(base64url(b"f"), b"Zg");
        assert_eq!(base64url(b"fo"), b"Zm8");
        assert_eq!(base64url(b"foobar"), b"Zm9vYmFy");
        assert_eq!(base64url(b"/\0\xFF\xFE"), b"LwD__g");
    }

    #[test]
    fn shown_names_are_never_longer_than_names_may_be() {
        let shown = ShownNames { hash: None }.of(&[0; 255]);

        assert_eq!(shown.len(), (8 + 149 + 32) / 3 * 4);
        assert_ne!(shown, ShownNames { hash: None }.of(&[0; 254]));
    }
}
