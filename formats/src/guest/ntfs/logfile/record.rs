//! A record of the log: what NTFS did, and to what.

use crate::bytes::{count, index, le_u16, le_u32, le_u64, range};
use spelunk_tree::Result;
use std::borrow::Cow;
use std::fmt::{Display, Formatter};

/// Kinds of records: what NTFS did, or where it would begin after a crash.
const KIND_ACTION: u32 = 1;

/// What was done. The numbers are NTFS's own, as in `NTFS_LOG_OPERATION` of Linux's `fs/ntfs3/fslog.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation(u16);

impl Operation {
    pub(super) const NOOP: Operation = Operation(0x00);
    /// In the place of an undo: the action itself undoes another.
    pub(super) const COMPENSATION: Operation = Operation(0x01);
    pub(super) const INITIALIZE_FILE_RECORD: Operation = Operation(0x02);
    pub(super) const DEALLOCATE_FILE_RECORD: Operation = Operation(0x03);
    pub(super) const WRITE_END_OF_FILE_RECORD: Operation = Operation(0x04);
    pub(super) const CREATE_ATTRIBUTE: Operation = Operation(0x05);
    pub(super) const DELETE_ATTRIBUTE: Operation = Operation(0x06);
    pub(super) const UPDATE_RESIDENT_VALUE: Operation = Operation(0x07);
    pub(super) const UPDATE_CLUSTERS: Operation = Operation(0x08);
    pub(super) const UPDATE_MAPPING_PAIRS: Operation = Operation(0x09);
    pub(super) const DELETE_DIRTY_CLUSTERS: Operation = Operation(0x0A);
    pub(super) const SET_NEW_ATTRIBUTE_SIZES: Operation = Operation(0x0B);
    pub(super) const ADD_INDEX_ENTRY_ROOT: Operation = Operation(0x0C);
    pub(super) const DELETE_INDEX_ENTRY_ROOT: Operation = Operation(0x0D);
    pub(super) const ADD_INDEX_ENTRY: Operation = Operation(0x0E);
    pub(super) const DELETE_INDEX_ENTRY: Operation = Operation(0x0F);
    pub(super) const WRITE_END_OF_INDEX: Operation = Operation(0x10);
    pub(super) const SET_INDEX_ENTRY_VCN_ROOT: Operation = Operation(0x11);
    pub(super) const SET_INDEX_ENTRY_VCN: Operation = Operation(0x12);
    pub(super) const UPDATE_FILE_NAME_ROOT: Operation = Operation(0x13);
    pub(super) const UPDATE_FILE_NAME: Operation = Operation(0x14);
    pub(super) const SET_BITS: Operation = Operation(0x15);
    pub(super) const CLEAR_BITS: Operation = Operation(0x16);
    pub(super) const END_TOP_LEVEL_ACTION: Operation = Operation(0x18);
    pub(super) const PREPARE_TRANSACTION: Operation = Operation(0x19);
    pub(super) const COMMIT_TRANSACTION: Operation = Operation(0x1A);
    pub(super) const FORGET_TRANSACTION: Operation = Operation(0x1B);
    pub(super) const OPEN_ATTRIBUTE: Operation = Operation(0x1C);
    const TRANSACTION_TABLE_DUMP: Operation = Operation(0x20);
    pub(super) const UPDATE_RECORD_DATA_ROOT: Operation = Operation(0x21);
    pub(super) const UPDATE_RECORD_DATA: Operation = Operation(0x22);
    pub(super) const ZERO_END_OF_FILE_RECORD: Operation = Operation(0x25);

    /// Whether it changes a record of the MFT.
    pub(super) fn is_of_file_record(self) -> bool {
        matches!(self.0, 0x02..=0x07 | 0x09 | 0x0B..=0x0D | 0x11 | 0x13 | 0x21 | 0x25)
    }

    /// Whether it changes a block of an index.
    pub(super) fn is_of_index(self) -> bool {
        matches!(self.0, 0x0E..=0x10 | 0x12 | 0x14 | 0x22)
    }

    /// Whether what it changes bears its LSN afterwards. Copies of times and sizes in directories do not count.
    pub(super) fn sets_lsn(self) -> bool {
        self != Operation::UPDATE_FILE_NAME_ROOT && self != Operation::UPDATE_FILE_NAME
    }

    /// Whether it changes nothing in the volume.
    pub(super) fn is_of_log(self) -> bool {
        self == Operation::NOOP
            || self == Operation::COMPENSATION
            || self == Operation::DELETE_DIRTY_CLUSTERS
            || (Operation::END_TOP_LEVEL_ACTION.0..=Operation::TRANSACTION_TABLE_DUMP.0).contains(&self.0)
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) lsn: u64,
    /// The record of the same transaction that is to be undone next.
    pub(super) undo_next_lsn: u64,
    pub(super) transaction: u32,
    /// `None` for a record that says where to begin.
    pub(super) change: Option<Change>,
    /// What stands behind the header.
    pub(super) data: Vec<u8>,
}

/// What was changed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) redo: Operation,
    pub(super) undo: Operation,
    redo_at: u16,
    pub(super) redo_bytes: u16,
    undo_at: u16,
    pub(super) undo_bytes: u16,
    /// Place of the changed attribute in the table of open ones.
    pub(super) attribute: u16,
    /// Where the change begins: in the record of the MFT an attribute, in clusters a byte.
    pub(super) record_at: usize,
    /// Where it begins in the attribute, or in the block of an index.
    pub(super) attribute_at: usize,
    /// 512 bytes into the cluster.
    pub(super) sector: u16,
    /// Cluster of the changed attribute.
    pub(super) vcn: u64,
    /// The same cluster in the volume, and those behind it.
    pub(super) lcns: Vec<u64>,
}

impl Record {
    /// Bytes of the header.
    pub(super) const HEADER_BYTES: usize = 0x30;

    /// Decodes a record.
    pub(super) fn decode(header: &[u8], data: Vec<u8>) -> Result<Record> {
        let is_action = le_u32(header, 0x20)? == KIND_ACTION;
        Ok(Record {
            lsn: le_u64(header, 0)?,
            undo_next_lsn: le_u64(header, 0x10)?,
            transaction: le_u32(header, 0x24)?,
            change: if is_action { Some(Change::decode(&data)?) } else { None },
            data,
        })
    }
}

impl Change {
    fn decode(data: &[u8]) -> Result<Change> {
        let lcns = usize::from(le_u16(data, 0x0E)?);
        let lcns = range(data, 0x20, lcns.saturating_mul(8))?;
        Ok(Change {
            redo: Operation(le_u16(data, 0x00)?),
            undo: Operation(le_u16(data, 0x02)?),
            redo_at: le_u16(data, 0x04)?,
            redo_bytes: le_u16(data, 0x06)?,
            undo_at: le_u16(data, 0x08)?,
            undo_bytes: le_u16(data, 0x0A)?,
            attribute: le_u16(data, 0x0C)?,
            record_at: le_u16(data, 0x10)?.into(),
            attribute_at: le_u16(data, 0x12)?.into(),
            sector: le_u16(data, 0x14)?,
            vcn: le_u64(data, 0x18)?,
            lcns: lcns.chunks_exact(8).map(|lcn| le_u64(lcn, 0)).collect::<Result<_>>()?,
        })
    }

    /// What the action wrote.
    pub(super) fn redo_data<'a>(&self, data: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        part(data, self.redo_at, self.redo_bytes)
    }

    /// What was there before.
    pub(super) fn undo_data<'a>(&self, data: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        part(data, self.undo_at, self.undo_bytes)
    }

    /// How many bytes into the first cluster the changed block, or the start of the change, lies.
    pub(super) fn within(&self) -> u64 {
        u64::from(self.sector).saturating_mul(512)
    }

    /// Where `len` bytes lie in the volume, from `within` bytes into the first cluster on.
    ///
    /// # Errors
    /// `Corrupt` when they leave the clusters that the record names.
    pub(super) fn places(&self, cluster_bytes: u32, within: u64, len: usize) -> Result<Vec<(u64, usize)>> {
        let outside = || spelunk_tree::Error::corrupt("an action of the log outside of its clusters");
        let cluster_bytes = u64::from(cluster_bytes.max(1));
        let mut places = Vec::new();
        let (mut at, end) = (within, within.checked_add(count(len)).ok_or_else(outside)?);
        while at < end {
            let cluster = index(at.checked_div(cluster_bytes).unwrap_or(0))?;
            let &lcn = self.lcns.get(cluster).filter(|lcn| **lcn != 0).ok_or_else(outside)?;
            let inside = at.checked_rem(cluster_bytes).unwrap_or(0);
            let part = cluster_bytes.saturating_sub(inside).min(end.saturating_sub(at));
            let place = lcn.checked_mul(cluster_bytes).and_then(|place| place.checked_add(inside));
            places.push((place.ok_or_else(outside)?, index(part)?));
            at = at.saturating_add(part);
        }
        Ok(places)
    }
}

/// Bytes that were written; zeros are not stored: they would lie behind the record's end.
fn part(data: &[u8], at: u16, len: u16) -> Result<Cow<'_, [u8]>> {
    if usize::from(at) >= data.len() {
        return Ok(vec![0; len.into()].into());
    }
    range(data, at.into(), len.into()).map(Cow::Borrowed)
}
