//! The host's side: starts workers, asks them, and reads what they say is plain.

mod files_ahead;
mod idle;
mod image;
mod keeper;
pub(crate) mod line;
mod link;
mod list_ahead;
mod metadata;
pub(crate) mod process;
mod remote_tree;
mod run_cache;
mod running;

use image::open_image;
pub(crate) use image::{Image, OPEN_FLAGS};
pub(crate) use process::CHANNELS_MAX;

pub use metadata::{Detail, MetadataWorker};

use link::Link;
use remote_tree::RemoteTree;
use spelunk_formats::guest::{CodePage, TimeZone};
use spelunk_tree::{DiskInfo, Result, Tree};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a snapshot's name: QEMU makes none longer than 255.
pub const SNAPSHOT_BYTES_MAX: usize = 1024;

/// How a disk is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Show the files in which filesystems keep themselves (`$MFT`, ...).
    pub show_metafiles: bool,
    /// Open the image as this one of the snapshots in it was (QCOW2), by its id or else its name; at most
    /// [`SNAPSHOT_BYTES_MAX`] bytes.
    pub snapshot: Option<String>,
    /// Of names that a guest stores as bytes of an unknown code page (FAT's short ones).
    pub code_page: CodePage,
    /// Of times that a guest stores without their zone (FAT's).
    pub time_zone: TimeZone,
    /// How long one request may take before the worker is given up.
    pub deadline: Duration,
    /// End the worker when it was not asked anything for so long: the next request starts another one, unseen.
    /// `None`: it lives as long as the disk is open.
    pub idle: Option<Duration>,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            show_metafiles: false,
            snapshot: None,
            code_page: CodePage::default(),
            time_zone: TimeZone::default(),
            deadline: Duration::from_secs(30),
            idle: None,
        }
    }
}

/// What a disk's worker was asked to do so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that the worker answered.
    pub round_trips: u64,
    /// Bytes of files that the host read from the image files itself.
    pub bytes_read: u64,
    /// Bytes of files that the worker decoded.
    pub bytes_decoded: u64,
    /// Workers that were started in place of one that was lost, or ended because nobody needed it.
    pub restarts: u64,
}

/// A disk, or several together, parsed by a jailed worker process of its own. The worker is gone when this and all its trees
/// are dropped.
pub struct Disk {
    link: Arc<Link>,
    trees: Vec<Option<Arc<dyn Tree>>>,
}

impl Disk {
    /// Opens an image and its parents, which are looked for beside it and in sibling directories.
    ///
    /// # Errors
    /// `NotFound` when there is no such image, or when a parent is missing (the text names it);
    /// `IsADirectory`; `Denied` when the image may not be read or there can be no jail; `WorkerLost` when
    /// the worker died or took longer than the deadline; what the parsers report.
    pub fn open(image: &Path, options: &OpenOptions) -> Result<Disk> {
        Disk::open_together(&[image], options)
    }

    /// Opens several images, each a disk, on which together volumes lie (RAID, LVM). The first is the one that
    /// [`OpenOptions::snapshot`] is of.
    ///
    /// # Errors
    /// As [`Disk::open`]; `Limit` for more than [`spelunk_tree::limits::DISKS_MAX`].
    pub fn open_together(images: &[&Path], options: &OpenOptions) -> Result<Disk> {
        let link = Arc::new(Link::open(images, options)?);
        let mut trees = Vec::new();
        for (index, root) in link.opening().roots.iter().enumerate() {
            trees.push(RemoteTree::new(&link, index, *root).map(|tree| Arc::new(tree) as Arc<dyn Tree>));
        }
        Ok(Disk { link, trees })
    }

    /// What is known of the disk.
    pub fn info(&self) -> &DiskInfo {
        &self.link.opening().info
    }

    /// The tree of the volume with this index in [`DiskInfo::volumes`], where it has one.
    pub fn tree(&self, index: usize) -> Option<Arc<dyn Tree>> {
        self.trees.get(index).cloned().flatten()
    }

    /// Counts of what was asked so far.
    pub fn stats(&self) -> Stats {
        self.link.stats()
    }

    /// The process id of the worker, while there is one.
    pub fn worker_pid(&self) -> Option<u32> {
        self.link.worker_pid()
    }
}
