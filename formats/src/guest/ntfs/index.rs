//! Indexes: B+trees of `$INDEX_ROOT` and the blocks of `$INDEX_ALLOCATION`. Directories are indexes of
//! names, `$Secure` has one of security ids.

use super::attribute::types;
use super::fixup;
use super::node::Node;
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::{array, count, index, le_u16, le_u32, le_u64, range};
use spelunk_tree::{Error, Result};
use std::cmp::Ordering;
use std::sync::Arc;

/// Windows writes blocks of 4 KiB, or of one cluster; `mkntfs` of up to 64 KiB.
const BLOCK_BYTES_MIN: u32 = 512;
const BLOCK_BYTES_MAX: u32 = 64 << 10;
/// Blocks of one index: a directory of ten thousand million files has fewer.
const BLOCKS_MAX: u64 = 1 << 28;
/// Levels below the root: a block of 4 KiB holds at least 6 entries, so 2^32 files need 13.
const DEPTH_MAX: usize = 32;
/// Blocks that one search may read. Two per level, and room for entries that differ only in case.
const SEARCH_BLOCKS_MAX: usize = 512;
/// Bytes of the `$BITMAP` that are read at once.
const WINDOW_BYTES: usize = 4096;
const WINDOW_BLOCKS: u64 = 8 * 4096;

/// Where the header of entries stands in `$INDEX_ROOT`, and in a block.
const ROOT_HEADER: usize = 0x10;
const BLOCK_HEADER: usize = 0x18;

const ENTRY_HAS_CHILD: u16 = 1;
const ENTRY_IS_LAST: u16 = 2;

/// An index.
pub(super) struct Index {
    root: Box<[u8]>,
    block_bytes: usize,
    /// log2 of `block_bytes`.
    block_bits: u32,
    /// Unit of the numbers by which blocks name each other.
    vcn_bytes: u64,
    blocks: Option<Blocks>,
}

struct Blocks {
    allocation: Stream,
    bitmap: Stream,
}

/// One entry of an index.
pub(super) struct Entry<'a> {
    /// The first eight bytes: of names, the reference of the file; of others, where the data is.
    pub head: u64,
    /// The key; empty in the last entry of a node.
    pub key: &'a [u8],
    /// The whole entry.
    pub bytes: &'a [u8],
    child: Option<u64>,
    is_last: bool,
}

impl Index {
    /// Opens the index `name` (UTF-16LE) of `node`.
    ///
    /// # Errors
    /// `Corrupt` when its root or its shape is damaged.
    pub fn open(volume: &Volume, node: &Node, name: &[u8]) -> Result<Index> {
        let root = node.first(&volume.mft, types::INDEX_ROOT, name)?;
        let root = root.ok_or_else(|| Error::corrupt("an index without root"))?;
        let root: Box<[u8]> = root.get()?.resident()?.into();
        let block_bytes = le_u32(&root, 8)?;
        if !block_bytes.is_power_of_two() || !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&block_bytes) {
            return Err(Error::corrupt(format!("index blocks of {block_bytes} bytes")));
        }
        let allocation = Stream::open(volume, node, types::INDEX_ALLOCATION, name)?;
        let bitmap = Stream::open(volume, node, types::BITMAP, name)?;
        let blocks = match (allocation, bitmap) {
            (Some(allocation), Some(bitmap)) => Some(Blocks { allocation, bitmap }),
            (Some(allocation), None) if allocation.size > 0 => {
                return Err(Error::corrupt("an index without $BITMAP"));
            }
            _ => None,
        };
        let cluster_bytes = u64::from(volume.geometry.cluster_bytes);
        let vcn_bytes = if cluster_bytes <= u64::from(block_bytes) { cluster_bytes } else { 512 };
        let block_bits = block_bytes.trailing_zeros();
        Ok(Index { root, block_bytes: index(block_bytes)?, block_bits, vcn_bytes, blocks })
    }

    /// Bytes of memory that it takes, nearly.
    pub fn weight(&self) -> usize {
        self.root.len().saturating_add(1024)
    }

    /// The entries of the root, from a position on.
    ///
    /// # Errors
    /// `Corrupt` when the node's header is.
    pub fn root_entries(&self, from: usize) -> Result<Entries<'_>> {
        Entries::new(&self.root, ROOT_HEADER, from)
    }

    /// The first block from `from` on that `$BITMAP` marks in use; `None` when there are no more.
    ///
    /// # Errors
    /// When the bitmap cannot be read.
    pub fn next_used(&self, volume: &Volume, from: u64, window: &mut Window) -> Result<Option<u64>> {
        let Some(blocks) = &self.blocks else { return Ok(None) };
        let end = blocks.allocation.size >> self.block_bits;
        if end > BLOCKS_MAX {
            return Err(Error::limit(format!("an index of {end} blocks")));
        }
        let mut block = from;
        while block < end {
            if !window.holds(block) {
                window.load(volume, &blocks.bitmap, block)?;
            }
            match window.first_used(block) {
                Some(found) => return Ok(Some(found).filter(|&found| found < end)),
                None => block = window.end,
            }
        }
        Ok(None)
    }

    /// The block with this number, update sequence undone.
    ///
    /// # Errors
    /// `Corrupt` when it is no block, or another one.
    pub fn block(&self, volume: &Volume, number: u64) -> Result<Arc<[u8]>> {
        let offset = number.saturating_mul(count(self.block_bytes));
        self.block_at(volume, offset)
            .map_err(|error| error.object(format!("index block {number}")).at(offset))
    }

    fn block_at(&self, volume: &Volume, offset: u64) -> Result<Arc<[u8]>> {
        let blocks = self.blocks.as_ref().ok_or_else(|| Error::corrupt("an index without blocks"))?;
        let key = (blocks.allocation.id(), offset);
        if let Some(block) = volume.blocks.get(&key) {
            return Ok(block);
        }
        let mut bytes = vec![0; self.block_bytes];
        if blocks.allocation.read(volume, offset, &mut bytes)? != bytes.len() {
            return Err(Error::corrupt("behind the end of the index"));
        }
        if &array::<4>(&bytes, 0)? != b"INDX" {
            return Err(Error::corrupt("no INDX signature"));
        }
        fixup::apply(&mut bytes, volume.geometry.sector_bytes)?;
        if le_u64(&bytes, 0x10)?.checked_mul(self.vcn_bytes) != Some(offset) {
            return Err(Error::corrupt("the block of another place"));
        }
        let block: Arc<[u8]> = bytes.into();
        volume.blocks.insert(key, block.clone(), block.len());
        Ok(block)
    }

    /// Visits, in order, the entries that `order` finds equal to what is searched (it compares a key to
    /// that), until `visit` says that it is enough.
    ///
    /// # Errors
    /// `Corrupt` when a node on the way is damaged, or the tree is none.
    pub fn find(
        &self,
        volume: &Volume,
        order: &mut dyn FnMut(&[u8]) -> Result<Ordering>,
        visit: &mut dyn FnMut(&Entry<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut search = Search { index: self, volume, order, visit, blocks: 0 };
        search.descend(self.root_entries(0)?, 0).map(|_| ())
    }
}

/// A search through a tree.
struct Search<'a> {
    index: &'a Index,
    volume: &'a Volume,
    order: &'a mut dyn FnMut(&[u8]) -> Result<Ordering>,
    visit: &'a mut dyn FnMut(&Entry<'_>) -> Result<bool>,
    blocks: usize,
}

impl Search<'_> {
    /// Searches a node and what is below; says whether the search is over.
    fn descend(&mut self, entries: Entries<'_>, depth: usize) -> Result<bool> {
        for entry in entries {
            let entry = entry?;
            let ordering = if entry.is_last { Ordering::Greater } else { (self.order)(entry.key)? };
            if ordering == Ordering::Less {
                continue;
            }
            if let Some(child) = entry.child
                && self.descend_to(child, depth)?
            {
                return Ok(true);
            }
            match ordering {
                Ordering::Equal if (self.visit)(&entry)? => return Ok(true),
                Ordering::Equal => {}
                _ => return Ok(!entry.is_last),
            }
        }
        Ok(false)
    }

    fn descend_to(&mut self, vcn: u64, depth: usize) -> Result<bool> {
        self.blocks = self.blocks.saturating_add(1);
        if depth >= DEPTH_MAX || self.blocks > SEARCH_BLOCKS_MAX {
            return Err(Error::corrupt("an index that is too deep"));
        }
        let offset = vcn.saturating_mul(self.index.vcn_bytes);
        let number = offset >> self.index.block_bits;
        let block = self.index.block(self.volume, number)?;
        self.descend(Entries::new(&block, BLOCK_HEADER, 0)?, depth.saturating_add(1))
    }
}

/// The entries of a node, the last one included. A damaged one is an error, and where its length is wrong it
/// ends them.
pub(super) struct Entries<'a> {
    node: &'a [u8],
    position: Option<usize>,
    from: usize,
}

impl<'a> Entries<'a> {
    /// The entries of a block, from a position on.
    ///
    /// # Errors
    /// `Corrupt` when the node's header is.
    pub fn of_block(block: &'a [u8], from: usize) -> Result<Entries<'a>> {
        Entries::new(block, BLOCK_HEADER, from)
    }

    fn new(node: &'a [u8], header: usize, from: usize) -> Result<Entries<'a>> {
        let first = header.saturating_add(index(le_u32(node, header)?)?);
        let end = header.saturating_add(index(le_u32(node, header.saturating_add(4))?)?);
        let node = node.get(..end).filter(|_| first >= header.saturating_add(0x10));
        let node = node.ok_or_else(|| Error::corrupt("an index node with an impossible header"))?;
        Ok(Entries { node, position: Some(first), from })
    }

    /// Where the next entry stands; `None` behind the last one.
    pub fn position(&self) -> Option<usize> {
        self.position
    }

    fn step(&mut self, at: usize) -> Result<Entry<'a>> {
        let len = usize::from(le_u16(self.node, at.saturating_add(8))?);
        let flags = le_u16(self.node, at.saturating_add(0x0C))?;
        let key_len = usize::from(le_u16(self.node, at.saturating_add(0x0A))?);
        let child_len = if flags & ENTRY_HAS_CHILD != 0 { 8 } else { 0 };
        let is_last = flags & ENTRY_IS_LAST != 0;
        if len < 0x10 || len % 8 != 0 {
            return Err(Error::corrupt(format!("an index entry of {len} bytes")));
        }
        let bytes = range(self.node, at, len)?;
        let next = at.saturating_add(len);
        if !is_last {
            self.position = Some(next);
        }
        let child_at = len.saturating_sub(child_len);
        let key = if is_last { &[][..] } else { range(bytes, 0x10, key_len)? };
        if key.len().saturating_add(0x10) > child_at {
            return Err(Error::corrupt("an index entry whose key does not fit"));
        }
        let child = if child_len > 0 { Some(le_u64(bytes, child_at)?) } else { None };
        Ok(Entry { head: le_u64(bytes, 0)?, key, bytes, child, is_last })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(at) = self.position.take() {
            let entry = self.step(at);
            if at >= self.from {
                return Some(entry);
            }
        }
        None
    }
}

impl Entry<'_> {
    /// Whether it only closes its node.
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}

/// A part of an index's `$BITMAP`.
#[derive(Default)]
pub(super) struct Window {
    bits: Vec<u8>,
    start: u64,
    end: u64,
}

impl Window {
    fn holds(&self, block: u64) -> bool {
        (self.start..self.end).contains(&block)
    }

    /// Reads the part that `block` is in. Blocks behind the end of the bitmap are not in use.
    fn load(&mut self, volume: &Volume, bitmap: &Stream, block: u64) -> Result<()> {
        self.start = block & !WINDOW_BLOCKS.saturating_sub(1);
        self.end = self.start.saturating_add(WINDOW_BLOCKS);
        self.bits.resize(WINDOW_BYTES, 0);
        let len = bitmap.read(volume, self.start / 8, &mut self.bits)?;
        self.bits.truncate(len);
        Ok(())
    }

    fn first_used(&self, block: u64) -> Option<u64> {
        let from = block.saturating_sub(self.start);
        let from_byte = usize::try_from(from / 8).ok()?;
        let mut mask = 0xFF_u8 << (from % 8);
        for (at, &byte) in self.bits.iter().enumerate().skip(from_byte) {
            let used = byte & mask;
            if used != 0 {
                let bit = count(at).saturating_mul(8).saturating_add(u64::from(used.trailing_zeros()));
                return Some(self.start.saturating_add(bit));
            }
            mask = 0xFF;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: u16, key_len: u16, flags: u16) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(len)];
        bytes[8..10].copy_from_slice(&len.to_le_bytes());
        bytes[10..12].copy_from_slice(&key_len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    fn node(entries: &[Vec<u8>]) -> Vec<u8> {
        let entries = entries.concat();
        let mut bytes = vec![0; 0x10];
        bytes[0] = 0x10;
        let end = u32::try_from(entries.len()).unwrap().saturating_add(0x10);
        bytes[4..8].copy_from_slice(&end.to_le_bytes());
        bytes.extend(entries);
        bytes
    }

    #[test]
    fn entries_end_at_the_last_one_and_can_start_anywhere() {
        let bytes = node(&[entry(0x20, 8, 0), entry(0x20, 16, 0), entry(0x10, 0, 2), entry(0x10, 0, 0)]);

        let from =
            |from| Entries::new(&bytes, 0, from).unwrap().map(|e| e.unwrap().bytes.len()).collect::<Vec<_>>();

        assert_eq!(from(0), [0x20, 0x20, 0x10]);
        assert_eq!(from(0x30), [0x20, 0x10]);
        assert_eq!(from(0x31), [0x10]);
        assert!(from(0xFFFF).is_empty());
    }

    #[test]
    fn entry_of_impossible_length_ends_the_node() {
        for bad in [entry(0x18, 0x10, 0)[..0x10].to_vec(), vec![0; 0x10]] {
            let bytes = node(&[entry(0x20, 8, 0), bad]);

            let found: Vec<_> = Entries::new(&bytes, 0, 0).unwrap().map(|entry| entry.is_ok()).collect();

            assert_eq!(found, [true, false]);
        }
    }

    #[test]
    fn entry_with_impossible_key_hides_no_other() {
        for bad in [entry(0x18, 0x10, 0), entry(0x10, 0, 1), entry(0x20, 0x100, 0)] {
            let bytes = node(&[bad, entry(0x20, 8, 0), entry(0x10, 0, 2)]);

            let found: Vec<_> = Entries::new(&bytes, 0, 0).unwrap().map(|entry| entry.is_ok()).collect();

            assert_eq!(found, [false, true, true]);
        }
    }

    #[test]
    fn window_finds_the_next_bit() {
        let window = Window { bits: vec![0b1000_0001, 0, 0b10], start: 32, end: 100 };

        assert_eq!(window.first_used(32), Some(32));
        assert_eq!(window.first_used(33), Some(39));
        assert_eq!(window.first_used(40), Some(49));
        assert_eq!(window.first_used(50), None);
    }
}
