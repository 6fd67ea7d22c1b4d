//! A worker without a disk, which parses the metadata of files of a file backup.
//!
//! The host does not look at them: it puts the bytes into a sealed file in memory, whose descriptor goes to the
//! worker, and gets back what they say.

use super::OpenOptions;
use super::keeper::{Keeper, Moment};
use super::line::Lost;
use super::running::Running;
use crate::wire::message::METADATA_MAX;
use crate::wire::{Malformed, Request, Status, Wire, whole};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use spelunk_formats::backup::urbackup::Metadata;
use spelunk_tree::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const DOING: &str = "parsing the metadata of backed-up files";

/// Bytes of metadata in one request; of more than one file.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How much is to be known of each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What a listing shows: no link targets, attributes' values or streams.
    Listing,
    /// All.
    Full,
}

/// A jailed worker that parses metadata. It is started when there is something to parse, replaced when it is
/// lost, and gone when this is dropped.
pub struct MetadataWorker {
    deadline: Duration,
    keeper: Keeper,
}

impl MetadataWorker {
    /// Starts nothing yet.
    pub fn new(options: &OpenOptions) -> MetadataWorker {
        MetadataWorker { deadline: options.deadline, keeper: Keeper::default() }
    }

    /// Parses the metadata of each file (without the chunk hashes), in order. What cannot be parsed, or loses
    /// the worker, does not concern the others.
    pub fn parse(&self, tails: &[Vec<u8>], detail: Detail) -> Vec<Result<Metadata>> {
        let mut parsed = Vec::with_capacity(tails.len());
        let mut rest = tails;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            rest = after;
            match self.ask(batch, detail) {
                Ok(all) => parsed.extend(all),
                Err(error) if batch.len() == 1 => parsed.push(Err(error)),
                // One of them is the cause: the others are good.
                Err(_) => parsed.extend(batch.iter().map(|tail| self.parse_one(tail, detail))),
            }
        }
        parsed
    }

    /// Parses the metadata of one file.
    ///
    /// # Errors
    /// What is wrong with them; `WorkerLost`; `Denied` when there can be no jail.
    pub fn parse_one(&self, tail: &[u8], detail: Detail) -> Result<Metadata> {
        let parsed = self.ask(&[tail], detail)?.pop();
        parsed.unwrap_or_else(|| Err(Error::internal("no answer for one file")))
    }

    /// Asks once more when the worker was found dead, perhaps not because of this request.
    fn ask<T: AsRef<[u8]>>(&self, batch: &[T], detail: Detail) -> Result<Vec<Result<Metadata>>> {
        let lens = batch.iter().map(|tail| u32::try_from(tail.as_ref().len()));
        let lens =
            lens.collect::<Result<Vec<u32>, _>>().map_err(|_| Error::limit("metadata of too many bytes"))?;
        let request = Request::Metadata { lens, is_full: detail == Detail::Full };
        let file = sealed(batch).map_err(|cause| Error::from_io(DOING, &cause))?;
        let since = self.keeper.now();
        let first = self.running(since)?;
        let lost = match self.attempt(&first, &request, &file, batch.len()) {
            Err(Lost::Died) => {
                let second = self.running(since)?;
                match self.attempt(&second, &request, &file, batch.len()) {
                    Ok(answer) => return answer,
                    Err(lost) => second.error(lost, DOING),
                }
            }
            Ok(answer) => return answer,
            Err(lost) => first.error(lost, DOING),
        };
        Err(lost)
    }

    fn attempt(
        &self,
        running: &Arc<Running>,
        request: &Request,
        file: &File,
        count: usize,
    ) -> Result<Result<Vec<Result<Metadata>>>, Lost> {
        let answer = running.exchange_with(request, Some(file), &mut [], self.deadline);
        let parsed = answer.and_then(|answer| {
            let parsed = match answer.status {
                Status::Done => {
                    whole(&answer.body, |from| from.list::<Result<Metadata>>(METADATA_MAX)).map(Ok)
                }
                Status::Failed => Error::from_bytes(&answer.body).map(Err),
                Status::NeedParent | Status::NeedDisk => Err(Malformed("a parent for a file backup")),
            };
            match parsed {
                Ok(Ok(all)) if all.len() != count => Err(Lost::Broke(Malformed("not as many as asked for"))),
                other => other.map_err(Lost::Broke),
            }
        });
        parsed.inspect_err(|_| self.keeper.bury(running))
    }

    /// The worker; another one when it was lost.
    fn running(&self, since: Moment) -> Result<Arc<Running>> {
        self.keeper.running(since, || Running::start_without_disk(self.deadline))
    }

    /// The process id of the worker, while there is one.
    pub fn worker_pid(&self) -> Option<u32> {
        self.keeper.worker_pid()
    }
}

/// How many of these go into one request: one at least.
fn batch_len(tails: &[Vec<u8>]) -> usize {
    let mut bytes = 0usize;
    let fits = |tail: &&Vec<u8>| {
        bytes = bytes.saturating_add(tail.len());
        bytes <= BATCH_BYTES_MAX
    };
    tails.iter().take(METADATA_MAX).take_while(fits).count().max(1)
}

/// A file in memory that nobody can change any more, least of all the worker.
fn sealed<T: AsRef<[u8]>>(parts: &[T]) -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("metadata", flags)?);
    for part in parts {
        file.write_all(part.as_ref())?;
    }
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}
