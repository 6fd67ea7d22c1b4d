//! ext2/3/4 through the public door: `guest::open` on image files, whole trees compared with other readers.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod corpus;
mod damage;
mod fast_commit;
mod journal;
mod kernel;
mod populate;
mod speed;
mod unmountable;
mod volume;
mod walk;
