//! The images of a store: `<client>/<UTC time>/<volume>.<extension>`.

use crate::library::{Backup, Client, Item, Moment, Source};
use crate::volumes;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_tree::{Error, Name, Result, Time, Tree};
use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How images of a store are called.
const EXTENSIONS: [&str; 4] = ["vhdz", "vhd", "vhdx", "raw"];
/// Directories and files that are looked at.
const ENTRIES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Images {
    root: PathBuf,
}

impl Images {
    pub(super) fn new(root: PathBuf) -> Images {
        Images { root }
    }

    /// The backups of a client. What cannot be read is left out.
    fn backups(&self, client: &Path, left: &mut usize) -> Vec<Backup> {
        let mut by_moment: BTreeMap<Moment, Vec<Item>> = BTreeMap::new();
        for entry in folders(client) {
            let moment = entry.file_name().to_str().and_then(moment);
            if let Some(moment) = moment {
                by_moment.entry(moment).or_default().extend(self.items(&entry.path(), left));
            }
        }
        let backup = |(moment, items)| Backup { moment, items };
        by_moment.into_iter().map(backup).filter(|backup| !backup.items.is_empty()).collect()
    }

    fn items(&self, backup: &Path, left: &mut usize) -> Vec<Item> {
        let mut items = Vec::new();
        for entry in fs::read_dir(backup).into_iter().flatten().flatten() {
            let Some(fewer) = left.checked_sub(1) else { break };
            *left = fewer;
            items.extend(self.item(&entry));
        }
        items.sort_by(|one, other| one.key.cmp(&other.key));
        items
    }

    /// A file that is called as a volume's image. Links are not followed.
    fn item(&self, entry: &DirEntry) -> Option<Item> {
        let path = entry.path();
        let extension = path.extension()?.to_str()?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        if !EXTENSIONS.contains(&extension) {
            return None;
        }
        let name = Name::new(path.file_stem()?.as_bytes()).ok()?;
        // A path that is not UTF-8 cannot be a key, and the store has none.
        let below = path.strip_prefix(&self.root).ok()?.to_str()?;
        let mut item = Item::new(name, below.to_owned());
        item.stored_bytes = Some(metadata.blocks().saturating_mul(512));
        Some(item)
    }
}

impl Source for Images {
    fn scan(&self) -> Result<Vec<Client>> {
        let mut left = ENTRIES_MAX;
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        fs::read_dir(&self.root).map_err(|error| Error::from_io("reading the images of a store", &error))?;
        let mut clients = Vec::new();
        for entry in folders(&self.root) {
            let name = Name::new(entry.file_name().as_bytes()).ok();
            if let Some(name) = name.filter(|name| !name.as_bytes().starts_with(b".")) {
                clients.push(Client { name, backups: self.backups(&entry.path(), &mut left) });
            }
        }
        clients.retain(|client| !client.backups.is_empty());
        Ok(clients)
    }

    fn open(&self, key: &str, options: &OpenOptions) -> Result<Arc<dyn Tree>> {
        let disk = Disk::open(&self.root.join(key), options)?;
        let parts = volumes::parts(disk.info(), volumes::trees_of(&disk), None)?;
        volumes::top_of(parts)
    }
}

/// The directories in another, links left out.
fn folders(path: &Path) -> impl Iterator<Item = DirEntry> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// The moment that a backup's directory is called after: `2026-11-23T024305Z`.
fn moment(name: &str) -> Option<Moment> {
    const FORMAT: &str = "%Y-%m-%dT%H%M%SZ";
    let civil = DateTime::strptime(FORMAT, name).ok()?;
    let time = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let is_canonical = civil.strftime(FORMAT).to_string() == name;
    is_canonical.then(|| Moment::of(Time::from_seconds(time.as_second())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_called_after_times_in_utc() {
        assert_eq!(moment("2026-11-23T024305Z"), Some(Moment::of(Time::from_seconds(1_795_401_785))));
        for bad in [
            "2026-11-23T024305Z.partial",
            ".2026-11-23T024305Z",
            "2026-11-23T024305",
            "2026-13-23T024305Z",
            "latest",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
