//! Containers through their public door, against what other programs say of the same images.
//!
//! `corpus`: images that others wrote, by the hashes of their guest-visible bytes. `qemu`: images that
//! qemu-img writes, with the source they were made from. `qcow2`, `vmdk`, `vdi`: qemu's images of these formats, and
//! the same with bytes changed. `vhd`, `vhdx`, `vhdz`, `chain`: images made here,
//! for what no writer at hand makes. `damaged`: thousands of images with flipped bytes;
//! `differ`: such images against what qemu reads of them.

// Tests state numbers that they know; a panic is how they fail.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::single_range_in_vec_init,
    clippy::unwrap_used,
    missing_docs
)]

mod chain;
mod corpus;
mod damaged;
mod differ;
mod limits;
mod make;
mod qcow2;
mod qemu;
mod support;
mod tools;
mod vdi;
mod vhd;
mod vhdx;
mod vhdz;
mod vmdk;
