//! Image files.

use spelunk_formats::Slice;
use spelunk_formats::guest::{self, Options};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, Tree, push_run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// An image file as bytes.
pub struct Image {
    file: File,
    size: u64,
}

impl Image {
    pub fn open(path: &Path) -> Arc<dyn ReadAt> {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let size = file.metadata().unwrap().len();
        Arc::new(Image { file, size })
    }
}

impl ReadAt for Image {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(Error::corrupt("past the end of the image").at(offset));
        }
        self.file.read_exact_at(buffer, offset).map_err(|error| Error::from_io("reading", &error))
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(Error::corrupt("past the end of the image").at(offset));
        }
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

/// Bytes in memory as an image.
pub struct Memory(pub Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = from.checked_add(buffer.len()).and_then(|end| self.0.get(from..end));
        buffer.copy_from_slice(bytes.ok_or_else(|| Error::corrupt("past the end of the image"))?);
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

/// Opens the NTFS volume at `start` of an image, with its metafiles.
pub fn open_at(image: Arc<dyn ReadAt>, start: u64, len: u64) -> Result<Arc<dyn Tree>> {
    guest::open(
        Arc::new(Slice::new(image, start, len)),
        &Options { show_metafiles: true, ..Options::default() },
    )
}
