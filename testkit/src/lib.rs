//! What Spelunk's tests and benchmarks share.
//!
//! ```text
//! image   disks made by script with mkfs tools and the peers' own drivers, in every container, kept in a cache
//! assemblies  disks with volume groups and arrays, carried along, and what the kernel read from them
//! corpus  foreign images with independent manifests, unpacked into the same cache
//! peer    mounts of an image: Spelunk's, the kernel's, ntfs-3g's; undone when dropped
//! restic  repositories that restic makes, and what it says of them
//! walk    everything that ordinary system calls show of a mounted tree
//! manifest  the lines of `spelunk manifest`, of the corpus, and of a walk
//! ```
//!
//! The crate knows none of Spelunk's own crates: it sees the program as its users do, from outside.

pub mod assemblies;
pub mod cache;
pub mod compare;
pub mod corpus;
pub mod image;
pub mod loop_device;
pub mod manifest;
pub mod parallel;
pub mod peer;
pub mod process;
pub mod restic;
pub mod skip;
pub mod tool;
pub mod walk;

/// What any step here may fail with; the text is for the person who reads a failed test.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
