//! `$FILE_NAME`: the names of files, as attributes and as keys of directories.

use super::attribute::utf16_units;
use super::record::Reference;
use crate::bytes::{le_u64, range, u8_at};
use spelunk_tree::{Name, Result};

/// Who a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    /// Any characters, case matters.
    Posix,
    /// The long name of a file that has a DOS name beside it.
    Win32,
    /// The short name of such a file.
    Dos,
    /// One name that does for both.
    Both,
}

/// A name and the directory that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileName<'a> {
    /// The directory.
    pub parent: Reference,
    /// Who the name is for.
    pub namespace: Namespace,
    /// The name in UTF-16LE.
    pub units: &'a [u8],
}

impl<'a> FileName<'a> {
    /// Reads the value of a `$FILE_NAME` attribute or the key of a directory's entry. The times and sizes
    /// in it are not looked at: Windows lets them get old.
    ///
    /// # Errors
    /// `Corrupt` when it is too short.
    pub fn parse(value: &'a [u8]) -> Result<FileName<'a>> {
        let len = usize::from(u8_at(value, 0x40)?).saturating_mul(2);
        Ok(FileName {
            parent: Reference::from_disk(le_u64(value, 0)?),
            namespace: match u8_at(value, 0x41)? & 3 {
                0 => Namespace::Posix,
                1 => Namespace::Win32,
                2 => Namespace::Dos,
                _ => Namespace::Both,
            },
            units: range(value, 0x42, len)?,
        })
    }

    /// The name as it is shown.
    ///
    /// # Errors
    /// `Corrupt` for what cannot be an entry's name.
    pub fn name(&self) -> Result<Name> {
        name_from_utf16(self.units)
    }
}

/// A UTF-16LE name as it is shown.
///
/// # Errors
/// `Corrupt` for what cannot be a name.
pub(super) fn name_from_utf16(bytes: &[u8]) -> Result<Name> {
    let units: Vec<u16> = utf16_units(bytes).collect();
    Name::from_utf16(&units)
}

/// The UTF-16 of a name that [`Name::from_utf16`] made; `None` when it is not of that form.
pub(super) fn utf16_from_name(name: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                units.extend(text.encode_utf16());
                break;
            }
            Err(error) => {
                let (valid, behind) = rest.split_at_checked(error.valid_up_to())?;
                units.extend(std::str::from_utf8(valid).ok()?.encode_utf16());
                let (surrogate, behind) = behind.split_at_checked(3)?;
                units.push(surrogate_unit(surrogate)?);
                rest = behind;
            }
        }
    }
    Some(units)
}

/// The unpaired surrogate in three bytes of WTF-8.
fn surrogate_unit(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [0xED, middle @ 0xA0..=0xBF, last @ 0x80..=0xBF] => {
            Some(0xD000 | (u16::from(middle & 0x3F) << 6) | u16::from(last & 0x3F))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_convert_to_utf16_and_back() {
        for units in [
            &[0x61, 0xE4, 0x20AC][..],
            &[0xD83D, 0xDE00],
            &[0x61, 0xD800, 0x62],
            &[0xDFFF, 0xD83D, 0xDE00, 0xDC00],
        ] {
            let name = Name::from_utf16(units).unwrap();

            assert_eq!(utf16_from_name(name.as_bytes()).as_deref(), Some(units));
        }
    }

    #[test]
    fn other_bytes_are_no_name() {
        for bad in [&b"\xff"[..], b"a\xED\xA0", b"\xC3", b"\xED\xA0a"] {
            assert_eq!(utf16_from_name(bad), None);
        }
    }
}
