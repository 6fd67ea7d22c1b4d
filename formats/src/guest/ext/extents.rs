//! Extent trees: the map of an inode as a sorted tree of ranges.

use super::Filesystem;
use super::checksum::Crc32c;
use super::inode::{BLOCK_FIELD_BYTES, Inode};
use super::stream::Walk;
use super::{BlockRole, Owner};
use crate::bytes::{array, le_u16, le_u32, range};
use spelunk_tree::{Error, Result};
use std::ops::Range;

const MAGIC: u16 = 0xF30A;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;
/// Levels below the root: five hold 2^32 blocks in nodes of the smallest blocks.
const DEPTH_MAX: u16 = 5;
/// Blocks that an extent may have; a greater length means as many blocks less this, allocated but not written.
const EXTENT_BLOCKS_MAX: u16 = 32_768;
/// Blocks of an inode count in 32 bits.
pub(super) const BLOCKS_MAX: u64 = 1 << 32;
/// The root of a tree without extents, with room for four.
pub(super) const EMPTY_ROOT: [u8; BLOCK_FIELD_BYTES] = {
    let mut root = [0; BLOCK_FIELD_BYTES];
    [root[0], root[1]] = MAGIC.to_le_bytes();
    root[4] = 4;
    root
};

/// A node: the root in the inode, or a block. Sorted and of one depth: [`Node::new`] has seen to it.
struct Node<'a> {
    bytes: &'a [u8],
    depth: u16,
    entries: usize,
}

/// A leaf's entry.
struct Extent {
    first: u64,
    end: u64,
    block: u64,
    is_written: bool,
}

impl Filesystem {
    /// Collects where the blocks lie that `walk` wants.
    pub(super) fn walk_extents(&self, inode: &Inode, walk: &mut Walk) -> Result<()> {
        let corrupt =
            |error: Error| error.context("reading the extents").object(format!("inode {}", inode.number));
        let depth = le_u16(&inode.block, 6)?;
        if depth > DEPTH_MAX {
            return Err(corrupt(Error::corrupt(format!("an extent tree of {depth} levels"))));
        }
        let root = Node::new(&inode.block, depth, 0).map_err(corrupt)?;
        self.walk_node(inode, &root, 0..BLOCKS_MAX, walk).map_err(corrupt)?;
        if !walk.is_over() {
            walk.hole(walk.end);
        }
        Ok(())
    }

    /// Walks the entries of a node that covers the blocks in `bounds`.
    fn walk_node(&self, inode: &Inode, node: &Node, bounds: Range<u64>, walk: &mut Walk) -> Result<()> {
        let mut at = node.last_not_after(walk.next)?;
        while at < node.entries && !walk.is_over() {
            if node.depth == 0 {
                let extent = node.extent(at)?;
                if extent.end > bounds.end {
                    return Err(Error::corrupt("an extent outside of its node's range"));
                }
                self.walk_extent(&extent, walk)?;
            } else {
                self.walk_child(inode, node, at, &bounds, walk)?;
            }
            at = at.saturating_add(1);
        }
        Ok(())
    }

    fn walk_extent(&self, extent: &Extent, walk: &mut Walk) -> Result<()> {
        if extent.end <= walk.next {
            return Ok(());
        }
        let offset = self.superblock.data_offset(extent.block, extent.end.saturating_sub(extent.first))?;
        walk.hole(extent.first);
        if extent.is_written {
            let skipped = walk.next.saturating_sub(extent.first);
            let skipped = skipped.saturating_mul(u64::from(self.superblock.block_bytes));
            walk.stored(extent.end, offset.saturating_add(skipped));
        } else {
            walk.hole(extent.end);
        }
        Ok(())
    }

    fn walk_child(
        &self,
        inode: &Inode,
        node: &Node,
        at: usize,
        bounds: &Range<u64>,
        walk: &mut Walk,
    ) -> Result<()> {
        let first = node.first_block(at)?;
        let behind = at.saturating_add(1);
        let end = if behind < node.entries { node.first_block(behind)? } else { bounds.end };
        if end <= walk.next {
            return Ok(());
        }
        if first >= walk.end {
            walk.hole(walk.end);
            return Ok(());
        }
        walk.visit();
        let block = node.child(at)?;
        let depth = node.depth.saturating_sub(1);
        let place = Owner { role: BlockRole::ExtentNode, inode: inode.number };
        self.superblock.data_offset(block, 1)?;
        let bytes =
            self.cached_block(place, block, |bytes| verify(inode, self.superblock.has_checksums(), bytes))?;
        let child =
            Node::new(&bytes, depth, first).map_err(|error| error.object(format!("block {block}")))?;
        self.walk_node(inode, &child, first..end, walk)
    }
}

impl<'a> Node<'a> {
    /// Checks a node of `depth` whose entries cover blocks from `first` on.
    fn new(bytes: &'a [u8], depth: u16, first: u64) -> Result<Node<'a>> {
        if le_u16(bytes, 0)? != MAGIC {
            return Err(Error::corrupt("an extent node without its magic number"));
        }
        let entries = usize::from(le_u16(bytes, 2)?);
        let room = bytes.len().saturating_sub(HEADER_BYTES) / ENTRY_BYTES;
        if entries > usize::from(le_u16(bytes, 4)?) || entries > room {
            return Err(Error::corrupt(format!("an extent node of {entries} entries")));
        }
        if le_u16(bytes, 6)? != depth || (entries == 0 && depth > 0) {
            return Err(Error::corrupt("an extent node of the wrong level"));
        }
        let node = Node { bytes, depth, entries };
        node.check_order(first)?;
        Ok(node)
    }

    /// Entries must not overlap and must be sorted: the search relies on it.
    fn check_order(&self, first: u64) -> Result<()> {
        let mut free = first;
        for at in 0..self.entries {
            let (first, end) = if self.depth == 0 {
                let extent = self.extent(at)?;
                (extent.first, extent.end)
            } else {
                let first = self.first_block(at)?;
                (first, first.saturating_add(1))
            };
            if first < free || end <= first {
                return Err(Error::corrupt("extents that are not sorted"));
            }
            free = end;
        }
        Ok(())
    }

    fn entry(&self, at: usize) -> Result<[u8; ENTRY_BYTES]> {
        array(self.bytes, at.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES))
    }

    fn first_block(&self, at: usize) -> Result<u64> {
        le_u32(&self.entry(at)?, 0).map(u64::from)
    }

    fn extent(&self, at: usize) -> Result<Extent> {
        let entry = self.entry(at)?;
        let first = u64::from(le_u32(&entry, 0)?);
        let len = le_u16(&entry, 4)?;
        let is_written = len <= EXTENT_BLOCKS_MAX;
        let blocks = if is_written { len } else { len.saturating_sub(EXTENT_BLOCKS_MAX) };
        let block = u64::from(le_u16(&entry, 6)?) << 32 | u64::from(le_u32(&entry, 8)?);
        Ok(Extent { first, end: first.saturating_add(u64::from(blocks)), block, is_written })
    }

    fn child(&self, at: usize) -> Result<u64> {
        let entry = self.entry(at)?;
        Ok(u64::from(le_u16(&entry, 8)?) << 32 | u64::from(le_u32(&entry, 4)?))
    }

    /// The last entry that begins at `block` or before it; the first where all begin behind it.
    fn last_not_after(&self, block: u64) -> Result<usize> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.first_block(middle)? <= block {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1))
    }
}

/// The checksum follows the last entry that the node has room for.
fn verify(inode: &Inode, has_checksums: bool, bytes: &[u8]) -> Result<()> {
    if !has_checksums {
        return Ok(());
    }
    let covered = usize::from(le_u16(bytes, 4)?).saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES);
    let computed: Crc32c = inode.seed.add(range(bytes, 0, covered)?);
    if computed.value() != le_u32(bytes, covered)? {
        return Err(Error::corrupt("an extent node with a wrong checksum"));
    }
    Ok(())
}
