//! The exFAT reader against independent readers, and against volumes made by hand, through the public door.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod corpus;
mod damaged;
mod directories;
mod files;
mod fuse;
#[path = "../images/mod.rs"]
mod images;
mod volume;
