//! ZIP archives: compressed ([`write()`]), and stored ones of which any range can be had ([`Plan`]).
//!
//! **Compressed.** A file up to 1 MiB is read and deflated as a whole; a larger one in pieces of 1 MiB whose
//! streams end at a byte and are put together, so that one file keeps all threads busy. What does not
//! get smaller, by its name or by its first bytes, is stored. Checksum and sizes stand before a small file and
//! behind a large one. A small file that cannot be read is left out; a large one keeps its size, with
//! zeros in place of what cannot be read.
//!
//! **Stored.** Headers and sizes come from attributes alone, so a [`Plan`] knows the length and the place of
//! every byte before any file is read. Checksums stand behind the files and are computed when somebody asks
//! for a range that holds one; the plan keeps them, so a plan that is kept reads no file twice for
//! that. The layout must not depend on what can be read: every file has its full length (zeros where it cannot
//! be read), and before the central directory there is room of a fixed size for the list of errors. While there
//! is none, a field that readers ignore fills the directory's last record instead. The end is always
//! written after all checksums are known, so what is listed is all that there was.
//!
//! Both: names are UTF-8 (see the escapes in `name.rs`); ZIP64 where sizes, counts or offsets need it; Unix
//! kind and mode; Info-ZIP's extended times and owner; NTFS's times. Directories have entries of their own,
//! symbolic links are stored as Info-ZIP stores them. Devices, pipes and sockets are left out and listed.

mod deflate;
mod plan;
mod record;
mod stream;
#[cfg(test)]
mod tests;

pub use plan::Plan;

use super::{Common, Observer, Selection, Summary};
use spelunk_tree::Tree;
use std::io::{self, Write};

/// How a ZIP archive is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What holds for all formats.
    pub common: Common,
    /// How files are compressed.
    pub compression: Compression,
}

/// How the files in a ZIP archive are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: the length is known at once, and any range can be had.
    Store,
    /// Deflate at a level from 1, fast, to 9, small.
    Deflate(u32),
}

impl Default for Compression {
    fn default() -> Compression {
        Compression::Deflate(DEFAULT_LEVEL)
    }
}

/// The level that is used when none is asked for: the fastest, since an archive is waited for.
pub const DEFAULT_LEVEL: u32 = 1;

/// Why an archive could not be written.
#[derive(Debug)]
pub enum Error {
    /// Nobody takes it: the disk is full, the connection closed.
    Output(io::Error),
    /// It cannot be made of this tree.
    Tree(spelunk_tree::Error),
}

/// Writes an archive of what was selected.
///
/// # Errors
/// What `out` reports, at once; `Limit` for more than a stored archive can hold. Whatever else fails is in
/// the summary and in the archive.
pub fn write(
    tree: &dyn Tree,
    selection: &Selection,
    options: &Options,
    out: &mut dyn Write,
    observer: &mut Observer<'_>,
) -> Result<Summary, Error> {
    match options.compression {
        Compression::Store => {
            let plan = Plan::new(tree, selection, &options.common).map_err(Error::Tree)?;
            plan.write_range(tree, 0..plan.len(), out, observer).map_err(Error::Output)
        }
        Compression::Deflate(level) => {
            let level = level.clamp(1, 9);
            stream::write(tree, selection, (&options.common, level), out, observer).map_err(Error::Output)
        }
    }
}

/// Why a member has no place in a ZIP archive, if so.
fn refuse(member: &super::members::Member) -> spelunk_tree::Result<()> {
    use spelunk_tree::Kind;
    let what = match member.attr.kind {
        Kind::File | Kind::Directory | Kind::Symlink => return Ok(()),
        Kind::Fifo => "a named pipe",
        Kind::Socket => "a socket",
        Kind::CharDevice | Kind::BlockDevice => "a device",
    };
    Err(spelunk_tree::Error::unsupported(format!("{what}: only tar can hold it")))
}
