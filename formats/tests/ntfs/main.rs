//! The NTFS reader against independent readers, through the public door.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod corpus;
mod file;
mod hostile;
mod limits;
mod live;
mod logfile;
mod lznt1;
mod walk;
#[path = "../wim/mod.rs"]
mod wim;
mod wof;
