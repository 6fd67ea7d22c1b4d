//! Archives of any part of a tree, written as a stream: [`zip`] and [`tar`].
//!
//! ```text
//! Selection ─> Members (the walk) ─> pieces, read and packed by several threads ─> in order ─> out
//! ```
//!
//! The bytes of an archive are a function of the tree, the selection and the options: neither threads nor
//! timing change them. Nothing is kept but what is under way and what the end of the archive needs, both
//! bounded here.
//!
//! What cannot be read never breaks an archive. A file keeps its size, and zeros stand in place of what could
//! not be read; in a compressed ZIP a small one is left out. All of it is listed, with the reason, in
//! [`ERRORS_NAME`] at the end of the archive and in the [`Summary`].

mod failures;
mod members;
mod name;
mod ordered;
mod piece;
mod selection;
pub mod tar;
pub mod zip;

pub use failures::{Failure, Outcome};
pub use selection::{Item, Selection};

/// The file at the end of an archive that lists what could not be read. When something at the top of the
/// archive has the name already, a number is put behind it.
pub const ERRORS_NAME: &str = "SPELUNK-ERRORS.txt";

/// Entries of one archive. Links that are followed can make endlessly many of a small tree.
pub const ENTRIES_MAX: u64 = 8 << 20;

/// Threads that read and pack. More would wait for the one worker of a disk.
pub const THREADS_MAX: usize = 16;

/// How an archive is made, whatever its format.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Follow symbolic links inside the tree: what they lead to stands under their name.
    pub follow: bool,
    /// Threads that read and pack; 0 is as many as there are processors. They do not change the bytes.
    pub threads: usize,
}

impl Common {
    fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if self.threads == 0 { processors() } else { self.threads };
        threads.clamp(1, THREADS_MAX)
    }
}

/// How far an archive is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries written.
    pub entries: u64,
    /// Bytes of files that went in, before they were compressed.
    pub bytes: u64,
}

/// Is told of progress, on the thread that writes.
pub type Observer<'a> = dyn FnMut(Progress) + 'a;

/// What became of an archive.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What went in.
    pub done: Progress,
    /// What could not be read or was left out; of very many only the first.
    pub failures: Vec<Failure>,
    /// How many these are in all.
    pub failed: u64,
}
