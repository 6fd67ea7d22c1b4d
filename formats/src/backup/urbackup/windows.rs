//! What a client on Windows adds: attributes, FILETIMEs, and the streams that `BackupRead` gave.

use super::reader::Reader;
use super::{Metadata, Stream};
use crate::bytes::{add, count, index};
use crate::guest::ntfs::link;
use crate::guest::ntfs::reparse::Reparse;
use spelunk_tree::{Error, Kind, Name, Result, Time, Xattr, limits};

/// Kinds of streams (`WIN32_STREAM_ID.dwStreamId`) that something is shown of.
const STREAM_EA: u32 = 2;
const STREAM_SECURITY: u32 = 3;
const STREAM_ALTERNATE: u32 = 4;
const STREAM_REPARSE: u32 = 8;

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

/// A reparse point: its tag, what the file is by it, and where it leads if it is a link.
fn parse_reparse(data: &[u8], metadata: &mut Metadata) -> Result<()> {
    let reparse = Reparse::parse(data.to_vec())?;
    metadata.attr.reparse_tag = Some(reparse.tag);
    metadata.kind = Some(reparse.kind(Kind::File)).filter(|&kind| kind != Kind::File);
    metadata.link_target = reparse.link()?.as_ref().map(link::text_alone).transpose()?;
    Ok(())
}
