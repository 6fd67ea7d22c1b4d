//! `$STANDARD_INFORMATION`: times, DOS attributes, security id.

use crate::bytes::{le_u32, le_u64};
use spelunk_tree::Result;

/// DOS file attributes (`FILE_ATTRIBUTE_*`) that mean something here.
pub(super) mod flags {
    pub const HIDDEN: u32 = 0x0002;
    pub const SYSTEM: u32 = 0x0004;
    pub const DIRECTORY: u32 = 0x0010;
    pub const NORMAL: u32 = 0x0080;
    pub const OFFLINE: u32 = 0x1000;
    pub const RECALL_ON_OPEN: u32 = 0x0004_0000;
    pub const RECALL_ON_DATA_ACCESS: u32 = 0x0040_0000;
}

/// From this size on the attribute is that of NTFS 3, with a security id.
const VERSION_3_BYTES: usize = 0x48;

/// Times are in units of 100 ns since 1601-01-01 UTC.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StandardInformation {
    /// Creation.
    pub created: u64,
    /// Last change of the contents.
    pub modified: u64,
    /// Last change of the record.
    pub changed: u64,
    /// Last access.
    pub accessed: u64,
    /// DOS attributes as stored: without [`flags::DIRECTORY`].
    pub attributes: u32,
    /// Names a security descriptor in `$Secure`; 0 for none.
    pub security_id: u32,
    /// Whether names in this directory differ by case (`fsutil file setCaseSensitiveInfo`, WSL).
    pub is_case_sensitive: bool,
}

impl StandardInformation {
    /// Reads the value of the attribute.
    ///
    /// # Errors
    /// `Corrupt` when it is too short.
    pub fn parse(value: &[u8]) -> Result<StandardInformation> {
        Ok(StandardInformation {
            created: le_u64(value, 0)?,
            modified: le_u64(value, 8)?,
            changed: le_u64(value, 0x10)?,
            accessed: le_u64(value, 0x18)?,
            attributes: le_u32(value, 0x20)?,
            security_id: if value.len() >= VERSION_3_BYTES { le_u32(value, 0x34)? } else { 0 },
            // Windows 10 gave a meaning to what had been the largest and the current version of the file.
            is_case_sensitive: le_u32(value, 0x24)? == 0 && le_u32(value, 0x28)? == 1,
        })
    }

    /// The DOS attributes as Windows shows them.
    pub fn shown_attributes(&self, is_directory: bool) -> u32 {
        let rest = self.attributes & !flags::DIRECTORY;
        match (is_directory, rest) {
            (true, rest) => rest | flags::DIRECTORY,
            (false, 0) => flags::NORMAL,
            (false, rest) => rest,
        }
    }
}
