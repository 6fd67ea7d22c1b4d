//! A repository of restic (or rustic): file backups in encrypted packs, by restic's design document, versions 1 and 2.
//! It is only read: no lock is left in it, nothing is cached beside it.
//!
//! ```text
//! files.rs       the files of the repository, bounded
//! key.rs         a password opens the repository's key
//! seal.rs        the key opens bytes, unless somebody changed them
//! index.rs       which blob lies in which pack
//! repository.rs  blobs and files, opened; what is kept of them
//! snapshot.rs    who was backed up, when, what
//! directory.rs   a directory; node.rs an entry of it, quoted.rs its name
//! content.rs     the pieces of a file
//! tree.rs        a snapshot as a tree
//! ```
//!
//! Whoever has the password may have written anything, so what is opened is bounded and checked as any other input;
//! who has not can at most make the repository unreadable. Blobs are compared with the hashes that they are called
//! after.

mod content;
mod directory;
mod files;
mod id;
mod index;
mod key;
mod node;
mod quoted;
mod repository;
mod seal;
mod snapshot;
mod tree;

pub(super) use key::WRONG_PASSWORD;

use super::password::{PASSWORD_HINT, Password};
use super::{Backup, Client, Details, Item, Moment, Place, Source, Sources};
use files::{Files, Folder};
use id::Id;
use repository::Repository;
use seal::SealKey;
use snapshot::Snapshot;
use spelunk_sandbox::OpenOptions;
use spelunk_tree::{Error, ErrorKind, Name, Result, Tree};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tree::SnapshotTree;

/// What is said where a password is needed and none is given.
pub(super) const NO_PASSWORD: &str = "the repository is encrypted, and no password is given";

/// A repository as a place of a library.
pub(super) struct Restic {
    path: PathBuf,
    password: Option<Password>,
    /// Whether there may be no repository yet.
    may_be_absent: bool,
    access: Mutex<Access>,
    snapshots: Mutex<HashMap<Id, Option<Arc<Snapshot>>>>,
}

/// Whether the key is known.
#[derive(Default)]
enum Access {
    #[default]
    Untried,
    /// It could not be opened; not tried again as long as the keys and the password are the same.
    Failed {
        keys: Vec<Id>,
        password: Option<Vec<u8>>,
        error: Error,
    },
    Open(Open),
}

#[derive(Clone)]
struct Open {
    files: Arc<Files>,
    key: SealKey,
    /// Index and caches, as long as a snapshot is open.
    repository: Weak<Repository>,
}

/// Whether a place is a repository.
pub(super) fn probe(place: &Place) -> bool {
    files::is_repository(&place.path)
}

/// Opens a repository as a place of its own.
///
/// # Errors
/// None yet: it is read when somebody looks.
pub(super) fn open(place: &Place) -> Result<Sources> {
    Ok(vec![Box::new(Restic::new(place.path.clone(), place.password.clone(), false))])
}

impl Restic {
    pub(super) fn new(path: PathBuf, password: Option<Password>, may_be_absent: bool) -> Restic {
        Restic { path, password, may_be_absent, access: Mutex::default(), snapshots: Mutex::default() }
    }

    /// Opens the repository's key, once.
    fn unlocked(&self) -> Result<Open> {
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if let Access::Open(open) = &*access {
            return Ok(open.clone());
        }
        let files = Files::open(&self.path)?;
        let keys = files.list(Folder::Keys)?;
        let password = self.password.as_ref().map(Password::read).transpose()?;
        if let Access::Failed { keys: known, password: tried, error } = &*access
            && *known == keys
            && *tried == password
        {
            return Err(error.clone());
        }
        let opened = match &password {
            Some(password) => key::unlock(&files, &keys, password),
            None => Err(Error::new(ErrorKind::Denied, NO_PASSWORD)),
        };
        match opened.and_then(|key| repository::check_version(&files, &key).map(|()| key)) {
            Ok(key) => {
                let open = Open { files: Arc::new(files), key, repository: Weak::new() };
                *access = Access::Open(open.clone());
                Ok(open)
            }
            Err(error) => {
                *access = Access::Failed { keys, password, error: error.clone() };
                Err(error)
            }
        }
    }

    /// The index and the caches, which all snapshots that are open share.
    fn repository(&self) -> Result<Arc<Repository>> {
        let open = self.unlocked()?;
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let Access::Open(known) = &mut *access else {
            return Err(Error::internal("a repository that is closed again"));
        };
        Ok(known.repository.upgrade().unwrap_or_else(|| {
            let repository = Arc::new(Repository::new(open.files, open.key));
            known.repository = Arc::downgrade(&repository);
            repository
        }))
    }

    /// All snapshots that can be read, by id. Each is read once: it never changes.
    fn snapshots(&self) -> Result<Vec<(Id, Arc<Snapshot>)>> {
        let open = self.unlocked()?;
        let ids = open.files.list(Folder::Snapshots)?;
        let mut known = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| ids.binary_search(id).is_ok());
        for id in ids {
            if known.contains_key(&id) {
                continue;
            }
            let read = repository::open_file(&open.files, &open.key, Folder::Snapshots, &id);
            let snapshot = match read.and_then(|json| Snapshot::parse(&json)) {
                Ok(snapshot) => Some(Arc::new(snapshot)),
                // It was forgotten just now, or can be read the next time.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Storage) => continue,
                Err(error) => {
                    tracing::warn!(%error, %id, "a snapshot cannot be read");
                    None
                }
            };
            known.insert(id, snapshot);
        }
        Ok(known.iter().filter_map(|(id, snapshot)| Some((*id, snapshot.clone()?))).collect())
    }

    /// What a user should know of snapshots that are damaged.
    fn damage(&self) -> Option<String> {
        let known = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let damaged = known.values().filter(|snapshot| snapshot.is_none()).count();
        (damaged > 0)
            .then(|| format!("{}: {damaged} snapshots are damaged and not shown", self.path.display()))
    }

    fn is_absent(&self) -> bool {
        self.may_be_absent && !files::is_repository(&self.path)
    }
}

impl Source for Restic {
    fn scan(&self) -> Result<Vec<Client>> {
        if self.is_absent() {
            return Ok(Vec::new());
        }
        clients(self.snapshots()?)
    }

    fn note(&self) -> Option<String> {
        if self.is_absent() {
            return None;
        }
        match self.snapshots() {
            Ok(_) => self.damage(),
            Err(error) => {
                let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
                let (path, causes) = (self.path.display(), causes.join(": "));
                let hint = if super::is_about_password(&error) { PASSWORD_HINT } else { "" };
                let note = format!("the file backups in {path} are not shown: {causes}; {hint}");
                Some(note.trim_end_matches("; ").to_owned())
            }
        }
    }

    fn open(&self, key: &str, _: &OpenOptions) -> Result<Arc<dyn Tree>> {
        let id = Id::parse(key.as_bytes()).ok_or_else(|| Error::not_found("no such snapshot"))?;
        let repository = self.repository()?;
        let known = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let snapshot = known.flatten().ok_or_else(|| Error::not_found("no such snapshot"))?;
        Ok(Arc::new(SnapshotTree::new(&snapshot, repository)))
    }
}

/// Snapshots of one moment and name.
type Alike = Vec<(Id, Arc<Snapshot>)>;

/// Snapshots as backups of the machines that they are of.
fn clients(mut snapshots: Vec<(Id, Arc<Snapshot>)>) -> Result<Vec<Client>> {
    snapshots.sort_by_key(|(id, snapshot)| (snapshot.started, *id));
    let mut found: BTreeMap<Name, BTreeMap<Moment, BTreeMap<Name, Alike>>> = BTreeMap::new();
    for (id, snapshot) in snapshots {
        let client = found.entry(snapshot.host.clone()).or_default();
        let backup = client.entry(Moment::of(snapshot.started)).or_default();
        backup.entry(snapshot.label.clone()).or_default().push((id, snapshot));
    }
    let mut clients = Vec::new();
    for (name, by_moment) in found {
        let mut backups = Vec::new();
        for (moment, by_label) in by_moment {
            let items = by_label.into_values().flat_map(items).collect::<Result<_>>()?;
            backups.push(Backup { moment, items });
        }
        clients.push(Client { name, backups });
    }
    Ok(clients)
}

/// Snapshots that would have one name: by themselves with it alone, else with their tags.
fn items(alike: Alike) -> impl Iterator<Item = Result<Item>> {
    let is_alone = alike.len() == 1;
    alike.into_iter().map(move |(id, snapshot)| {
        let name = if is_alone { snapshot.label.clone() } else { snapshot.tagged_label()? };
        let mut item = Item::new(name, id.hex());
        item.details = Some(Arc::new(Details {
            started: snapshot.started,
            finished: snapshot.finished,
            increment: 0,
            bytes: None,
            is_archived: false,
            volume: None,
            version: None,
            parent: None,
            belongs_to: None,
        }));
        Ok(item)
    })
}
