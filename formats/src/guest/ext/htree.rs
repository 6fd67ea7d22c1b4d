//! The index of a large directory (`dir_index`): a tree of hashes of names, in blocks that look like unused
//! entries to those who do not know it. Serves searches only.

use super::Filesystem;
use super::dirent::Dirents;
use super::features::Incompat;
use super::hash::NameHash;
use super::inode::Inode;
use super::{BlockRole, Owner};
use crate::bytes::{le_u16, le_u32, range, u8_at};
use spelunk_tree::{Error, Result};
use std::sync::Arc;

/// Where the root says how it hashes: behind the entries `.` and `..`.
const ROOT_INFO_AT: usize = 24;
const ROOT_INFO_BYTES: u8 = 8;
/// Where entries begin in the root, and in other nodes: behind one unused entry.
const ROOT_ENTRIES_AT: usize = 32;
const NODE_ENTRIES_AT: usize = 8;
const ENTRY_BYTES: usize = 8;
/// Levels below the root, and with `large_dir`.
const LEVELS_MAX: u8 = 1;
const LEVELS_MAX_LARGE: u8 = 2;
/// The number of a block has 28 bits.
const BLOCK_MASK: u32 = 0x0FFF_FFFF;
/// Leaves that one search visits: all but the first hold names with the same hash.
const LEAVES_MAX: u32 = 1024;

/// A node on the way to a leaf, and the entry that was taken.
struct Node {
    block: Arc<[u8]>,
    entries_at: usize,
    entries: usize,
    at: usize,
}

impl Filesystem {
    /// The inode called `name` in the indexed directory `dir`.
    ///
    /// # Errors
    /// When the index, or a leaf on the way, is damaged or of an unknown kind.
    pub(super) fn find_by_index(&self, dir: &Inode, name: &[u8]) -> Result<Option<u32>> {
        let mut root = self.index_node(dir, 0)?;
        let (hash, levels) = self.index_root(&root.block)?;
        let hash = hash.of(name);
        root.at = root.last_not_above(hash)?;
        let mut path = vec![root];
        self.descend(dir, &mut path, hash, levels)?;
        for _ in 0..LEAVES_MAX {
            if let Some(inode) = self.find_in_leaf(dir, &path, name)? {
                return Ok(Some(inode));
            }
            if !step_on(&mut path, hash)? {
                return Ok(None);
            }
            self.descend(dir, &mut path, hash, levels)?;
        }
        Err(Error::limit("a directory with too many names of one hash"))
    }

    /// How the names of the indexed directory `dir` are hashed.
    pub(super) fn index_hash(&self, dir: &Inode) -> Result<NameHash> {
        self.index_root(&self.index_node(dir, 0)?.block).map(|(hash, _)| hash)
    }

    fn index_root(&self, block: &[u8]) -> Result<(NameHash, u8)> {
        let version = u8_at(block, ROOT_INFO_AT.saturating_add(4))?;
        let hash = NameHash::new(version, self.superblock.hash_unsigned, self.superblock.hash_seed)
            .ok_or_else(|| Error::unsupported(format!("names hashed by method {version}")))?;
        let levels = u8_at(block, ROOT_INFO_AT.saturating_add(6))?;
        let is_large = self.superblock.features.incompat.has(Incompat::LARGEDIR);
        let levels_max = if is_large { LEVELS_MAX_LARGE } else { LEVELS_MAX };
        if u8_at(block, ROOT_INFO_AT.saturating_add(5))? != ROOT_INFO_BYTES || levels > levels_max {
            return Err(Error::corrupt("an impossible root of an index"));
        }
        Ok((hash, levels))
    }

    /// Goes down from the end of `path` to the nodes just above the leaves.
    fn descend(&self, dir: &Inode, path: &mut Vec<Node>, hash: u32, levels: u8) -> Result<()> {
        while path.len() <= usize::from(levels)
            && let Some(above) = path.last()
        {
            let mut node = self.index_node(dir, above.child()?)?;
            node.at = node.last_not_above(hash)?;
            path.push(node);
        }
        Ok(())
    }

    fn find_in_leaf(&self, dir: &Inode, path: &[Node], name: &[u8]) -> Result<Option<u32>> {
        let Some(node) = path.last() else { return Ok(None) };
        let block = self.directory_block(dir, node.child()?, |block| self.verify_leaf(dir, block))?;
        for entry in Dirents::new(&self.superblock, &block) {
            let entry = entry?;
            if entry.name == name {
                return Ok(Some(entry.inode));
            }
        }
        Ok(None)
    }

    fn index_node(&self, dir: &Inode, number: u32) -> Result<Node> {
        let entries_at = if number == 0 { ROOT_ENTRIES_AT } else { NODE_ENTRIES_AT };
        let block = self.directory_block(dir, number, |block| self.verify_node(dir, block, entries_at))?;
        let limit = usize::from(le_u16(&block, entries_at)?);
        let entries = usize::from(le_u16(&block, entries_at.saturating_add(2))?);
        let room = block.len().saturating_sub(entries_at) / ENTRY_BYTES;
        if limit > room || entries > limit || entries == 0 {
            return Err(Error::corrupt(format!("a node of an index with {entries} entries")));
        }
        Ok(Node { block, entries_at, entries, at: 0 })
    }

    /// The checksum follows the room for entries; it covers the entries in use.
    fn verify_node(&self, dir: &Inode, block: &[u8], entries_at: usize) -> Result<()> {
        if !self.superblock.has_checksums() {
            return Ok(());
        }
        let behind =
            |entries: u16| usize::from(entries).saturating_mul(ENTRY_BYTES).saturating_add(entries_at);
        let tail = behind(le_u16(block, entries_at)?);
        let covered = range(block, 0, behind(le_u16(block, entries_at.saturating_add(2))?))?;
        let computed = dir.seed.add(covered).add(range(block, tail, 4)?).add(&[0; 4]);
        if computed.value() != le_u32(block, tail.saturating_add(4))? {
            return Err(Error::corrupt("a node of an index with a wrong checksum"));
        }
        Ok(())
    }

    fn directory_block(
        &self,
        dir: &Inode,
        number: u32,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Arc<[u8]>> {
        let offset = self.directory_block_offset(dir, number)?;
        let owner = Owner { role: BlockRole::Directory, inode: dir.number };
        self.cached_block(owner, self.block_of(offset), check)
    }
}

/// Moves to the next leaf when it may hold names of the same hash, for which its entry's lowest bit is set.
fn step_on(path: &mut Vec<Node>, hash: u32) -> Result<bool> {
    while let Some(node) = path.last_mut() {
        node.at = node.at.saturating_add(1);
        if node.at < node.entries {
            return Ok(node.hash(node.at)? & !1 == hash);
        }
        path.pop();
    }
    Ok(false)
}

impl Node {
    /// The hash that entry `at` begins with; the first has none.
    fn hash(&self, at: usize) -> Result<u32> {
        if at == 0 {
            return Ok(0);
        }
        le_u32(&self.block, at.saturating_mul(ENTRY_BYTES).saturating_add(self.entries_at))
    }

    /// The block that the entry that was taken names.
    fn child(&self) -> Result<u32> {
        let at = self.at.saturating_mul(ENTRY_BYTES).saturating_add(self.entries_at).saturating_add(4);
        Ok(le_u32(&self.block, at)? & BLOCK_MASK)
    }

    /// The last entry that begins at `hash` or before.
    fn last_not_above(&self, hash: u32) -> Result<usize> {
        let (mut low, mut high) = (1, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.hash(middle)? <= hash {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1))
    }
}
