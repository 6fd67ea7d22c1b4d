//! Spelunk's parsers: containers, partition tables, guest filesystems.
//!
//! ```text
//! image files --container::open--> Disk --partition::read--> volumes --guest::open--> Tree
//!                                                volumes --assembly (RAID, LVM)--> volumes
//! metadata of a file backup --backup::urbackup::parse--> attributes, links, streams
//! ```
//!
//! Pure: no files are opened, no threads are started, nothing is printed, nothing is unsafe. Everything
//! that is read here may come from an attacker, so numbers are converted by the helpers of [`bytes`],
//! arithmetic is checked, and every count and chain has a named limit. In the program this crate runs
//! only inside the jailed worker.

pub mod assembly;
pub mod backup;
pub mod bytes;
pub mod codec;
pub mod container;
pub mod disk;
mod extent;
pub mod guest;
mod guid;
pub mod partition;
mod slice;
mod splice;

pub use slice::Slice;
