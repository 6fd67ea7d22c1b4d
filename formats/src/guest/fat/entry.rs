//! A directory's 32-byte entries.
//!
//! fatgen103, "FAT Directory Structure" and "FAT Long Directory Entries".

use crate::bytes::{array, le_u16, le_u32, u8_at};
use crate::guest::dos_time;
use crate::guest::{CodePage, TimeZone};
use spelunk_tree::{Attr, Kind, Name, Result, Xattrs};

const ATTR_VOLUME_ID: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_LONG_NAME: u8 = 0x0F;
const ATTR_LONG_NAME_MASK: u8 = 0x3F;
const FREE: u8 = 0xE5;
const FREE_AND_END: u8 = 0x00;
/// Stands for 0xE5 at the beginning of a name, where that marks a free entry.
const KANJI_E5: u8 = 0x05;
const LAST_LONG_ENTRY: u8 = 0x40;
/// Windows NT's marks of a short name that is shown in lower case.
const NT_LOWER_BASE: u8 = 0x08;
const NT_LOWER_EXTENSION: u8 = 0x10;
/// Where a long name's characters stand in its entries.
const LONG_NAME_PARTS: [(usize, usize); 3] = [(1, 5), (14, 6), (28, 2)];

/// UTF-16 units in one entry of a long name.
pub const LONG_NAME_UNITS: usize = 13;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The directory ends before this entry.
    End,
    /// Not in use.
    Free,
    /// Part of the long name of the file entry to come.
    LongName(LongNamePart),
    /// The volume's label, padded with spaces.
    Label([u8; 11]),
    /// The directory itself, or its parent.
    Dot,
    /// A file or directory.
    File(FileEntry),
}

/// A part of a long name. Parts come last first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongNamePart {
    /// Its position in the name, from 1.
    pub ordinal: u8,
    /// Whether it is the name's last, so the first that is met.
    pub is_last: bool,
    /// The checksum of the short name that it belongs to.
    pub checksum: u8,
    /// Its characters.
    pub units: [u16; LONG_NAME_UNITS],
}

/// The entry of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    short_name: [u8; 11],
    attributes: u8,
    nt_flags: u8,
    created_hundredths: u8,
    created_time: u16,
    created_date: u16,
    accessed_date: u16,
    modified_time: u16,
    modified_date: u16,
    /// The first cluster as FAT32 stores it. FAT12 and FAT16 use only the lower half.
    pub first_cluster: u32,
    /// Bytes of the file; of a directory, 0.
    pub size: u32,
}

impl Slot {
    /// Takes an entry.
    ///
    /// # Errors
    /// Never for 32 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Slot> {
        let short_name: [u8; 11] = array(bytes, 0)?;
        let attributes = u8_at(bytes, 11)?;
        Ok(match u8_at(bytes, 0)? {
            FREE_AND_END => Slot::End,
            FREE => Slot::Free,
            _ if attributes & ATTR_LONG_NAME_MASK == ATTR_LONG_NAME => {
                Slot::LongName(LongNamePart::parse(bytes)?)
            }
            _ if attributes & ATTR_VOLUME_ID != 0 => Slot::Label(short_name),
            _ if matches!(&short_name, b".          " | b"..         ") => Slot::Dot,
            _ => Slot::File(FileEntry::parse(bytes)?),
        })
    }
}

impl LongNamePart {
    fn parse(bytes: &[u8]) -> Result<LongNamePart> {
        let ordinal = u8_at(bytes, 0)?;
        let mut units = [0; LONG_NAME_UNITS];
        let positions = LONG_NAME_PARTS.iter().flat_map(|(at, len)| (*at..).step_by(2).take(*len));
        for (unit, at) in units.iter_mut().zip(positions) {
            *unit = le_u16(bytes, at)?;
        }
        Ok(LongNamePart {
            ordinal: ordinal & !LAST_LONG_ENTRY,
            is_last: ordinal & LAST_LONG_ENTRY != 0,
            checksum: u8_at(bytes, 13)?,
            units,
        })
    }
}

impl FileEntry {
    fn parse(bytes: &[u8]) -> Result<FileEntry> {
        let (high, low) = (le_u16(bytes, 20)?, le_u16(bytes, 26)?);
        Ok(FileEntry {
            short_name: array(bytes, 0)?,
            attributes: u8_at(bytes, 11)?,
            nt_flags: u8_at(bytes, 12)?,
            created_hundredths: u8_at(bytes, 13)?,
            created_time: le_u16(bytes, 14)?,
            created_date: le_u16(bytes, 16)?,
            accessed_date: le_u16(bytes, 18)?,
            modified_time: le_u16(bytes, 22)?,
            modified_date: le_u16(bytes, 24)?,
            first_cluster: u32::from(high) << 16 | u32::from(low),
            size: le_u32(bytes, 28)?,
        })
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.attributes & ATTR_DIRECTORY != 0
    }

    /// The checksum that ties a long name to this entry.
    pub fn checksum(&self) -> u8 {
        self.short_name.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
    }

    /// The short name as Linux shows it when it takes the same code page.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be a name.
    pub fn short_name(&self, page: CodePage) -> Result<Name> {
        let mut bytes = self.short_name;
        if let [first @ KANJI_E5, ..] = &mut bytes {
            *first = FREE;
        }
        let (base, extension) = bytes.split_at_checked(8).unwrap_or_default();
        let part = |bytes, is_lower| {
            let bytes = unpadded(bytes);
            if is_lower { page.decode_lower_case(bytes) } else { page.decode(bytes) }
        };
        let mut name = part(base, self.nt_flags & NT_LOWER_BASE != 0);
        let extension = part(extension, self.nt_flags & NT_LOWER_EXTENSION != 0);
        if !extension.is_empty() {
            name.push('.');
            name.push_str(&extension);
        }
        Name::new(name.into_bytes())
    }

    /// The entry's attributes. Its times are those of clocks in `zone`: the volume does not say its own.
    pub fn attr(&self, cluster_bytes: u32, zone: &TimeZone) -> Attr {
        let kind = if self.is_directory() { Kind::Directory } else { Kind::File };
        let mut attr = Attr::new(kind);
        if kind == Kind::File {
            attr.size = u64::from(self.size);
            attr.allocated = attr.size.checked_next_multiple_of(u64::from(cluster_bytes));
        }
        let time =
            |date, of_day, hundredths| dos_time::time(date, of_day, hundredths).map(|local| zone.when(local));
        attr.modified = time(self.modified_date, self.modified_time, 0);
        attr.accessed = time(self.accessed_date, 0, 0);
        attr.created = time(self.created_date, self.created_time, self.created_hundredths);
        attr.dos_attributes = Some(u32::from(self.attributes));
        attr.xattrs = Xattrs::None;
        attr
    }
}

/// A name or label without the zeros and spaces behind it.
pub fn unpadded(bytes: &[u8]) -> &[u8] {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let len = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
    text.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(short_name: &[u8; 11], nt_flags: u8) -> FileEntry {
        let mut bytes = [0; 32];
        bytes[..11].copy_from_slice(short_name);
        bytes[12] = nt_flags;
        FileEntry::parse(&bytes).unwrap()
    }

    fn shown(short_name: &[u8; 11], nt_flags: u8) -> String {
        String::from_utf8(
            entry(short_name, nt_flags).short_name(CodePage::default()).unwrap().as_bytes().into(),
        )
        .unwrap()
    }

    #[test]
    fn short_names_are_shown_as_linux_shows_them() {
        assert_eq!(shown(b"README  TXT", 0), "README.TXT");
        assert_eq!(shown(b"README  TXT", 0x08), "readme.TXT");
        assert_eq!(shown(b"README  TXT", 0x10), "README.txt");
        assert_eq!(shown(b"A B        ", 0x18), "a b");
        assert_eq!(shown(b"\x05\x8E      \xE1  ", 0x08), "σä.ß");
    }

    #[test]
    fn short_names_that_cannot_be_names_are_corrupt() {
        for bad in [b"A/B        ", b"           ", b".          "] {
            assert!(entry(bad, 0).short_name(CodePage::default()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn checksum_is_that_of_the_specification() {
        // From an image that mkfs.fat and mtools made: "long file name.txt" as LONGFI~1.TXT.
        assert_eq!(entry(b"LONGFI~1TXT", 0).checksum(), 0xD4);
    }
}
