//! Actions of the log on a record of the MFT.

use super::block::Block;
use super::index_action::{self, Entries};
use super::record::{Change, Operation};
use crate::bytes::{le_u16, le_u32, u8_at};
use spelunk_tree::{Error, Result};

/// Fields of a record: sequence number, links, first attribute, flags, bytes in use, next instance of an attribute.
const SEQUENCE_AT: usize = 0x10;
const LINKS_AT: usize = 0x12;
const FIRST_ATTRIBUTE_AT: usize = 0x14;
const FLAGS_AT: usize = 0x16;
const USED_AT: usize = 0x18;
const NEXT_INSTANCE_AT: usize = 0x28;
const FLAG_IN_USE: usize = 1;

/// Fields of an attribute.
const END: usize = 0xFFFF_FFFF;
const INDEX_ROOT: usize = 0x90;
const LENGTH_AT: usize = 4;
const NON_RESIDENT_AT: usize = 8;
const INSTANCE_AT: usize = 0x0E;
const VALUE_LENGTH_AT: usize = 0x10;
const VALUE_AT: usize = 0x14;
const INDEXED_AT: usize = 0x16;
const LOWEST_VCN_AT: usize = 0x10;
const HIGHEST_VCN_AT: usize = 0x18;
const PAIRS_AT: usize = 0x20;
const SIZES_AT: usize = 0x28;
/// Bytes of the smallest attribute.
const ATTRIBUTE_BYTES_MIN: usize = 0x18;
/// Where the index begins in the value of an index root.
const INDEX_AT: usize = 0x10;

/// Does to `record` what `change` says, with `data`.
///
/// # Errors
/// `Corrupt` when it cannot be done to this record, `Unsupported` for unknown actions.
pub(super) fn apply(record: &mut Block, operation: Operation, change: &Change, data: &[u8]) -> Result<()> {
    match operation {
        Operation::INITIALIZE_FILE_RECORD => record.put(change.record_at, data),
        Operation::DEALLOCATE_FILE_RECORD => {
            let flags = record.u16(FLAGS_AT)?;
            record.put_u16(FLAGS_AT, flags & !FLAG_IN_USE)?;
            let sequence = u16::try_from(record.u16(SEQUENCE_AT)?).unwrap_or(0).wrapping_add(1).max(1);
            record.put_u16(SEQUENCE_AT, sequence.into())
        }
        Operation::ZERO_END_OF_FILE_RECORD => record.fill(change.record_at, data.len(), 0),
        _ => apply_to_attribute(record, operation, change, data),
    }
}

fn apply_to_attribute(record: &mut Block, operation: Operation, change: &Change, data: &[u8]) -> Result<()> {
    let at = change.record_at;
    check_attribute(record, at)?;
    if operation == Operation::WRITE_END_OF_FILE_RECORD {
        record.put(at, data)?;
        return record.put_u32(USED_AT, at.saturating_add(data.len()).next_multiple_of(8));
    }
    if operation == Operation::CREATE_ATTRIBUTE {
        return create(record, at, data);
    }
    if record.u32(at)? == END {
        return Err(Error::corrupt("an action on an attribute that the record does not have"));
    }
    match operation {
        Operation::DELETE_ATTRIBUTE => delete(record, at),
        Operation::UPDATE_RESIDENT_VALUE => update_value(record, change, data),
        Operation::UPDATE_MAPPING_PAIRS => update_mapping_pairs(record, change, data),
        Operation::SET_NEW_ATTRIBUTE_SIZES => set_sizes(record, at, data),
        _ => update_index_root(record, operation, change, data),
    }
}

/// An attribute, or the end of them, must begin at `wanted`.
fn check_attribute(record: &Block, wanted: usize) -> Result<()> {
    let mut at = record.u16(FIRST_ATTRIBUTE_AT)?;
    while at < wanted && record.u32(at)? != END {
        let len = record.u32(at.saturating_add(LENGTH_AT))?;
        if len < 8 {
            return Err(Error::corrupt("an attribute without length"));
        }
        at = at.saturating_add(len);
    }
    if at != wanted || at >= record.u32(USED_AT)? {
        return Err(Error::corrupt("an action on an attribute that begins elsewhere"));
    }
    Ok(())
}

fn create(record: &mut Block, at: usize, data: &[u8]) -> Result<()> {
    let len = crate::bytes::index(le_u32(data, LENGTH_AT)?)?;
    let attribute = data.get(..len).filter(|_| len >= ATTRIBUTE_BYTES_MIN && len.is_multiple_of(8));
    let attribute = attribute.ok_or_else(|| Error::corrupt("a new attribute of an impossible length"))?;
    let used = record.u32(USED_AT)?;
    record.shift(at, used, at.saturating_add(len))?;
    record.put(at, attribute)?;
    record.put_u32(USED_AT, used.saturating_add(len))?;
    let instance = usize::from(le_u16(attribute, INSTANCE_AT)?);
    if record.u16(NEXT_INSTANCE_AT)? <= instance {
        record.put_u16(NEXT_INSTANCE_AT, instance.saturating_add(1))?;
    }
    if is_indexed(attribute)? {
        record.put_u16(LINKS_AT, record.u16(LINKS_AT)?.saturating_add(1))?;
    }
    Ok(())
}

fn delete(record: &mut Block, at: usize) -> Result<()> {
    let used = record.u32(USED_AT)?;
    let len = record.u32(at.saturating_add(LENGTH_AT))?;
    if len < ATTRIBUTE_BYTES_MIN || at.saturating_add(len) > used {
        return Err(Error::corrupt("an attribute of an impossible length"));
    }
    if is_indexed(record.range(at, len)?)? {
        record.put_u16(LINKS_AT, record.u16(LINKS_AT)?.saturating_sub(1))?;
    }
    record.shift(at.saturating_add(len), used, at)?;
    record.put_u32(USED_AT, used.saturating_sub(len))
}

/// Whether an attribute is one that directories list: names count as links.
fn is_indexed(attribute: &[u8]) -> Result<bool> {
    Ok(u8_at(attribute, NON_RESIDENT_AT)? == 0 && u8_at(attribute, INDEXED_AT)? & 1 != 0)
}

/// Makes the attribute at `at` longer or shorter: what follows it moves.
fn resize(record: &mut Block, at: usize, len: usize) -> Result<()> {
    let used = record.u32(USED_AT)?;
    let behind = at.saturating_add(record.u32(at.saturating_add(LENGTH_AT))?);
    let new_behind = at.saturating_add(len);
    record.shift(behind, used, new_behind)?;
    record.put_u32(USED_AT, used.saturating_sub(behind).saturating_add(new_behind))?;
    record.put_u32(at.saturating_add(LENGTH_AT), len)
}

fn update_value(record: &mut Block, change: &Change, data: &[u8]) -> Result<()> {
    let at = change.record_at;
    let is_resident = record.range(at.saturating_add(NON_RESIDENT_AT), 1)? == [0];
    let value_at = record.u16(at.saturating_add(VALUE_AT))?;
    let end = change.attribute_at.saturating_add(data.len());
    let len = record.u32(at.saturating_add(LENGTH_AT))?;
    if change.redo_bytes != change.undo_bytes {
        if !is_resident || change.attribute_at < value_at {
            return Err(Error::corrupt("a new value outside of its attribute"));
        }
        resize(record, at, end.next_multiple_of(8))?;
        record.put_u32(at.saturating_add(VALUE_LENGTH_AT), end.saturating_sub(value_at))?;
    } else if end > len {
        return Err(Error::corrupt("a new value longer than its attribute"));
    }
    record.put(at.saturating_add(change.attribute_at), data)
}

fn update_mapping_pairs(record: &mut Block, change: &Change, data: &[u8]) -> Result<()> {
    let at = change.record_at;
    let pairs_at = record.u16(at.saturating_add(PAIRS_AT))?;
    let is_resident = record.range(at.saturating_add(NON_RESIDENT_AT), 1)? == [0];
    let len = record.u32(at.saturating_add(LENGTH_AT))?;
    if is_resident || change.attribute_at < pairs_at || change.attribute_at > len {
        return Err(Error::corrupt("new mapping pairs outside of their attribute"));
    }
    let new_len = change.attribute_at.saturating_add(data.len()).next_multiple_of(8);
    resize(record, at, new_len)?;
    record.put(at.saturating_add(change.attribute_at), data)?;
    let lowest = crate::bytes::le_u64(record.range(at.saturating_add(LOWEST_VCN_AT), 8)?, 0)?;
    let pairs = record.range(at.saturating_add(pairs_at), new_len.saturating_sub(pairs_at))?;
    let clusters = mapped_clusters(pairs)?;
    let highest = lowest.wrapping_add(clusters).wrapping_sub(1);
    record.put(at.saturating_add(HIGHEST_VCN_AT), &highest.to_le_bytes())
}

/// How many clusters mapping pairs map.
fn mapped_clusters(pairs: &[u8]) -> Result<u64> {
    let mut at = 0usize;
    let mut clusters = 0u64;
    while let Some(&head) = pairs.get(at).filter(|head| **head != 0) {
        let (length_bytes, offset_bytes) = (usize::from(head & 0xF), usize::from(head >> 4));
        let length = crate::bytes::range(pairs, at.saturating_add(1), length_bytes)?;
        if length_bytes == 0 || length_bytes > 8 {
            return Err(Error::corrupt("mapping pairs of an impossible length"));
        }
        let length = length.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        clusters = crate::bytes::add(clusters, length)?;
        at = at.saturating_add(1).saturating_add(length_bytes).saturating_add(offset_bytes);
    }
    Ok(clusters)
}

/// The log has the allocated size, how much was written, the size, and where the attribute has it, the size in clusters.
fn set_sizes(record: &mut Block, at: usize, data: &[u8]) -> Result<()> {
    if record.range(at.saturating_add(NON_RESIDENT_AT), 1)? == [0] {
        return Err(Error::corrupt("new sizes of an attribute without clusters"));
    }
    let sizes = at.saturating_add(SIZES_AT);
    record.put(sizes, crate::bytes::range(data, 0, 8)?)?;
    record.put(sizes.saturating_add(0x08), crate::bytes::range(data, 0x10, 8)?)?;
    record.put(sizes.saturating_add(0x10), crate::bytes::range(data, 0x08, 8)?)?;
    if data.len() >= 0x20 && record.u16(at.saturating_add(PAIRS_AT))? >= 0x48 {
        record.put(sizes.saturating_add(0x18), crate::bytes::range(data, 0x18, 8)?)?;
    }
    Ok(())
}

fn update_index_root(record: &mut Block, operation: Operation, change: &Change, data: &[u8]) -> Result<()> {
    let at = change.record_at;
    if record.u32(at)? != INDEX_ROOT || record.range(at.saturating_add(NON_RESIDENT_AT), 1)? != [0] {
        return Err(Error::corrupt("an action on an index root that is none"));
    }
    let header = at.saturating_add(record.u16(at.saturating_add(VALUE_AT))?).saturating_add(INDEX_AT);
    let entry = at.saturating_add(change.attribute_at);
    let entries = Entries::new(record, header, entry)?;
    let len = record.u32(at.saturating_add(LENGTH_AT))?;
    let value_len = record.u32(at.saturating_add(VALUE_LENGTH_AT))?;
    match operation {
        Operation::ADD_INDEX_ENTRY_ROOT => {
            let added = index_action::entry_bytes(data)?;
            resize(record, at, len.saturating_add(added))?;
            record.put_u32(at.saturating_add(VALUE_LENGTH_AT), value_len.saturating_add(added))?;
            entries.grow_room(record, added)?;
            entries.insert(record, data)
        }
        Operation::DELETE_INDEX_ENTRY_ROOT => {
            let removed = entries.remove(record)?;
            let new_len = len.checked_sub(removed).zip(value_len.checked_sub(removed));
            let (len, value_len) = new_len.ok_or_else(|| Error::corrupt("an entry longer than its index"))?;
            entries.shrink_room(record, removed)?;
            record.put_u32(at.saturating_add(VALUE_LENGTH_AT), value_len)?;
            resize(record, at, len)
        }
        Operation::SET_INDEX_ENTRY_VCN_ROOT => entries.set_vcn(record, data),
        Operation::UPDATE_FILE_NAME_ROOT => entries.update_file_name(record, data),
        Operation::UPDATE_RECORD_DATA_ROOT => entries.update_data(record, data),
        _ => Err(Error::unsupported(format!("an action of the unknown kind {operation}"))),
    }
}
