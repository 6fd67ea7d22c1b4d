//! Extended attributes: in the inode, in a block of their own, with values in inodes of their own.

use super::Filesystem;
use super::acl;
use super::features::Incompat;
use super::inode::XATTR_MAGIC;
use super::inode::{Flags, Inode};
use super::{BlockRole, Owner};
use crate::bytes::{add, count, index, le_u16, le_u32, range, u8_at};
use spelunk_tree::{Error, ErrorKind, Result, Xattr, limits};

/// Bytes before the first entry in a block.
const HEADER_BYTES: usize = 32;
const CHECKSUM_AT: usize = 0x10;
const ENTRY_BYTES: usize = 16;

/// Namespace of what the kernel keeps for itself: inline data.
const INDEX_SYSTEM: u8 = 7;

/// How the namespaces are called, by their index on disk; those of ACLs are whole names. Others (inline data,
/// encryption contexts) are no attributes to Linux.
const PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (INDEX_ACL_ACCESS, b"system.posix_acl_access"),
    (INDEX_ACL_DEFAULT, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
    (10, b"gnu."),
];
const INDEX_ACL_ACCESS: u8 = 2;
const INDEX_ACL_DEFAULT: u8 = 3;

/// An entry of an inode's or a block's attributes.
struct Entry<'a> {
    namespace: u8,
    name: &'a [u8],
    value_at: usize,
    value_inode: u32,
    value_bytes: u32,
}

impl Filesystem {
    /// All attributes of `inode` that have a name in Linux.
    pub(super) fn read_xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>> {
        let mut found = Vec::new();
        self.collect(inode, &inode.xattr_body, 0, &mut found)?;
        if inode.xattr_block != 0 {
            self.superblock.data_offset(inode.xattr_block, 1)?;
            let owner = Owner { role: BlockRole::Xattrs, inode: 0 };
            let block =
                self.cached_block(owner, inode.xattr_block, |bytes| self.verify(inode.xattr_block, bytes))?;
            self.collect(inode, &block, HEADER_BYTES, &mut found)?;
        }
        Ok(found)
    }

    fn collect(&self, inode: &Inode, area: &[u8], first: usize, found: &mut Vec<Xattr>) -> Result<()> {
        for entry in entries(area, first)? {
            let Some(name) = full_name(&entry) else { continue };
            // As for the kernel, what stands in the inode comes before what stands in the block.
            if found.iter().any(|known| known.name() == name) {
                continue;
            }
            let mut value = self.value(inode, area, &entry)?;
            if matches!(entry.namespace, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT) {
                value = acl::to_syscall_form(&value)?;
            }
            found.push(Xattr::new(name, value)?);
            let bytes: usize =
                found.iter().map(|xattr| xattr.name().len().saturating_add(xattr.value().len())).sum();
            if found.len() > limits::XATTRS_MAX || bytes > limits::XATTRS_BYTES_MAX {
                return Err(Error::limit("more extended attributes than a node may have"));
            }
        }
        Ok(())
    }

    fn value(&self, inode: &Inode, area: &[u8], entry: &Entry) -> Result<Vec<u8>> {
        let len = index(entry.value_bytes)?;
        if len > limits::XATTR_VALUE_BYTES_MAX {
            return Err(Error::limit(format!("an extended attribute of {len} bytes")));
        }
        if entry.value_inode == 0 {
            // An empty value may have any offset.
            return if len == 0 {
                Ok(Vec::new())
            } else {
                range(area, entry.value_at, len).map(<[u8]>::to_vec)
            };
        }
        self.value_in_inode(inode, entry.value_inode, len).map_err(|error| {
            error.context(format!("reading an attribute's value in inode {}", entry.value_inode))
        })
    }

    fn value_in_inode(&self, owner: &Inode, number: u32, len: usize) -> Result<Vec<u8>> {
        if !self.superblock.features.incompat.has(Incompat::EA_INODE) {
            return Err(Error::corrupt("a filesystem without such inodes"));
        }
        let inode = self.inode(number).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::corrupt("an inode that is not in use").because(error),
            _ => error,
        })?;
        if !inode.flags.has(Flags::EA_INODE) || inode.size != count(len) {
            return Err(inode.corrupt("not an inode with this attribute's value"));
        }
        let mut value = vec![0; len];
        self.read_inode(&inode, 0, &mut value)?;
        // Lustre's older inodes name their owner instead, and carry no checksum.
        let is_owned = inode.modified_word() == owner.number && inode.generation == owner.generation;
        if !is_owned && self.superblock.seed().add(&value).value() != inode.accessed_word() {
            return Err(inode.corrupt("an attribute's value with a wrong checksum"));
        }
        Ok(value)
    }

    /// Checks the block of attributes at `block`.
    fn verify(&self, block: u64, bytes: &[u8]) -> Result<()> {
        if le_u32(bytes, 0)? != XATTR_MAGIC || le_u32(bytes, 8)? != 1 {
            return Err(Error::corrupt("a block of attributes without its magic number"));
        }
        if !self.superblock.has_checksums() {
            return Ok(());
        }
        let behind = CHECKSUM_AT.saturating_add(4);
        let computed = self
            .superblock
            .seed()
            .add(&block.to_le_bytes())
            .add(range(bytes, 0, CHECKSUM_AT)?)
            .add(&[0; 4])
            .add(bytes.get(behind..).unwrap_or_default());
        if computed.value() != le_u32(bytes, CHECKSUM_AT)? {
            return Err(Error::corrupt("a block of attributes with a wrong checksum"));
        }
        Ok(())
    }
}

/// The bytes of inline data that do not fit into the inode's field for blocks; `None` when there are none.
pub(super) fn inline_tail(inode: &Inode) -> Result<Option<&[u8]>> {
    for entry in entries(&inode.xattr_body, 0)? {
        if entry.namespace == INDEX_SYSTEM && entry.name == b"data" {
            if entry.value_inode != 0 {
                return Err(inode.corrupt("inline data in another inode"));
            }
            return range(&inode.xattr_body, entry.value_at, index(entry.value_bytes)?).map(Some);
        }
    }
    Ok(None)
}

/// The entries of an area from `first` on, up to the four zero bytes that end them. Each takes at least 16
/// bytes of the area, so there are at most 4096.
fn entries(area: &[u8], first: usize) -> Result<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    let mut at = first;
    while area.len().saturating_sub(at) >= 4 && le_u32(area, at)? != 0 {
        let name_bytes = usize::from(u8_at(area, at)?);
        let name_at = at.saturating_add(ENTRY_BYTES);
        entries.push(Entry {
            namespace: u8_at(area, at.saturating_add(1))?,
            name: range(area, name_at, name_bytes)?,
            value_at: usize::from(le_u16(area, at.saturating_add(2))?),
            value_inode: le_u32(area, at.saturating_add(4))?,
            value_bytes: le_u32(area, at.saturating_add(8))?,
        });
        let len = add(count(name_bytes), 3)? & !3;
        at = name_at.saturating_add(index(len)?);
    }
    Ok(entries)
}

fn full_name(entry: &Entry) -> Option<Vec<u8>> {
    let (_, prefix) = PREFIXES.iter().find(|(namespace, _)| *namespace == entry.namespace)?;
    let is_whole = matches!(entry.namespace, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT);
    if is_whole == entry.name.is_empty() { Some([prefix, entry.name].concat()) } else { None }
}
