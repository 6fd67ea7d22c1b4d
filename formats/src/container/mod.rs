//! Containers: from image files to a virtual disk.
//!
//! ```text
//! image file --probe, open--> Opened --(VHDZ: what is inside, again)--> layer --join with its parents--> Disk
//! ```
//!
//! To add one: a folder here, a row in [`FORMATS`], a fixture, a row in the README's table. A format whose
//! tables map a disk onto a file implements `mapped::Map` and gets reading and runs from it.

mod bitmap;
mod cache;
mod chain;
mod mapped;
mod parent;
pub mod qcow2;
pub mod raw;
mod unpack;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vhdz;
pub mod vmdk;

pub use chain::{Disk, ParentSource, open, open_at, open_from};

use cache::Cache;
use spelunk_tree::{LayerInfo, ParentRef, ReadAt, Result};
use std::sync::Arc;

/// One container format.
pub struct Format {
    /// Its name in [`LayerInfo::format`] and the README's table.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Usual extensions of file names, without dot.
    pub extensions: &'static [&'static str],
    /// Whether `file` is of this format, by its magic: also when the rest of it is damaged. Errors only
    /// when the storage fails.
    pub probe: fn(file: &dyn ReadAt) -> Result<bool>,
    /// Reads the headers.
    pub open: fn(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened>,
}

/// All formats in the order they are probed. `raw` takes everything, so it is last; `vhd` may be
/// recognised by its end alone, so it comes after those with a magic at their beginning.
pub static FORMATS: &[Format] =
    &[vhdz::FORMAT, vhdx::FORMAT, qcow2::FORMAT, vmdk::FORMAT, vdi::FORMAT, vhd::FORMAT, raw::FORMAT];

/// Bytes of allocation tables and bitmaps that all layers of a disk together keep in memory: the tables of
/// 4 TiB in blocks of 2 MiB, or some thousand blocks' bitmaps.
const PAGES_BYTES_MAX: u64 = 4 << 20;

/// Bytes of decoded blocks that all layers of a disk together keep in memory: eight of VHDZ's usual 2 MiB,
/// so that a chain of compressed images can be read in turns.
const BLOCKS_BYTES_MAX: u64 = 16 << 20;

/// Bytes that the blocks being decoded at the same moment may take, packed and unpacked: three usual ones.
const DECODING_BYTES_MAX: u64 = 12 << 20;

/// What the layers of all disks that are opened together share.
#[derive(Clone)]
pub struct Context {
    pages: Arc<Cache>,
    blocks: Arc<Cache>,
    is_wrapped: bool,
    /// The internal snapshot (QCOW2) that is to be opened in place of the disk as it is now, by id or name.
    snapshot: Option<String>,
}

impl Default for Context {
    fn default() -> Context {
        Context::new()
    }
}

impl Context {
    /// Empty caches.
    pub fn new() -> Context {
        Context {
            pages: Arc::new(Cache::new(PAGES_BYTES_MAX, u64::MAX)),
            blocks: Arc::new(Cache::new(BLOCKS_BYTES_MAX, DECODING_BYTES_MAX)),
            is_wrapped: false,
            snapshot: None,
        }
    }

    /// The same for the file inside a compressed container.
    fn wrapped(&self) -> Context {
        Context { is_wrapped: true, ..self.clone() }
    }
}

/// Joins a differencing image to its parent's contents.
pub type Join = Box<dyn FnOnce(Arc<dyn ReadAt>) -> Result<Arc<dyn ReadAt>>>;

/// Joins the files that a disk's bytes lie in.
pub type JoinParts = Box<dyn FnOnce(Vec<Arc<dyn ReadAt>>) -> Result<Content>>;

/// What opening one layer gave.
pub struct Opened {
    /// Its description; `source` is set by the chain.
    pub info: LayerInfo,
    /// Logical sector size in bytes, when the layer says.
    pub sector_bytes: Option<u32>,
    /// What changes whenever the contents change (VDI), for children that remember it; empty when there is none.
    pub stamp: String,
    /// Its contents.
    pub content: Content,
}

/// What a layer holds.
pub enum Content {
    /// A disk.
    Whole(Arc<dyn ReadAt>),
    /// Another container (VHDZ): to be probed again.
    Wrapped(Arc<dyn ReadAt>),
    /// A disk but for what its parent, [`LayerInfo::parent`], has.
    Child(Child),
    /// A disk whose bytes lie in other files (VMDK): [`Content::Whole`] or [`Content::Child`] once they are joined.
    Split(Vec<Part>, JoinParts),
}

/// A differencing image, and how its parent is known.
pub struct Child {
    /// The format that the parent must have, by its row's name; `None`: whichever its probe finds.
    pub format: Option<&'static str>,
    /// Whether no two images have the same id, so that one that comes twice means a circle.
    pub has_unique_ids: bool,
    /// What the parent's [`Opened::stamp`] was when the child was made; empty: nobody knows. A note tells of another.
    pub stamp: String,
    /// Makes the disk.
    pub join: Join,
}

impl Child {
    /// A child whose parent has the child's own format and a unique id.
    pub(crate) fn by_id(format: &'static str, join: Join) -> Child {
        Child { format: Some(format), has_unique_ids: true, stamp: String::new(), join }
    }
}

/// A file that some of a disk's bytes lie in.
pub struct Part {
    /// How to find it: there is no id.
    pub wanted: ParentRef,
    /// Whether a file of its name can be it.
    pub check: fn(file: &dyn ReadAt) -> Result<()>,
}
