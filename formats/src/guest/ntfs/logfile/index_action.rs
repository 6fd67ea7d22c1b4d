//! Actions of the log on a block of an index, and on the entries of an index root.

use super::block::Block;
use super::record::{Change, Operation};
use crate::bytes::{le_u16, range};
use spelunk_tree::{Error, Result};

/// Where the index begins in a block.
const INDEX_AT: usize = 0x18;
/// Fields of an index: first entry, bytes in use, room, counted from its own beginning.
const USED_AT: usize = 4;
const ROOM_AT: usize = 8;
/// Fields of an entry: its length; its key behind this many bytes; where its data lies, in views.
const LENGTH_AT: usize = 8;
const ENTRY_BYTES_MIN: usize = 0x10;
const DATA_AT: usize = 0;
/// In the key of a directory's entry: times, sizes and flags, which are kept in the record of the file, too.
const COPIES_AT: usize = 8;
const COPIES_BYTES: usize = 0x38;

/// An entry of an index, and the index around it.
pub(super) struct Entries {
    header: usize,
    entry: usize,
}

/// Does to `block` what `change` says, with `data`.
///
/// # Errors
/// `Corrupt` when it cannot be done to this block, `Unsupported` for unknown actions.
pub(super) fn apply(block: &mut Block, operation: Operation, change: &Change, data: &[u8]) -> Result<()> {
    let entries = Entries::new(block, INDEX_AT, change.attribute_at)?;
    match operation {
        Operation::ADD_INDEX_ENTRY => entries.insert(block, data),
        Operation::DELETE_INDEX_ENTRY => entries.remove(block).map(|_| ()),
        Operation::WRITE_END_OF_INDEX => {
            block.put(change.attribute_at, data)?;
            let used = change.attribute_at.saturating_add(data.len()).saturating_sub(INDEX_AT);
            entries.set_used(block, used)
        }
        Operation::SET_INDEX_ENTRY_VCN => entries.set_vcn(block, data),
        Operation::UPDATE_FILE_NAME => entries.update_file_name(block, data),
        Operation::UPDATE_RECORD_DATA => entries.update_data(block, data),
        _ => Err(Error::unsupported(format!("an action of the unknown kind {operation}"))),
    }
}

/// Length of the entry at the start of `data`.
pub(super) fn entry_bytes(data: &[u8]) -> Result<usize> {
    let len = usize::from(le_u16(data, LENGTH_AT)?);
    if len < ENTRY_BYTES_MIN || !len.is_multiple_of(8) || len > data.len() {
        return Err(Error::corrupt("an entry of an index of an impossible length"));
    }
    Ok(len)
}

impl Entries {
    /// The entry at `entry`, which must be one of the index at `header`.
    pub(super) fn new(block: &Block, header: usize, entry: usize) -> Result<Entries> {
        let end = header.saturating_add(block.u32(header.saturating_add(USED_AT))?);
        let mut at = header.saturating_add(block.u32(header)?);
        while at < entry && at < end {
            let len = block.u16(at.saturating_add(LENGTH_AT))?;
            if len < ENTRY_BYTES_MIN {
                return Err(Error::corrupt("an entry of an index without length"));
            }
            at = at.saturating_add(len);
        }
        if at != entry || at > end {
            return Err(Error::corrupt("an action on an entry that begins elsewhere"));
        }
        Ok(Entries { header, entry })
    }

    fn end(&self, block: &Block) -> Result<usize> {
        Ok(self.header.saturating_add(block.u32(self.header.saturating_add(USED_AT))?))
    }

    fn set_used(&self, block: &mut Block, used: usize) -> Result<()> {
        if used > block.u32(self.header.saturating_add(ROOM_AT))? {
            return Err(Error::corrupt("an index with more entries than it has room for"));
        }
        block.put_u32(self.header.saturating_add(USED_AT), used)
    }

    pub(super) fn grow_room(&self, block: &mut Block, bytes: usize) -> Result<()> {
        let at = self.header.saturating_add(ROOM_AT);
        block.put_u32(at, block.u32(at)?.saturating_add(bytes))
    }

    pub(super) fn shrink_room(&self, block: &mut Block, bytes: usize) -> Result<()> {
        let at = self.header.saturating_add(ROOM_AT);
        block.put_u32(at, block.u32(at)?.saturating_sub(bytes))
    }

    pub(super) fn insert(&self, block: &mut Block, data: &[u8]) -> Result<()> {
        let len = entry_bytes(data)?;
        let end = self.end(block)?;
        self.set_used(block, end.saturating_sub(self.header).saturating_add(len))?;
        block.shift(self.entry, end, self.entry.saturating_add(len))?;
        block.put(self.entry, range(data, 0, len)?)
    }

    /// Removes the entry and gives its length.
    pub(super) fn remove(&self, block: &mut Block) -> Result<usize> {
        let (end, len) = (self.end(block)?, self.entry_len(block)?);
        block.shift(self.entry.saturating_add(len), end, self.entry)?;
        self.set_used(block, end.saturating_sub(self.header).saturating_sub(len))?;
        Ok(len)
    }

    /// Length of the entry, which lies in the index as a whole.
    fn entry_len(&self, block: &Block) -> Result<usize> {
        let len = block.u16(self.entry.saturating_add(LENGTH_AT))?;
        if len < ENTRY_BYTES_MIN || self.entry.saturating_add(len) > self.end(block)? {
            return Err(Error::corrupt("an entry of an index of an impossible length"));
        }
        Ok(len)
    }

    /// The block below an entry is named in its last eight bytes.
    pub(super) fn set_vcn(&self, block: &mut Block, data: &[u8]) -> Result<()> {
        let len = self.entry_len(block)?;
        block.put(self.entry.saturating_add(len).saturating_sub(8), range(data, 0, 8)?)
    }

    pub(super) fn update_file_name(&self, block: &mut Block, data: &[u8]) -> Result<()> {
        let at = ENTRY_BYTES_MIN.saturating_add(COPIES_AT);
        if at.saturating_add(COPIES_BYTES) > self.entry_len(block)? {
            return Err(Error::corrupt("an entry of a directory without a name"));
        }
        let copies = data.get(..COPIES_BYTES.min(data.len())).unwrap_or_default();
        block.put(self.entry.saturating_add(at), copies)
    }

    pub(super) fn update_data(&self, block: &mut Block, data: &[u8]) -> Result<()> {
        let at = block.u16(self.entry.saturating_add(DATA_AT))?;
        if at.saturating_add(data.len()) > self.entry_len(block)? {
            return Err(Error::corrupt("data outside of its entry of an index"));
        }
        block.put(self.entry.saturating_add(at), data)
    }
}
