//! What a client on Windows adds: attributes, FILETIMEs, and the streams that `BackupRead` gave.

use super::reader::Reader;
use super::{Metadata, Stream};
use crate::bytes::{add, array, count, index};
use spelunk_tree::{Error, Kind, Name, Result, Time, Xattr, limits, wtf8_from_utf16};

/// Kinds of streams (`WIN32_STREAM_ID.dwStreamId`) that something is shown of.
const STREAM_EA: u32 = 2;
const STREAM_SECURITY: u32 = 3;
const STREAM_ALTERNATE: u32 = 4;
const STREAM_REPARSE: u32 = 8;

/// Reparse points that are links, and where a symbolic link's names begin and flags stand.
const TAG_SYMLINK: u32 = 0xA000_000C;
const TAG_MOUNT_POINT: u32 = 0xA000_0003;
/// Bytes of a reparse point's tag, length and reserved field.
const REPARSE_HEAD_BYTES: usize = 8;

/// Streams of one file, of all kinds.
const STREAMS_MAX: usize = 2 * limits::STREAMS_MAX;

/// Parses `body`, which begins at `offset` of the metadata.
pub(super) fn parse(body: &[u8], offset: u64, metadata: &mut Metadata) -> Result<()> {
    let mut from = Reader::new(body);
    let stat = from.text()?;
    parse_stat(&mut Reader::new(stat), metadata)?;
    for _ in 0..STREAMS_MAX {
        match from.u8()? {
            0 => return Ok(()),
            1 => parse_stream(&mut from, offset, metadata)?,
            other => return Err(Error::corrupt(format!("a stream marked {other}"))),
        }
    }
    Err(Error::limit("too many streams"))
}

fn parse_stat(from: &mut Reader<'_>, metadata: &mut Metadata) -> Result<()> {
    let version = from.u8()?;
    if version != 1 {
        return Err(Error::unsupported(format!("version {version} of a Windows client's metadata")));
    }
    let attr = &mut metadata.attr;
    attr.dos_attributes = Some(from.u32()?);
    let mut time =
        || from.varint().map(|ticks| Some(ticks).filter(|&ticks| ticks != 0).map(Time::from_filetime));
    attr.created = time()?;
    attr.accessed = time()?;
    attr.modified = time()?;
    attr.changed = time()?;
    Ok(())
}

fn parse_stream(from: &mut Reader<'_>, offset: u64, metadata: &mut Metadata) -> Result<()> {
    let kind = from.u32()?;
    let _attributes = from.u32()?;
    let size = index(from.u64()?)?;
    let name_len = index(from.u32()?)?;
    let name = from.take(name_len)?;
    let data_offset = add(offset, from.position())?;
    let data = from.take(size)?;
    match kind {
        // As the drivers of Linux call it.
        STREAM_SECURITY => metadata.xattrs.push(Xattr::new(&b"system.ntfs_acl"[..], data.to_vec())?),
        STREAM_EA => metadata.xattrs.push(Xattr::new(&b"system.ntfs_ea"[..], data.to_vec())?),
        STREAM_REPARSE => parse_reparse(data, metadata)?,
        STREAM_ALTERNATE => {
            if metadata.streams.len() >= limits::STREAMS_MAX {
                return Err(Error::limit("too many named streams"));
            }
            let name = stream_name(name)?;
            metadata.streams.push(Stream { name, size: count(data.len()), offset: data_offset });
        }
        // Object ids and what else there may be have no place among a file's attributes.
        _ => {}
    }
    Ok(())
}

/// `:name:$DATA` without colons and type.
fn stream_name(bytes: &[u8]) -> Result<Name> {
    let name = units(bytes)?;
    let name = name.strip_prefix(&[u16::from(b':')]).unwrap_or(&name);
    let end = name.iter().position(|&unit| unit == u16::from(b':')).unwrap_or(name.len());
    Name::from_utf16(name.get(..end).unwrap_or_default())
}

fn units(bytes: &[u8]) -> Result<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::corrupt("a name of half a character"));
    }
    Ok(pairs.iter().copied().map(u16::from_le_bytes).collect())
}

/// A reparse point: its tag, and where it leads if it is a link. As the NTFS reader shows it: what is printed
/// for people when there is that, with `/` between the names.
fn parse_reparse(data: &[u8], metadata: &mut Metadata) -> Result<()> {
    let tag = u32::from_le_bytes(array(data, 0)?);
    metadata.attr.reparse_tag = Some(tag);
    // The path buffer stands behind four lengths, and the flags that only a symbolic link has.
    let names_offset = match tag {
        TAG_SYMLINK => REPARSE_HEAD_BYTES + 12,
        TAG_MOUNT_POINT => REPARSE_HEAD_BYTES + 8,
        _ => return Ok(()),
    };
    let field = |at: usize| array(data, at).map(|bytes| usize::from(u16::from_le_bytes(bytes)));
    let name =
        |offset: usize, len: usize| crate::bytes::range(data, names_offset.saturating_add(offset), len);
    let substitute = name(field(8)?, field(10)?)?;
    let printed = name(field(12)?, field(14)?)?;
    let target = if printed.is_empty() { substitute } else { printed };
    let mut target = wtf8_from_utf16(&units(target)?);
    target.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
    if target.len() > limits::LINK_TARGET_BYTES_MAX {
        return Err(Error::limit(format!("a link target of {} bytes", target.len())));
    }
    metadata.kind = Some(Kind::Symlink);
    metadata.link_target = Some(target);
    Ok(())
}
