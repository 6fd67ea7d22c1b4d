//! A repository whose key is known: its files and blobs, opened.

use super::directory::Directory;
use super::files::{Files, Folder};
use super::id::Id;
use super::index::{BlobKind, Index, Place};
use super::seal::SealKey;
use crate::library::recent::Recent;
use serde::Deserialize;
use spelunk_tree::{Error, ErrorKind, Result};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of `config`; it has some hundred.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a snapshot as it is stored, and decompressed: a list of paths, and some words.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 20;
/// Bytes of an index as it is stored, and decompressed: restic writes some 8 MiB.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a blob of a file: restic makes at most 8 MiB.
const DATA_BYTES_MAX: usize = 64 << 20;
/// Bytes of a blob of a directory: some half a million entries.
const TREE_BYTES_MAX: usize = 256 << 20;
/// Bytes of files' blobs, and of directories, that are kept when they were read.
const KEPT_DATA_BYTES_MAX: usize = 64 << 20;
const KEPT_TREE_BYTES_MAX: usize = 64 << 20;

/// The versions that are read.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Stands before what is compressed, of files that are not in packs.
const COMPRESSED: u8 = 2;

/// `config`.
#[derive(Deserialize)]
struct Config {
    version: u32,
}

/// See the module.
pub(super) struct Repository {
    files: Arc<Files>,
    key: SealKey,
    index: Mutex<Option<Arc<Index>>>,
    data: Recent<Id, Vec<u8>>,
    trees: Recent<Id, Directory>,
}

/// Opens what is sealed in one of the files.
///
/// # Errors
/// `Corrupt` when it is not what its id says, or was changed; `Limit` when it is too long.
pub(super) fn open_file(files: &Files, key: &SealKey, folder: Folder, id: &Id) -> Result<Vec<u8>> {
    let bytes_max = if folder == Folder::Index { INDEX_BYTES_MAX } else { SNAPSHOT_BYTES_MAX };
    let sealed = files.read(folder, id, bytes_max)?;
    let damaged = |error: Error| error.context(format!("reading {folder:?} {id} of a repository"));
    if Id::of(&sealed) != *id {
        return Err(damaged(Error::corrupt("a file that is not what it is called after")));
    }
    key.open(&sealed).and_then(|bytes| plain(bytes, bytes_max)).map_err(damaged)
}

/// Checks that the version of a repository is one that is read.
///
/// # Errors
/// `Unsupported` for others.
pub(super) fn check_version(files: &Files, key: &SealKey) -> Result<()> {
    let config = key.open(&files.read_config(CONFIG_BYTES_MAX)?)?;
    let config: Config = serde_json::from_slice(&plain(config, CONFIG_BYTES_MAX)?)
        .map_err(|_| Error::corrupt("a repository whose config is no JSON of one"))?;
    if VERSIONS.contains(&config.version) {
        return Ok(());
    }
    Err(Error::unsupported(format!("a repository of version {}", config.version)))
}

/// What is in a file that is not a pack, compressed or not.
fn plain(bytes: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>> {
    match bytes.split_first() {
        Some((&COMPRESSED, compressed)) => {
            let failed = |_| Error::corrupt("bytes that cannot be decompressed");
            let mut plain = Vec::new();
            let decoder = zstd::Decoder::with_buffer(compressed).map_err(failed)?;
            decoder.take(bytes_max.saturating_add(1)).read_to_end(&mut plain).map_err(failed)?;
            if u64::try_from(plain.len()).is_ok_and(|length| length <= bytes_max) {
                return Ok(plain);
            }
            Err(Error::limit(format!("a file of more than {bytes_max} bytes, decompressed")))
        }
        Some((b'{' | b'[', _)) => Ok(bytes),
        _ => Err(Error::unsupported("a file of a repository that is neither JSON nor compressed")),
    }
}

impl Repository {
    pub(super) fn new(files: Arc<Files>, key: SealKey) -> Repository {
        Repository {
            files,
            key,
            index: Mutex::default(),
            data: Recent::new(KEPT_DATA_BYTES_MAX),
            trees: Recent::new(KEPT_TREE_BYTES_MAX),
        }
    }

    /// The directory in a tree's blob.
    ///
    /// # Errors
    /// `Corrupt` when it is missing or damaged.
    pub(super) fn directory(&self, id: &Id) -> Result<Arc<Directory>> {
        if let Some(known) = self.trees.get(id) {
            return Ok(known);
        }
        let directory = Arc::new(Directory::parse(self.read(BlobKind::Tree, id, TREE_BYTES_MAX)?)?);
        self.trees.put(*id, directory.clone(), directory.memory_bytes());
        Ok(directory)
    }

    /// A piece of a file.
    ///
    /// # Errors
    /// `Corrupt` when it is missing or damaged.
    pub(super) fn data(&self, id: &Id) -> Result<Arc<Vec<u8>>> {
        if let Some(known) = self.data.get(id) {
            return Ok(known);
        }
        let data = Arc::new(self.read(BlobKind::Data, id, DATA_BYTES_MAX)?);
        self.data.put(*id, data.clone(), data.len());
        Ok(data)
    }

    /// Bytes in each of these pieces of a file; `None` for one that no index names.
    pub(super) fn lengths(&self, ids: &[Id]) -> Result<Vec<Option<usize>>> {
        let of = |index: &Index| -> Vec<Option<usize>> {
            let length = |id| index.places(BlobKind::Data, id).next().map(|place| place.bytes);
            ids.iter().map(length).collect()
        };
        let index = self.index()?;
        let lengths = of(&index);
        if lengths.contains(&None)
            && let Some(newer) = self.newer_index(&index)?
        {
            return Ok(of(&newer));
        }
        Ok(lengths)
    }

    /// Reads a blob from where it lies. When it lies nowhere, the index may have been written anew.
    fn read(&self, kind: BlobKind, id: &Id, bytes_max: usize) -> Result<Vec<u8>> {
        let index = self.index()?;
        let error = match self.read_by(&index, kind, id, bytes_max) {
            Err(error) if error.kind() == ErrorKind::Corrupt => error,
            read => return read,
        };
        match self.newer_index(&index)? {
            Some(newer) => self.read_by(&newer, kind, id, bytes_max),
            None => Err(error),
        }
    }

    fn read_by(&self, index: &Index, kind: BlobKind, id: &Id, bytes_max: usize) -> Result<Vec<u8>> {
        let mut failure = None;
        for place in index.places(kind, id) {
            match self.read_place(&place, id, bytes_max) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    failure = failure.or(Some(error.object(format!("pack {}, blob {id}", place.pack))));
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            let error =
                Error::corrupt("no index of the repository names a blob").object(format!("blob {id}"));
            match index.damaged() {
                0 => error,
                damaged => error.because(Error::corrupt(format!("{damaged} of its indexes are damaged"))),
            }
        }))
    }

    fn read_place(&self, place: &Place, id: &Id, bytes_max: usize) -> Result<Vec<u8>> {
        // What does not compress grows a little when it is compressed.
        if place.bytes > bytes_max || place.length > bytes_max.saturating_add(bytes_max / 8) {
            return Err(Error::limit(format!("a blob of more than {bytes_max} bytes")).at(place.offset));
        }
        let sealed = self.files.read_pack(&place.pack, place.offset, place.length).map_err(|error| {
            match error.kind() {
                ErrorKind::NotFound => Error::corrupt("a pack of the repository is missing").because(error),
                _ => error.context("reading a blob"),
            }
        })?;
        let bytes = self.key.open(&sealed).map_err(|error| error.at(place.offset))?;
        let bytes = if place.is_compressed {
            // It writes no more than there is room for.
            zstd::bulk::decompress(&bytes, place.bytes)
                .map_err(|_| Error::corrupt("a blob that cannot be decompressed").at(place.offset))?
        } else {
            bytes
        };
        if bytes.len() != place.bytes || Id::of(&bytes) != *id {
            return Err(Error::corrupt("a blob that is not what it is called after").at(place.offset));
        }
        Ok(bytes)
    }

    /// The index, read when it is first needed.
    fn index(&self) -> Result<Arc<Index>> {
        let mut known = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*known {
            return Ok(index.clone());
        }
        let index = self.load_index(self.files.list(Folder::Index)?)?;
        *known = Some(index.clone());
        Ok(index)
    }

    /// The index as it is now, if it is another than `known`.
    fn newer_index(&self, known: &Index) -> Result<Option<Arc<Index>>> {
        let files = self.files.list(Folder::Index)?;
        if known.is_of(&files) {
            return Ok(None);
        }
        let mut now = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match &*now {
            // Somebody else read it meanwhile.
            Some(index) if index.is_of(&files) => index.clone(),
            _ => self.load_index(files)?,
        };
        *now = Some(index.clone());
        Ok(Some(index))
    }

    fn load_index(&self, files: Vec<Id>) -> Result<Arc<Index>> {
        let read = |id: &Id| open_file(&self.files, &self.key, Folder::Index, id);
        Index::load(files, read).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decompresses_to_more_than_may_be_is_refused() {
        let compressed = |bytes: &[u8]| {
            let mut file = vec![COMPRESSED];
            file.extend(zstd::encode_all(bytes, 1).unwrap());
            file
        };

        assert_eq!(plain(compressed(b"{}"), 2).unwrap(), b"{}");
        assert_eq!(plain(compressed(&[b' '; 1000]), 999).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(plain(vec![COMPRESSED, 1, 2, 3], 999).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(plain(vec![3], 999).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
