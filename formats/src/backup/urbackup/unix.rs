//! What a client on a Unix system adds: the inode, the link's target, extended attributes.

use super::Metadata;
use super::reader::Reader;
use crate::bytes::index;
use spelunk_tree::{Device, Error, Kind, Result, Time, Xattr, limits};

/// The kinds of file that stand in the upper bits of a mode.
const MODE_KIND: u32 = 0o170_000;
const MODE_BITS: u32 = 0o7777;
const KINDS: [(u32, Kind); 7] = [
    (0o100_000, Kind::File),
    (0o040_000, Kind::Directory),
    (0o120_000, Kind::Symlink),
    (0o010_000, Kind::Fifo),
    (0o140_000, Kind::Socket),
    (0o020_000, Kind::CharDevice),
    (0o060_000, Kind::BlockDevice),
];

/// Stands for the length of a value that the client could not read.
const UNREADABLE: u32 = u32::MAX;

pub(super) fn parse(body: &[u8], metadata: &mut Metadata) -> Result<()> {
    let mut from = Reader::new(body);
    let stat = from.text()?;
    parse_stat(&mut Reader::new(stat), metadata)?;
    parse_xattrs(&mut from, metadata)
}

fn parse_stat(from: &mut Reader<'_>, metadata: &mut Metadata) -> Result<()> {
    let version = from.u8()?;
    if version != 1 {
        return Err(Error::unsupported(format!("version {version} of a Unix client's metadata")));
    }
    let _device = from.varint()?;
    let mode = from.small()?;
    let (uid, gid, device) = (from.small()?, from.small()?, from.varint()?);
    let kind = KINDS.iter().find(|(bits, _)| *bits == mode & MODE_KIND).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| Error::corrupt(format!("a file of mode {mode:o}")))?;
    let attr = &mut metadata.attr;
    metadata.kind = Some(kind);
    attr.mode = Some(mode & MODE_BITS);
    (attr.uid, attr.gid) = (Some(uid), Some(gid));
    if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
        attr.device = Some(device_of(device)?);
    }
    attr.accessed = Some(time(from)?);
    attr.modified = Some(time(from)?);
    attr.changed = Some(time(from)?);
    let _flags = from.varint()?;
    let target = from.text()?;
    if target.len() > limits::LINK_TARGET_BYTES_MAX {
        return Err(Error::limit(format!("a link target of {} bytes", target.len())));
    }
    metadata.link_target = Some(target.to_vec()).filter(|_| kind == Kind::Symlink);
    Ok(())
}

fn time(from: &mut Reader<'_>) -> Result<Time> {
    let seconds = from.signed()?;
    Time::new(seconds, from.u32()?)
}

/// Linux's device numbers: 12 bits and 20 more of the driver's, 8 bits and 24 more of the unit's.
fn device_of(number: u64) -> Result<Device> {
    let half =
        |value: u64| u32::try_from(value).map_err(|_| Error::corrupt("a device number of too many bits"));
    let major = half((number >> 8 & 0xFFF) | (number >> 32 & 0xFFFF_F000))?;
    let minor = half((number & 0xFF) | (number >> 12 & 0xFFFF_FF00))?;
    Ok(Device { major, minor })
}

fn parse_xattrs(from: &mut Reader<'_>, metadata: &mut Metadata) -> Result<()> {
    let count = index(from.u64()?)?;
    if count > limits::XATTRS_MAX {
        return Err(Error::limit(format!("{count} extended attributes")));
    }
    let mut bytes = 0usize;
    for _ in 0..count {
        let name = from.text()?;
        let len = from.u32()?;
        if len == UNREADABLE {
            metadata.lost_xattrs = metadata.lost_xattrs.saturating_add(1);
            continue;
        }
        let value = from.take(index(len)?)?;
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if bytes > limits::XATTRS_BYTES_MAX {
            return Err(Error::limit("extended attributes of too many bytes"));
        }
        metadata.xattrs.push(Xattr::new(name, value.to_vec())?);
    }
    Ok(())
}
