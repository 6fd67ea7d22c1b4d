//! A checkpoint: what NTFS wrote into the log every few seconds, so that a replay needs no more than what follows: the
//! attributes that were open, and which of their clusters were changed and not written yet.

use super::log::Log;
use crate::bytes::{index, le_u16, le_u32, le_u64, range};
use spelunk_tree::{Error, Result};
use std::collections::HashMap;

/// Bytes before the entries of a table.
const TABLE_HEADER_BYTES: usize = 0x18;
/// An entry that is in use.
const ALLOCATED: u32 = 0xFFFF_FFFF;
/// Entries of a table: all places that an action can name.
const ENTRIES_MAX: usize = 0xFFFF;

/// Fields of a checkpoint's record.
const START_AT: usize = 0x08;
const OPEN_LSN_AT: usize = 0x10;
const DIRTY_LSN_AT: usize = 0x20;
const OPEN_BYTES_AT: usize = 0x30;
const DIRTY_BYTES_AT: usize = 0x38;

/// The layout of tables: entries of the first one were written by systems with pointers of 32 bits, and by others
/// since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Narrow,
    Wide,
}

impl Layout {
    /// What kind of attribute an entry of the table of open ones is.
    pub(super) fn attribute_kind(self, entry: &[u8]) -> Result<u32> {
        le_u32(entry, if self == Layout::Narrow { 0x1C } else { 0x08 })
    }
}

/// Clusters of an attribute that were changed, and not written.
pub(super) struct DirtyPage {
    pub(super) attribute: u16,
    pub(super) vcn: u64,
    pub(super) oldest_lsn: u64,
    /// Where they lie; 0 for those that were freed.
    pub(super) lcns: Vec<u64>,
}

/// The last checkpoint.
pub(super) struct Checkpoint {
    /// Actions behind this record are not in the tables.
    pub(super) start_lsn: u64,
    pub(super) layout: Layout,
    /// Kinds of open attributes, by their places in the table.
    pub(super) open: HashMap<u16, u32>,
    pub(super) dirty: Vec<DirtyPage>,
}

impl Checkpoint {
    /// Reads the checkpoint whose record is `lsn`.
    pub(super) fn read(log: &Log, lsn: u64) -> Result<Checkpoint> {
        let data = log.read(lsn)?.data;
        let layout = if le_u32(&data, 0)? == 0 { Layout::Narrow } else { Layout::Wide };
        let start = le_u64(&data, START_AT)?;
        let mut checkpoint = Checkpoint {
            start_lsn: if start == 0 { lsn } else { start },
            layout,
            open: HashMap::new(),
            dirty: Vec::new(),
        };
        for (place, entry) in table(log, &data, OPEN_LSN_AT, OPEN_BYTES_AT)? {
            checkpoint.open.insert(place, layout.attribute_kind(&entry)?);
        }
        for (_, entry) in table(log, &data, DIRTY_LSN_AT, DIRTY_BYTES_AT)? {
            checkpoint.dirty.push(dirty_page(layout, &entry)?);
        }
        Ok(checkpoint)
    }
}

/// The entries in use of a table, with their places, that a checkpoint names.
fn table(log: &Log, checkpoint: &[u8], lsn_at: usize, bytes_at: usize) -> Result<Vec<(u16, Vec<u8>)>> {
    if le_u32(checkpoint, bytes_at)? == 0 {
        return Ok(Vec::new());
    }
    let record = log.read(le_u64(checkpoint, lsn_at)?)?;
    let change = record.change.as_ref().ok_or_else(|| Error::corrupt("a checkpoint without its tables"))?;
    let bytes = &change.redo_data(&record.data)?[..];
    let entry_bytes = usize::from(le_u16(bytes, 0)?);
    let entries = usize::from(le_u16(bytes, 2)?);
    if entry_bytes < 0x20 || entries > ENTRIES_MAX {
        return Err(Error::corrupt("an impossible table of a checkpoint"));
    }
    let mut found = Vec::new();
    for number in 0..entries {
        let at = number.saturating_mul(entry_bytes).saturating_add(TABLE_HEADER_BYTES);
        let entry = range(bytes, at, entry_bytes)?;
        let Ok(place) = u16::try_from(at) else { break };
        if le_u32(entry, 0)? == ALLOCATED {
            found.push((place, entry.to_vec()));
        }
    }
    Ok(found)
}

fn dirty_page(layout: Layout, entry: &[u8]) -> Result<DirtyPage> {
    let shift = if layout == Layout::Narrow { 4 } else { 0 };
    let lcns = index(le_u32(entry, 0x0C)?)?.saturating_mul(8);
    let lcns = range(entry, 0x20usize.saturating_add(shift), lcns)?;
    Ok(DirtyPage {
        attribute: le_u16(entry, 0x04)?,
        vcn: le_u64(entry, 0x10usize.saturating_add(shift))?,
        oldest_lsn: le_u64(entry, 0x18usize.saturating_add(shift))?,
        lcns: lcns.chunks_exact(8).map(|lcn| le_u64(lcn, 0)).collect::<Result<_>>()?,
    })
}
