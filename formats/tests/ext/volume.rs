//! An image file as a volume.

use spelunk_formats::guest::{self, Options};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, Tree};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub struct FileVolume {
    file: File,
    size: u64,
}

impl FileVolume {
    pub fn open(path: &Path) -> FileVolume {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let size = file.metadata().unwrap().len();
        FileVolume { file, size }
    }

    fn check(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(Error::corrupt("past the end").at(offset)),
        }
    }
}

impl ReadAt for FileVolume {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(offset, buffer.len() as u64)?;
        self.file.read_exact_at(buffer, offset).map_err(|error| Error::from_io("reading", &error))
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.check(offset, len)?;
        spelunk_tree::push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

pub fn open_tree(path: &Path) -> Result<Arc<dyn Tree>> {
    guest::open(Arc::new(FileVolume::open(path)), &Options::default())
}

/// An image in memory.
pub struct MemoryVolume(pub Vec<u8>);

impl ReadAt for MemoryVolume {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start.checked_add(buffer.len()).and_then(|end| self.0.get(start..end));
        buffer.copy_from_slice(bytes.ok_or_else(|| Error::corrupt("past the end").at(offset))?);
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size() => {
                spelunk_tree::push_run(runs, Run { len, place: Place::At { source: 0, offset } });
                Ok(())
            }
            _ => Err(Error::corrupt("past the end").at(offset)),
        }
    }
}

pub fn open_bytes(bytes: Vec<u8>) -> Result<Arc<dyn Tree>> {
    guest::open(Arc::new(MemoryVolume(bytes)), &Options::default())
}
