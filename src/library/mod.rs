//! Libraries: places that hold backups, as one tree `<client>/<time>/<volume or share>/...`.
//!
//! ```text
//! place on disk --Source--> Catalogue (who was backed up, when, what) --LibraryTree--> presenters
//!                   |                                                       |
//!                   +--- open: an image in its jail, a file backup ---------+ when somebody looks into it
//! ```
//!
//! A [`Source`] knows one kind of place; kinds are rows of [`KINDS`]. What it finds is read again when somebody
//! looks and what is known is older than [`REFRESH`], so new backups appear by themselves. Nothing in a backup is
//! opened before somebody looks into it, and what nobody looks at for a while is closed (`slots.rs`).

mod folder;
mod moment;
mod nodes;
mod password;
mod recent;
mod restic;
mod slots;
mod store;
mod tree;
mod urbackup;

pub use moment::Moment;
pub use password::{PASSWORD_HINT, Password};

use crate::escape::escape;
use slots::Slots;
use spelunk_sandbox::OpenOptions;
use spelunk_tree::{Error, ErrorKind, Name, Result, Time, Tree};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tree::LibraryTree;

/// How old what is known of the backups may be when somebody looks.
const REFRESH: Duration = Duration::from_secs(2);

/// Clients of one library, backups of one client, items of one backup: far more than anybody keeps, and few
/// enough to be held in memory.
const CLIENTS_MAX: usize = 100_000;
const BACKUPS_MAX: usize = 100_000;
const ITEMS_MAX: usize = 4096;

/// What knows one place: more than one where parts of it can be read one without the other.
type Sources = Vec<Box<dyn Source>>;

/// A kind of place.
struct Kind {
    /// What it is called.
    name: &'static str,
    /// Whether a place is one of this kind.
    probe: fn(&Place) -> bool,
    /// Opens it.
    open: fn(&Place) -> Result<Sources>,
}

/// The kinds of places, in the order in which they are probed; a folder of images is what is left.
const KINDS: &[Kind] = &[
    Kind { name: "store", probe: store::probe, open: store::open },
    Kind { name: "restic", probe: restic::probe, open: restic::open },
    Kind { name: "urbackup", probe: urbackup::probe, open: urbackup::open },
    Kind { name: "folder", probe: |_| true, open: folder::open },
];

/// A place with backups.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory.
    pub path: PathBuf,
    /// Of a UrBackup storage: the directory with its server's databases, when the user names it.
    pub urbackup_databases: Option<PathBuf>,
    /// Of a store or a repository of restic: the password of its file backups.
    pub password: Option<Password>,
}

#[cfg(test)]
impl Place {
    /// A place of which all is found out.
    pub fn new(path: impl Into<PathBuf>) -> Place {
        Place { path: path.into(), urbackup_databases: None, password: None }
    }
}

/// What knows one place.
trait Source: Send + Sync {
    /// Who was backed up there, and when. Called anew whenever somebody looks.
    fn scan(&self) -> Result<Vec<Client>>;

    /// What a user should know of how the place is read, if anything.
    fn note(&self) -> Option<String> {
        None
    }

    /// Opens what `key` names, one of those that [`Source::scan`] gave.
    fn open(&self, key: &str, options: &OpenOptions) -> Result<Arc<dyn Tree>>;
}

/// A machine that was backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: Name,
    /// Its backups, the oldest first, each moment once.
    pub backups: Vec<Backup>,
}

/// What was backed up of a client at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// When.
    pub moment: Moment,
    /// Volumes and shares, by name.
    pub items: Vec<Item>,
}

/// A volume's image, or a file backup's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is called among the others.
    pub name: Name,
    /// Bytes that it takes up where it is stored, when that is known.
    pub stored_bytes: Option<u64>,
    /// What whoever made the backup wrote down of it, where that is to be had.
    pub details: Option<Arc<Details>>,
    /// Names it to its source; the same whenever the place is read.
    pub key: String,
    /// The tree's number in the library.
    pub slot: u32,
}

impl Item {
    /// An item whose number is not yet known.
    pub(crate) fn new(name: Name, key: String) -> Item {
        Item { name, stored_bytes: None, details: None, key, slot: 0 }
    }
}

/// What the program that made a backup wrote down of it. What it did not is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// When the backup began.
    pub started: Time,
    /// When it was complete.
    pub finished: Option<Time>,
    /// 0 for a full backup; of an incremental image, how many are below it down to the full one.
    pub increment: u64,
    /// Bytes that the whole backup took up when it was made.
    pub bytes: Option<u64>,
    /// Whether it is kept on purpose.
    pub is_archived: bool,
    /// Of an image: its volume as the client called it, as `C:`, `SYSVOL`, `/dev/sda1`.
    pub volume: Option<String>,
    /// Of an image: the version of the file's format.
    pub version: Option<u64>,
    /// Of an incremental image: when the one was made that it is the difference to.
    pub parent: Option<Moment>,
    /// Of an image that was made together with that of a system volume: when that was.
    pub belongs_to: Option<Moment>,
}

/// All that is known of the backups at one time.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// By name.
    pub clients: Vec<Client>,
    /// Whether all places could be read: else backups may be missing that are not gone.
    pub is_complete: bool,
}

impl Client {
    /// The newest of each item, with its backup, by name.
    pub fn latest(&self) -> Vec<(&Backup, &Item)> {
        let mut newest: Vec<(&Backup, &Item)> = Vec::new();
        for backup in self.backups.iter().rev() {
            for item in &backup.items {
                if !newest.iter().any(|(_, known)| known.name == item.name) {
                    newest.push((backup, item));
                }
            }
        }
        newest.sort_by(|a, b| a.1.name.as_bytes().cmp(b.1.name.as_bytes()));
        newest
    }
}

/// Whether an error says that a password is missing, or a wrong one.
pub fn is_about_password(error: &Error) -> bool {
    error.chain().any(|error| [restic::NO_PASSWORD, restic::WRONG_PASSWORD].contains(&error.message()))
}

/// What a client's directory of the newest backups is called.
pub const LATEST: &str = "latest";

/// Some places, seen as one.
pub struct Library {
    sources: Sources,
    slots: Slots,
    known: Mutex<Option<(Instant, Arc<tree::Seen>)>>,
}

impl Library {
    /// Opens places. Nothing in them is read but what tells their kind.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `Denied` for a place that cannot be read.
    pub fn open(places: &[Place], options: OpenOptions) -> Result<Arc<Library>> {
        let mut sources = Vec::new();
        for place in places {
            check_directory(&place.path).map_err(|error| {
                error.context(escape(place.path.as_os_str().as_encoded_bytes()).into_owned())
            })?;
            let kind = KINDS.iter().find(|kind| (kind.probe)(place));
            let kind = kind.ok_or_else(|| Error::unsupported("no kind of library"))?;
            tracing::debug!(path = %place.path.display(), kind = kind.name, "library");
            sources.extend((kind.open)(place)?);
        }
        let library = Arc::new(Library { sources, slots: Slots::new(options), known: Mutex::default() });
        close_idle_items(&library)?;
        Ok(library)
    }

    /// The library as a tree.
    pub fn tree(self: &Arc<Self>) -> Arc<dyn Tree> {
        Arc::new(LibraryTree::new(self.clone()))
    }

    /// What users should know of how the places are read.
    pub fn notes(&self) -> Vec<String> {
        self.sources.iter().filter_map(|source| source.note()).collect()
    }

    /// Who was backed up, when, and what: not older than some seconds.
    ///
    /// # Errors
    /// When no place can be read. Those that cannot are left out as long as others can.
    pub fn catalogue(&self) -> Result<Arc<Catalogue>> {
        Ok(self.seen()?.catalogue.clone())
    }

    /// Opens an item for somebody who reads it once: it is closed when he is done, and closes no other. Who reads many
    /// sees to it that few are open at once: each may have a worker.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_apart(&self, item: &Item) -> Result<Arc<dyn Tree>> {
        self.slots.open_apart(item.slot, |source, key, options| self.open_item(source, key, options))
    }

    /// What is known of the backups, not older than some seconds.
    ///
    /// # Errors
    /// When no place can be read. Those that cannot are left out as long as others can.
    fn seen(&self) -> Result<Arc<tree::Seen>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, seen)) = &*known
            && when.elapsed() < REFRESH
        {
            return Ok(seen.clone());
        }
        let seen = Arc::new(tree::Seen::new(self.scan()?));
        *known = Some((Instant::now(), seen.clone()));
        Ok(seen)
    }

    /// Reads all places.
    fn scan(&self) -> Result<Catalogue> {
        let mut clients: Vec<Client> = Vec::new();
        let mut failure = None;
        let mut has_one = false;
        for (index, source) in self.sources.iter().enumerate() {
            match source.scan() {
                Ok(found) => {
                    has_one = true;
                    found.into_iter().for_each(|client| self.add(&mut clients, index, client));
                }
                Err(error) => {
                    tracing::warn!(%error, "a library cannot be read");
                    failure = Some(error);
                }
            }
        }
        let is_complete = failure.is_none();
        if let Some(error) = failure.filter(|_| !has_one) {
            return Err(error);
        }
        clients.truncate(CLIENTS_MAX);
        clients.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        // An empty place is more often a disk that is not mounted than the loss of all backups.
        let is_complete = is_complete && !clients.is_empty();
        Ok(Catalogue { clients, is_complete })
    }

    /// Adds a client of the source `source`. One that is known from another place gets the backups of both.
    fn add(&self, clients: &mut Vec<Client>, source: usize, client: Client) {
        let index = clients.iter().position(|known| known.name == client.name).unwrap_or_else(|| {
            clients.push(Client { name: client.name.clone(), backups: Vec::new() });
            clients.len() - 1
        });
        let Some(known) = clients.get_mut(index) else { return };
        for backup in client.backups {
            let at = known.backups.binary_search_by(|other| other.moment.cmp(&backup.moment));
            let at = at.unwrap_or_else(|at| {
                known.backups.insert(at, Backup { moment: backup.moment, items: Vec::new() });
                at
            });
            if let Some(together) = known.backups.get_mut(at) {
                backup.items.into_iter().for_each(|item| self.add_item(together, source, item));
            }
        }
        known.backups.truncate(BACKUPS_MAX);
    }

    /// Adds an item under a name that no other has.
    fn add_item(&self, backup: &mut Backup, source: usize, mut item: Item) {
        let is_taken = |name: &Name| backup.items.iter().any(|other| other.name == *name);
        if is_taken(&item.name) {
            let numbered = |number: usize| {
                let number = format!(" ({number})");
                Name::new([item.name.as_bytes(), number.as_bytes()].concat()).ok()
            };
            let Some(free) = (2..=ITEMS_MAX).filter_map(numbered).find(|name| !is_taken(name)) else {
                return;
            };
            item.name = free;
        }
        if backup.items.len() < ITEMS_MAX {
            item.slot = self.slots.number(source, &item.key);
            let at = backup.items.partition_point(|other| other.name.as_bytes() < item.name.as_bytes());
            backup.items.insert(at, item);
        }
    }

    /// The tree with this number, opened if need be.
    fn item(&self, slot: u32) -> Result<Arc<dyn Tree>> {
        self.slots.open(slot, |source, key, options| self.open_item(source, key, options))
    }

    fn open_item(&self, source: usize, key: &str, options: &OpenOptions) -> Result<Arc<dyn Tree>> {
        let source = self.sources.get(source).ok_or_else(|| Error::internal("a source that is gone"))?;
        source.open(key, options)
    }
}

fn check_directory(path: &Path) -> Result<()> {
    let failed = |error| Error::from_io("opening a library", &error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(Error::new(ErrorKind::NotADirectory, "a library is a directory with backups"));
    }
    std::fs::read_dir(path).map(drop).map_err(failed)
}

/// Starts the thread that closes what nobody looks at. It ends with the library.
fn close_idle_items(library: &Arc<Library>) -> Result<()> {
    const PERIOD: Duration = Duration::from_secs(10);
    let library = Arc::downgrade(library);
    let watch = move || {
        while let Some(library) = library.upgrade() {
            library.slots.close_idle();
            drop(library);
            std::thread::sleep(PERIOD);
        }
    };
    let thread = std::thread::Builder::new().name("library-idle".to_owned()).spawn(watch);
    thread.map(drop).map_err(|error| Error::from_io("starting a thread", &error))
}

#[cfg(test)]
mod tests;
