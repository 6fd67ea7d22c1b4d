//! `$REPARSE_POINT`: symbolic links, junctions, and files that something else than NTFS keeps
//! ([MS-FSCC] 2.1.2).

use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::standard_information::flags;
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::{le_u16, le_u32, range};
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Error, Kind, Result};

/// Windows' MAXIMUM_REPARSE_DATA_BUFFER_SIZE is 16 KiB; other drivers have gone to 64.
const REPARSE_BYTES_MAX: u64 = 64 << 10;

const TAG_MOUNT_POINT: u32 = 0xA000_0003;
const TAG_SYMLINK: u32 = 0xA000_000C;
const TAG_LX_SYMLINK: u32 = 0xA000_001D;
/// A file that Windows packed (WOF).
pub(super) const TAG_WOF: u32 = 0x8000_0017;
const TAG_DEDUP: u32 = 0x8000_0013;
const TAG_AF_UNIX: u32 = 0x8000_0023;
const TAG_LX_FIFO: u32 = 0x8000_0024;
const TAG_LX_CHAR: u32 = 0x8000_0025;
const TAG_LX_BLOCK: u32 = 0x8000_0026;
/// Cloud files (OneDrive): `0x9000_001A` to `0x9000_F01A`.
const TAG_CLOUD: u32 = 0x9000_001A;
const TAG_CLOUD_MASK: u32 = 0xFFFF_0FFF;

const SYMLINK_RELATIVE: u32 = 1;
/// Version of an LX link's data.
const LX_VERSION: u32 = 2;

/// A reparse point.
pub(crate) struct Reparse {
    /// Says what it is.
    pub tag: u32,
    /// The whole value of the attribute.
    pub bytes: Vec<u8>,
}

/// Where a symbolic link leads, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// A path of Linux.
    Posix(Vec<u8>),
    /// A path of Windows, from the link's directory on.
    Relative(Vec<u16>),
    /// A path of Windows' object namespace (`\??\C:\...`), or from the volume's root on (`\...`).
    Absolute(Vec<u16>),
}

impl Reparse {
    /// The reparse point of `node`; `None` when it has none.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub(super) fn read(volume: &Volume, node: &Node) -> Result<Option<Reparse>> {
        let stream = Stream::open(volume, node, types::REPARSE_POINT, UNNAMED)?;
        let Some(stream) = stream else { return Ok(None) };
        Reparse::parse(stream.whole(volume, REPARSE_BYTES_MAX)?).map(Some)
    }

    /// Takes the whole value of the attribute.
    ///
    /// # Errors
    /// `Corrupt` when there is no tag.
    pub fn parse(bytes: Vec<u8>) -> Result<Reparse> {
        Ok(Reparse { tag: le_u32(&bytes, 0)?, bytes })
    }

    /// What a node of kind `plain` with this reparse point is shown as.
    pub fn kind(&self, plain: Kind) -> Kind {
        match self.tag {
            TAG_SYMLINK | TAG_MOUNT_POINT | TAG_LX_SYMLINK => Kind::Symlink,
            TAG_AF_UNIX => Kind::Socket,
            TAG_LX_FIFO => Kind::Fifo,
            TAG_LX_CHAR => Kind::CharDevice,
            TAG_LX_BLOCK => Kind::BlockDevice,
            _ => plain,
        }
    }

    /// Where it leads; `None` when it is no symbolic link.
    ///
    /// # Errors
    /// `Corrupt` when it is one without a target.
    pub fn link(&self) -> Result<Option<Link>> {
        let link = match self.tag {
            TAG_SYMLINK => {
                let is_relative = le_u32(&self.bytes, 0x10)? & SYMLINK_RELATIVE != 0;
                self.windows_link(0x14, is_relative)?
            }
            TAG_MOUNT_POINT => self.windows_link(0x10, false)?,
            TAG_LX_SYMLINK => {
                let len = usize::from(le_u16(&self.bytes, 4)?).saturating_sub(4);
                let target = range(&self.bytes, 0x0C, len)?;
                if le_u32(&self.bytes, 8)? != LX_VERSION || target.is_empty() || target.contains(&0) {
                    return Err(Error::corrupt("an LX symbolic link without target"));
                }
                Link::Posix(target.into())
            }
            _ => return Ok(None),
        };
        Ok(Some(link))
    }

    /// The substitute name of a symbolic link or junction; its names are counted from `names_at`.
    fn windows_link(&self, names_at: usize, is_relative: bool) -> Result<Link> {
        let offset = usize::from(le_u16(&self.bytes, 8)?);
        let len = usize::from(le_u16(&self.bytes, 0x0A)?);
        let name = range(&self.bytes, names_at.saturating_add(offset), len)?;
        let path: Vec<u16> = utf16_units(name).take_while(|&unit| unit != 0).collect();
        if path.is_empty() {
            return Err(Error::corrupt("a symbolic link without target"));
        }
        let starts_at_root = path.first() == Some(&u16::from(b'\\')) || path.get(1) == Some(&u16::from(b':'));
        Ok(if is_relative && !starts_at_root { Link::Relative(path) } else { Link::Absolute(path) })
    }

    /// Whether the file's unnamed stream holds what a program would read. Unknown to NTFS, other files keep
    /// theirs elsewhere (deduplicated, archived). Those of WOF are read by [`super::wof`].
    ///
    /// # Errors
    /// `Unsupported` when it does not.
    pub fn check_readable(&self, attributes: u32) -> Result<()> {
        let recalls = flags::OFFLINE | flags::RECALL_ON_OPEN | flags::RECALL_ON_DATA_ACCESS;
        if self.tag & TAG_CLOUD_MASK == TAG_CLOUD && attributes & recalls == 0 {
            return Ok(());
        }
        let what = match self.tag {
            TAG_WOF => "packed by Windows (WOF)",
            TAG_DEDUP => "deduplicated",
            tag if tag & TAG_CLOUD_MASK == TAG_CLOUD => "stored in a cloud only",
            _ => "kept by a reparse point",
        };
        Err(Error::unsupported(format!("a file {what} (reparse tag {:#010x})", self.tag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symlink(flags: u32, path: &str) -> Reparse {
        let path: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut bytes = TAG_SYMLINK.to_le_bytes().to_vec();
        let len = u8::try_from(path.len()).unwrap();
        bytes.extend([0, 0, 0, 0, 0, 0, len, 0, 0, 0, 0, 0]);
        bytes.extend(flags.to_le_bytes());
        bytes.extend(path);
        Reparse { tag: TAG_SYMLINK, bytes }
    }

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn links_are_relative_or_absolute_by_flag_and_text() {
        assert_eq!(symlink(1, r"..\a").link(), Ok(Some(Link::Relative(units(r"..\a")))));
        assert_eq!(symlink(1, r"\a").link(), Ok(Some(Link::Absolute(units(r"\a")))));
        assert_eq!(symlink(0, r"\??\C:\a").link(), Ok(Some(Link::Absolute(units(r"\??\C:\a")))));
    }

    #[test]
    fn links_that_leave_their_value_are_corrupt() {
        let mut link = symlink(1, "abc");
        link.bytes[0x0A] = 8;

        assert!(link.link().is_err());
        assert!(symlink(1, "").link().is_err());
    }
}
