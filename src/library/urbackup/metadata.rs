//! What stands in `.hashes` of a file. The host finds where it begins, and leaves the rest to the jail.

use super::jailed;
use rustix::fd::OwnedFd;
use spelunk_sandbox::urbackup::{HEAD_BYTES, TAIL_BYTES_MAX, tail_offset};
use spelunk_tree::{Error, ErrorKind, Name, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The metadata of a directory, in it.
const OF_DIRECTORY: &[u8] = b".dir_metadata";

/// Metadata that are there.
pub(super) struct Tail {
    pub(super) bytes: Vec<u8>,
    file: File,
    offset: u64,
}

impl Tail {
    /// Reads bytes of a stream that is stored here, which begins at `start` and has `size` bytes.
    pub(super) fn read(&self, start: u64, size: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let len = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        if start.checked_add(size).is_none_or(|end| end > len) {
            return Err(Error::corrupt("a stream past the end of the metadata"));
        }
        let wanted = size.saturating_sub(offset).min(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        let wanted = usize::try_from(wanted).unwrap_or(buffer.len());
        let at = self.offset.saturating_add(start).saturating_add(offset);
        self.file.read_exact_at(&mut buffer[..wanted], at).map_err(|error| failed(&error))?;
        Ok(wanted)
    }
}

/// The metadata of an entry of a directory, whose own metadata are in `hashes`. `None` when there are none.
pub(super) fn of_entry(hashes: &Result<OwnedFd>, name: &Name) -> Result<Option<Tail>> {
    read(hashes, &stored_name(name.as_bytes()))
}

/// The metadata of the directory whose entries' metadata are in `hashes`.
pub(super) fn of_directory(hashes: &Result<OwnedFd>) -> Result<Option<Tail>> {
    read(hashes, OF_DIRECTORY)
}

/// How the metadata of a name are called: as the name, but for those that would be taken for a directory's.
pub(super) fn stored_name(name: &[u8]) -> Vec<u8> {
    let number = name.strip_prefix(OF_DIRECTORY).and_then(|rest| std::str::from_utf8(rest).ok());
    let next = match number {
        Some("") => Some(0),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse::<u64>().ok().and_then(|number| number.checked_add(1))
        }
        _ => None,
    };
    next.map_or_else(|| name.to_vec(), |next| [OF_DIRECTORY, next.to_string().as_bytes()].concat())
}

fn read(hashes: &Result<OwnedFd>, name: &[u8]) -> Result<Option<Tail>> {
    let is_missing = |error: &Error| error.kind() == ErrorKind::NotFound;
    let opened = hashes.as_ref().map_err(Clone::clone).and_then(|hashes| jailed::file(hashes, name));
    let (file, stat) = match opened {
        Ok(opened) => opened,
        Err(error) if is_missing(&error) => return Ok(None),
        // Whatever else is in its place: it is no metadata.
        Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
            return Err(Error::corrupt("something else in the place of metadata").because(error));
        }
        Err(error) => return Err(error),
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let too_short = || Error::corrupt(format!("metadata of {size} bytes"));
    let mut head = [0; HEAD_BYTES];
    if size < u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX) {
        return Err(too_short());
    }
    file.read_exact_at(&mut head, 0).map_err(|error| failed(&error))?;
    let offset = tail_offset(head)?;
    let len = size.checked_sub(offset).ok_or_else(too_short)?;
    let len = usize::try_from(len).ok().filter(|&len| len <= TAIL_BYTES_MAX);
    let mut bytes = vec![0; len.ok_or_else(|| Error::limit(format!("metadata of {size} bytes")))?];
    file.read_exact_at(&mut bytes, offset).map_err(|error| failed(&error))?;
    Ok(Some(Tail { bytes, file, offset }))
}

fn failed(error: &std::io::Error) -> Error {
    Error::from_io("reading the metadata of a backed-up file", error)
}
