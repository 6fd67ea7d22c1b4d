//! Volumes that lie on others: from the members of an array or a volume group to the devices that they make up.
//!
//! ```text
//! volumes --probe--> members --assemble--> devices, each a volume again: perhaps a member of the next
//! ```
//!
//! To add one: a folder here, a row in [`ASSEMBLIES`], a fixture, a row in the README's table.

pub mod lvm;
pub mod md;
mod stripe;

use spelunk_tree::{Error, ReadAt, Result};
use std::sync::Arc;

/// One way to make volumes of others.
pub struct Assembly {
    /// Its name in [`spelunk_tree::AssembledInfo::format`] and the README's table.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Where in `volume` stands that it is a member: the position of the label or superblock, whose checksum is right.
    /// `None` when it is none. Errors only when the storage fails.
    pub probe: fn(volume: &dyn ReadAt) -> Result<Option<u64>>,
    /// Makes devices of all members that there are.
    pub assemble: fn(members: Vec<Member>) -> Assembled,
}

/// All of them in the order in which they are put together: volume groups lie on arrays more often than arrays on logical volumes.
pub static ASSEMBLIES: &[Assembly] = &[md::ASSEMBLY, lvm::ASSEMBLY];

/// A volume that is a part of something.
#[derive(Clone)]
pub struct Member {
    /// What it is called in notes and errors: its directory.
    pub name: String,
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
}

/// What members make up.
pub struct Assembled {
    /// For each member, in their order, what it is a member of (`vg0`), or why that cannot be said.
    pub member_of: Vec<Result<String>>,
    /// What they make up.
    pub devices: Vec<Device>,
    /// What the user should know, a line each: members that are missing, ...
    pub notes: Vec<String>,
}

/// An array or a logical volume.
pub struct Device {
    /// The name of its directory, by [`safe_name`].
    pub directory: String,
    /// Its own name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The group it belongs to, name and id; empty for arrays.
    pub group: (String, String),
    /// How it is made up, a line each.
    pub segments: Vec<String>,
    /// What the user should know of it, a line each.
    pub notes: Vec<String>,
    /// Its size in bytes, as its metadata say.
    pub size_bytes: u64,
    /// Its bytes, or why there are none.
    pub content: Result<Arc<dyn ReadAt>>,
}

/// The kind of assembly that `volume` is a member of, and where it says so; `None` when of none.
///
/// # Errors
/// When the storage fails.
pub fn recognise(volume: &dyn ReadAt) -> Result<Option<(&'static Assembly, u64)>> {
    for assembly in ASSEMBLIES {
        if let Some(position) = (assembly.probe)(volume)? {
            return Ok(Some((assembly, position)));
        }
    }
    Ok(None)
}

/// Bytes of a directory's name that come of one hostile name: LVM's own limit for names.
const NAME_BYTES_MAX: usize = 127;

/// A name out of metadata as part of a directory's name: what is no letter, digit or one of `_.+-` becomes `_`, a dot at
/// the beginning, too; so LVM's own names stay as they are.
pub(crate) fn safe_name(name: &str) -> String {
    let safe = |(at, character): (usize, char)| {
        let is_plain = character.is_ascii_alphanumeric() || "_+-".contains(character);
        if is_plain || (character == '.' && at > 0) { character } else { '_' }
    };
    name.chars().enumerate().take(NAME_BYTES_MAX).map(safe).collect()
}

/// Notes that one array or group may make: enough for any that somebody uses, and no flood from a forged one.
pub(crate) const NOTES_MAX: usize = 32;

/// The `len` bytes from `offset` on, `None` where `volume` is too short for them.
pub(crate) fn read_if_there<const LEN: usize>(volume: &dyn ReadAt, offset: u64) -> Result<Option<[u8; LEN]>> {
    if offset.checked_add(crate::bytes::count(LEN)).is_none_or(|end| end > volume.size()) {
        return Ok(None);
    }
    let mut bytes = [0; LEN];
    match volume.read_at(offset, &mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        // A volume that says to be longer than its image holds nothing there.
        Err(error) if error.kind() == spelunk_tree::ErrorKind::Corrupt => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of an id that another volume has, too.
pub(crate) fn twice(what: &str, id: &str, one: &str, other: &str) -> Error {
    Error::corrupt(format!("{one} and {other} both say to be {what} {id}; which is right, nobody can say"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lvm_stay_and_others_become_harmless() {
        assert_eq!(safe_name("vg-0+a.b_c"), "vg-0+a.b_c");
        assert_eq!(safe_name("../x\n\u{202e}"), "_._x__");
        assert_eq!(safe_name(&"x".repeat(500)).len(), NAME_BYTES_MAX);
    }
}
