//! A UrBackup storage: `<client>/<YYMMDD-HHMM>` are file backups, `<client>/<YYMMDD-HHMM>_Image_<volume>` images.
//!
//! ```text
//! storage.rs  who was backed up, when, what: names of folders, and what databases say of them
//! database/   what the server's databases say, where there are some
//! jailed.rs   opening what lies in a backup, where no link leads anywhere but into the directory pool
//! listing.rs  a directory's names, in the order in which they are listed
//! metadata.rs what stands in `.hashes` of a file, read here and parsed in the jail
//! files.rs    a share of a file backup as a tree
//! ```

mod database;
mod files;
mod jailed;
mod listing;
mod metadata;
mod storage;

use super::{Client, Place, Source, Sources};
use crate::volumes;
use database::Databases;
use files::FileBackup;
use spelunk_sandbox::{Disk, MetadataWorker, OpenOptions};
use spelunk_tree::{Error, Result, Tree};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use storage::{Key, Storage};

struct UrBackup {
    storage: Storage,
    databases: Option<Databases>,
    /// One worker for all shares that are open.
    worker: Mutex<Weak<MetadataWorker>>,
}

/// Whether a place looks like a storage, or is said to be one.
pub(super) fn probe(place: &Place) -> bool {
    place.urbackup_databases.is_some()
        || Storage::open(&place.path).is_ok_and(|storage| storage.has_backups())
}

/// Opens a storage, with the databases that are named or found.
///
/// # Errors
/// When its directory cannot be opened; when there are no databases where they are said to be.
pub(super) fn open(place: &Place) -> Result<Sources> {
    let storage = Storage::open(&place.path)?;
    let databases = match &place.urbackup_databases {
        Some(path) => Some(Databases::open(path)?),
        None => Databases::of_storage(&place.path),
    };
    Ok(vec![Box::new(UrBackup { storage, databases, worker: Mutex::default() })])
}

impl Source for UrBackup {
    fn scan(&self) -> Result<Vec<Client>> {
        self.storage.clients(self.databases.as_ref().and_then(Databases::rows))
    }

    fn note(&self) -> Option<String> {
        self.databases.as_ref().and_then(Databases::note)
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
