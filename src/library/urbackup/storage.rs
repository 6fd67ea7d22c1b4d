//! Who was backed up to a storage, when, and what, as the names of its folders say, and databases where there are
//! some: what is there is what has a folder, what is known of it is what its row says.

use super::database::{Row, Rows};
use super::jailed::{self, Found};
use super::listing;
use crate::library::{Backup, Client, Item, Moment};
use jiff::civil::DateTime;
use spelunk_tree::{Name, Result};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Folders of a storage that are no clients.
const NOT_CLIENTS: [&[u8]; 4] = [b"clients", b"user_views", b"urbackup_tmp_files", b"urbackup"];
/// What is in a file backup but was not backed up. `.symlink_*` was: it is where links led.
const NOT_SHARES: [&[u8]; 3] = [b".hashes", b"user_views", b"urbackup_backup_scripts"];
/// The file that a file backup has when it is finished.
const FINISHED: &[u8] = b".sync_f3a50226-f49a-4195-afef-c75b21781ae1";

const IMAGE: &str = "_Image_";
const CONTINUOUS: &str = "continuous_";
/// How the names of image files end.
const IMAGE_EXTENSIONS: [&str; 5] = ["vhdz", "vhd", "vhdxz", "vhdx", "raw"];

/// Separates the names of a share's key. Names cannot hold it.
const SEPARATOR: char = '/';
const KEY_IMAGE: &str = "image:";
const KEY_SHARE: &str = "share:";

/// What the key of an item says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The path of an image file in the storage.
    Image(PathBuf),
    /// A share of a file backup.
    Share { client: Name, backup: Name, share: Name },
}

impl Key {
    pub(super) fn parse(key: &str) -> Option<Key> {
        if let Some(path) = key.strip_prefix(KEY_IMAGE) {
            return Some(Key::Image(PathBuf::from(path)));
        }
        let mut names = key.strip_prefix(KEY_SHARE)?.split(SEPARATOR).map(|name| Name::new(name.as_bytes()));
        let (client, backup, share) = (names.next()?.ok()?, names.next()?.ok()?, names.next()?.ok()?);
        names.next().is_none().then_some(Key::Share { client, backup, share })
    }
}

/// A storage.
pub(super) struct Storage {
    path: PathBuf,
    directory: OwnedFd,
    finished: Mutex<Finished>,
}

/// What is in backups that are finished, and so do not change any more.
type Items = HashMap<(Name, Name), Vec<Item>>;

#[derive(Default)]
struct Finished {
    items: Items,
    /// What databases said when they were looked at.
    rows: Option<Arc<Rows>>,
}

impl Storage {
    pub(super) fn open(path: &Path) -> Result<Storage> {
        let directory = jailed::root(path)?;
        Ok(Storage { path: path.to_owned(), directory, finished: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Whether there is a backup in it at all.
    pub(super) fn has_backups(&self) -> bool {
        self.client_names().is_ok_and(|clients| {
            clients.iter().any(|client| {
                let names = jailed::directory(&self.directory, client.as_bytes())
                    .and_then(|directory| listing::names(&directory));
                names.is_ok_and(|names| names.iter().any(|name| Folder::parse(name).is_some()))
            })
        })
    }

    fn client_names(&self) -> Result<Vec<Name>> {
        let mut names = listing::names(&self.directory)?;
        names.retain(|name| !NOT_CLIENTS.contains(&name.as_bytes()) && !name.as_bytes().starts_with(b"."));
        names.retain(|name| matches!(jailed::look(&self.directory, name.as_bytes()), Ok(Found::Directory)));
        Ok(names)
    }

    /// Reads who was backed up, where `rows` are what databases say. A client that cannot be read is left out.
    ///
    /// # Errors
    /// When the storage itself cannot be read.
    pub(super) fn clients(&self, rows: Option<Arc<Rows>>) -> Result<Vec<Client>> {
        let mut known = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = match (&known.rows, &rows) {
            (Some(known), Some(rows)) => Arc::ptr_eq(known, rows),
            (known, rows) => known.is_none() && rows.is_none(),
        };
        if !is_same {
            *known = Finished { items: Items::new(), rows };
        }
        let mut seen = Items::new();
        let mut clients = Vec::new();
        for name in self.client_names()? {
            match self.backups(&name, &known, &mut seen) {
                Ok(backups) if backups.is_empty() => {}
                Ok(backups) => clients.push(Client { name, backups }),
                Err(error) => tracing::warn!(client = ?name, %error, "a client cannot be read"),
            }
        }
        // Of backups that are gone nothing is kept.
        known.items = seen;
        Ok(clients)
    }

    fn backups(&self, client: &Name, known: &Finished, seen: &mut Items) -> Result<Vec<Backup>> {
        let directory = jailed::directory(&self.directory, client.as_bytes())?;
        let mut by_moment: BTreeMap<Moment, Vec<Item>> = BTreeMap::new();
        for name in listing::names(&directory)? {
            let Some(folder) = Folder::parse(&name) else { continue };
            let row = known.rows.as_ref().and_then(|rows| rows.get(client, &name));
            if row.is_some_and(|row| !row.is_whole) {
                continue;
            }
            let moment = row.map_or(folder.moment, |row| Moment::of(row.details.started));
            let key = (client.clone(), name);
            let items = match known.items.get(&key) {
                Some(items) => items.clone(),
                None => match folder.items(&directory, client, &key.1, row) {
                    Some(items) => items,
                    None => continue,
                },
            };
            by_moment.entry(moment).or_default().extend(items.iter().cloned());
            seen.insert(key, items);
        }
        Ok(by_moment.into_iter().map(|(moment, items)| Backup { moment, items }).collect())
    }
}

/// What the name of a backup's folder says.
struct Folder {
    moment: Moment,
    /// Of an image: of what.
    volume: Option<String>,
}

impl Folder {
    /// Takes `YYMMDD-HHMM`, `continuous_YYMMDD-HHMM`, `YYMMDD-HHMM_Image_<volume>`.
    fn parse(name: &Name) -> Option<Folder> {
        let name = std::str::from_utf8(name.as_bytes()).ok()?;
        let name = name.strip_prefix(CONTINUOUS).unwrap_or(name);
        let (time, volume) = match name.split_once(IMAGE) {
            Some((time, volume)) => (time, Some(volume.to_owned())),
            None => (name, None),
        };
        let digits =
            |(index, byte): (usize, u8)| if index == 6 { byte == b'-' } else { byte.is_ascii_digit() };
        if time.len() != 11 || !time.bytes().enumerate().all(digits) {
            return None;
        }
        let minute = DateTime::strptime("%Y%m%d-%H%M", format!("20{time}")).ok()?;
        Some(Folder { moment: Moment::of_civil(minute), volume })
    }

    /// What is in it, if it is finished. `None` too when it cannot be read: it is looked at again next time. What
    /// is whole as a row says needs a mark in the storage only if its server made marks.
    fn items(
        &self,
        client_directory: &OwnedFd,
        client: &Name,
        folder: &Name,
        row: Option<&Row>,
    ) -> Option<Vec<Item>> {
        let directory = jailed::directory(client_directory, folder.as_bytes()).ok()?;
        let (client_text, folder_text) = (text(client)?, text(folder)?);
        let prefix = format!("{client_text}{SEPARATOR}{folder_text}{SEPARATOR}");
        let is_marked = row.is_none_or(|row| row.is_marked);
        let mut items = match &self.volume {
            Some(volume) => {
                let volume = row.and_then(|row| row.details.volume.as_ref()).unwrap_or(volume);
                let file = row.and_then(|row| row.file.as_ref());
                vec![image(&directory, volume, &prefix, file, is_marked)?]
            }
            None => shares(client_directory, &directory, &prefix, is_marked)?,
        };
        items.iter_mut().for_each(|item| item.details = row.map(|row| row.details.clone()));
        Some(items)
    }
}

fn text(name: &Name) -> Option<&str> {
    std::str::from_utf8(name.as_bytes()).ok()
}

/// The image in a folder: `wanted`, where a row says which.
fn image(
    directory: &OwnedFd,
    volume: &str,
    prefix: &str,
    wanted: Option<&Name>,
    is_marked: bool,
) -> Option<Item> {
    let names = listing::names(directory).ok()?;
    let has = |wanted: &str| names.iter().any(|name| name.as_bytes() == wanted.as_bytes());
    let mut images = names.iter().filter(|name| wanted.is_none_or(|wanted| *name == wanted));
    let file = images.find_map(|name| {
        let name = text(name)?;
        let extension = Path::new(name).extension()?.to_str()?;
        let is_image = IMAGE_EXTENSIONS.contains(&extension) && (!is_marked || has(&format!("{name}.sync")));
        is_image.then_some(name)
    })?;
    let Ok(Found::File { allocated, .. }) = jailed::look(directory, file.as_bytes()) else { return None };
    let name = Name::new(volume_name(volume).as_bytes()).ok()?;
    let mut item = Item::new(name, format!("{KEY_IMAGE}{prefix}{file}"));
    item.stored_bytes = Some(allocated);
    Some(item)
}

/// What a volume's item is called, the same whether its folder says `C`, `_dev_sda1` or its row `C:`, `/dev/sda1`.
fn volume_name(volume: &str) -> String {
    volume.trim_end_matches(':').replace(['/', '\\', ':', '\0'], "_").trim_start_matches('_').to_owned()
}

fn shares(client: impl AsFd, directory: &OwnedFd, prefix: &str, is_marked: bool) -> Option<Vec<Item>> {
    if is_marked {
        let hashes = jailed::directory(directory, b".hashes").ok()?;
        let Ok(Found::File { .. }) = jailed::look(&hashes, FINISHED) else { return None };
    }
    let mut items = Vec::new();
    for name in listing::names(directory).ok()? {
        let is_share = !NOT_SHARES.contains(&name.as_bytes())
            && jailed::directory_or_pooled(&client, directory, name.as_bytes()).is_ok();
        // A share whose name is not UTF-8 cannot be a key; UrBackup names shares in UTF-8.
        if let Some(share) = text(&name).filter(|_| is_share) {
            let key = format!("{KEY_SHARE}{prefix}{share}");
            items.push(Item::new(name.clone(), key));
        }
    }
    Some(items)
}
