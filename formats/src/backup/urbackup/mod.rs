//! UrBackup's metadata of one backed-up file: what stands in `.hashes/<path>` behind the hashes of its chunks.
//!
//! ```text
//! u32 length, u32 magic, u8 version, content hash, original path, permissions, times, size   the general part
//! u64 length, u64 magic, ...                                     the part of the system it comes from, if any
//! ```
//!
//! The chunk hashes before it are skipped by whoever reads the file: [`tail_offset`].

mod reader;
mod unix;
mod windows;

use crate::bytes::{add, index, mul};
use reader::Reader;
use spelunk_tree::{Attr, Error, Kind, Name, Result, Time, Xattr, Xattrs};

/// Bytes at the file's start that tell how long the chunk hashes are.
pub const HEAD_BYTES: usize = 8;

/// Bytes of the metadata of one file that are looked at: an inode's extended attributes or a few small named
/// streams are far below.
pub const TAIL_BYTES_MAX: usize = 4 << 20;

/// Bytes of data that one chunk's hashes are for, and of its pieces.
const CHUNK_BYTES: u64 = 512 * 1024;
const PIECE_BYTES: u64 = 4096;
/// Bytes of the hash of a chunk, and of each of its pieces.
const CHUNK_HASH_BYTES: u64 = 16;
const PIECE_HASH_BYTES: u64 = 4;

const MAGIC_GENERAL: u32 = 0xA4F0_4E41;
const MAGIC_UNIX: u64 = 0xFE43_78A3_4676_47F0;
const MAGIC_WINDOWS: u64 = 0x320F_AB3D_119D_CB4A;
/// Bytes of the second part's length and magic.
const SYSTEM_HEAD_BYTES: usize = 16;

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The kind of file that its mode names, or its being a link on Windows.
    pub kind: Option<Kind>,
    /// Attributes. Their kind means nothing: it is above. Their size is that of the link's target.
    pub attr: Attr,
    /// What the file as a symbolic link leads to, as it was on the machine that was backed up.
    pub link_target: Option<Vec<u8>>,
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
    /// Extended attributes that the client could not read, or that no presenter could show.
    pub lost_xattrs: u32,
    /// Named streams.
    pub streams: Vec<Stream>,
}

/// A named stream, which is stored in the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: Name,
    /// Bytes in it.
    pub size: u64,
    /// Where they begin, counted from the end of the chunk hashes.
    pub offset: u64,
}

/// Where the chunk hashes end that stand at the start of a metadata file.
///
/// # Errors
/// `Corrupt` when the size there cannot be.
pub fn tail_offset(head: [u8; HEAD_BYTES]) -> Result<u64> {
    let head_bytes = crate::bytes::count(HEAD_BYTES);
    let size = i64::from_le_bytes(head);
    if size == -1 {
        return Ok(head_bytes);
    }
    let size = u64::try_from(size).map_err(|_| Error::corrupt("a negative size of a backed-up file"))?;
    let whole = size.checked_div(CHUNK_BYTES).unwrap_or(0);
    let rest = size.checked_rem(CHUNK_BYTES).unwrap_or(0);
    let whole_bytes = mul(whole, add(CHUNK_HASH_BYTES, mul(CHUNK_BYTES / PIECE_BYTES, PIECE_HASH_BYTES)?)?)?;
    let rest_bytes = match rest {
        0 => 0,
        rest => add(CHUNK_HASH_BYTES, mul(rest.div_ceil(PIECE_BYTES), PIECE_HASH_BYTES)?)?,
    };
    add(head_bytes, add(whole_bytes, rest_bytes)?)
}

/// Parses what stands behind the chunk hashes.
///
/// # Errors
/// `Corrupt`, `Unsupported` for another version, `Limit` for more than presenters can show.
pub fn parse(tail: &[u8]) -> Result<Metadata> {
    let mut from = Reader::new(tail);
    let len = index(from.u32()?)?;
    let mut general = Reader::new(from.take(len)?);
    let mut metadata = parse_general(&mut general)?;
    if from.is_at_end() {
        // What very old clients and failed backups leave.
        return Ok(metadata);
    }
    let start = from.position();
    let len = index(from.u64()?)?;
    let magic = from.u64()?;
    let body =
        len.checked_sub(SYSTEM_HEAD_BYTES).ok_or_else(|| Error::corrupt("a part that is too short"))?;
    let body_offset = add(start, crate::bytes::count(SYSTEM_HEAD_BYTES))?;
    let body = from.take(body)?;
    match magic {
        MAGIC_UNIX => unix::parse(body, &mut metadata)?,
        MAGIC_WINDOWS => windows::parse(body, body_offset, &mut metadata)?,
        _ => return Err(Error::unsupported("metadata of an unknown system").at(start)),
    }
    metadata.attr.size = metadata.link_target.as_ref().map_or(0, |target| crate::bytes::count(target.len()));
    if metadata.xattrs.is_empty() && metadata.lost_xattrs == 0 && metadata.streams.is_empty() {
        metadata.attr.xattrs = Xattrs::None;
    }
    Ok(metadata)
}

fn parse_general(from: &mut Reader<'_>) -> Result<Metadata> {
    if from.u32()? != MAGIC_GENERAL {
        return Err(Error::corrupt("no metadata of UrBackup").at(4));
    }
    let version = from.u8()?;
    if version != 0 {
        return Err(Error::unsupported(format!("version {version} of UrBackup's metadata")));
    }
    let _content_hash = from.text()?;
    let _original_path = from.text()?;
    let _permissions = from.text()?;
    let mut attr = Attr::new(Kind::File);
    attr.modified = Some(Time::from_seconds(from.signed()?));
    // 0 is what systems without that time say.
    attr.created = Some(from.signed()?).filter(|&created| created != 0).map(Time::from_seconds);
    attr.accessed = Some(Time::from_seconds(from.signed()?));
    Ok(Metadata {
        kind: None,
        attr,
        link_target: None,
        xattrs: Vec::new(),
        lost_xattrs: 0,
        streams: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
