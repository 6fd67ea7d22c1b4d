//! POSIX ACLs: from the form on disk to the form that `getxattr` gives.

use crate::bytes::{le_u16, le_u32, range};
use spelunk_tree::{Error, Result};

const DISK_VERSION: u32 = 1;
const SYSCALL_VERSION: u32 = 2;
/// The id of entries that have none.
const NO_ID: u32 = u32::MAX;

const TAG_USER: u16 = 0x02;
const TAG_GROUP: u16 = 0x08;
/// Owner, owning group, mask, others.
const TAGS_WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

/// Converts the value of an attribute `system.posix_acl_*`. On disk, entries of the owner, the owning group, the
/// mask and others have four bytes and those of named users and groups eight; Linux gives all of them eight.
///
/// # Errors
/// `Corrupt`.
pub(super) fn to_syscall_form(disk: &[u8]) -> Result<Vec<u8>> {
    if le_u32(disk, 0)? != DISK_VERSION {
        return Err(Error::corrupt("an ACL of an unknown version"));
    }
    let mut value = SYSCALL_VERSION.to_le_bytes().to_vec();
    let mut at = 4usize;
    while at < disk.len() {
        let tag = le_u16(disk, at)?;
        let (id, len) = match tag {
            TAG_USER | TAG_GROUP => (le_u32(disk, at.saturating_add(4))?, 8),
            _ if TAGS_WITHOUT_ID.contains(&tag) => (NO_ID, 4),
            _ => return Err(Error::corrupt(format!("an ACL entry of the unknown kind {tag}"))),
        };
        value.extend_from_slice(range(disk, at, 4)?);
        value.extend_from_slice(&id.to_le_bytes());
        at = at.saturating_add(len);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_entries_get_the_same_form() {
        let disk = [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 7, 0, 0xE8, 3, 0, 0, 0x20, 0, 4, 0];

        let value = to_syscall_form(&disk).unwrap();

        assert_eq!(
            value,
            [
                2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xE8, 3, 0, 0, 0x20, 0, 4, 0, 255,
                255, 255, 255
            ]
        );
    }

    #[test]
    fn broken_acls_are_corrupt() {
        for bad in [&[][..], &[2, 0, 0, 0], &[1, 0, 0, 0, 2, 0, 7, 0], &[1, 0, 0, 0, 3, 0, 7, 0]] {
            assert!(to_syscall_form(bad).is_err(), "{bad:?}");
        }
    }
}
