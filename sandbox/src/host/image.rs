//! Image files: opened by the host, read-only.

use rustix::fs::{Mode, OFlags};
use spelunk_tree::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// How every image is opened. Not blocking, or opening a pipe that nobody writes to would never end.
pub(crate) const OPEN_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// An open image file.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) file: File,
    pub(crate) size: u64,
    /// Device and inode: which file it is.
    pub(crate) identity: (u64, u64),
}

/// Opens the image that the user named.
pub(crate) fn open_image(path: &Path) -> Result<Image> {
    let file = rustix::fs::open(path, OPEN_FLAGS, Mode::empty())
        .map_err(|errno| Error::from_io("opening the image", &std::io::Error::from(errno)))?;
    Image::new(File::from(file))
}

impl Image {
    /// Takes a file that can be an image: a regular one or a block device.
    pub(crate) fn new(mut file: File) -> Result<Image> {
        let failed = |cause| Error::from_io("opening the image", &cause);
        let metadata = file.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Err(Error::new(ErrorKind::IsADirectory, "a directory, not an image file"));
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(Error::unsupported("neither an image file nor a block device"));
        }
        // A block device says its size only this way.
        let size =
            if kind.is_file() { metadata.len() } else { file.seek(SeekFrom::End(0)).map_err(failed)? };
        Ok(Image { file, size, identity: (metadata.dev(), metadata.ino()) })
    }
}
