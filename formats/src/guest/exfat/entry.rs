//! What kinds of 32-byte entries a directory holds, and those that describe the volume.
//!
//! Specification, sections 6 and 7.

use crate::bytes::{le_u32, le_u64, range, u8_at};
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Result, wtf8_from_utf16};

/// Bytes of an entry.
pub const ENTRY_BYTES: u64 = 32;
/// The same in memory.
pub const ENTRY_LEN: usize = 32;
/// An entry's bytes.
pub type Bytes = [u8; ENTRY_LEN];

const IN_USE: u8 = 0x80;
const SECONDARY: u8 = 0x40;
const BENIGN: u8 = 0x20;
const BITMAP: u8 = 0x81;
const UPCASE: u8 = 0x82;
const LABEL: u8 = 0x83;
const FILE: u8 = 0x85;
/// Type of the entry that says where a file's clusters are.
pub const STREAM: u8 = 0xC0;
/// Type of the entries that hold a file's name.
pub const FILE_NAME: u8 = 0xC1;

/// UTF-16 units of a label.
const LABEL_UNITS_MAX: usize = 11;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The directory ends before it.
    End,
    /// Not in use, or deleted.
    Free,
    /// Which clusters are in use.
    Bitmap,
    /// Which letters are the same.
    Upcase,
    /// The volume's label.
    Label,
    /// The first of a set that describes a file or directory.
    File,
    /// Another first entry, which may be ignored.
    BenignPrimary,
    /// Another first entry, without which the volume is not understood.
    CriticalPrimary(u8),
    /// Another one of a set, which may be ignored.
    BenignSecondary,
    /// Another one of a set, without which that is not understood.
    CriticalSecondary(u8),
}

impl Kind {
    /// The kind of the entry with this type.
    pub fn of(entry_type: u8) -> Kind {
        match entry_type {
            0 => Kind::End,
            _ if entry_type & IN_USE == 0 => Kind::Free,
            _ if entry_type & SECONDARY != 0 && entry_type & BENIGN != 0 => Kind::BenignSecondary,
            _ if entry_type & SECONDARY != 0 => Kind::CriticalSecondary(entry_type),
            _ if entry_type & BENIGN != 0 => Kind::BenignPrimary,
            BITMAP => Kind::Bitmap,
            UPCASE => Kind::Upcase,
            LABEL => Kind::Label,
            FILE => Kind::File,
            _ => Kind::CriticalPrimary(entry_type),
        }
    }

    /// Whether it belongs to an entry before it.
    pub fn is_secondary(self) -> bool {
        matches!(self, Kind::BenignSecondary | Kind::CriticalSecondary(_))
    }
}

/// Where one of the volume's own tables lies, always in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// Its first cluster.
    pub first_cluster: u32,
    /// Its bytes.
    pub bytes: u64,
}

impl TablePlace {
    /// Takes the entry of a bitmap or an up-case table.
    ///
    /// # Errors
    /// Never for 32 bytes.
    pub fn parse(entry: &Bytes) -> Result<TablePlace> {
        Ok(TablePlace { first_cluster: le_u32(entry, 20)?, bytes: le_u64(entry, 24)? })
    }
}

/// Whether the entry of a bitmap is that of the second.
///
/// # Errors
/// Never for 32 bytes.
pub fn is_second_bitmap(entry: &Bytes) -> Result<bool> {
    Ok(u8_at(entry, 1)? & 1 != 0)
}

/// The checksum in the entry of an up-case table.
///
/// # Errors
/// Never for 32 bytes.
pub fn upcase_checksum(entry: &Bytes) -> Result<u32> {
    le_u32(entry, 4)
}

/// The label in its entry.
///
/// # Errors
/// Never for 32 bytes.
pub fn label(entry: &Bytes) -> Result<Vec<u8>> {
    let len = usize::from(u8_at(entry, 1)?).min(LABEL_UNITS_MAX);
    let units: Vec<u16> = utf16_units(range(entry, 2, len.saturating_mul(2))?).collect();
    Ok(wtf8_from_utf16(&units))
}
