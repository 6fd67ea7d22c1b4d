//! Opening what lies in a storage. Names and links there come from backed-up machines, so everything is opened by
//! one name at a time, relative to the directory that it is in, and no link is ever followed by the system. The
//! one kind of link that means a directory, into the client's directory pool, is taken apart here.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;
use spelunk_tree::{Error, ErrorKind, Name, Result};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Where a client's shared directories are: `.directory_pool/<2 characters>/<name>`.
const POOL: &[u8] = b".directory_pool";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Directory,
    /// A link into the directory pool.
    Pooled,
    /// A file of so many bytes, which takes up so many.
    File {
        size: u64,
        allocated: u64,
    },
    Link,
}

/// Opens the root of a storage, which the user names.
pub(super) fn root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        Error::from_io("opening a storage", &errno.into()).object(path.display().to_string())
    })
}

/// Opens the directory `name` in `parent`. No link.
pub(super) fn directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| failed("opening a directory", errno))
}

/// Opens the directory `name` in `parent`, which may be a link into the pool of `client`.
pub(super) fn directory_or_pooled(client: impl AsFd, parent: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    match openat(&parent, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(directory),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            let [prefix, last] = pool_names(&parent, name)?.ok_or_else(not_a_directory)?;
            let pool = directory(client, POOL)?;
            directory(directory(pool, prefix.as_bytes())?, last.as_bytes())
        }
        Err(errno) => Err(failed("opening a directory", errno)),
    }
}

fn not_a_directory() -> Error {
    Error::new(ErrorKind::NotADirectory, "opening a directory")
}

/// Opens the file `name` in `parent`: a regular file, or nothing is opened at all.
pub(super) fn file(parent: impl AsFd, name: &[u8]) -> Result<(File, Stat)> {
    let failed = |errno| failed("opening a file of a backup", errno);
    // To open a device can do something; and what is looked at once more afterwards cannot have been changed.
    let before = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    require_regular(&before)?;
    let file = File::from(openat(&parent, name, FILE, Mode::empty()).map_err(failed)?);
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    require_regular(&stat)?;
    Ok((file, stat))
}

fn require_regular(stat: &Stat) -> Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Error::new(ErrorKind::IsADirectory, "opening a file of a backup")),
        FileType::Symlink => Err(Error::corrupt("a link where a file must be")),
        _ => Err(Error::corrupt("a special file where a file must be")),
    }
}

/// Looks at `name` in `parent`.
///
/// # Errors
/// `Corrupt` for a special file: UrBackup stores none.
pub(super) fn look(parent: impl AsFd, name: &[u8]) -> Result<Found> {
    let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("looking at a file of a backup", errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(Found::Directory),
        FileType::RegularFile => Ok(Found::File {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        }),
        FileType::Symlink if pool_names(&parent, name)?.is_some() => Ok(Found::Pooled),
        FileType::Symlink => Ok(Found::Link),
        _ => Err(Error::corrupt("a special file in a file backup")),
    }
}

/// What a link in a backup says.
pub(super) fn link(parent: impl AsFd, name: &[u8]) -> Result<Vec<u8>> {
    let target = readlinkat(parent, name, Vec::new()).map_err(|errno| failed("reading a link", errno))?;
    Ok(target.into_bytes())
}

/// The last two names of a link into the directory pool. What stands before them is where the storage was when
/// the link was made.
fn pool_names(parent: impl AsFd, name: &[u8]) -> Result<Option<[Name; 2]>> {
    let target = link(parent, name)?;
    let mut names = target.rsplit(|&byte| byte == b'/');
    let (Some(last), Some(prefix), Some(pool)) = (names.next(), names.next(), names.next()) else {
        return Ok(None);
    };
    // Links that UrBackup makes are absolute; one of the machine that was backed up is relative when it is stored.
    if pool != POOL || prefix.len() != 2 || !target.starts_with(b"/") {
        return Ok(None);
    }
    Ok(Name::new(prefix).ok().zip(Name::new(last).ok()).map(|(prefix, last)| [prefix, last]))
}

fn failed(doing: &'static str, errno: Errno) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR => Error::new(ErrorKind::NotADirectory, doing),
        errno => Error::from_io(doing, &errno.into()),
    }
}
