//! Secrets that this server makes: sessions, tokens, share links, the link for setting up.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use spelunk_tree::{Error, Result};

/// Bytes of a secret: nobody guesses it, so a plain hash of it is as good as a slow one.
const SECRET_BYTES: usize = 32;

/// The SHA-256 of a secret: all that is stored of it.
pub type Hash = [u8; 32];

/// A new secret, as text that may stand in URLs and headers.
///
/// # Errors
/// When the system has no random bytes.
pub fn make() -> Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Error::internal("the system gave no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is stored of a secret.
pub fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether two secrets are the same. How long it takes tells nothing: hashes are compared, and to their end.
pub fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (hash(a), hash(b));
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_each_is_another() {
        let (a, b) = (make().unwrap(), make().unwrap());

        assert_eq!(a.len(), 43);
        assert!(!is_same(&a, &b) && is_same(&a, &a.clone()) && !is_same(&a, &a[1..]));
        assert!(a.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    }
}
