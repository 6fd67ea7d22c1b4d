//! Shadow copies: which states of itself a volume keeps (VSS; the layout is that of libvshadow's documentation).
//! Only their catalog is read.

use crate::bytes::{array, count, le_u32, le_u64};
use crate::guid;
use spelunk_tree::{Error, ReadAt, Result, Time};

/// Where the header stands: in the part of `$Boot` that nothing else uses.
const HEADER_AT: u64 = 0x1E00;
const HEADER_BYTES: usize = 128;
/// `3808876B-C176-4E48-B7AE-04046E6CC752`, as stored.
const SIGNATURE: [u8; 16] =
    [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];
const RECORD_VOLUME: u32 = 1;
const RECORD_CATALOG: u32 = 2;

const BLOCK_BYTES: usize = 16 << 10;
const ENTRY_BYTES: usize = 128;
/// An entry that describes a copy; the others say where its parts are.
const ENTRY_COPY: u64 = 2;
/// Windows keeps at most 512 copies, with two entries of 128 bytes each.
const BLOCKS_MAX: usize = 16;

/// A shadow copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShadowCopy {
    /// Identifier of its store.
    pub id: String,
    /// When it was made.
    pub created: Time,
}

/// The shadow copies that the catalog of `volume` lists, in its order.
///
/// # Errors
/// `Corrupt` for a damaged catalog; `Limit` when it is too long.
pub(super) fn list(volume: &dyn ReadAt) -> Result<Vec<ShadowCopy>> {
    let mut copies = Vec::new();
    let mut header = [0; HEADER_BYTES];
    if volume.size() < HEADER_AT.saturating_add(count(HEADER_BYTES)) {
        return Ok(copies);
    }
    volume.read_at(HEADER_AT, &mut header)?;
    if !is_record(&header, RECORD_VOLUME)? {
        return Ok(copies);
    }
    let mut next = le_u64(&header, 0x30)?;
    let mut block = vec![0; BLOCK_BYTES];
    for _ in 0..BLOCKS_MAX {
        if next == 0 {
            return Ok(copies);
        }
        volume.read_at(next, &mut block)?;
        if !is_record(&block, RECORD_CATALOG)? {
            return Err(Error::corrupt("not a part of the catalog of shadow copies").at(next));
        }
        next = le_u64(&block, 0x28)?;
        for entry in block.chunks_exact(ENTRY_BYTES).skip(1) {
            if le_u64(entry, 0)? == ENTRY_COPY {
                copies.push(ShadowCopy {
                    id: guid::text(&array(entry, 0x10)?),
                    created: Time::from_filetime(le_u64(entry, 0x30)?),
                });
            }
        }
    }
    Err(Error::limit(format!("a catalog of shadow copies of more than {BLOCKS_MAX} blocks")))
}

fn is_record(bytes: &[u8], kind: u32) -> Result<bool> {
    Ok(array::<16>(bytes, 0)? == SIGNATURE && le_u32(bytes, 0x14)? == kind)
}
