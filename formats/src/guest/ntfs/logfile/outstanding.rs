//! What the log holds and the volume does not.

use super::log::Log;
use super::record::{Change, Operation};
use crate::bytes::{add, array, count, le_u64, mul};
use crate::guest::ntfs::volume::Volume;
use spelunk_tree::{ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};

/// Changed records of the MFT and blocks of indexes that are compared, each: what 256 KiB of records can name at most is
/// more, and one of them is enough to know that something is missing.
const COMPARED_MAX: usize = 16 * 1024;
/// Records of the MFT that are named.
const NAMED_MAX: usize = 8;

/// What was not written when the image was made.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    /// Records of the log that were looked at.
    actions: usize,
    /// Whether these were all.
    is_whole: bool,
    /// Numbers of records of the MFT that are older than the log says.
    files: Vec<u64>,
    /// How many blocks of indexes are.
    index_blocks: usize,
    /// Transactions that were not finished.
    transactions: usize,
}

impl Outstanding {
    /// Compares what the log says with the volume.
    pub(super) fn find(volume: &Volume, log: &Log) -> Result<Outstanding> {
        let mut found = Outstanding { is_whole: true, ..Outstanding::default() };
        let mut files = BTreeMap::new();
        let mut blocks = BTreeMap::new();
        let mut transactions = BTreeSet::new();
        log.for_each(&mut |record| {
            let Some(change) = &record.change else { return Ok(()) };
            found.actions = found.actions.saturating_add(1);
            if change.redo == Operation::FORGET_TRANSACTION {
                transactions.remove(&record.transaction);
            } else if record.transaction != 0 {
                transactions.insert(record.transaction);
            }
            if !change.redo.sets_lsn() {
                return Ok(());
            }
            let (known, number) = if change.redo.is_of_file_record() {
                (&mut files, file(volume, change))
            } else if change.redo.is_of_index() {
                (&mut blocks, block(volume, change))
            } else {
                return Ok(());
            };
            let Some(number) = number else { return Ok(()) };
            if known.len() < COMPARED_MAX || known.contains_key(&number) {
                known.insert(number, record.lsn);
            } else {
                found.is_whole = false;
            }
            Ok(())
        })?;
        found.transactions = transactions.len();
        found.files = files
            .into_iter()
            .filter(|&(number, lsn)| is_file_older(volume, number, lsn))
            .map(|(number, _)| number)
            .collect();
        found.index_blocks = blocks.into_iter().filter(|&(at, lsn)| is_block_older(volume, at, lsn)).count();
        Ok(found)
    }

    /// Whether the log had anything to compare.
    pub(super) fn is_known(&self) -> bool {
        self.actions > 0
    }
}

impl Display for Outstanding {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if self.is_whole && self.transactions == 0 && self.index_blocks == 0 && self.files.is_empty() {
            return write!(
                f,
                "all file records and directories that it names were written ({} changes)",
                self.actions
            );
        }
        let at_least = if self.is_whole { "" } else { "at least " };
        write!(
            f,
            "the last changes may be incomplete ({at_least}{} file records and {} blocks of directories are older than it says, {} transactions are not finished)",
            self.files.len(),
            self.index_blocks,
            self.transactions
        )?;
        let named: Vec<String> = self.files.iter().take(NAMED_MAX).map(u64::to_string).collect();
        if !named.is_empty() {
            let more = if self.files.len() > NAMED_MAX { ", ..." } else { "" };
            write!(f, ": records {}{more}", named.join(", "))?;
        }
        Ok(())
    }
}

/// The number of the record of the MFT that `change` changes.
fn file(volume: &Volume, change: &Change) -> Option<u64> {
    let geometry = &volume.geometry;
    let at = mul(change.vcn, geometry.cluster_bytes.into()).ok()?;
    add(at, change.within()).ok()?.checked_div(geometry.record_bytes.into())
}

/// Where the block of an index that `change` changes lies in the volume.
fn block(volume: &Volume, change: &Change) -> Option<u64> {
    let at = mul(*change.lcns.first()?, volume.geometry.cluster_bytes.into()).ok()?;
    add(at, change.within()).ok()
}

/// One that is no record yet, or lies behind the end of the MFT, was not written either.
fn is_file_older(volume: &Volume, number: u64, lsn: u64) -> bool {
    match volume.mft.record(number) {
        Ok(record) => record.lsn < lsn,
        Err(error) => matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound),
    }
}

/// A block that is none may belong to something else by now.
fn is_block_older(volume: &Volume, at: u64, lsn: u64) -> bool {
    let mut header = [0; 16];
    let is_in_volume = add(at, count(header.len())).is_ok_and(|end| end <= volume.bytes.size());
    let is_read = is_in_volume && volume.bytes.read_at(at, &mut header).is_ok();
    is_read
        && array::<4>(&header, 0).is_ok_and(|magic| magic == *b"INDX")
        && le_u64(&header, 8).is_ok_and(|stored| stored < lsn)
}
