//! Volume groups and arrays, against what the kernel read from the same disks, and against forged metadata.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod hostile;
#[path = "../images/mod.rs"]
mod images;
mod kernel;
mod support;
