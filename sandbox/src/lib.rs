//! Spelunk's jail: a disk image is parsed by a worker process that can do nothing else.
//!
//! ```text
//!            program (host)                         worker (jailed, same program)
//!   Disk --- RemoteTree --- channel === socket, window === channel --- formats::disk
//!              |                                                          |
//!              +---- plain runs: pread ----> image files <---- pread -----+
//! ```
//!
//! [`Disk::open`] starts a worker and gives it the image's descriptor; [`Disk::tree`] is a [`Tree`] whose
//! answers come from it. For a read the host asks where the bytes lie and reads plain ones itself.
//! [`MetadataWorker`] is a worker without a disk: it parses what a backup program wrote of files.
//!
//! A program that opens disks calls [`worker_main`] first thing in its main function when its first argument
//! is [`WORKER_COMMAND`], and [`attempt_main`] when it is [`ATTEMPT_COMMAND`]. Panics must unwind: a parser
//! that fails on one entry then costs that entry, not the worker. Linux 5.9 or newer.
//!
//! Limits stand where they hold: of the protocol in `wire/message.rs`, of the process in `jail/limits.rs`.
//! What the worker sends is parsed like any hostile input (`wire/`), and plain runs are read only within
//! the image files that the host opened itself.
//!
//! Deliberately absent: parsing in the host; paths in the worker; a switch that leaves out the jail.
//!
//! [`Tree`]: spelunk_tree::Tree

mod channel;
mod doctor;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod jail;
mod parents;
mod shared;
mod wire;
mod worker;

pub use doctor::{
    ATTEMPT_COMMAND, Denial, EveryCall, LayerReport, Outcome, ProvenLayer, allowed_calls, attempt_main,
    doctor, probe_denials, probe_every_call, probe_unjailed,
};
pub use host::{Detail, Disk, MetadataWorker, OpenOptions, Stats};
pub use jail::{close_inherited, raise_descriptor_limit};
pub use worker::{WORKER_COMMAND, worker_main};

/// What a guest leaves unsaid and an option says: values, no parser.
pub mod unsaid {
    pub use spelunk_formats::guest::{CodePage, TimeZone};
}

/// Metadata of UrBackup's file backups, as [`MetadataWorker`] tells them; not their parser, which is for the jail.
pub mod urbackup {
    pub use spelunk_formats::backup::urbackup::{HEAD_BYTES, Metadata, Stream, TAIL_BYTES_MAX, tail_offset};
}
