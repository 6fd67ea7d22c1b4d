//! `$FILE_NAME`: the names of files, as attributes and as keys of directories.

use super::record::Reference;
use crate::bytes::{le_u64, range, u8_at};
use crate::guest::utf16::utf16_units;
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
