//! Spelunk's vocabulary: bytes below ([`ReadAt`]), trees above ([`Tree`]).
//!
//! Every layer of Spelunk is an arrow between these two traits:
//!
//! ```text
//! image file --ReadAt--> container --ReadAt--> volume --ReadAt--> guest --Tree--> presenter
//! ```
//!
//! The crate is a leaf: it depends on the standard library alone, knows no format and no presenter,
//! and opens no file. What must hold for every tree is enforced by its types: a [`Name`] can be
//! joined to a path, a [`Time`] has less than a second of nanoseconds, a [`NodeId`] leaves room for
//! composition.

mod attr;
mod disk;
mod error;
pub mod limits;
mod name;
mod node;
mod read_at;
mod run;
mod time;
mod tree;

pub use attr::{Attr, Device, Xattrs};
pub use disk::{AssembledInfo, DiskInfo, LayerInfo, OtherDisk, ParentRef, VolumeInfo};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use name::{Name, wtf8_from_utf16};
pub use node::{Kind, NodeId};
pub use read_at::ReadAt;
pub use run::{Place, Run, push_run};
pub use time::Time;
pub use tree::{Case, Cursor, Entry, Listed, Page, StreamInfo, Tree, TreeInfo, Xattr};
