//! Containers: from image files to a virtual disk.
//!
//! To add one: a folder here, a row in [`FORMATS`], a fixture, a row in the README's table.

pub mod raw;

use spelunk_tree::{Error, LayerInfo, ParentRef, ReadAt, Result};
use std::sync::Arc;

/// One container format.
pub struct Format {
    /// Its name in [`LayerInfo::format`] and the README's table.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Usual extensions of file names, without dot.
    pub extensions: &'static [&'static str],
    /// Whether `file` is of this format, by its magic. Errors only when the storage fails.
    pub probe: fn(file: &dyn ReadAt) -> Result<bool>,
    /// Reads the headers.
    pub open: fn(file: Arc<dyn ReadAt>) -> Result<Opened>,
}

/// All formats in the order they are probed. `raw` takes everything, so it is last.
pub static FORMATS: &[Format] = &[raw::FORMAT];

/// Joins a differencing image to its parent's contents.
pub type Join = Box<dyn FnOnce(Arc<dyn ReadAt>) -> Result<Arc<dyn ReadAt>>>;

/// What opening one layer gave.
pub enum Opened {
    /// The layer is whole.
    Whole {
        /// Its description; `source` is set by the caller.
        info: LayerInfo,
        /// Its contents.
        bytes: Arc<dyn ReadAt>,
    },
    /// A wrapper around another container (VHDZ): its contents are to be probed again.
    Wrapper {
        /// Its description; `source` is set by the caller.
        info: LayerInfo,
        /// The file inside.
        inner: Arc<dyn ReadAt>,
    },
    /// A differencing image that waits for its parent.
    Child {
        /// Its description, with [`LayerInfo::parent`]; `source` is set by the caller.
        info: LayerInfo,
        /// Takes the parent.
        join: Join,
    },
}

/// Where parents come from: outside the jail, by name only.
pub trait ParentSource {
    /// The next file that may be the parent that `wanted` describes, for the image file with index
    /// `source`; `None` when there are no more. The answer's [`ReadAt::runs`] must name it by the index
    /// `source + 1`; a file that turns out not to be the parent is replaced by the next answer.
    ///
    /// # Errors
    /// When the search itself fails.
    fn next_candidate(&mut self, source: u32, wanted: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>>;
}

/// A virtual disk, all layers joined.
pub struct Disk {
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Its layers, top first.
    pub layers: Vec<LayerInfo>,
    /// Logical sector size, when the container says.
    pub sector_bytes: Option<u32>,
}

/// Opens an image file and all its parents.
///
/// # Errors
/// `NotFound` naming a parent that is missing or wrong; `Limit` for a chain that is too long; what the
/// formats report.
pub fn open(file: Arc<dyn ReadAt>, parents: &mut dyn ParentSource) -> Result<Disk> {
    let _ = (file, parents);
    Err(Error::unsupported("no container can be opened"))
}
