//! ext2, ext3 and ext4.
//!
//! ```text
//! superblock -> group descriptors -> inode tables -> inode -> extent tree | block map | inline data -> runs
//!                                                          -> directory blocks (index: for lookup only)
//!                                                          -> attributes (inode, block, inodes)
//! journal -> overlay over the volume, under all of the above
//!         -> changes by fast commits, in front of inodes, their blocks and entries of directories
//! ```
//!
//! Every checksum that is there is verified. What a wrong one spoils is what it covers: an inode, a block of
//! a directory, a file behind one block of its extent tree. A damaged superblock is replaced by its copy.
//!
//! The layout is that of the kernel's `Documentation/filesystems/ext4/`; offsets in the code are those of its
//! tables.

mod acl;
mod block_changes;
mod block_map;
mod cache;
mod casefold;
mod changes;
mod checksum;
mod directory;
mod dirent;
mod encrypted;
mod extents;
mod features;
mod group;
mod hash;
mod htree;
mod inline;
mod inode;
mod inode_table;
mod journal;
mod stream;
mod superblock;
mod xattr;

use self::cache::Cache;
use self::changes::Changes;
use self::directory::Slot;
use self::features::{Compat, Incompat};
use self::inode::{Flags, Inode};
use self::superblock::Superblock;
use super::{Guest, Options};
use crate::bytes::{count, index};
use crate::extent::map_runs;
use spelunk_tree::{
    Case, Cursor, Entry, Error, ErrorKind, Kind, Listed, Name, NodeId, Page, ReadAt, Result, Run, StreamInfo,
    Tree, TreeInfo, Xattr, limits,
};
use std::sync::Arc;

/// The row of this guest.
pub const GUEST: Guest =
    Guest { name: "ext", summary: "Linux ext2, ext3, ext4", probe: superblock::probe, open };

/// The directory at the top.
const ROOT_INODE: u32 = 2;
/// Bytes of inode tables that are kept: 32,768 inodes of 256 bytes.
const PIECES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of other metadata that are kept: extent nodes, pointers, descriptors, indexes, attributes.
const BLOCKS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An opened filesystem.
struct Filesystem {
    volume: Arc<dyn ReadAt>,
    superblock: Superblock,
    info: TreeInfo,
    root: NodeId,
    /// Pieces of inode tables, by their position in the volume.
    pieces: Cache<u64>,
    /// Blocks of metadata, checked for what they were read as.
    blocks: Cache<(Owner, u64)>,
    /// What fast commits changed.
    changes: Changes,
}

/// What a block of metadata was checked as: the same block may be read as two things in a forged filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner {
    role: BlockRole,
    /// The inode whose checksum seed was used; 0 where none is.
    inode: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BlockRole {
    Descriptors,
    ExtentNode,
    Pointers,
    Directory,
    Xattrs,
}

fn open(volume: Arc<dyn ReadAt>, _options: &Options) -> Result<Arc<dyn Tree>> {
    let filesystem = Filesystem::new(volume)?;
    if !filesystem.superblock.features.incompat.has(Incompat::RECOVER) {
        return Ok(Arc::new(filesystem));
    }
    if filesystem.superblock.has_external_journal() {
        return Err(Error::unsupported(
            "an ext filesystem that was not unmounted, and whose newest changes are in a journal on another device",
        ));
    }
    match journal::replay(&filesystem) {
        Ok(replayed) => {
            // The superblock itself may be in the journal, so all begins anew.
            let mut filesystem = Filesystem::new(replayed.volume)?;
            filesystem.info.notes.extend(replayed.notes);
            filesystem.apply_fast_commits(replayed.fast_commits);
            Ok(Arc::new(filesystem))
        }
        Err(error) => {
            let mut filesystem = filesystem;
            filesystem.info.notes.push(format!(
                "journal needs recovery, which failed: the newest changes are missing ({error})"
            ));
            Ok(Arc::new(filesystem))
        }
    }
}

fn describe(superblock: &Superblock) -> Result<TreeInfo> {
    let folds_case = superblock.features.incompat.has(Incompat::CASEFOLD);
    Ok(TreeInfo {
        filesystem: superblock.filesystem().into(),
        label: superblock.label.clone(),
        uuid: superblock.uuid_text(),
        case: if folds_case { Case::PerDirectory } else { Case::Sensitive },
        block_bytes: superblock.block_bytes,
        size_bytes: superblock.size_bytes()?,
        free_bytes: superblock.free_blocks.checked_mul(superblock.block_bytes.into()),
        nodes: Some(superblock.inodes_count.into()),
        free_nodes: Some(superblock.free_inodes.into()),
        xattr_prefixes: None,
        written: superblock.written,
        notes: state_notes(superblock),
    })
}

fn state_notes(superblock: &Superblock) -> Vec<String> {
    let mut notes = Vec::new();
    let has_journal = superblock.features.compat.has(Compat::HAS_JOURNAL);
    if !has_journal && !superblock.is_clean {
        notes.push("not cleanly unmounted".into());
    }
    if superblock.error_count > 0 {
        notes.push(format!("errors recorded: {}", superblock.error_count));
    } else if superblock.has_errors {
        notes.push("errors recorded".into());
    }
    notes
}

impl Filesystem {
    /// The filesystem in `volume` as it is stored, without its journal.
    fn new(volume: Arc<dyn ReadAt>) -> Result<Filesystem> {
        let found = superblock::read(&*volume)?;
        let mut info = describe(&found.superblock)?;
        info.notes.splice(0..0, found.note);
        let missing = info.size_bytes.saturating_sub(volume.size());
        if missing > 0 {
            info.notes.push(format!("the volume ends {missing} bytes before the filesystem"));
        }
        Ok(Filesystem {
            volume,
            superblock: found.superblock,
            info,
            root: NodeId::new(ROOT_INODE.into())?,
            pieces: Cache::new(PIECES_BYTES_MAX),
            blocks: Cache::new(BLOCKS_BYTES_MAX),
            changes: Changes::default(),
        })
    }

    /// A block of metadata, from the cache, or read and checked.
    fn cached_block(
        &self,
        owner: Owner,
        block: u64,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Arc<[u8]>> {
        if let Some(bytes) = self.blocks.get((owner, block)) {
            return Ok(bytes);
        }
        let mut bytes = vec![0; index(self.superblock.block_bytes)?];
        self.volume.read_at(self.superblock.block_offset(block)?, &mut bytes)?;
        check(&bytes).map_err(|error| error.object(format!("block {block}")))?;
        let bytes: Arc<[u8]> = bytes.into();
        self.blocks.put((owner, block), bytes.clone());
        Ok(bytes)
    }

    /// The inode behind a node id.
    fn node(&self, node: NodeId) -> Result<Inode> {
        let number =
            u32::try_from(node.get()).map_err(|_| Error::not_found("a node id that no inode has"))?;
        if self.superblock.is_hidden(number) {
            return Err(Error::not_found("a reserved inode").object(format!("inode {number}")));
        }
        self.inode(number)
    }

    fn directory(&self, node: NodeId) -> Result<Inode> {
        let inode = self.node(node)?;
        if inode.kind != Kind::Directory {
            return Err(
                Error::new(ErrorKind::NotADirectory, "listing").object(format!("inode {}", inode.number))
            );
        }
        Ok(inode)
    }

    /// The inode that an entry names: one that is not in use is damage of the entry.
    fn check_named(&self, number: u32, inode: Result<Inode>) -> Result<Inode> {
        if self.superblock.is_hidden(number) {
            return Err(
                Error::corrupt("an entry that names a reserved inode").object(format!("inode {number}"))
            );
        }
        inode.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::corrupt("an entry that names no inode in use").because(error),
            _ => error,
        })
    }

    /// The entries of `slots` with the attributes of their inodes, read together.
    fn listed(&self, slots: Vec<Slot>) -> Vec<Listed> {
        let mut numbers: Vec<u32> =
            slots.iter().filter_map(|slot| slot.inode.as_ref().ok().copied()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let inodes = self.inodes(&numbers);
        slots.into_iter().map(|slot| self.listed_one(slot, &numbers, &inodes)).collect()
    }

    fn listed_one(&self, slot: Slot, numbers: &[u32], inodes: &[Result<Inode>]) -> Listed {
        let next = Cursor(slot.next);
        let attr = slot.inode.and_then(|number| {
            let inode = numbers.binary_search(&number).ok().and_then(|at| inodes.get(at));
            match inode {
                Some(Ok(inode)) if !self.superblock.is_hidden(number) => Ok((number, inode.attr())),
                Some(inode) => self.check_named(number, inode.clone()).map(|inode| (number, inode.attr())),
                None => Err(Error::internal("an inode that was not looked up")),
            }
        });
        let entry = attr.and_then(|(number, attr)| Ok((NodeId::new(number.into())?, attr)));
        match (slot.name, entry) {
            (Some(name), Ok((node, attr))) => Listed::Entry { entry: Entry { name, node, attr }, next },
            (None, Ok(_)) => {
                Listed::Broken { name: None, error: Error::internal("an entry without a name"), next }
            }
            (name, Err(error)) => Listed::Broken { name, error, next },
        }
    }
}

impl Tree for Filesystem {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let dir = self.directory(dir)?;
        let (name, number) = self.find(&dir, name)?;
        let inode = self.check_named(number, self.inode(number))?;
        Ok(Entry { name, node: NodeId::new(number.into())?, attr: inode.attr() })
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let dir = self.directory(dir)?;
        let scan = self.scan(&dir, cursor.0, max.clamp(1, limits::PAGE_ENTRIES_MAX));
        Ok(Page { entries: self.listed(scan.slots), next: scan.next.map(Cursor) })
    }

    fn attr(&self, node: NodeId) -> Result<spelunk_tree::Attr> {
        self.node(node).map(|inode| inode.attr())
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let inode = self.node(node)?;
        require_main(stream)?;
        self.check_readable(&inode)?;
        self.read_inode(&inode, offset, buffer)
    }

    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let inode = self.node(node)?;
        require_main(stream)?;
        self.check_readable(&inode)?;
        let mut in_volume = Vec::new();
        self.volume_runs(&inode, offset, len, &mut in_volume)?;
        map_runs(&*self.volume, &in_volume, runs)
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        let inode = self.node(node)?;
        let object = format!("inode {}", inode.number);
        if inode.kind != Kind::Symlink {
            return Err(Error::new(ErrorKind::NotALink, "reading a link").object(object));
        }
        if inode.flags.has(Flags::ENCRYPT) {
            return Err(Error::unsupported("an encrypted link").object(object));
        }
        if inode.size == 0
            || inode.size > u64::from(self.superblock.block_bytes).min(count(limits::LINK_TARGET_BYTES_MAX))
        {
            return Err(inode.corrupt(format!("a link with a target of {} bytes", inode.size)));
        }
        let mut target = vec![0; index(inode.size)?];
        if !inode.flags.has(Flags::INLINE_DATA) && inode.is_fast_link(&self.superblock) {
            let stored = inode.block.get(..target.len());
            target.copy_from_slice(
                stored.ok_or_else(|| inode.corrupt("a link's target longer than its place"))?,
            );
        } else {
            self.read_inode(&inode, 0, &mut target)?;
        }
        if target.contains(&0) {
            return Err(inode.corrupt("a link's target that holds NUL"));
        }
        Ok(target)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let inode = self.node(node)?;
        self.read_xattrs(&inode).map_err(|error| {
            error.context("reading extended attributes").object(format!("inode {}", inode.number))
        })
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        self.node(node).map(|_| Vec::new())
    }
}

fn require_main(stream: Option<&Name>) -> Result<()> {
    match stream {
        None => Ok(()),
        Some(_) => Err(Error::not_found("ext has no named streams")),
    }
}
