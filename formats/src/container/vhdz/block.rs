//! Records: one block each, stored, or packed with zlib or zstd.

use crate::bytes::{add, count, index, le_u32};
use crate::container::unpack;
use spelunk_tree::{Error, ReadAt, Result};

/// Length and mode.
const RECORD_HEADER_BYTES: u64 = 8;

const MODE_STORED: u32 = 0;
const MODE_ZLIB: u32 = 1;
const MODE_ZSTD: u32 = 2;

/// Reads and decodes the record at `offset`: at least `needed` and at most `block_bytes` bytes, whatever
/// the record claims.
pub(super) fn read(file: &dyn ReadAt, offset: u64, block_bytes: u64, needed: u64) -> Result<Vec<u8>> {
    let (mode, payload) = payload(file, offset, block_bytes)?;
    let block = match mode {
        MODE_STORED if count(payload.len()) <= block_bytes => payload,
        MODE_STORED => return Err(Error::corrupt("a stored block larger than a block").at(offset)),
        MODE_ZLIB => unpack::zlib(&payload, index(block_bytes)?).map_err(|error| error.at(offset))?,
        MODE_ZSTD => unpack::zstd(&payload, index(block_bytes)?).map_err(|error| error.at(offset))?,
        _ => return Err(Error::unsupported(format!("compression mode {mode}")).at(offset)),
    };
    if count(block.len()) < needed {
        return Err(Error::corrupt(format!("a block of {} bytes, not {needed}", block.len())).at(offset));
    }
    Ok(block)
}

fn payload(file: &dyn ReadAt, offset: u64, block_bytes: u64) -> Result<(u32, Vec<u8>)> {
    let start = add(offset, RECORD_HEADER_BYTES)?;
    if start > file.size() {
        return Err(truncated(offset));
    }
    let mut header = [0; 8];
    file.read_at(offset, &mut header)?;
    let len = u64::from(le_u32(&header, 0)?);
    if len > packed_bytes_max(block_bytes) {
        return Err(Error::corrupt(format!("{len} bytes packed for one block")).at(offset));
    }
    if add(start, len)? > file.size() {
        return Err(truncated(offset));
    }
    let mut payload = vec![0; index(len)?];
    file.read_at(start, &mut payload)?;
    Ok((le_u32(&header, 4)?, payload))
}

fn truncated(offset: u64) -> Error {
    Error::corrupt("truncated: a block goes past the end of the file").at(offset)
}

/// More than what any packer makes of a block that cannot be packed.
fn packed_bytes_max(block_bytes: u64) -> u64 {
    block_bytes.saturating_add(block_bytes / 8).saturating_add(4096)
}
