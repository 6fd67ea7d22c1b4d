//! A folder of disk images: `DIR/<client>/.../<image>`. What lies directly in it is of a client that is called
//! as the folder itself. An image's moment is what its folder is called after, or when its file was last changed.

use super::{Backup, Client, Item, Moment, Place, Source, Sources};
use crate::volumes;
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_tree::{Error, Name, Result, Time, Tree};
use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How files are called that are taken for images. What they are is found out when they are opened.
const EXTENSIONS: [&str; 11] =
    ["raw", "img", "dd", "vhd", "vhdz", "vhdx", "vhdxz", "urz", "qcow2", "vmdk", "vdi"];

/// Levels of folders that are searched.
const DEPTH_MAX: usize = 6;
/// Files and folders that are looked at.
const ENTRIES_MAX: usize = 1 << 20;

struct Folder {
    root: PathBuf,
}

/// Opens a folder.
///
/// # Errors
/// None yet: it is read when somebody looks.
pub(super) fn open(place: &Place) -> Result<Sources> {
    Ok(vec![Box::new(Folder { root: place.path.clone() })])
}

/// Backups by client and moment.
type Found = BTreeMap<Name, BTreeMap<Moment, Vec<Item>>>;

impl Source for Folder {
    fn scan(&self) -> Result<Vec<Client>> {
        let own = self.root.canonicalize().ok().and_then(|root| name_of(root.file_name()?.as_bytes()));
        let mut found = Found::new();
        let mut left = ENTRIES_MAX;
        let entries = fs::read_dir(&self.root).map_err(|error| {
            Error::from_io("reading a library", &error).object(self.root.display().to_string())
        })?;
        for entry in entries.flatten() {
            if is_folder(&entry) {
                let client = name_of(entry.file_name().as_bytes());
                if let Some(client) = client.filter(|name| !name.as_bytes().starts_with(b".")) {
                    self.search(&entry.path(), &client, 1, &mut left, &mut found);
                }
            } else if let Some(own) = &own {
                self.take(&entry, own, &mut found);
            }
        }
        let backups = |by_moment: BTreeMap<Moment, Vec<Item>>| {
            by_moment.into_iter().map(|(moment, items)| Backup { moment, items }).collect()
        };
        Ok(found.into_iter().map(|(name, by_moment)| Client { name, backups: backups(by_moment) }).collect())
    }

    fn open(&self, key: &str, options: &OpenOptions) -> Result<Arc<dyn Tree>> {
        let (_, path) = key.split_once('/').ok_or_else(|| Error::internal("a key without a path"))?;
        let disk = Disk::open(&self.root.join(path), options)?;
        let parts = volumes::parts(disk.info(), volumes::trees_of(&disk), None)?;
        volumes::top_of(parts)
    }
}

impl Folder {
    /// Searches a folder of the client. What cannot be read is left out.
    fn search(&self, folder: &Path, client: &Name, depth: usize, left: &mut usize, found: &mut Found) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let Some(fewer) = left.checked_sub(1) else { return };
            *left = fewer;
            if !is_folder(&entry) {
                self.take(&entry, client, found);
            } else if depth < DEPTH_MAX {
                self.search(&entry.path(), client, depth + 1, left, found);
            }
        }
    }

    /// Takes a file that is called like an image. Links are not followed.
    fn take(&self, entry: &DirEntry, client: &Name, found: &mut Found) {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
            return;
        }
        if is_part(&path) {
            return;
        }
        let Some(metadata) = entry.metadata().ok().filter(fs::Metadata::is_file) else { return };
        // A path that is not UTF-8 cannot be a key.
        let below = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        if let (Some(name), Some(below)) = (name_of(entry.file_name().as_bytes()), below) {
            // A file that has changed is another backup: what is open of the old one must not be shown for it.
            let key = format!("{}.{:09}/{below}", metadata.mtime(), metadata.mtime_nsec());
            let mut item = Item::new(name, key);
            item.stored_bytes = Some(metadata.blocks().saturating_mul(512));
            let changed = || Moment::of(Time::from_seconds(metadata.mtime()));
            let moment = named_moment(&path).unwrap_or_else(changed);
            found.entry(client.clone()).or_default().entry(moment).or_default().push(item);
        }
    }
}

/// The time that the folder of an image is called after, as the library itself writes times.
fn named_moment(image: &Path) -> Option<Moment> {
    Moment::parse(image.parent()?.file_name()?.to_str()?)
}

/// Whether a file is a part of a VMDK, as VMware calls them (`disk-flat.vmdk`, `disk-s001.vmdk`), and the descriptor
/// lies beside it: then it is that which is the image.
fn is_part(path: &Path) -> bool {
    let Some((disk, part)) = path.file_name().and_then(|name| name.to_str()?.rsplit_once('-')) else {
        return false;
    };
    let Some(part) = part.strip_suffix(".vmdk") else { return false };
    let number = part.strip_prefix(['s', 'f']).unwrap_or_default();
    let is_number = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number || ["flat", "delta", "ctk", "sesparse"].contains(&part))
        && path.with_file_name(format!("{disk}.vmdk")).is_file()
}

fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn name_of(bytes: &[u8]) -> Option<Name> {
    Name::new(bytes).ok()
}
