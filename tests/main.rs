//! Spelunk from outside: the program is run on real images, beside independent readers.
//!
//! What a test cannot have here (root, a tool, the corpus) is said in a line that starts with `skipped:`.

#![allow(missing_docs, reason = "tests are named after what they show")]

mod api;
mod bad_input;
mod cli;
mod conformance;
mod fixture;
mod limits;
mod mounts;
mod program;
mod tidy;
mod web;
