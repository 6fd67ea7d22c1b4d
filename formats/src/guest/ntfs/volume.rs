//! What all parts of the reader share: the volume's bytes and shape, the MFT, the caches.

use super::boot::Geometry;
use super::cache::Cache;
use super::mft::Mft;
use super::runlist::Runlist;
use spelunk_tree::{ReadAt, Result};
use std::sync::Arc;

/// Bytes of decoded runlists kept: what some hundred fragmented files in use need.
const RUNLIST_CACHE_BYTES: usize = 2 << 20;
/// Bytes of decompressed units kept: for readers that ask for less than a unit (64 KiB) at a time.
const UNIT_CACHE_BYTES: usize = 2 << 20;
/// Bytes of index blocks kept: the upper levels of some large directories.
const BLOCK_CACHE_BYTES: usize = 2 << 20;

/// Tells attributes apart: number of the record, instance of the attribute in it.
pub(super) type AttributeId = (u64, u16);

/// An NTFS volume.
pub(super) struct Volume {
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// Its shape.
    pub geometry: Geometry,
    /// Its records.
    pub mft: Mft,
    /// Decoded runlists of segments.
    pub runlists: Cache<AttributeId, Arc<Runlist>>,
    /// Decompressed units, or WOF's chunks, by attribute and number.
    pub units: Cache<(AttributeId, u64), Arc<[u8]>>,
    /// Index blocks by attribute and byte offset, update sequence undone.
    pub blocks: Cache<(AttributeId, u64), Arc<[u8]>>,
}

impl Volume {
    /// Reads the boot sector, or where that leads nowhere its copy, and finds the MFT; `notes` takes what the
    /// user should know.
    ///
    /// # Errors
    /// `Corrupt` when either cannot be read.
    pub fn open(bytes: Arc<dyn ReadAt>, notes: &mut Vec<String>) -> Result<Volume> {
        let opened = Geometry::read(&*bytes)
            .and_then(|geometry| Volume::with_geometry(bytes.clone(), geometry, notes));
        opened.or_else(|error| {
            let geometry = Geometry::read_backup(&*bytes).ok_or_else(|| error.clone())?;
            notes.push("boot sector damaged, its copy at the end of the volume used".into());
            Volume::with_geometry(bytes, geometry, notes).map_err(|_| error)
        })
    }

    fn with_geometry(bytes: Arc<dyn ReadAt>, geometry: Geometry, notes: &mut Vec<String>) -> Result<Volume> {
        let mft = Mft::open(bytes.clone(), geometry.clone(), notes)?;
        if geometry.size_bytes > bytes.size() {
            notes.push(format!(
                "the volume ends after {} of {} bytes: files behind the end cannot be read",
                bytes.size(),
                geometry.size_bytes
            ));
        }
        Ok(Volume {
            bytes,
            geometry,
            mft,
            runlists: Cache::new(RUNLIST_CACHE_BYTES),
            units: Cache::new(UNIT_CACHE_BYTES),
            blocks: Cache::new(BLOCK_CACHE_BYTES),
        })
    }
}
