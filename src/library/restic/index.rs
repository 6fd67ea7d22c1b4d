//! Where blobs lie: what stands in the files of `index/`, in memory.

use super::id::Id;
use super::seal::SEAL_BYTES;
use serde::Deserialize;
use spelunk_tree::{Error, Result};

/// Blobs of one repository, copies included: 16 TiB at restic's usual size of a blob, and 800 MiB of memory.
const BLOBS_MAX: usize = 1 << 24;
/// Packs of one repository: of so many blobs each has one at least.
const PACKS_MAX: usize = BLOBS_MAX;

/// What a blob holds. Blobs of two kinds may have one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BlobKind {
    /// A piece of a file.
    Data,
    /// A directory.
    Tree,
}

/// A file in `index/`. Offsets and lengths are bytes.
#[derive(Deserialize)]
struct IndexFile {
    #[serde(default)]
    packs: Vec<PackEntry>,
}

#[derive(Deserialize)]
struct PackEntry {
    id: Id,
    #[serde(default)]
    blobs: Vec<BlobEntry>,
}

#[derive(Deserialize)]
struct BlobEntry {
    id: Id,
    #[serde(rename = "type")]
    kind: BlobKind,
    offset: u32,
    length: u32,
    #[serde(default)]
    uncompressed_length: u32,
}

/// A blob in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: Id,
    /// Index of the pack.
    pack: u32,
    offset: u32,
    length: u32,
    /// 0 when it is not compressed.
    uncompressed: u32,
}

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pack: Id,
    pub(super) offset: u64,
    /// Sealed bytes.
    pub(super) length: usize,
    /// Bytes in the blob.
    pub(super) bytes: usize,
    pub(super) is_compressed: bool,
}

/// All blobs that the files of an index name.
pub(super) struct Index {
    /// The files that were read or found damaged, sorted.
    files: Vec<Id>,
    /// How many of them are damaged.
    damaged: usize,
    packs: Vec<Id>,
    /// By id.
    data: Vec<Entry>,
    trees: Vec<Entry>,
}

impl Index {
    /// Makes an index of its files, which `read` opens one by one. One that is damaged is left out.
    ///
    /// # Errors
    /// `Limit` for too many blobs; what `read` reports, other than damage.
    pub(super) fn load(files: Vec<Id>, read: impl Fn(&Id) -> Result<Vec<u8>>) -> Result<Index> {
        let mut index =
            Index { files: Vec::new(), damaged: 0, packs: Vec::new(), data: Vec::new(), trees: Vec::new() };
        for id in &files {
            let parsed = read(id).and_then(|bytes| {
                serde_json::from_slice::<IndexFile>(&bytes).map_err(|_| {
                    Error::corrupt("an index that is no JSON of one").object(format!("index/{id}"))
                })
            });
            match parsed {
                Ok(file) => file.packs.into_iter().try_for_each(|pack| index.add(pack))?,
                Err(error) if error.kind() == spelunk_tree::ErrorKind::Storage => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "an index of a repository is left out");
                    index.damaged += 1;
                }
            }
        }
        index.files = files;
        index.data.sort_unstable_by_key(|entry| entry.id);
        index.trees.sort_unstable_by_key(|entry| entry.id);
        Ok(index)
    }

    fn add(&mut self, pack: PackEntry) -> Result<()> {
        let full = || Error::limit(format!("a repository of more than {BLOBS_MAX} blobs"));
        let count = self.data.len().saturating_add(self.trees.len()).saturating_add(pack.blobs.len());
        if count > BLOBS_MAX || self.packs.len() >= PACKS_MAX {
            return Err(full());
        }
        let number = u32::try_from(self.packs.len()).map_err(|_| full())?;
        self.packs.push(pack.id);
        for blob in pack.blobs {
            let entries = match blob.kind {
                BlobKind::Data => &mut self.data,
                BlobKind::Tree => &mut self.trees,
            };
            entries.push(Entry {
                id: blob.id,
                pack: number,
                offset: blob.offset,
                length: blob.length,
                uncompressed: blob.uncompressed_length,
            });
        }
        Ok(())
    }

    /// Whether these are the files that it was made of.
    pub(super) fn is_of(&self, files: &[Id]) -> bool {
        self.files == files
    }

    /// Files that were damaged.
    pub(super) fn damaged(&self) -> usize {
        self.damaged
    }

    /// Where a blob lies: more than one place when it was stored more than once.
    pub(super) fn places(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = Place> {
        let entries = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        };
        let start = entries.partition_point(|entry| entry.id < *id);
        let same = entries.get(start..).unwrap_or_default().iter().take_while(move |entry| entry.id == *id);
        same.filter_map(|entry| entry.place(&self.packs))
    }
}

impl Entry {
    /// The place, unless no blob can have it.
    fn place(&self, packs: &[Id]) -> Option<Place> {
        let length = usize::try_from(self.length).ok()?;
        let plain = length.checked_sub(SEAL_BYTES)?;
        let is_compressed = self.uncompressed != 0;
        Some(Place {
            pack: *packs.get(usize::try_from(self.pack).ok()?)?,
            offset: self.offset.into(),
            length,
            bytes: if is_compressed { usize::try_from(self.uncompressed).ok()? } else { plain },
            is_compressed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(files: &[&str]) -> Index {
        let ids: Vec<Id> = (0..files.len()).map(|number| Id([u8::try_from(number).unwrap(); 32])).collect();
        Index::load(ids, |id| Ok(files[usize::from(id.0[0])].as_bytes().to_vec())).unwrap()
    }

    fn hex(digit: char) -> String {
        String::from(digit).repeat(64)
    }

    #[test]
    fn every_copy_of_a_blob_is_found_under_its_kind() {
        let file = |pack, kind| {
            format!(
                r#"{{"packs":[{{"id":"{}","blobs":[{{"id":"{}","type":"{kind}","offset":7,"length":40}}]}}]}}"#,
                hex(pack),
                hex('a')
            )
        };
        let index = index(&[&file('1', "data"), &file('2', "data"), &file('3', "tree"), "{"]);

        let id = Id([0xaa; 32]);
        let data: Vec<Place> = index.places(BlobKind::Data, &id).collect();
        assert_eq!((data.len(), index.places(BlobKind::Tree, &id).count(), index.damaged()), (2, 1, 1));
        assert_eq!((data[0].offset, data[0].length, data[0].bytes, data[0].is_compressed), (7, 40, 8, false));
        assert_eq!(index.places(BlobKind::Data, &Id([0; 32])).count(), 0);
    }

    #[test]
    fn a_blob_shorter_than_its_seal_has_no_place() {
        let index = index(&[&format!(
            r#"{{"packs":[{{"id":"{0}","blobs":[{{"id":"{0}","type":"data","offset":0,"length":31}}]}}]}}"#,
            hex('a')
        )]);

        assert_eq!(index.places(BlobKind::Data, &Id([0xaa; 32])).count(), 0);
    }
}
