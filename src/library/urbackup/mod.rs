//! A UrBackup storage: `<client>/<YYMMDD-HHMM>` are file backups, `<client>/<YYMMDD-HHMM>_Image_<volume>` images.
//!
//! ```text
//! storage.rs  who was backed up, when, what: names of folders alone
//! jailed.rs   opening what lies in a backup, where no link leads anywhere but into the directory pool
//! nodes.rs    node ids of a file backup, and the names that they stand for
//! listing.rs  a directory's names, in the order in which they are listed
//! metadata.rs what stands in `.hashes` of a file, read here and parsed in the jail
//! files.rs    a share of a file backup as a tree
//! ```

mod files;
mod jailed;
mod listing;
mod metadata;
mod nodes;
mod storage;

use super::{Client, Place, Source};
use crate::volumes;
use files::FileBackup;
use spelunk_sandbox::{Disk, MetadataWorker, OpenOptions};
use spelunk_tree::{Error, Result, Tree};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use storage::{Key, Storage};

struct UrBackup {
    storage: Storage,
    /// One worker for all shares that are open.
    worker: Mutex<Weak<MetadataWorker>>,
}

/// Whether a place looks like a storage.
pub(super) fn probe(root: &Path) -> bool {
    Storage::open(root).is_ok_and(|storage| storage.has_backups())
}

/// Opens a storage.
///
/// # Errors
/// When its directory cannot be opened.
pub(super) fn open(place: &Place) -> Result<Box<dyn Source>> {
    let storage = Storage::open(&place.path)?;
    Ok(Box::new(UrBackup { storage, worker: Mutex::default() }))
}

impl Source for UrBackup {
    fn scan(&self) -> Result<Vec<Client>> {
        self.storage.clients()
    }

    fn open(&self, key: &str, options: &OpenOptions) -> Result<Arc<dyn Tree>> {
        match Key::parse(key).ok_or_else(|| Error::not_found("no such backup"))? {
            Key::Image(path) => {
                let disk = Disk::open(&self.storage.path().join(path), options)?;
                let parts = volumes::parts(disk.info(), volumes::trees_of(&disk), None)?;
                volumes::top_of(parts)
            }
            Key::Share { client, backup, share } => {
                let worker = self.worker(options);
                let backup = FileBackup::open(self.storage.directory(), [&client, &backup, &share], worker)?;
                Ok(Arc::new(backup))
            }
        }
    }
}

impl UrBackup {
    fn worker(&self, options: &OpenOptions) -> Arc<MetadataWorker> {
        let mut known = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let worker = Arc::new(MetadataWorker::new(options));
            *known = Arc::downgrade(&worker);
            worker
        })
    }
}

#[cfg(test)]
mod tests;
