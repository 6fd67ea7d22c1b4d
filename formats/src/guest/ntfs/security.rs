//! `$Secure`: the security descriptors that all files share, by id.
//!
//! The index `$SII` says where a descriptor stands in the stream `$SDS`, which holds each twice: the copy
//! stands 256 KiB behind.

use super::attribute::{UNNAMED, types};
use super::index::Index;
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::{index, le_u16, le_u32, le_u64, range};
use spelunk_tree::{Error, Result, limits};

/// Record of `$Secure`.
const SECURE: Reference = Reference { number: 9, sequence: 0 };
const SII: &[u8] = b"$\0S\0I\0I\0";
const SDS: &[u8] = b"$\0S\0D\0S\0";
/// Header of a descriptor: hash, id, its own offset, its length with the header.
const HEADER_BYTES: usize = 20;
/// Where the copy of a descriptor stands behind it.
const COPY_DISTANCE: u64 = 256 << 10;

/// The descriptors of a volume.
pub(super) struct Security {
    ids: Index,
    descriptors: Stream,
}

impl Security {
    /// Opens `$Secure`.
    ///
    /// # Errors
    /// `Corrupt` when there is none, as before NTFS 3.
    pub fn open(volume: &Volume) -> Result<Security> {
        let node = Node::open(volume, SECURE)?;
        let descriptors = Stream::open(volume, &node, types::DATA, SDS)?;
        Ok(Security {
            ids: Index::open(volume, &node, SII)?,
            descriptors: descriptors.ok_or_else(|| Error::corrupt("$Secure without $SDS"))?,
        })
    }

    /// The descriptor with this id in its self-relative form; `None` when there is none.
    ///
    /// # Errors
    /// `Corrupt` when both copies are damaged.
    pub fn descriptor(&self, volume: &Volume, id: u32) -> Result<Option<Vec<u8>>> {
        let mut place = None;
        self.ids.find(volume, &mut |key| Ok(le_u32(key, 0)?.cmp(&id)), &mut |entry| {
            let at = usize::from(le_u16(entry.bytes, 0)?);
            place = Some((
                le_u64(entry.bytes, at.saturating_add(8))?,
                le_u32(entry.bytes, at.saturating_add(16))?,
            ));
            Ok(true)
        })?;
        let Some((offset, len)) = place else { return Ok(None) };
        let read = self.read(volume, id, offset, len);
        let read = read.or_else(|error| {
            self.read(volume, id, offset.saturating_add(COPY_DISTANCE), len).map_err(|_| error)
        });
        read.map(Some).map_err(|error| error.object(format!("security id {id:#x}")).at(offset))
    }

    fn read(&self, volume: &Volume, id: u32, offset: u64, len: u32) -> Result<Vec<u8>> {
        let len = index(len)?;
        if len < HEADER_BYTES || len > limits::XATTR_VALUE_BYTES_MAX.saturating_add(HEADER_BYTES) {
            return Err(Error::corrupt(format!("a security descriptor of {len} bytes")));
        }
        let mut bytes = vec![0; len];
        if self.descriptors.read(volume, offset, &mut bytes)? != len {
            return Err(Error::corrupt("a security descriptor behind the end of $SDS"));
        }
        let descriptor = range(&bytes, HEADER_BYTES, len.saturating_sub(HEADER_BYTES))?;
        if le_u32(&bytes, 4)? != id || le_u32(&bytes, 0)? != hash(descriptor) {
            return Err(Error::corrupt("a security descriptor that does not fit its id or hash"));
        }
        Ok(descriptor.to_vec())
    }
}

/// The security descriptor that a record holds itself, as before NTFS 3.
///
/// # Errors
/// `Corrupt` when it cannot be read.
pub(super) fn own_descriptor(volume: &Volume, node: &Node) -> Result<Option<Vec<u8>>> {
    let stream = Stream::open(volume, node, types::SECURITY_DESCRIPTOR, UNNAMED)?;
    stream.map(|stream| stream.whole(volume, crate::bytes::count(limits::XATTR_VALUE_BYTES_MAX))).transpose()
}

/// `$SDS`'s hash of a descriptor.
fn hash(descriptor: &[u8]) -> u32 {
    descriptor.chunks_exact(4).fold(0_u32, |hash, word| {
        let word = word.try_into().map_or(0, u32::from_le_bytes);
        hash.rotate_left(3).wrapping_add(word)
    })
}
