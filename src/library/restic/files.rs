//! The files of a repository, which are read and never written: not even a lock is left.

use super::id::Id;
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use spelunk_tree::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Files of one folder: a repository of a million snapshots is kept by nobody.
const FILES_MAX: usize = 1 << 20;

/// The folders whose files are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    Keys,
    Snapshots,
    Index,
}

impl Folder {
    fn name(self) -> &'static str {
        match self {
            Folder::Keys => "keys",
            Folder::Snapshots => "snapshots",
            Folder::Index => "index",
        }
    }
}

/// The directory of a repository.
pub(super) struct Files {
    root: OwnedFd,
}

/// Whether a directory has what every repository has.
pub(super) fn is_repository(path: &Path) -> bool {
    let is_folder = |name: &str| path.join(name).is_dir();
    path.join("config").is_file() && ["keys", "snapshots", "index", "data"].into_iter().all(is_folder)
}

impl Files {
    /// Opens the directory.
    pub(super) fn open(path: &Path) -> Result<Files> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Error::from_io("opening a repository", &errno.into()))?;
        Ok(Files { root })
    }

    /// The ids of the files in a folder, sorted. What is not called as one is not of the repository.
    pub(super) fn list(&self, folder: Folder) -> Result<Vec<Id>> {
        let failed = |errno: rustix::io::Errno| {
            Error::from_io("listing a folder of a repository", &errno.into()).object(folder.name())
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.root, folder.name(), flags, Mode::empty()).map_err(failed)?;
        let mut ids = Vec::new();
        for entry in Dir::read_from(&directory).map_err(failed)? {
            if let Some(id) = Id::parse(entry.map_err(failed)?.file_name().to_bytes()) {
                if ids.len() >= FILES_MAX {
                    let message = format!("a folder of a repository with more than {FILES_MAX} files");
                    return Err(Error::limit(message).object(folder.name()));
                }
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// All bytes of a file in a folder, of which there may be `bytes_max`.
    pub(super) fn read(&self, folder: Folder, id: &Id, bytes_max: u64) -> Result<Vec<u8>> {
        self.read_whole(&format!("{}/{}", folder.name(), id.hex()), bytes_max)
            .map_err(|error| error.context(format!("reading {}/{id} of a repository", folder.name())))
    }

    /// All bytes of the file `config`.
    pub(super) fn read_config(&self, bytes_max: u64) -> Result<Vec<u8>> {
        self.read_whole("config", bytes_max).map_err(|error| error.context("reading config of a repository"))
    }

    /// Bytes of a pack.
    ///
    /// # Errors
    /// `NotFound` when there is no such pack; `Corrupt` when it ends before.
    pub(super) fn read_pack(&self, pack: &Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        let name = pack.hex();
        let file = self.file(&format!("data/{}/{name}", name.get(..2).unwrap_or_default()))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::corrupt("a pack that ends too early").at(offset),
            _ => Error::from_io("reading a pack", &error).at(offset),
        })?;
        Ok(bytes)
    }

    fn read_whole(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.file(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        let read = read.map_err(|error| Error::from_io("reading a file", &error))?;
        if u64::try_from(read).is_ok_and(|read| read <= bytes_max) {
            return Ok(bytes);
        }
        Err(Error::limit(format!("a file of more than {bytes_max} bytes")))
    }

    /// Opens a regular file. The last name is no link: restic makes none, and what is no regular file could block.
    fn file(&self, path: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let failed = |errno: rustix::io::Errno| Error::from_io("opening a file", &errno.into());
        let file = openat(&self.root, path, flags, Mode::empty()).map_err(failed)?;
        match FileType::from_raw_mode(fstat(&file).map_err(failed)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            _ => Err(Error::new(ErrorKind::Corrupt, "what must be a regular file is none")),
        }
    }
}
