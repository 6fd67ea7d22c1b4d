//! `spelunk.toml`: which version of the store it is, and its id.

use serde::Deserialize;
use spelunk_tree::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the file is called.
pub(super) const FILE: &str = "spelunk.toml";
/// The version of stores that is read.
const VERSION: u32 = 1;
/// Bytes of the file; it has some lines.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What must stand in it, of any version.
#[derive(Deserialize)]
struct Settings {
    version: u32,
    /// Tells the store from others, wherever it is moved.
    id: String,
}

/// Checks that a store is one that can be read.
///
/// # Errors
/// `Unsupported` for another version; `Corrupt` when the file is not what it must be.
pub(super) fn check(store: &Path) -> Result<()> {
    let failed = |error| Error::from_io("reading the settings of a store", &error).object(FILE);
    let mut text = String::new();
    let file = File::open(store.join(FILE)).map_err(failed)?;
    match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(read) if u64::try_from(read).is_ok_and(|read| read <= FILE_BYTES_MAX) => parse(&text),
        Ok(_) => Err(Error::limit("settings of a store that are too long").object(FILE)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::corrupt("settings of a store that are not UTF-8").object(FILE))
        }
        Err(error) => Err(failed(error)),
    }
}

fn parse(text: &str) -> Result<()> {
    let bad = |what: String| Error::corrupt(format!("settings of a store: {what}")).object(FILE);
    let settings: Settings = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
    if settings.version != VERSION {
        let version = settings.version;
        return Err(Error::unsupported(format!("a store of version {version}; version {VERSION} is read"))
            .object(FILE));
    }
    if settings.id.is_empty() {
        return Err(bad("an id that is empty".to_owned()));
    }
    tracing::debug!(id = settings.id, "store");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    #[test]
    fn settings_of_this_version_will_do_whatever_else_they_say() {
        assert_eq!(parse("version = 1\nid = \"4f6c\"\n\n[settings]\nkeep = 30\n"), Ok(()));
    }

    #[test]
    fn other_versions_and_other_files_are_refused() {
        let kind = |text| parse(text).map_err(|error| error.kind());

        assert_eq!(kind("version = 2\nid = \"x\"\nlayout = 7"), Err(ErrorKind::Unsupported));
        for bad in
            ["", "version = 1", "id = \"x\"", "version = \"1\"\nid = \"x\"", "version = 1\nid = \"\"", "{}"]
        {
            assert_eq!(kind(bad), Err(ErrorKind::Corrupt), "{bad}");
        }
    }
}
