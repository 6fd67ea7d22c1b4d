//! A record of the log: what NTFS did, and to what.

use crate::bytes::{le_u16, le_u32, le_u64};
use spelunk_tree::Result;

/// Kinds of records: what NTFS did, or where it would begin after a crash.
const KIND_ACTION: u32 = 1;

/// What was done. The numbers are NTFS's own, as in `NTFS_LOG_OPERATION` of Linux's `fs/ntfs3/fslog.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation(u16);

impl Operation {
    /// The last record of a transaction.
    pub(super) const FORGET_TRANSACTION: Operation = Operation(0x1B);
    /// The undoing of an action, which is named in its place.
    const COMPENSATION: Operation = Operation(0x01);

    /// Whether it changes a record of the MFT, and with it the record's LSN. (`UpdateFileNameRoot`, 0x13, changes it
    /// without.)
    pub(super) fn is_of_mft(self) -> bool {
        matches!(self.0, 0x02..=0x07 | 0x09 | 0x0B..=0x0D | 0x11 | 0x21 | 0x25)
    }

    /// The same for a block of an index. (`UpdateFileNameAllocation`, 0x14, leaves the LSN.)
    pub(super) fn is_of_index(self) -> bool {
        matches!(self.0, 0x0E..=0x10 | 0x12 | 0x22)
    }
}

/// A record, as far as it tells what was changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) lsn: u64,
    pub(super) transaction: u32,
    /// `None` for a record that says where to begin.
    pub(super) action: Option<Action>,
}

/// What was changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action {
    pub(super) operation: Operation,
    /// Cluster of the changed attribute.
    pub(super) vcn: u64,
    /// 512 bytes into it.
    pub(super) sector: u16,
    /// The same cluster in the volume.
    pub(super) lcn: Option<u64>,
}

impl Record {
    /// Bytes of the header.
    pub(super) const HEADER_BYTES: usize = 0x30;
    /// Bytes behind it that are looked at: those of an action and the first of its clusters.
    pub(super) const DATA_BYTES: usize = 0x28;

    /// Decodes a header and the first bytes behind it, which may be fewer.
    pub(super) fn decode(header: &[u8], data: &[u8]) -> Result<Record> {
        let is_action = le_u32(header, 0x20)? == KIND_ACTION;
        Ok(Record {
            lsn: le_u64(header, 0)?,
            transaction: le_u32(header, 0x24)?,
            action: if is_action { Some(Action::decode(data)?) } else { None },
        })
    }
}

impl Action {
    fn decode(data: &[u8]) -> Result<Action> {
        let [redo, undo] = [Operation(le_u16(data, 0)?), Operation(le_u16(data, 2)?)];
        let operation = if redo == Operation::COMPENSATION { undo } else { redo };
        let has_clusters = le_u16(data, 0x0E)? > 0;
        Ok(Action {
            operation,
            sector: le_u16(data, 0x14)?,
            vcn: le_u64(data, 0x18)?,
            lcn: if has_clusters { Some(le_u64(data, 0x20)?) } else { None },
        })
    }
}
