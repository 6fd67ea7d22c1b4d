//! Keys: a password opens one of the files in `keys/`, in which the repository's own key is.

use super::files::{Files, Folder};
use super::id::Id;
use super::seal::SealKey;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use spelunk_tree::{Error, ErrorKind, Result};
use std::borrow::Cow;

/// Keys that a password is tried with: each takes a good part of a second. restic itself tries 20.
const KEYS_MAX: usize = 64;
/// Bytes of a key's file; they have a few hundred.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Memory that a key may ask for: restic takes up to 60 MiB. The file is not sealed, so anybody who can write it could
/// ask for all there is.
const SCRYPT_BYTES_MAX: u64 = 512 << 20;
/// The same times the passes over it, which is what it costs in time.
const SCRYPT_WORK_BYTES_MAX: u64 = 8 << 30;

/// What a repository says to a password that opens nothing.
pub(in crate::library) const WRONG_PASSWORD: &str = "the password opens no key of the repository";

/// A file in `keys/`.
#[derive(Deserialize)]
struct KeyFile<'a> {
    #[serde(borrow)]
    kdf: Cow<'a, str>,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// What is sealed in it.
#[derive(Deserialize)]
struct MasterKey<'a> {
    #[serde(borrow)]
    mac: Mac<'a>,
    #[serde(borrow)]
    encrypt: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Mac<'a> {
    #[serde(borrow)]
    k: Cow<'a, str>,
    #[serde(borrow)]
    r: Cow<'a, str>,
}

/// Opens the repository's key.
///
/// # Errors
/// `Denied` when the password opens none of the keys that could be read; else what was wrong with the last of them.
pub(super) fn unlock(files: &Files, keys: &[Id], password: &[u8]) -> Result<SealKey> {
    let mut failure = None;
    for id in keys.iter().take(KEYS_MAX) {
        let opened = files
            .read(Folder::Keys, id, KEY_FILE_BYTES_MAX)
            .and_then(|bytes| try_key(&bytes, password).map_err(|error| error.object(format!("keys/{id}"))));
        match opened {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => failure = Some(Error::new(ErrorKind::Denied, WRONG_PASSWORD)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| Error::corrupt("a repository without keys")))
}

/// The key in a file, if the password opens it.
fn try_key(bytes: &[u8], password: &[u8]) -> Result<Option<SealKey>> {
    let file: KeyFile =
        serde_json::from_slice(bytes).map_err(|_| Error::corrupt("a key that is no JSON of one"))?;
    let (salt, data) = (base64(&file.salt)?, base64(&file.data)?);
    let params = file.params()?;
    let mut derived = [0; 64];
    scrypt::scrypt(password, &salt, &params, &mut derived)
        .map_err(|_| Error::internal("scrypt refuses the length of a key"))?;
    let (encrypt, mac) = derived.split_at(32);
    let (k, r) = mac.split_at(16);
    let key = SealKey::new(encrypt, k, r).ok_or_else(|| Error::internal("64 bytes are three keys"))?;
    let Ok(master) = key.open(&data) else { return Ok(None) };
    let bad = || Error::corrupt("a key that opens, and has none in it");
    let master: MasterKey = serde_json::from_slice(&master).map_err(|_| bad())?;
    let parts = (base64(&master.encrypt)?, base64(&master.mac.k)?, base64(&master.mac.r)?);
    SealKey::new(&parts.0, &parts.1, &parts.2).ok_or_else(bad).map(Some)
}

impl KeyFile<'_> {
    /// How the password is stretched, within bounds.
    fn params(&self) -> Result<scrypt::Params> {
        if self.kdf != "scrypt" {
            return Err(Error::unsupported("a key that is not derived by scrypt"));
        }
        if !self.n.is_power_of_two() || self.n < 2 {
            return Err(Error::corrupt("a key whose parameter N is no power of two"));
        }
        let bytes = self.n.checked_mul(128).and_then(|bytes| bytes.checked_mul(self.r.into()));
        let work = bytes.and_then(|bytes| bytes.checked_mul(self.p.into()));
        let fits = bytes.is_some_and(|bytes| bytes <= SCRYPT_BYTES_MAX)
            && work.is_some_and(|work| work <= SCRYPT_WORK_BYTES_MAX);
        if !fits {
            return Err(Error::limit("a key that takes too much memory or time to derive"));
        }
        let log_n = u8::try_from(self.n.trailing_zeros()).unwrap_or(u8::MAX);
        scrypt::Params::new(log_n, self.r, self.p).map_err(|_| Error::corrupt("a key with bad parameters"))
    }
}

fn base64(text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|_| Error::corrupt("a key that is not in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(n: u64, r: u32, p: u32) -> Option<ErrorKind> {
        let [kdf, salt, data] = ["scrypt", "", ""].map(Cow::from);
        KeyFile { kdf, n, r, p, salt, data }.params().err().map(|error| error.kind())
    }

    #[test]
    fn keys_that_ask_for_too_much_are_refused() {
        assert_eq!(limits(1 << 15, 8, 1), None);
        assert_eq!(limits(1 << 19, 8, 16), None);
        assert_eq!(limits(1 << 20, 8, 1), Some(ErrorKind::Limit));
        assert_eq!(limits(1 << 19, 8, 17), Some(ErrorKind::Limit));
        assert_eq!(limits(1 << 63, u32::MAX, u32::MAX), Some(ErrorKind::Limit));
        assert_eq!(limits(3, 8, 1), Some(ErrorKind::Corrupt));
        assert_eq!(limits(1 << 15, 0, 1), Some(ErrorKind::Corrupt));
    }
}
