//! The kernel's table of mounts, `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use spelunk_tree::{Error, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountInfo {
    /// Field (1): the mount's id, unique while it lasts.
    pub(super) id: u64,
    /// Field (3): the filesystem's device number, `major:minor`.
    pub(super) device: String,
    /// Field (5): where it is mounted.
    pub(super) directory: PathBuf,
    /// Field (9): the type, with the subtype after a dot.
    pub(super) filesystem: String,
}

/// All mounts, later ones over earlier ones.
///
/// # Errors
/// When `/proc` is not there.
pub(super) fn all() -> Result<Vec<MountInfo>> {
    let table = std::fs::read(TABLE).map_err(|error| Error::from_io(format!("reading {TABLE}"), &error))?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// The mount on top of all others at exactly this directory, which must be a canonical path.
///
/// # Errors
/// As [`all`].
pub(super) fn at(directory: &Path) -> Result<Option<MountInfo>> {
    Ok(all()?.into_iter().rfind(|mount| mount.directory == directory))
}

fn parse(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
    let directory = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    // Optional fields (7) end with a hyphen.
    fields.find(|field| *field == b"-")?;
    let filesystem = String::from_utf8(fields.next()?.to_vec()).ok()?;
    Some(MountInfo { id, device, directory, filesystem })
}

/// Takes back the kernel's escapes: blanks and backslashes as three octal digits after a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..3).filter(|_| first == b'\\');
        let octal = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_optional_fields_are_read() {
        let line = b"36 35 98:0 /mnt1 /mnt2\\040a\\134b rw,noatime master:1 propagate_from:2 - fuse.spelunk /dev/root ro";

        let mount = parse(line).unwrap();

        let expected = MountInfo {
            id: 36,
            device: "98:0".to_owned(),
            directory: PathBuf::from("/mnt2 a\\b"),
            filesystem: "fuse.spelunk".to_owned(),
        };
        assert_eq!(mount, expected);
        assert!(parse(b"36 35 0:5 / /mnt rw - ext4 /dev/sda ro").is_some());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/")).unwrap().is_some());
    }
}
