//! Files that Windows packed (`compact /exe`, CompactOS): the Windows overlay filter keeps their bytes in the stream
//! `WofCompressedData`, and leaves a hole of the right size as unnamed stream ([MS-FSCC] 2.1.2.6 and what
//! ntfs-3g's plugin documents).
//!
//! The packed stream begins with a table of where each chunk but the first begins, counted from the table's end,
//! in numbers of 32 bits, or 64 for files above 4 GiB. A chunk as large as what it stands for is stored plainly.
//! The last chunk ends with the stream, but makers that take chunks from WIM archives leave other bytes behind it.

use super::attribute::types;
use super::node::Node;
use super::record;
use super::reparse::{Reparse, TAG_WOF};
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::{add, count, index, le_u32, le_u64, mul, sub};
use crate::codec::{lzx, xpress};
use crate::extent::clamp_buffer;
use spelunk_tree::{Error, Result};
use std::sync::Arc;

/// The name of the packed stream in UTF-16LE.
pub(super) const STREAM: &[u8] = b"W\0o\0f\0C\0o\0m\0p\0r\0e\0s\0s\0e\0d\0D\0a\0t\0a\0";

const PROVIDER_WIM: u32 = 1;
const PROVIDER_FILE: u32 = 2;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// XPRESS with Huffman codes, in chunks of 2 to this power.
    Xpress(u32),
    /// LZX, in chunks of 32 KiB.
    Lzx,
}

impl Algorithm {
    /// log2 of the bytes that a chunk stands for.
    fn chunk_bits(self) -> u32 {
        match self {
            Algorithm::Xpress(bits) => bits,
            Algorithm::Lzx => 15,
        }
    }

    fn unpack(self, input: &[u8], output: &mut [u8]) -> Result<()> {
        match self {
            Algorithm::Xpress(_) => xpress::decompress(input, output),
            Algorithm::Lzx => lzx::decompress(input, output),
        }
    }
}

/// How a reparse point says that its file is packed; `None` when it is not of WOF.
///
/// # Errors
/// `Unsupported` for files that lie in a WIM image, and for unknown methods; `Corrupt`.
pub(super) fn algorithm(reparse: &Reparse) -> Result<Option<Algorithm>> {
    if reparse.tag != TAG_WOF {
        return Ok(None);
    }
    let field = |at| le_u32(&reparse.bytes, at);
    match (field(8)?, field(0x0C)?) {
        (1, PROVIDER_FILE) => {}
        (1, PROVIDER_WIM) => return Err(Error::unsupported("a file whose bytes lie in a WIM image (WOF)")),
        (version, provider) => {
            return Err(Error::unsupported(format!("WOF version {version} with provider {provider}")));
        }
    }
    match (field(0x10)?, field(0x14)?) {
        (1, 0) => Ok(Some(Algorithm::Xpress(12))),
        (1, 1) => Ok(Some(Algorithm::Lzx)),
        (1, 2) => Ok(Some(Algorithm::Xpress(13))),
        (1, 3) => Ok(Some(Algorithm::Xpress(14))),
        (version, number) => {
            Err(Error::unsupported(format!("a file packed by method {number} of version {version} (WOF)")))
        }
    }
}

/// A packed file.
pub(super) struct Packed {
    algorithm: Algorithm,
    /// The hole: its size is that of the file.
    plain: Stream,
    packed: Stream,
    /// Bytes of an entry of the table.
    entry_bytes: u64,
    table_bytes: u64,
    record: u64,
}

impl Packed {
    /// Opens the packed form of `node`, whose unnamed stream is `plain`.
    ///
    /// # Errors
    /// `Corrupt` when there is none, or it is too short for its table.
    pub fn open(volume: &Volume, node: &Node, plain: Stream, algorithm: Algorithm) -> Result<Packed> {
        let record = node.record.number;
        let corrupt = |message: &'static str| Error::corrupt(message).object(record::object(record));
        let packed = Stream::open(volume, node, types::DATA, STREAM)?
            .ok_or_else(|| corrupt("a packed file without the stream WofCompressedData"))?;
        let entry_bytes = if plain.size > u64::from(u32::MAX) { 8 } else { 4 };
        let chunks = plain.size.div_ceil(1 << algorithm.chunk_bits());
        let table_bytes = mul(chunks.saturating_sub(1), entry_bytes)?;
        if table_bytes > packed.size {
            return Err(corrupt("a packed file that is too short for its table"));
        }
        Ok(Packed { algorithm, plain, packed, entry_bytes, table_bytes, record })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.plain.size
    }

    /// Bytes of memory that it takes, nearly.
    pub fn weight(&self) -> usize {
        self.plain.weight().saturating_add(self.packed.weight())
    }

    /// Reads from `offset` on; fewer bytes than `buffer` holds only at the end of the file. Only the chunks that
    /// are asked for are unpacked.
    ///
    /// # Errors
    /// `Corrupt`, with its place in the packed stream, for a chunk that leaves the stream, is larger than what
    /// it stands for, or cannot be unpacked; what the packed stream reports.
    pub fn read(&self, volume: &Volume, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let buffer = clamp_buffer(self.size(), offset, buffer);
        let len = buffer.len();
        let bits = self.algorithm.chunk_bits();
        let mut rest = buffer;
        let mut position = offset;
        while !rest.is_empty() {
            let number = position >> bits;
            let chunk = self.chunk(volume, number)?;
            let from = index(position.saturating_sub(number << bits))?;
            let bytes = chunk.get(from..).unwrap_or_default();
            let (part, behind) = rest.split_at_mut(bytes.len().min(rest.len()));
            part.copy_from_slice(crate::bytes::range(bytes, 0, part.len())?);
            position = add(position, count(part.len()))?;
            rest = behind;
        }
        Ok(len)
    }

    fn chunk(&self, volume: &Volume, number: u64) -> Result<Arc<[u8]>> {
        // The hole's own units are never unpacked, so its name is free to stand for the file's chunks.
        let key = (self.plain.id(), number);
        if let Some(chunk) = volume.units.get(&key) {
            return Ok(chunk);
        }
        let (start, end) = self.place(volume, number)?;
        let chunk = self.unpack(volume, number, start, end);
        let chunk: Arc<[u8]> =
            chunk.map_err(|error| error.object(record::object(self.record)).at(start))?.into();
        volume.units.insert(key, chunk.clone(), chunk.len());
        Ok(chunk)
    }

    fn unpack(&self, volume: &Volume, number: u64, start: u64, end: u64) -> Result<Vec<u8>> {
        let bits = self.algorithm.chunk_bits();
        let left = sub(self.size(), number << bits)?;
        let chunk_bytes = left.min(1 << bits);
        let is_last = left == chunk_bytes;
        let stored_bytes =
            end.checked_sub(start).filter(|stored| *stored > 0 && (is_last || *stored <= chunk_bytes));
        let Some(stored_bytes) = stored_bytes.filter(|_| end <= self.packed.size) else {
            return Err(Error::corrupt(format!("a packed chunk from {start} to {end}")));
        };
        let mut stored = vec![0; index(stored_bytes.min(chunk_bytes))?];
        self.packed.read(volume, start, &mut stored)?;
        if stored_bytes == chunk_bytes {
            return Ok(stored);
        }
        let mut chunk = vec![0; index(chunk_bytes)?];
        if stored_bytes < chunk_bytes {
            self.algorithm.unpack(&stored, &mut chunk)?;
            return Ok(chunk);
        }
        // With bytes behind it, only the chunk itself tells whether it is packed: then it is smaller than what it
        // stands for, and plain bytes do not make valid codes.
        let (_, packed) = stored.split_last().unwrap_or((&0, &[]));
        Ok(if self.algorithm.unpack(packed, &mut chunk).is_ok() { chunk } else { stored })
    }

    /// Where a chunk begins and ends in the packed stream, as the table says.
    fn place(&self, volume: &Volume, number: u64) -> Result<(u64, u64)> {
        let at = mul(number, self.entry_bytes)?;
        let start = match at.checked_sub(self.entry_bytes) {
            Some(before) => self.entry(volume, before)?,
            None => 0,
        };
        let end = if at < self.table_bytes {
            add(self.table_bytes, self.entry(volume, at)?)?
        } else {
            self.packed.size
        };
        Ok((add(self.table_bytes, start)?, end))
    }

    fn entry(&self, volume: &Volume, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.packed.read(volume, at, &mut bytes)?;
        if self.entry_bytes == 8 { le_u64(&bytes, 0) } else { le_u32(&bytes, 0).map(u64::from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    fn reparse(tag: u32, fields: [u32; 4]) -> Reparse {
        let mut bytes = tag.to_le_bytes().to_vec();
        bytes.extend([16, 0, 0, 0]);
        bytes.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        Reparse { tag, bytes }
    }

    #[test]
    fn methods_are_told_apart() {
        assert_eq!(algorithm(&reparse(TAG_WOF, [1, 2, 1, 0])), Ok(Some(Algorithm::Xpress(12))));
        assert_eq!(algorithm(&reparse(TAG_WOF, [1, 2, 1, 1])), Ok(Some(Algorithm::Lzx)));
        assert_eq!(algorithm(&reparse(0x8000_0013, [1, 2, 1, 1])), Ok(None));
        for fields in [[1, 1, 1, 0], [2, 2, 1, 0], [1, 2, 2, 0], [1, 2, 1, 4]] {
            let error = algorithm(&reparse(TAG_WOF, fields)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{fields:?}");
        }
    }
}
