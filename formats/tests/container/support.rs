//! Image files, the search for parents, and reading a disk in two ways.

use sha2::{Digest, Sha256};
use spelunk_formats::container::{self, Disk, ParentSource};
use spelunk_tree::{Error, ParentRef, Place, ReadAt, Result, Run, push_run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where an image file's bytes are.
#[derive(Clone)]
pub enum Bytes {
    Memory(Arc<Vec<u8>>),
    File(Arc<File>),
}

/// An image file of a chain.
#[derive(Clone)]
pub struct Image {
    pub bytes: Bytes,
    pub source: u32,
}

impl Image {
    pub fn memory(bytes: Vec<u8>) -> Image {
        Image { bytes: Bytes::Memory(Arc::new(bytes)), source: 0 }
    }

    pub fn file(path: &Path) -> Image {
        Image { bytes: Bytes::File(Arc::new(File::open(path).unwrap())), source: 0 }
    }

    pub fn with_source(&self, source: u32) -> Image {
        Image { source, ..self.clone() }
    }
}

impl ReadAt for Image {
    fn size(&self) -> u64 {
        match &self.bytes {
            Bytes::Memory(bytes) => bytes.len() as u64,
            Bytes::File(file) => file.metadata().unwrap().len(),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size()) {
            return Err(Error::corrupt("past the end of the image file").at(offset));
        }
        match &self.bytes {
            Bytes::Memory(bytes) => buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]),
            Bytes::File(file) => file.read_exact_at(buffer, offset).unwrap(),
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.size()) {
            return Err(Error::corrupt("past the end of the image file").at(offset));
        }
        push_run(runs, Run { len, place: Place::At { source: self.source, offset } });
        Ok(())
    }
}

/// Parents by name from a list of files, or from the directories beside an image, as the host does it.
#[derive(Default)]
pub struct Parents {
    /// Offered to every child, the first one first.
    pub files: Vec<Image>,
    /// Whether the file number n is offered to the child with index n only.
    pub is_in_turn: bool,
    /// The paths of the chain's images so far, when they are real files.
    pub paths: Vec<PathBuf>,
    /// How often the current child has asked.
    asked: (u32, usize),
    /// The last answer for each source, for reading runs.
    pub chosen: Mutex<Vec<Image>>,
}

impl Parents {
    pub fn of(files: impl IntoIterator<Item = Image>) -> Parents {
        Parents { files: files.into_iter().collect(), ..Parents::default() }
    }

    pub fn in_turn(self) -> Parents {
        Parents { is_in_turn: true, ..self }
    }

    pub fn beside(path: &Path) -> Parents {
        Parents { paths: vec![path.to_owned()], ..Parents::default() }
    }

    fn found(&self, source: u32, wanted: &ParentRef) -> Vec<PathBuf> {
        let Some(child) = self.paths.get(source as usize) else { return Vec::new() };
        let directory = child.parent().unwrap();
        let mut found = Vec::new();
        for path in &wanted.paths {
            let mut components = path.rsplit('/');
            let (base, above) = (components.next().unwrap(), components.next());
            found.push(directory.join(base));
            found.extend(above.map(|above| directory.join("..").join(above).join(base)));
        }
        found.retain(|path| path.is_file());
        found
    }
}

impl ParentSource for Parents {
    fn next_candidate(&mut self, source: u32, wanted: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        if self.asked.0 != source {
            self.asked = (source, 0);
        }
        let number = self.asked.1;
        self.asked.1 += 1;
        let image = if self.paths.is_empty() {
            match self.is_in_turn {
                true if number > 0 => None,
                true => self.files.get(source as usize).cloned(),
                false => self.files.get(number).cloned(),
            }
        } else {
            let path = self.found(source, wanted).get(number).cloned();
            path.map(|path| {
                self.paths.truncate(source as usize + 1);
                self.paths.push(path.clone());
                Image::file(&path)
            })
        };
        let Some(image) = image.map(|image| image.with_source(source + 1)) else { return Ok(None) };
        let mut chosen = self.chosen.lock().unwrap();
        chosen.truncate(source as usize);
        chosen.push(image.clone());
        Ok(Some(Arc::new(image)))
    }
}

/// A disk and the files that its runs name.
pub struct Opened {
    pub disk: Disk,
    pub files: Vec<Image>,
}

pub fn open_with(image: Image, mut parents: Parents) -> Result<Opened> {
    let disk = container::open(Arc::new(image.clone()), &mut parents)?;
    let mut files = vec![image];
    files.extend(parents.chosen.into_inner().unwrap());
    Ok(Opened { disk, files })
}

pub fn open(bytes: Vec<u8>) -> Result<Opened> {
    open_with(Image::memory(bytes), Parents::default())
}

pub fn open_path(path: &Path) -> Result<Opened> {
    open_with(Image::file(path), Parents::beside(path))
}

impl Opened {
    /// The disk's bytes in a range, read in both ways: they must agree.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0xA5; len];
        self.disk.bytes.read_at(offset, &mut bytes)?;
        let mut runs = Vec::new();
        self.disk.bytes.runs(offset, len as u64, &mut runs)?;
        let zeros = vec![0; len];
        let mut position = 0;
        for run in runs {
            assert_ne!(run.len, 0);
            let part = &bytes[position..position + run.len as usize];
            match run.place {
                Place::At { source, offset } => {
                    let mut direct = vec![0; part.len()];
                    self.files[source as usize].read_at(offset, &mut direct).unwrap();
                    assert!(direct == part, "run at {offset} of file {source} differs");
                }
                Place::Zero => assert!(*part == zeros[..part.len()], "a zero run is not zero"),
                Place::Opaque => {}
            }
            position += part.len();
        }
        assert_eq!(position, len, "runs do not cover the range");
        Ok(bytes)
    }

    pub fn all(&self) -> Result<Vec<u8>> {
        self.read(0, self.disk.bytes.size() as usize)
    }

    /// The SHA-256 of a range, read in both ways.
    pub fn sha256(&self, start: u64, len: u64) -> Result<String> {
        let mut hash = Sha256::new();
        let mut done = 0;
        while done < len {
            let step = (len - done).min(4 << 20);
            hash.update(self.read(start + done, step as usize)?);
            done += step;
        }
        Ok(hex(&hash.finalize()))
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that look random and never repeat nearby.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed);
    (0..len.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes()).take(len).collect()
}

/// SplitMix64: tests must not differ from run to run.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A directory that is removed at the end of the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("spelunk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// All messages of an error in one line.
pub fn line(error: &Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
