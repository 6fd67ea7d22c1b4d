//! `$EA`: extended attributes as OS/2 had them, in which WSL keeps what Linux needs ([MS-FSCC] 2.4.16).

use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::{index, le_u16, le_u32, range, u8_at};
use spelunk_tree::{Attr, Device, Error, Kind, Result};

/// Windows counts the bytes of all extended attributes of a file in 16 bits.
const EA_BYTES_MAX: u64 = 64 << 10;
const HEADER_BYTES: usize = 8;
/// Permissions, set-id and sticky bits of a mode.
const MODE_MASK: u32 = 0o7777;

/// The whole value of the attribute; `None` when there is none.
///
/// # Errors
/// `Corrupt` when it cannot be read; `Limit`.
pub(super) fn read(volume: &Volume, node: &Node) -> Result<Option<Vec<u8>>> {
    let stream = Stream::open(volume, node, types::EA, UNNAMED)?;
    stream.map(|stream| stream.whole(volume, EA_BYTES_MAX)).transpose()
}

/// What WSL stored of a file (`$LXUID`, `$LXGID`, `$LXMOD`, `$LXDEV`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Linux {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
    device: Option<Device>,
}

impl Linux {
    /// Reads those of `node`.
    ///
    /// # Errors
    /// As [`read`], and for a damaged list.
    pub fn read(volume: &Volume, node: &Node) -> Result<Linux> {
        read(volume, node)?.map_or(Ok(Linux::default()), |list| Linux::parse(&list))
    }

    fn parse(list: &[u8]) -> Result<Linux> {
        let mut linux = Linux::default();
        let mut rest = list;
        while !rest.is_empty() {
            let next = index(le_u32(rest, 0)?)?;
            let name_len = usize::from(u8_at(rest, 5)?);
            let name = range(rest, HEADER_BYTES, name_len)?;
            // A NUL stands between name and value.
            let value_at = HEADER_BYTES.saturating_add(name_len).saturating_add(1);
            linux.take(name, range(rest, value_at, usize::from(le_u16(rest, 6)?))?);
            match next {
                0 => break,
                _ if next < value_at => return Err(Error::corrupt("extended attributes that overlap")),
                _ => rest = rest.get(next..).unwrap_or_default(),
            }
        }
        Ok(linux)
    }

    /// Takes one attribute; values of another length are not WSL's.
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let number = || value.try_into().ok().map(u32::from_le_bytes);
        match name {
            b"$LXUID" => self.uid = number(),
            b"$LXGID" => self.gid = number(),
            b"$LXMOD" => self.mode = number(),
            b"$LXDEV" => {
                if let (8, Ok(major), Ok(minor)) = (value.len(), le_u32(value, 0), le_u32(value, 4)) {
                    self.device = Some(Device { major, minor });
                }
            }
            _ => {}
        }
    }

    /// Puts them into `attr`. What kind of file it is, reparse points say.
    pub fn show(self, attr: &mut Attr) {
        attr.uid = self.uid;
        attr.gid = self.gid;
        attr.mode = self.mode.map(|mode| mode & MODE_MASK);
        if matches!(attr.kind, Kind::CharDevice | Kind::BlockDevice) {
            attr.device = attr.device.or(self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(next: u32, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = next.to_le_bytes().to_vec();
        bytes.extend([0, u8::try_from(name.len()).unwrap()]);
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(name);
        bytes.push(0);
        bytes.extend(value);
        bytes
    }

    #[test]
    fn attributes_of_wsl_are_found_among_others() {
        let list = [
            entry(20, b"OTHER", &[1, 2, 3, 4, 5, 6]),
            entry(20, b"$LXUID", &[0xE8, 3, 0, 0, 0]),
            entry(20, b"$LXMOD", &[0xA4, 0x81, 0, 0]),
        ];
        let list: Vec<u8> =
            list.iter().flat_map(|entry| [&entry[..], &[0; 20][entry.len()..]].concat()).collect();

        let linux = Linux::parse(&list).unwrap();

        assert_eq!(linux, Linux { mode: Some(0o100_644), ..Linux::default() });
    }

    #[test]
    fn lists_that_overlap_or_leave_their_value_are_corrupt() {
        assert!(Linux::parse(&entry(4, b"$LXUID", &[0; 4])).is_err());
        assert!(Linux::parse(&entry(0, b"$LXUID", &[0; 4])[..17]).is_err());
        assert_eq!(Linux::parse(&[]), Ok(Linux::default()));
    }
}
