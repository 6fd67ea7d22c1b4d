//! The password of a repository: where it comes from. It is never shown.

use spelunk_tree::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// What to do about a password that is missing or wrong.
pub const PASSWORD_HINT: &str =
    "--store-password-file names a file with the password; or set SPELUNK_STORE_PASSWORD";

/// Bytes of a file with a password: enough for any.
const PASSWORD_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A password, or the file that it stands in, which is read when it is needed.
#[derive(Clone)]
pub enum Password {
    /// The password itself.
    Text(Arc<[u8]>),
    /// A file that holds it. White space around it does not count, as with restic.
    File(PathBuf),
}

impl Password {
    /// The password.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        let path = match self {
            Password::Text(text) => return Ok(text.to_vec()),
            Password::File(path) => path,
        };
        let failed = |error| {
            Error::from_io("reading the file with the password", &error).object(path.display().to_string())
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(PASSWORD_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > PASSWORD_FILE_BYTES_MAX) {
            return Err(Error::limit("a file with a password that is too long for one"));
        }
        Ok(bytes.trim_ascii().to_vec())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::Text(_) => f.write_str("a password"),
            Password::File(path) => write!(f, "the password in {}", path.display()),
        }
    }
}
