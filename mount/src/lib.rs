//! Spelunk's presenters: each translates a tree into what the outside understands, and decides nothing.
//!
//! ```text
//! Tree ──┬──────────────────────> presenter (fuse, ...) ──> users
//! Tree ──┴─> Composition (Tree) ──┘
//! ```
//!
//! Here no image is opened and no byte of a guest interpreted: that is deliberately out of reach, since
//! this crate knows neither the parsers nor the jail. What it is given may be hostile all the same: names
//! and sizes are a guest's, and are bounded before they reach a kernel.

pub mod archive;
mod civil;
mod compose;
#[cfg(test)]
mod fixture;
#[cfg(target_os = "linux")]
pub mod fuse;
pub mod path;
pub mod walk;
pub mod webdav;

pub use compose::{Composition, Part};
