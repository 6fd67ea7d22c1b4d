//! Spelunk's jail.

use spelunk_tree::{DiskInfo, Error, Result, Tree};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How a disk is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Show the files in which filesystems keep themselves (`$MFT`, ...).
    pub show_metafiles: bool,
    /// How long one request may take before the worker is given up.
    pub deadline: Duration,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { show_metafiles: false, deadline: Duration::from_secs(30) }
    }
}

/// A disk, parsed by a jailed worker process of its own.
pub struct Disk {
    info: DiskInfo,
}

impl Disk {
    /// Opens an image and its parents.
    ///
    /// # Errors
    /// To come.
    pub fn open(image: &Path, options: &OpenOptions) -> Result<Disk> {
        let _ = (image, options);
        Err(Error::unsupported("to come"))
    }

    /// What is known of the disk.
    pub fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// The tree of the volume with this index in [`DiskInfo::volumes`], where it has one.
    pub fn tree(&self, index: usize) -> Option<Arc<dyn Tree>> {
        let _ = index;
        None
    }
}

/// The worker's main function: what the program runs for its hidden subcommand [`WORKER_COMMAND`].
pub fn worker_main() -> ExitCode {
    ExitCode::FAILURE
}

/// The hidden subcommand that makes the program a worker.
pub const WORKER_COMMAND: &str = "__worker";
