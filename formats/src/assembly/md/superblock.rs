//! What a member's superblock says, whichever version it has.

use super::{v0, v1};
use spelunk_tree::{ReadAt, Result};

/// A superblock's magic number.
pub(super) const MAGIC: u32 = 0xA92B_4EFC;

/// A member of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Where in the member it stands, in bytes.
    pub(super) position: u64,
    /// The array's id.
    pub(super) array: [u8; 16],
    /// The array's name, as a directory.
    pub(super) name: String,
    /// `0.90`, `1.0`, `1.1`, `1.2`.
    pub(super) version: &'static str,
    /// RAID's number; negative for others.
    pub(super) level: i32,
    /// How chunks of raid0 are laid out; 0: nobody said.
    pub(super) layout: u32,
    /// Bytes of each member that a mirror uses.
    pub(super) size_bytes: u64,
    pub(super) chunk_bytes: u64,
    /// How many members the array has when it is whole.
    pub(super) members: u32,
    /// Counts the changes of the array's state.
    pub(super) events: u64,
    /// What is not as usual and makes the data unreadable: a reshape.
    pub(super) is_reshaping: bool,
    /// Whether mirrors were being brought into line, so that they may differ.
    pub(super) is_resyncing: bool,
    /// The member's number in the table of roles.
    pub(super) number: u32,
    /// The member's place in the array, by itself.
    pub(super) role: Role,
    /// The members that take part, by their numbers.
    pub(super) active: Vec<u32>,
    /// Whether the member was still being rebuilt.
    pub(super) is_recovering: bool,
    /// Where its data begin, in bytes.
    pub(super) data_start_bytes: u64,
    /// How many bytes it has for data.
    pub(super) data_bytes: u64,
}

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It has this place in the array.
    Active(u32),
    /// It waits for another one to fail, or has failed.
    None,
}

/// The superblock of `volume`, if it has one that is intact. Those at the beginning first: what is left of an older array
/// at the end is overwritten later.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<Superblock>> {
    for version in v1::VERSIONS {
        if let Some(superblock) = v1::find(volume, version)? {
            return Ok(Some(superblock));
        }
    }
    v0::find(volume)
}
