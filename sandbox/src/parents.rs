//! The chains of image files, one for each disk, and the search for parents, which happens in the host.
//!
//! What stands in an image as its parent's path is hostile. Of each such path two names are used, the last
//! one (the file) and the one before (its directory), and only these places are looked at:
//!
//! - the file's name in the child's directory;
//! - the file's name in a sibling of the child's directory that has the directory's name (UrBackup stores
//!   each image in a folder of its own).
//!
//! An image may say no name at all, but an id (VDI). For it the worker asks for `*.EXTENSION`, which is every file
//! with that extension in the child's directory, and `../*.EXTENSION`, in the directory above (VirtualBox keeps
//! snapshots in a folder below their machine's). Without an id such a question has no answer.
//!
//! A symbolic link is never followed in either place, so nothing outside can be reached: whoever arranges
//! images by links has the real ones side by side elsewhere, and a child that is opened through a link is
//! searched from where the link stands and from where the file is. What is found must be a regular file;
//! whether it is the parent, the worker says, by its id.

use crate::host::{Image, OPEN_FLAGS};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use spelunk_tree::limits::{CHAIN_MAX, DISKS_MAX};
use spelunk_tree::{Error, ErrorKind, Name, ParentRef, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Places that are tried for one parent: with what an image may say (see the wire's limit on paths) all of
/// them, each with its directory, its sibling, two extensions, and a child opened through a link.
const CANDIDATES_MAX: usize = 128;

/// The image files of a disk, from the one that was opened down to its last parent; then those of the next disk.
pub(crate) struct Chain {
    images: Vec<Arc<Image>>,
    /// Of each disk, the index of the image that was opened.
    starts: Vec<usize>,
    /// The disks whose turn has not come, last first, each with where its image lies.
    waiting: Vec<(Arc<Image>, Vec<OwnedFd>)>,
    /// Where the last image lies, to look for its parent from: where it was opened, where it really is.
    places: Vec<OwnedFd>,
    search: Option<Search>,
    /// Whether a worker has opened the chain: then the next one is given the same files.
    is_complete: bool,
    /// Index of the last image that the present worker was given of a complete chain.
    given: usize,
}

/// Names of one directory that are looked at for those with an extension.
const LISTED_MAX: usize = 4096;

/// A search for the parent of one image.
struct Search {
    /// The image's index.
    source: usize,
    /// Where the image lies.
    places: Vec<OwnedFd>,
    candidates: std::vec::IntoIter<Candidate>,
    /// The files that were given: none is given twice.
    given: Vec<(u64, u64)>,
}

/// Where a parent may be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// Which of the image's places is meant.
    place: usize,
    directory: Directory,
    file: Name,
}

/// A directory, seen from that of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Directory {
    Same,
    Above,
    Sibling(Name),
}

impl Chain {
    /// A chain for each of these images, opened at their paths.
    ///
    /// # Errors
    /// `Limit` for too many.
    pub(crate) fn new(disks: Vec<(Image, &Path)>) -> Result<Chain> {
        if disks.len() > DISKS_MAX {
            return Err(Error::limit(format!("more than {DISKS_MAX} disks")));
        }
        let disks = disks.into_iter().map(|(image, path)| (Arc::new(image), places(path)));
        let mut waiting: Vec<_> = disks.rev().collect();
        let (first, places) = waiting.pop().ok_or_else(|| Error::internal("no image to open"))?;
        Ok(Chain {
            images: vec![first],
            starts: vec![0],
            waiting,
            places,
            search: None,
            is_complete: false,
            given: 0,
        })
    }

    /// The image with this index.
    pub(crate) fn image(&self, index: usize) -> Option<Arc<Image>> {
        self.images.get(index).cloned()
    }

    /// A new worker begins to open the chain.
    pub(crate) fn begin(&mut self) {
        self.given = 0;
    }

    /// A worker has opened the chain: these are its files.
    pub(crate) fn complete(&mut self) -> Vec<Arc<Image>> {
        self.is_complete = true;
        self.search = None;
        self.places.clear();
        self.images.clone()
    }

    /// The image of the next disk; what came before is settled.
    ///
    /// # Errors
    /// `Limit` for too many image files.
    pub(crate) fn next_disk(&mut self) -> Result<Option<Arc<Image>>> {
        if self.is_complete {
            let next = self.starts.iter().copied().find(|start| *start > self.given);
            let Some(start) = next else { return Ok(None) };
            if start != self.given + 1 {
                return Err(Error::new(ErrorKind::Storage, CHANGED));
            }
            self.given = start;
            return Ok(self.image(start));
        }
        let Some((image, places)) = self.waiting.pop() else { return Ok(None) };
        if self.images.len() >= CHAIN_MAX {
            return Err(Error::limit(format!("more than {CHAIN_MAX} image files")));
        }
        self.search = None;
        self.places = places;
        self.starts.push(self.images.len());
        self.images.push(image.clone());
        Ok(Some(image))
    }

    /// The next file that may be the parent that the image `source` wants, and is the image `source + 1`
    /// from now on, in place of one that was not the parent.
    ///
    /// # Errors
    /// `Corrupt` for a chain that is a circle; `Limit` for one that is too long; `WorkerLost` when the
    /// worker asks what none of ours asks.
    pub(crate) fn next_candidate(&mut self, source: usize, wanted: &ParentRef) -> Result<Option<Arc<Image>>> {
        if self.is_complete {
            return self.known_parent(source);
        }
        match &self.search {
            // The candidate before was not the parent, or there was none.
            Some(search) if search.source == source => self.images.truncate(source + 1),
            _ if source + 1 == self.images.len() => self.search = Some(self.begin_search(source, wanted)?),
            _ => return Err(Error::new(ErrorKind::WorkerLost, "the worker asks for parents out of order")),
        }
        let Some((image, directory)) = self.search.as_mut().and_then(Search::next) else { return Ok(None) };
        self.places = vec![directory];
        self.images.push(Arc::new(image));
        Ok(self.images.last().cloned())
    }

    fn known_parent(&mut self, source: usize) -> Result<Option<Arc<Image>>> {
        if source != self.given || self.starts.contains(&(source + 1)) {
            return Err(Error::new(ErrorKind::Storage, CHANGED));
        }
        self.given += 1;
        Ok(self.image(source + 1))
    }

    /// The image `source` is settled, and wants a parent.
    fn begin_search(&mut self, source: usize, wanted: &ParentRef) -> Result<Search> {
        if source + 1 >= CHAIN_MAX {
            return Err(Error::limit(format!("a chain of more than {CHAIN_MAX} image files")));
        }
        let first = self.starts.last().copied().unwrap_or(0).min(source);
        let (above, last) = self.images[first..].split_at(source - first);
        if above.iter().any(|image| last.iter().any(|last| last.identity == image.identity)) {
            return Err(Error::corrupt("the chain of images is a circle: one is its own ancestor"));
        }
        let places = std::mem::take(&mut self.places);
        Ok(Search { source, candidates: candidates(wanted, &places).into_iter(), places, given: Vec::new() })
    }
}

impl Search {
    /// The next candidate that is there, and the directory it lies in.
    fn next(&mut self) -> Option<(Image, OwnedFd)> {
        for candidate in self.candidates.by_ref() {
            let Some(place) = self.places.get(candidate.place) else { continue };
            if let Some((image, directory)) = candidate.open(place)
                && !self.given.contains(&image.identity)
            {
                self.given.push(image.identity);
                return Some((image, directory));
            }
        }
        None
    }
}

const CHANGED: &str = "the image has changed since it was opened";

/// Where the image at `path` lies: where it was opened, where it really is.
fn places(path: &Path) -> Vec<OwnedFd> {
    let mut directories = vec![directory_of(path)];
    if path.is_symlink()
        && let Ok(real) = path.canonicalize()
    {
        directories.push(directory_of(&real));
    }
    directories.into_iter().flatten().collect()
}

fn directory_of(path: &Path) -> Option<OwnedFd> {
    let parent = path.parent()?;
    let directory = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    openat(CWD, directory, DIRECTORY_FLAGS, Mode::empty()).ok()
}

/// Directories are opened as places only: they need not be readable.
const DIRECTORY_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Candidate {
    /// Opens the file, when it is there and a regular one; also returns its directory.
    fn open(&self, place: &OwnedFd) -> Option<(Image, OwnedFd)> {
        let directory = self.directory.open(place)?;
        let name = OsStr::from_bytes(self.file.as_bytes());
        // Looked at before it is opened: the image names it, and opening a device or a pipe does things.
        let found = statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return None;
        }
        let file = openat(directory.as_fd(), name, OPEN_FLAGS | OFlags::NOFOLLOW, Mode::empty()).ok()?;
        let file = File::from(file);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        Some((Image::new(file).ok()?, directory))
    }
}

impl Directory {
    fn open(&self, place: &OwnedFd) -> Option<OwnedFd> {
        let no_link = DIRECTORY_FLAGS | OFlags::NOFOLLOW;
        let above = || openat(place, "..", no_link, Mode::empty()).ok();
        match self {
            Directory::Same => place.try_clone().ok(),
            Directory::Above => above(),
            Directory::Sibling(name) => {
                openat(&above()?, OsStr::from_bytes(name.as_bytes()), no_link, Mode::empty()).ok()
            }
        }
    }

    /// The names in it that end with `extension`, in order.
    fn files(&self, place: &OwnedFd, extension: &[u8]) -> Vec<Name> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |directory| openat(&directory, ".", flags, Mode::empty()).ok();
        let Some(Ok(entries)) = self.open(place).and_then(open).map(Dir::new) else { return Vec::new() };
        let names = entries.flatten().take(LISTED_MAX).filter_map(|entry| {
            let name = entry.file_name().to_bytes();
            Name::new(name).ok().filter(|_| ends_with(name, extension))
        });
        let mut names: Vec<Name> = names.collect();
        names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        names
    }
}

/// Where to look, most likely first.
fn candidates(wanted: &ParentRef, places: &[OwnedFd]) -> Vec<Candidate> {
    let mut all = Vec::new();
    for path in &wanted.paths {
        let (above, file) = path.rsplit_once('/').unwrap_or(("", path));
        match file.strip_prefix('*').filter(|_| !wanted.id.is_empty()) {
            Some(extension) => {
                let directory = if above == ".." { Directory::Above } else { Directory::Same };
                for (place, opened) in places.iter().enumerate() {
                    let files = directory.files(opened, extension.as_bytes()).into_iter();
                    all.extend(files.map(|file| Candidate { place, directory: directory.clone(), file }));
                }
            }
            None => all.extend(named(path, places.len())),
        }
    }
    all.truncate(CANDIDATES_MAX);
    all
}

/// Where the file that a path names may be.
fn named(path: &str, places: usize) -> Vec<Candidate> {
    let mut names = path.rsplit('/').map(|component| Name::new(component.as_bytes()).ok());
    let Some(Some(file)) = names.next() else { return Vec::new() };
    let sibling = names.next().flatten().map(Directory::Sibling);
    let mut all = Vec::new();
    for file in [Some(file.clone()), variant(&file)].into_iter().flatten() {
        for directory in [Some(Directory::Same), sibling.clone()].into_iter().flatten() {
            for place in 0..places {
                all.push(Candidate { place, directory: directory.clone(), file: file.clone() });
            }
        }
    }
    all
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len() > end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// The name of the same image when it is compressed, or when it is not.
fn variant(file: &Name) -> Option<Name> {
    let name = file.as_bytes();
    if ends_with(name, b".vhd") || ends_with(name, b".vhdx") {
        Name::new([name, b"z"].concat()).ok()
    } else if ends_with(name, b".vhdz") || ends_with(name, b".vhdxz") {
        Name::new(&name[..name.len() - 1]).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
