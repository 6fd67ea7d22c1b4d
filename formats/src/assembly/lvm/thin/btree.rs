//! The B+trees of device mapper's metadata (Linux `drivers/md/persistent-data/dm-btree-internal.h`).

use crate::bytes::{count, index, le_u32, le_u64, mul, range};
use spelunk_tree::{Error, ReadAt, Result};
use std::sync::Arc;

/// Bytes of a block, the unit of all metadata.
pub(super) const BLOCK_BYTES: usize = 4096;
const SALT: u32 = 121_107;
const HEADER_BYTES: usize = 32;
const INTERNAL: u32 = 1;
const LEAF: u32 = 2;
/// Values are block numbers, or chunks with times.
const VALUE_BYTES: usize = 8;
/// Keys and values that a block has room for.
const ROOM: usize = (BLOCK_BYTES - HEADER_BYTES) / (8 + VALUE_BYTES);

/// Levels of a tree: a block has 126 entries at least, so ten levels hold more than all chunks there can be.
const LEVELS_MAX: usize = 12;

/// The checksum of a block: crc32c of all behind the checksum, not inverted, with a number for the kind of block.
pub(super) fn checksum(block: &[u8], salt: u32) -> Result<u32> {
    let rest = range(block, 4, BLOCK_BYTES.saturating_sub(4))?;
    Ok(!crc32c::crc32c(rest) ^ salt)
}

/// A tree from 64-bit keys to 64-bit values.
pub(super) struct Tree {
    metadata: Arc<dyn ReadAt>,
    root: u64,
}

/// Keys one after the other: none has a value, or each has the value of the one before, counted up in the bits above the
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The first key's value.
    pub(super) value: Option<u64>,
}

impl Tree {
    pub(super) fn new(metadata: Arc<dyn ReadAt>, root: u64) -> Tree {
        Tree { metadata, root }
    }

    /// The stretch that begins with `key`, up to `last` at most.
    pub(super) fn stretch(&self, key: u64, last: u64) -> Result<Stretch> {
        let mut block = self.root;
        // No key of this part of the tree is larger.
        let mut largest = last;
        for _ in 0..LEVELS_MAX {
            let node = Node::read(&*self.metadata, block)?;
            // The entries up to the one whose key is not larger.
            let entries = node.partition_point(key)?;
            if node.is_leaf {
                return node.stretch(key, entries, largest);
            }
            if entries < node.entries {
                largest = largest.min(node.key(entries)?.saturating_sub(1));
            }
            let Some(entry) = entries.checked_sub(1) else {
                return Ok(Stretch { first: key, last: largest, value: None });
            };
            block = node.value(entry)?;
        }
        Err(Error::limit(format!("a tree of more than {LEVELS_MAX} levels")))
    }
}

struct Node {
    bytes: Vec<u8>,
    is_leaf: bool,
    entries: usize,
    /// For how many keys there is room before the values.
    entries_max: usize,
}

impl Node {
    fn read(metadata: &dyn ReadAt, block: u64) -> Result<Node> {
        let at = mul(block, count(BLOCK_BYTES))?;
        let mut bytes = vec![0; BLOCK_BYTES];
        metadata.read_at(at, &mut bytes)?;
        if checksum(&bytes, SALT)? != le_u32(&bytes, 0)? || le_u64(&bytes, 8)? != block {
            return Err(Error::corrupt("a damaged block of thin metadata").at(at));
        }
        let is_leaf = match le_u32(&bytes, 4)? {
            LEAF => true,
            INTERNAL => false,
            _ => return Err(Error::corrupt("a block of a tree that is neither leaf nor node").at(at)),
        };
        let (entries, entries_max) = (index(le_u32(&bytes, 16)?)?, index(le_u32(&bytes, 20)?)?);
        if entries > entries_max || entries_max > ROOM || index(le_u32(&bytes, 24)?)? != VALUE_BYTES {
            return Err(Error::corrupt("a block of a tree with impossible counts").at(at));
        }
        Ok(Node { bytes, is_leaf, entries, entries_max })
    }

    fn key(&self, entry: usize) -> Result<u64> {
        le_u64(&self.bytes, entry.saturating_mul(8).saturating_add(HEADER_BYTES))
    }

    fn value(&self, entry: usize) -> Result<u64> {
        let at = self.entries_max.saturating_add(entry).saturating_mul(VALUE_BYTES);
        le_u64(&self.bytes, at.saturating_add(HEADER_BYTES))
    }

    /// How many entries have a key that is not larger than `key`.
    fn partition_point(&self, key: u64) -> Result<usize> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle)? <= key { low = middle.saturating_add(1) } else { high = middle }
        }
        Ok(low)
    }

    /// The stretch from `key` on, when `entries` of a leaf's keys are not larger and none above `largest` counts.
    fn stretch(&self, key: u64, entries: usize, largest: u64) -> Result<Stretch> {
        let found = entries.checked_sub(1).filter(|entry| self.key(*entry) == Ok(key));
        let Some(entry) = found else {
            let next = if entries < self.entries { self.key(entries)?.saturating_sub(1) } else { largest };
            return Ok(Stretch { first: key, last: largest.min(next).max(key), value: None });
        };
        let value = self.value(entry)?;
        let mut last = key;
        for next in entries..self.entries {
            let distance = last.saturating_add(1).saturating_sub(key);
            let expected = (value >> super::TIME_BITS).checked_add(distance);
            let follows = self.key(next)? == last.saturating_add(1)
                && Some(self.value(next)? >> super::TIME_BITS) == expected;
            if !follows || last >= largest {
                break;
            }
            last = last.saturating_add(1);
        }
        Ok(Stretch { first: key, last, value: Some(value) })
    }
}
