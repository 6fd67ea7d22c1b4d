//! Interix (Services for Unix): special files as system files with a magic, shown as ntfs-3g shows them.

use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::le_u64;
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Device, Error, Kind, Result, wtf8_from_utf16};

const LINK_MAGIC: &[u8; 8] = b"IntxLNK\x01";
const BLOCK_MAGIC: &[u8; 8] = b"IntxBLK\0";
const CHAR_MAGIC: &[u8; 8] = b"IntxCHR\0";
const MAGIC_BYTES: u64 = 8;
/// Magic, major and minor number.
const DEVICE_BYTES: usize = 24;
/// The magic and a target of 4096 UTF-16 units, Linux's PATH_MAX.
const SPECIAL_BYTES_MAX: u64 = 8 + 2 * 4096;

/// What a system file stands for.
pub(super) enum Special {
    /// A symbolic link to this.
    Link(Vec<u8>),
    /// A device.
    Device(Kind, Device),
    /// A fifo or socket.
    Plain(Kind),
}

/// What the system file `node` stands for; `None` for an ordinary one. Empty files are fifos, and those of
/// one byte sockets, unless they are hidden too.
///
/// # Errors
/// When its contents cannot be read, but for those that are not supported: those are ordinary files.
pub(super) fn special(volume: &Volume, node: &Node, is_hidden: bool) -> Result<Option<Special>> {
    let Some(stream) = Stream::open(volume, node, types::DATA, UNNAMED)? else { return Ok(None) };
    match stream.size {
        0 if !is_hidden => return Ok(Some(Special::Plain(Kind::Fifo))),
        1 if !is_hidden => return Ok(Some(Special::Plain(Kind::Socket))),
        size if size <= MAGIC_BYTES || size > SPECIAL_BYTES_MAX || !stream.is_readable() => return Ok(None),
        _ => {}
    }
    let bytes = stream.whole(volume, SPECIAL_BYTES_MAX)?;
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    let kind = match magic {
        LINK_MAGIC => {
            let units: Vec<u16> = utf16_units(rest).collect();
            return Ok(Some(Special::Link(wtf8_from_utf16(&units))));
        }
        BLOCK_MAGIC => Kind::BlockDevice,
        CHAR_MAGIC => Kind::CharDevice,
        _ => return Ok(None),
    };
    if bytes.len() != DEVICE_BYTES {
        return Ok(None);
    }
    let number =
        |at| u32::try_from(le_u64(&bytes, at)?).map_err(|_| Error::corrupt("a device number above 32 bits"));
    Ok(Some(Special::Device(kind, Device { major: number(8)?, minor: number(16)? })))
}
