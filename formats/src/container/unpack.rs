//! Compressed blocks: never more bytes than asked for, whatever they claim to hold.

use crate::bytes::{count, index};
use flate2::{Decompress, FlushDecompress, Status};
use spelunk_tree::{Error, Result};

/// At most `len_max` bytes of a zlib stream, whose checksum (Adler-32) the decoder verifies. What stands behind the
/// stream is ignored.
pub(crate) fn zlib(packed: &[u8], len_max: usize) -> Result<Vec<u8>> {
    let mut block = vec![0; len_max];
    let mut decoder = Decompress::new(true);
    match decoder.decompress(packed, &mut block, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) => {}
        Ok(_) => return Err(Error::corrupt("a zlib block that is cut off or too large")),
        Err(error) => return Err(Error::corrupt(format!("a damaged zlib block: {error}"))),
    }
    block.truncate(index(decoder.total_out())?);
    Ok(block)
}

/// The first `len` bytes of a bare deflate stream, which has no checksum. Decoding stops there.
pub(crate) fn deflate(packed: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut block = vec![0; len];
    let mut decoder = Decompress::new(false);
    decoder
        .decompress(packed, &mut block, FlushDecompress::Finish)
        .map_err(|error| Error::corrupt(format!("a damaged deflate block: {error}")))?;
    whole(block, decoder.total_out(), len)
}

/// At most `len_max` bytes of zstd frames.
pub(crate) fn zstd(packed: &[u8], len_max: usize) -> Result<Vec<u8>> {
    let mut block = vec![0; len_max];
    let len = zstd::bulk::decompress_to_buffer(packed, &mut block)
        .map_err(|error| Error::corrupt(format!("a damaged zstd block: {error}")))?;
    block.truncate(len);
    Ok(block)
}

/// The `len` bytes of the zstd frame at the beginning of `packed`.
pub(crate) fn zstd_frame(packed: &[u8], len: usize) -> Result<Vec<u8>> {
    let end = zstd::zstd_safe::find_frame_compressed_size(packed)
        .map_err(|_| Error::corrupt("a zstd block that is cut off or damaged"))?;
    let block = zstd(packed.get(..end).unwrap_or_default(), len)?;
    let unpacked = count(block.len());
    whole(block, unpacked, len)
}

/// `block`, of which `unpacked` bytes were filled, when those are the `len` that it must have.
fn whole(block: Vec<u8>, unpacked: u64, len: usize) -> Result<Vec<u8>> {
    if unpacked == count(len) {
        return Ok(block);
    }
    Err(Error::corrupt(format!("a compressed block of {unpacked} bytes, not {len}")))
}
