//! The replay: analysis, redo, undo, as NTFS does it when it opens a volume that was in use. What is written goes into
//! an overlay.
//!
//! Analysis finds which clusters were changed and not written, and which transactions were not finished. Redo does again
//! what was done to these clusters, in order; records of the MFT and blocks of indexes know by their LSN what they have.
//! Undo takes back what the unfinished transactions did. Whatever cannot be followed ends the replay, and none of it
//! counts.

use super::block::Block;
use super::checkpoint::Checkpoint;
use super::log::Log;
use super::overlay::Overlay;
use super::record::{Change, Operation, Record};
use super::{file_action, index_action};
use crate::bytes::{count, index, le_u16, le_u32, le_u64};
use crate::guest::ntfs::fixup;
use crate::guest::ntfs::volume::Volume;
use spelunk_tree::{Error, ReadAt, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The kind of attributes whose clusters are blocks of indexes.
const INDEX_ALLOCATION: u32 = 0xA0;
/// Bytes of the largest block of an index.
const INDEX_BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Bytes that one action sets or clears bits in: a bitmap's page and more.
const BITMAP_BYTES_MAX: usize = 64 * 1024;
/// Clusters that are changed at the same time: 256 MiB of the usual ones, far above what 16 MiB of log name.
const CLUSTERS_MAX: usize = 64 * 1024;

/// Actions of unfinished transactions, all together: each is short, and there are at most some dozen.
const UNDO_STEPS_MAX: usize = 64 * 1024;

/// The volume with its log replayed.
pub(super) struct Replayed {
    pub(super) volume: Arc<dyn ReadAt>,
    /// Actions that were done again.
    pub(super) redone: usize,
    /// Unfinished transactions.
    pub(super) undone: usize,
}

/// A transaction that was not finished.
#[derive(Clone, Copy)]
struct Transaction {
    undo_next_lsn: u64,
    /// Whether what it did is to be kept.
    is_committed: bool,
}

/// What analysis finds.
struct Analysis {
    /// Clusters that were changed and not written, by attribute and VCN: since which record, and where they lie.
    dirty: HashMap<(u16, u64), (u64, u64)>,
    by_lcn: BTreeMap<u64, Vec<(u16, u64)>>,
    open: HashMap<u16, u32>,
    transactions: BTreeMap<u32, Transaction>,
}

/// Replays the log of `volume`.
///
/// # Errors
/// When there is anything in the log, or in what it changes, that is not understood.
pub(super) fn replay(volume: &Volume, log: &Log) -> Result<Replayed> {
    let checkpoint = Checkpoint::read(log, log.restart_lsn())?;
    let analysis = analyse(log, checkpoint)?;
    let mut replay = Replay { volume, overlay: Overlay::new(volume.bytes.clone()), analysis, redone: 0 };
    log.for_each(&mut |record| replay.redo(record))?;
    let undone = replay.undo(log)?;
    Ok(Replayed { volume: Arc::new(replay.overlay), redone: replay.redone, undone })
}

fn analyse(log: &Log, checkpoint: Checkpoint) -> Result<Analysis> {
    let Checkpoint { start_lsn, layout, open, dirty } = checkpoint;
    let mut analysis =
        Analysis { dirty: HashMap::new(), by_lcn: BTreeMap::new(), open, transactions: BTreeMap::new() };
    for page in dirty {
        for (vcn, lcn) in (page.vcn..).zip(page.lcns).filter(|(_, lcn)| *lcn != 0) {
            analysis.set_dirty((page.attribute, vcn), page.oldest_lsn, lcn)?;
        }
    }
    log.for_each(&mut |record| {
        let Some(change) = &record.change else { return Ok(()) };
        analysis.transaction(record, change);
        if record.lsn <= start_lsn {
            return Ok(());
        }
        let redo = change.redo;
        if redo == Operation::OPEN_ATTRIBUTE {
            let entry = change.redo_data(&record.data)?;
            analysis.open.insert(change.attribute, layout.attribute_kind(&entry)?);
        } else if redo == Operation::DELETE_DIRTY_CLUSTERS {
            for range in change.redo_data(&record.data)?.chunks_exact(16) {
                analysis.set_clean(le_u64(range, 0)?, le_u64(range, 8)?);
            }
        } else if !redo.is_of_log() {
            for (vcn, &lcn) in (change.vcn..).zip(&change.lcns) {
                analysis.set_dirty((change.attribute, vcn), record.lsn, lcn)?;
            }
        }
        Ok(())
    })?;
    Ok(analysis)
}

impl Analysis {
    fn set_dirty(&mut self, place: (u16, u64), lsn: u64, lcn: u64) -> Result<()> {
        if self.dirty.len() >= CLUSTERS_MAX {
            return Err(Error::limit(format!("a log that changes more than {CLUSTERS_MAX} clusters")));
        }
        let known = self.dirty.entry(place).or_insert((lsn, 0));
        if known.1 != lcn {
            known.1 = lcn;
            self.by_lcn.entry(lcn).or_default().push(place);
        }
        Ok(())
    }

    /// The clusters from `lcn` on were freed.
    fn set_clean(&mut self, lcn: u64, clusters: u64) {
        let end = lcn.saturating_add(clusters);
        while let Some((&at, _)) = self.by_lcn.range(lcn.min(end)..end).next() {
            for place in self.by_lcn.remove(&at).unwrap_or_default() {
                if self.dirty.get(&place).is_some_and(|(_, known)| *known == at) {
                    self.dirty.remove(&place);
                }
            }
        }
    }

    fn transaction(&mut self, record: &Record, change: &Change) {
        if record.transaction == 0 {
            return;
        }
        if change.redo == Operation::FORGET_TRANSACTION {
            self.transactions.remove(&record.transaction);
            return;
        }
        let fresh = Transaction { undo_next_lsn: 0, is_committed: false };
        let transaction = self.transactions.entry(record.transaction).or_insert(fresh);
        let is_taken_back =
            change.undo == Operation::COMPENSATION || change.redo == Operation::END_TOP_LEVEL_ACTION;
        transaction.undo_next_lsn = if is_taken_back { record.undo_next_lsn } else { record.lsn };
        if change.redo == Operation::COMMIT_TRANSACTION || change.redo == Operation::PREPARE_TRANSACTION {
            transaction.is_committed = true;
        }
    }

    /// How many clusters from the first one of `change` on are to be written.
    fn clusters(&self, lsn: u64, change: &Change) -> usize {
        let is_dirty = |(vcn, lcn): (u64, &u64)| {
            self.dirty
                .get(&(change.attribute, vcn))
                .is_some_and(|(oldest, known)| *oldest <= lsn && known == lcn)
        };
        (change.vcn..).zip(&change.lcns).take_while(|&(vcn, lcn)| is_dirty((vcn, lcn))).count()
    }
}

struct Replay<'a> {
    volume: &'a Volume,
    overlay: Overlay,
    analysis: Analysis,
    redone: usize,
}

impl Replay<'_> {
    fn redo(&mut self, record: &Record) -> Result<()> {
        let Some(change) = record.change.as_ref().filter(|change| !change.redo.is_of_log()) else {
            return Ok(());
        };
        if change.lcns.is_empty() {
            return Ok(());
        }
        let clusters = self.analysis.clusters(record.lsn, change);
        let stored = change.redo_data(&record.data)?;
        let mut data = &stored[..];
        if change.redo == Operation::UPDATE_CLUSTERS {
            // Of what was freed meanwhile, the rest is still wanted.
            let room = count(clusters).saturating_mul(self.volume.geometry.cluster_bytes.into());
            let room = room.saturating_sub(change.within()).saturating_sub(count(change.record_at));
            data = data.get(..index(room)?).unwrap_or(data);
            if data.is_empty() {
                return Ok(());
            }
        } else if clusters < change.lcns.len() {
            return Ok(());
        }
        let error =
            |error: Error| error.context("replaying $LogFile").object(format!("record {:#x}", record.lsn));
        if self.apply(change.redo, change, data, Some(record.lsn)).map_err(error)? {
            self.redone = self.redone.saturating_add(1);
        }
        Ok(())
    }

    /// Takes back what unfinished transactions did, and gives their number.
    fn undo(&mut self, log: &Log) -> Result<usize> {
        let unfinished: Vec<Transaction> = self
            .analysis
            .transactions
            .values()
            .filter(|transaction| !transaction.is_committed)
            .copied()
            .collect();
        let mut undone = 0usize;
        let mut steps = 0usize;
        for transaction in &unfinished {
            let mut lsn = transaction.undo_next_lsn;
            while lsn != 0 {
                steps = steps.saturating_add(1);
                if steps > UNDO_STEPS_MAX {
                    return Err(Error::limit(format!(
                        "a log with more than {UNDO_STEPS_MAX} changes to undo"
                    )));
                }
                let record = log.read(lsn)?;
                let change = record.change.as_ref();
                if let Some(change) =
                    change.filter(|change| !change.undo.is_of_log() && !change.lcns.is_empty())
                {
                    let data = change.undo_data(&record.data)?;
                    self.apply(change.undo, change, &data, None).map_err(|error| {
                        error.context("undoing what $LogFile says").object(format!("record {lsn:#x}"))
                    })?;
                }
                if record.undo_next_lsn >= lsn {
                    return Err(Error::corrupt("a transaction that does not go back"));
                }
                lsn = record.undo_next_lsn;
            }
            undone = undone.saturating_add(1);
        }
        Ok(undone)
    }

    /// Does one action; whether it was to be done.
    fn apply(
        &mut self,
        operation: Operation,
        change: &Change,
        data: &[u8],
        lsn: Option<u64>,
    ) -> Result<bool> {
        if operation.is_of_file_record() {
            self.change_file_record(operation, change, data, lsn)
        } else if operation.is_of_index() {
            self.change_index_block(operation, change, data, lsn)
        } else if operation == Operation::UPDATE_CLUSTERS {
            self.change_clusters(change, data).map(|()| true)
        } else if operation == Operation::SET_BITS || operation == Operation::CLEAR_BITS {
            self.change_bits(change, data, operation == Operation::SET_BITS).map(|()| true)
        } else {
            Err(Error::unsupported(format!("an action of the unknown kind {operation}")))
        }
    }

    fn read(&self, change: &Change, within: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut rest = &mut bytes[..];
        for (place, len) in change.places(self.volume.geometry.cluster_bytes, within, len)? {
            let (part, behind) =
                rest.split_at_mut_checked(len).ok_or_else(|| Error::internal("places too long"))?;
            self.overlay.read_at(place, part)?;
            rest = behind;
        }
        Ok(bytes)
    }

    fn write(&mut self, change: &Change, within: u64, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        for (place, len) in change.places(self.volume.geometry.cluster_bytes, within, bytes.len())? {
            let (part, behind) =
                rest.split_at_checked(len).ok_or_else(|| Error::internal("places too long"))?;
            self.overlay.write(place, part)?;
            rest = behind;
        }
        Ok(())
    }

    fn change_file_record(
        &mut self,
        operation: Operation,
        change: &Change,
        data: &[u8],
        lsn: Option<u64>,
    ) -> Result<bool> {
        let mut bytes = self.read(change, change.within(), index(self.volume.geometry.record_bytes)?)?;
        let is_whole =
            bytes.starts_with(b"FILE") && fixup::apply(&mut bytes, self.volume.geometry.sector_bytes).is_ok();
        if !is_whole {
            if operation != Operation::INITIALIZE_FILE_RECORD {
                return Err(Error::corrupt("an action on a damaged record of the MFT"));
            }
            bytes.fill(0);
        }
        let mut record = Block(bytes);
        if lsn.is_some_and(|lsn| record.lsn().is_ok_and(|known| known >= lsn)) {
            return Ok(false);
        }
        file_action::apply(&mut record, operation, change, data)?;
        self.finish(change, change.within(), record, operation, lsn)
    }

    fn change_index_block(
        &mut self,
        operation: Operation,
        change: &Change,
        data: &[u8],
        lsn: Option<u64>,
    ) -> Result<bool> {
        let within = change.within().saturating_add(count(change.record_at));
        let head = self.read(change, within, 8)?;
        let len = block_bytes(&head)?;
        let mut bytes = self.read(change, within, len)?;
        fixup::apply(&mut bytes, self.volume.geometry.sector_bytes)?;
        let mut block = Block(bytes);
        if lsn.is_some_and(|lsn| block.lsn().is_ok_and(|known| known >= lsn)) {
            return Ok(false);
        }
        index_action::apply(&mut block, operation, change, data)?;
        self.finish(change, within, block, operation, lsn)
    }

    fn finish(
        &mut self,
        change: &Change,
        within: u64,
        mut block: Block,
        operation: Operation,
        lsn: Option<u64>,
    ) -> Result<bool> {
        if let Some(lsn) = lsn.filter(|_| operation.sets_lsn()) {
            block.set_lsn(lsn)?;
        }
        let bytes = block.protected()?;
        self.write(change, within, &bytes)?;
        Ok(true)
    }

    /// Clusters as they are, but for a block of an index, whose update sequence must fit again.
    fn change_clusters(&mut self, change: &Change, data: &[u8]) -> Result<()> {
        let kind = self.analysis.open.get(&change.attribute).copied();
        let kind = kind.ok_or_else(|| Error::corrupt("an action on an attribute that is not open"))?;
        if kind != INDEX_ALLOCATION {
            return self.write(change, change.within().saturating_add(count(change.record_at)), data);
        }
        let is_new = change.record_at == 0 && data.starts_with(b"INDX");
        let head = if is_new { data.to_vec() } else { self.read(change, change.within(), 8)? };
        let len = block_bytes(&head)?;
        let mut bytes = self.read(change, change.within(), len)?;
        if !is_new || bytes.starts_with(b"INDX") {
            let undone = fixup::apply(&mut bytes, self.volume.geometry.sector_bytes);
            if !is_new {
                undone?;
            }
        }
        let mut block = Block(bytes);
        block.put(change.record_at, data)?;
        let bytes = block.protected()?;
        self.write(change, change.within(), &bytes)
    }

    fn change_bits(&mut self, change: &Change, data: &[u8], is_set: bool) -> Result<()> {
        let (first, bits) = (le_u32(data, 0)?, le_u32(data, 4)?);
        let start = first / 8;
        let end = first.checked_add(bits).ok_or_else(|| Error::corrupt("bits behind the last one"))?;
        let len = index(end.div_ceil(8).saturating_sub(start))?;
        if len > BITMAP_BYTES_MAX {
            return Err(Error::corrupt(format!("an action on {bits} bits")));
        }
        let within = change.within().saturating_add(count(change.record_at)).saturating_add(start.into());
        let mut bytes = self.read(change, within, len)?;
        for bit in first..end {
            let byte = index(bit / 8)?.saturating_sub(index(start)?);
            let mask = 1u8.checked_shl(bit % 8).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(byte) {
                *byte = if is_set { *byte | mask } else { *byte & !mask };
            }
        }
        self.write(change, within, &bytes)
    }
}

/// Bytes of the block of an index that begins with `head`.
fn block_bytes(head: &[u8]) -> Result<usize> {
    if !head.starts_with(b"INDX") {
        return Err(Error::corrupt("an action on a block of an index that is none"));
    }
    let len = usize::from(le_u16(head, 6)?).saturating_sub(1).saturating_mul(512);
    if len == 0 || len > INDEX_BLOCK_BYTES_MAX {
        return Err(Error::corrupt(format!("a block of an index of {len} bytes")));
    }
    Ok(len)
}
