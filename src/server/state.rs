//! What all requests share.

use super::access::Access;
use super::api::{Listings, Plans};
use super::indexer::Indexer;
use super::location::Location;
use super::problem::Problem;
use crate::index::Index;
use crate::library::Library;
use spelunk_mount::path::{self, Found, Links};
use spelunk_mount::webdav::{Options, Webdav};
use spelunk_tree::Tree;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Requests that read the library at once. Others wait.
const READERS_MAX: usize = 64;

/// Archives that are written at once. Each has threads of its own, which a slow client keeps.
const ARCHIVES_MAX: usize = 128;

/// What all requests share.
pub struct App {
    /// All backups.
    pub library: Arc<Library>,
    /// The same, as a tree.
    pub tree: Arc<dyn Tree>,
    /// The same, over WebDAV.
    pub webdav: Webdav,
    /// Who may see what.
    pub access: Arc<Access>,
    /// Names in all backups.
    pub index: Arc<Index>,
    /// Keeps the index up to date.
    pub indexer: Indexer,
    /// Directories that were listed lately.
    pub listings: Listings,
    /// Stored archives that are being downloaded.
    pub plans: Plans,
    readers: Arc<Semaphore>,
    /// Room for archives.
    pub archives: Arc<Semaphore>,
}

impl App {
    /// Puts the parts together.
    pub fn new(library: Arc<Library>, access: Arc<Access>, index: Arc<Index>, indexer: Indexer) -> Arc<App> {
        let tree = library.tree();
        Arc::new(App {
            webdav: Webdav::new(tree.clone(), "/dav", Options::default()),
            tree,
            library,
            access,
            index,
            indexer,
            listings: Listings::default(),
            plans: Plans::default(),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            archives: Arc::new(Semaphore::new(ARCHIVES_MAX)),
        })
    }

    /// Runs what reads the library, on a thread that may wait for it.
    ///
    /// # Errors
    /// What `work` reports.
    pub async fn read<T: Send + 'static>(
        self: &Arc<App>,
        work: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(permit) = self.readers.clone().acquire_owned().await else { return Err(Problem::stopping()) };
        let app = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let done = work(&app);
            drop(permit);
            done
        });
        work.await.unwrap_or_else(|_| Err(spelunk_tree::Error::internal("a request ended in a panic").into()))
    }

    /// Finds a place; a guest's links lead nowhere unless `links` says so.
    ///
    /// # Errors
    /// As [`path::resolve`].
    pub fn find(&self, location: &Location, links: Links) -> Result<Found, Problem> {
        Ok(path::resolve(&*self.tree, &location.bytes(), links)?)
    }

    /// The place with the moment in place of `latest`.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn canonical(&self, location: Location) -> Result<Location, Problem> {
        Ok(location.canonical(&*self.library.catalogue()?))
    }
}
