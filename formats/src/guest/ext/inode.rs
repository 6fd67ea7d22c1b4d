//! Inodes: what the filesystem keeps of each node.

use super::block_changes::BlockChanges;
use super::checksum::Crc32c;
use super::features::{Incompat, RoCompat};
use super::superblock::Superblock;
use crate::bytes::{add, array, count, le_u16, le_u32, mul, range};
use spelunk_tree::{Attr, Device, Error, Kind, Result, Time, Xattrs};
use std::sync::Arc;

/// Bytes of an inode that all versions have.
const OLD_BYTES: usize = 128;
/// Bytes of the field that holds pointers, an extent tree's root, a short link's target or inline data.
pub(super) const BLOCK_FIELD_BYTES: usize = 60;
/// Begins the extended attributes in an inode.
pub(super) const XATTR_MAGIC: u32 = 0xEA02_0000;

const CHECKSUM_LOW_AT: usize = 0x7C;
const CHECKSUM_HIGH_AT: usize = 0x82;

/// `i_flags`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags(pub(super) u32);

impl Flags {
    pub(super) const ENCRYPT: u32 = 0x800;
    pub(super) const INDEX: u32 = 0x1000;
    pub(super) const HUGE_FILE: u32 = 0x4_0000;
    pub(super) const EXTENTS: u32 = 0x8_0000;
    pub(super) const EA_INODE: u32 = 0x20_0000;
    pub(super) const INLINE_DATA: u32 = 0x1000_0000;
    pub(super) const CASEFOLD: u32 = 0x4000_0000;

    pub(super) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

/// An inode in use, its checksum verified.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Its number.
    pub(super) number: u32,
    /// What it is.
    pub(super) kind: Kind,
    /// Bytes in it.
    pub(super) size: u64,
    /// `i_flags`.
    pub(super) flags: Flags,
    /// `i_block`.
    pub(super) block: [u8; BLOCK_FIELD_BYTES],
    /// What checksums of its metadata start from.
    pub(super) seed: Crc32c,
    /// Block of extended attributes; 0 for none.
    pub(super) xattr_block: u64,
    /// Extended attributes in the inode, from behind the magic on; empty when there are none.
    pub(super) xattr_body: Box<[u8]>,
    /// `i_generation`.
    pub(super) generation: u32,
    /// Blocks that lie elsewhere than `block` says.
    pub(super) block_changes: Option<Arc<BlockChanges>>,
    /// Whether only a part of its inline data is there: fast commits do not hold what lies among the attributes.
    pub(super) is_incomplete: bool,
    mode: u16,
    links: u16,
    uid: u32,
    gid: u32,
    /// Blocks of 512 bytes in use.
    sectors: u64,
    accessed: Stamp,
    changed: Stamp,
    modified: Stamp,
    created: Option<Stamp>,
}

/// A time as it is stored.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    seconds: u32,
    extra: u32,
}

impl Stamp {
    /// Seconds are signed; the two low bits of the extra word count how often they wrapped round, the rest are
    /// nanoseconds. `None` for a whole second or more of those.
    fn time(self) -> Option<Time> {
        let seconds = i64::from(self.seconds.cast_signed());
        let wraps = i64::from(self.extra & 3) << 32;
        Time::new(seconds.saturating_add(wraps), self.extra >> 2).ok()
    }
}

impl Inode {
    /// Decodes an inode, all of its bytes in `raw`.
    ///
    /// # Errors
    /// `NotFound` for an inode that is not in use, `Corrupt`.
    pub(super) fn decode(superblock: &Superblock, number: u32, raw: &[u8]) -> Result<Inode> {
        let about = |error: Error| error.object(format!("inode {number}"));
        if !is_unused(raw).map_err(about)? {
            verify(superblock, number, raw)?;
        }
        decode(superblock, number, raw).map_err(about)
    }

    /// As [`Inode::decode`] for one that fast commits changed, which have a checksum of their own.
    pub(super) fn decode_changed(superblock: &Superblock, number: u32, raw: &[u8]) -> Result<Inode> {
        let inode =
            decode(superblock, number, raw).map_err(|error| error.object(format!("inode {number}")))?;
        let is_inline_file = inode.flags.has(Flags::INLINE_DATA) && inode.kind != Kind::Directory;
        let is_incomplete = is_inline_file && inode.size > count(BLOCK_FIELD_BYTES);
        Ok(Inode { is_incomplete, ..inode })
    }

    /// The attributes as the kernel gives them.
    pub(super) fn attr(&self) -> Attr {
        let has_device = matches!(self.kind, Kind::CharDevice | Kind::BlockDevice);
        let has_xattrs = self.xattr_block != 0 || !self.xattr_body.is_empty();
        Attr {
            kind: self.kind,
            size: self.size,
            allocated: Some(self.allocated_bytes()),
            links: Some(self.links.into()),
            mode: Some(u32::from(self.mode & 0o7777)),
            uid: Some(self.uid),
            gid: Some(self.gid),
            device: if has_device { Some(self.device()) } else { None },
            modified: self.modified.time(),
            accessed: self.accessed.time(),
            changed: self.changed.time(),
            created: self.created.and_then(Stamp::time),
            xattrs: if has_xattrs { Xattrs::Maybe } else { Xattrs::None },
            ..Attr::new(self.kind)
        }
    }

    /// Files with inline data have no blocks; the kernel counts what they would need, lest they seem empty.
    fn allocated_bytes(&self) -> u64 {
        let inline = self.kind == Kind::File && self.flags.has(Flags::INLINE_DATA);
        let sectors = if inline { self.size.div_ceil(512) } else { 0 };
        self.sectors.saturating_add(sectors).saturating_mul(512)
    }

    /// The first word holds old numbers of 8 + 8 bits, the second new ones of 12 + 20.
    fn device(&self) -> Device {
        let old = le_u32(&self.block, 0).unwrap_or(0);
        if old != 0 {
            return Device { major: (old >> 8) & 0xFF, minor: old & 0xFF };
        }
        let new = le_u32(&self.block, 4).unwrap_or(0);
        Device { major: (new >> 8) & 0xFFF, minor: (new & 0xFF) | ((new >> 12) & 0xF_FF00) }
    }

    /// Whether the target of this symbolic link stands in the inode itself, as the kernel decides.
    pub(super) fn is_fast_link(&self, superblock: &Superblock) -> bool {
        if superblock.features.incompat.has(Incompat::EA_INODE) {
            return self.size < 60;
        }
        let xattr_sectors = if self.xattr_block == 0 { 0 } else { superblock.cluster_bytes / 512 };
        self.sectors == xattr_sectors
    }

    /// The inode that a value in an inode of its own (`ea_inode`) belonged to in Lustre's older scheme, which
    /// has no checksum of the value: its number, in the place of the time of modification.
    pub(super) fn modified_word(&self) -> u32 {
        self.modified.seconds
    }

    /// The checksum of a value in an inode of its own (`ea_inode`), in the place of the time of access.
    pub(super) fn accessed_word(&self) -> u32 {
        self.accessed.seconds
    }

    /// The same directory with another size.
    pub(super) fn with_size(&self, size: u64) -> Inode {
        Inode { size, ..self.clone() }
    }

    /// The same directory with one subdirectory more or less. A count of 1 says that there are too many to count.
    pub(super) fn with_subdirectory(&self, is_added: bool) -> Inode {
        let links = match (self.links, is_added) {
            (1, _) => 1,
            (links, true) => links.saturating_add(1),
            (links, false) => links.saturating_sub(1).max(2),
        };
        Inode { links, ..self.clone() }
    }

    /// Refuses contents that fast commits changed, and that cannot be told from them.
    pub(super) fn check_complete(&self) -> Result<()> {
        let is_map_changed = self.block_changes.is_some() && !self.flags.has(Flags::EXTENTS);
        if !self.is_incomplete && !is_map_changed {
            return Ok(());
        }
        let error = Error::unsupported("contents that fast commits do not hold as a whole");
        Err(error.object(format!("inode {}", self.number)))
    }

    /// An error about this inode.
    pub(super) fn corrupt(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::corrupt(message).object(format!("inode {}", self.number))
    }
}

fn is_unused(raw: &[u8]) -> Result<bool> {
    Ok(le_u16(raw, 0x00)? == 0 && le_u16(raw, 0x1A)? == 0)
}

fn decode(superblock: &Superblock, number: u32, raw: &[u8]) -> Result<Inode> {
    let mode = le_u16(raw, 0x00)?;
    let links = le_u16(raw, 0x1A)?;
    if is_unused(raw)? {
        return Err(Error::not_found("an inode not in use"));
    }
    let extra = extra_bytes(raw)?;
    if links == 0 {
        return Err(Error::not_found("a deleted inode"));
    }
    let kind = kind(mode)?;
    let flags = Flags(le_u32(raw, 0x20)?);
    let wide_xattr_block = superblock.features.incompat.has(Incompat::BITS64);
    let xattr_block_high = if wide_xattr_block { le_u16(raw, 0x76)? } else { 0 };
    Ok(Inode {
        number,
        kind,
        size: size(superblock, kind, raw)?,
        flags,
        block: array(raw, 0x28)?,
        seed: seed(superblock, number, raw)?,
        xattr_block: u64::from(xattr_block_high) << 32 | u64::from(le_u32(raw, 0x68)?),
        xattr_body: xattr_body(raw, extra)?,
        generation: le_u32(raw, 0x64)?,
        block_changes: None,
        is_incomplete: false,
        mode,
        links,
        uid: u32::from(le_u16(raw, 0x78)?) << 16 | u32::from(le_u16(raw, 0x02)?),
        gid: u32::from(le_u16(raw, 0x7A)?) << 16 | u32::from(le_u16(raw, 0x18)?),
        sectors: sectors(superblock, flags, raw)?,
        accessed: Stamp { seconds: le_u32(raw, 0x08)?, extra: extra_word(raw, extra, 0x8C)? },
        changed: Stamp { seconds: le_u32(raw, 0x0C)?, extra: extra_word(raw, extra, 0x84)? },
        modified: Stamp { seconds: le_u32(raw, 0x10)?, extra: extra_word(raw, extra, 0x88)? },
        created: created(raw, extra)?,
    })
}

/// How many bytes behind the old ones are fields.
fn extra_bytes(raw: &[u8]) -> Result<usize> {
    if raw.len() <= OLD_BYTES {
        return Ok(0);
    }
    let extra = usize::from(le_u16(raw, 0x80)?);
    if !extra.is_multiple_of(4) || OLD_BYTES.saturating_add(extra) > raw.len() {
        return Err(Error::corrupt(format!("{extra} extra bytes of fields")));
    }
    Ok(extra)
}

/// Whether a field of `len` bytes at `at` is one that this inode has.
fn fits(extra: usize, at: usize, len: usize) -> bool {
    at.saturating_add(len) <= OLD_BYTES.saturating_add(extra)
}

fn extra_word(raw: &[u8], extra: usize, at: usize) -> Result<u32> {
    if fits(extra, at, 4) { le_u32(raw, at) } else { Ok(0) }
}

fn created(raw: &[u8], extra: usize) -> Result<Option<Stamp>> {
    if !fits(extra, 0x90, 4) {
        return Ok(None);
    }
    Ok(Some(Stamp { seconds: le_u32(raw, 0x90)?, extra: extra_word(raw, extra, 0x94)? }))
}

fn seed(superblock: &Superblock, number: u32, raw: &[u8]) -> Result<Crc32c> {
    Ok(superblock.seed().add(&number.to_le_bytes()).add(range(raw, 0x64, 4)?))
}

/// Checks the checksum of inode `number`, where there is one.
pub(super) fn verify(superblock: &Superblock, number: u32, raw: &[u8]) -> Result<()> {
    if !superblock.has_checksums() {
        return Ok(());
    }
    verify_checksum(seed(superblock, number, raw)?, raw)
        .map_err(|error| error.object(format!("inode {number}")))
}

fn verify_checksum(seed: Crc32c, raw: &[u8]) -> Result<()> {
    let extra = extra_bytes(raw)?;
    let has_high = raw.len() > OLD_BYTES && fits(extra, CHECKSUM_HIGH_AT, 2);
    let mut checksum = seed.add(range(raw, 0, CHECKSUM_LOW_AT)?).add(&[0; 2]).add(range(raw, 0x7E, 2)?);
    if has_high {
        checksum =
            checksum.add(range(raw, OLD_BYTES, 2)?).add(&[0; 2]).add(raw.get(0x84..).unwrap_or_default());
    } else {
        checksum = checksum.add(raw.get(OLD_BYTES..).unwrap_or_default());
    }
    let low = u32::from(le_u16(raw, CHECKSUM_LOW_AT)?);
    let matches = if has_high {
        checksum.value() == u32::from(le_u16(raw, CHECKSUM_HIGH_AT)?) << 16 | low
    } else {
        checksum.value() & 0xFFFF == low
    };
    if matches { Ok(()) } else { Err(Error::corrupt("wrong checksum")) }
}

/// What `i_mode` says that an inode is.
pub(super) fn kind(mode: u16) -> Result<Kind> {
    Ok(match mode >> 12 {
        0o01 => Kind::Fifo,
        0o02 => Kind::CharDevice,
        0o04 => Kind::Directory,
        0o06 => Kind::BlockDevice,
        0o10 => Kind::File,
        0o12 => Kind::Symlink,
        0o14 => Kind::Socket,
        _ => return Err(Error::corrupt(format!("the unknown mode 0{mode:o}"))),
    })
}

/// The high half is that of files; directories have one only with `large_dir`, since it was another field.
fn size(superblock: &Superblock, kind: Kind, raw: &[u8]) -> Result<u64> {
    let has_high = kind == Kind::File || superblock.features.incompat.has(Incompat::LARGEDIR);
    let high = if has_high { le_u32(raw, 0x6C)? } else { 0 };
    let size = u64::from(high) << 32 | u64::from(le_u32(raw, 0x04)?);
    if i64::try_from(size).is_err() {
        return Err(Error::corrupt(format!("a size of {size} bytes")));
    }
    Ok(size)
}

/// Blocks of 512 bytes in use; with `huge_file`, some inodes count in blocks of the filesystem.
fn sectors(superblock: &Superblock, flags: Flags, raw: &[u8]) -> Result<u64> {
    let low = u64::from(le_u32(raw, 0x1C)?);
    if !superblock.features.ro_compat.has(RoCompat::HUGE_FILE) {
        return Ok(low);
    }
    let count = add(u64::from(le_u16(raw, 0x74)?) << 32, low)?;
    if flags.has(Flags::HUGE_FILE) { mul(count, u64::from(superblock.block_bytes / 512)) } else { Ok(count) }
}

/// The bytes behind the magic of the extended attributes, when there is at least one.
fn xattr_body(raw: &[u8], extra: usize) -> Result<Box<[u8]>> {
    let start = OLD_BYTES.saturating_add(extra);
    if extra == 0 || start.saturating_add(4) > raw.len() || le_u32(raw, start)? != XATTR_MAGIC {
        return Ok(Box::default());
    }
    let body = raw.get(start.saturating_add(4)..).unwrap_or_default();
    let is_empty = body.first_chunk::<4>().is_none_or(|first| *first == [0; 4]);
    Ok(if is_empty { Box::default() } else { body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_before_1970_and_after_2106_are_told_apart() {
        let seconds = |seconds, extra| Stamp { seconds, extra }.time().map(Time::seconds);

        assert_eq!(seconds(0xFFFF_FFFF, 0), Some(-1));
        assert_eq!(seconds(0xFFFF_FFFF, 1), Some(0xFFFF_FFFF));
        assert_eq!(seconds(0, 3), Some(3 << 32));
        assert_eq!(seconds(0, 1_000_000_000 << 2), None);
    }
}
