//! UrBackup's compressed container, as its server writes it: a header, blocks of 2 MiB packed one by one,
//! an index of where each block stands.

use crate::Result;
use flate2::{Decompress, FlushDecompress, Status, write::ZlibEncoder};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of an unpacked block.
pub const BLOCK_BYTES: usize = 2 << 20;
const HEADER_BYTES: usize = 50;
/// The level at which UrBackup writes zstd.
const ZSTD_LEVEL: i32 = 7;
/// In the index: a block of zeros, which is not stored.
const HOLE: i64 = -1;

/// How blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// A zlib stream.
    Zlib,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Zlib => "zlib",
            Codec::Zstd => "zstd",
        }
    }

    /// What stands before a block's bytes.
    fn mode(self) -> u32 {
        match self {
            Codec::Zlib => 1,
            Codec::Zstd => 2,
        }
    }

    fn pack(self, block: &[u8]) -> Result<Vec<u8>> {
        match self {
            Codec::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(block)?;
                Ok(encoder.finish()?)
            }
            Codec::Zstd => Ok(zstd::bulk::compress(block, ZSTD_LEVEL)?),
        }
    }

    /// Unpacks a block's bytes into `block`.
    ///
    /// # Errors
    /// When they do not give exactly one block.
    pub fn unpack(self, packed: &[u8], block: &mut [u8]) -> Result<()> {
        let len = match self {
            Codec::Zlib => {
                let mut decoder = Decompress::new(true);
                let status = decoder.decompress(packed, block, FlushDecompress::Finish)?;
                if status != Status::StreamEnd {
                    return Err("a zlib block that does not end".into());
                }
                usize::try_from(decoder.total_out())?
            }
            Codec::Zstd => zstd::bulk::decompress_to_buffer(packed, block)?,
        };
        if len == block.len() { Ok(()) } else { Err(format!("a block of {len} bytes").into()) }
    }
}

/// Wraps the file `inner`, a VHD or VHDX.
///
/// # Errors
/// What the filesystem and the codec report.
pub fn write(inner: &Path, image: &Path, codec: Codec) -> Result<()> {
    let inner = File::open(inner)?;
    let inner_bytes = inner.metadata()?.len();
    let mut image = BufWriter::new(File::create(image)?);
    image.write_all(&[0; HEADER_BYTES])?;
    let mut index = Vec::new();
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut at = i64::try_from(HEADER_BYTES)?;
    while (&inner).take(u64::try_from(BLOCK_BYTES)?).read_to_end(&mut block)? > 0 {
        if block.iter().all(|&byte| byte == 0) {
            index.push(HOLE);
        } else {
            block.resize(BLOCK_BYTES, 0);
            let packed = codec.pack(&block)?;
            image.write_all(&u32::try_from(packed.len())?.to_le_bytes())?;
            image.write_all(&codec.mode().to_le_bytes())?;
            image.write_all(&packed)?;
            index.push(at);
            at += 8 + i64::try_from(packed.len())?;
        }
        block.clear();
    }
    for offset in &index {
        image.write_all(&offset.to_le_bytes())?;
    }
    image.seek(SeekFrom::Start(0))?;
    image.write_all(b"URBACKUP COMPRESSED FILE#1.1\0")?;
    image.write_all(&at.to_le_bytes())?;
    image.write_all(&inner_bytes.to_le_bytes())?;
    image.write_all(&u32::try_from(BLOCK_BYTES)?.to_le_bytes())?;
    image.flush()?;
    Ok(())
}

/// Where a block's packed bytes stand.
pub struct Stored {
    offset: u64,
    /// Their number.
    pub packed_bytes: u32,
}

impl Stored {
    /// Reads the packed bytes.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn read(&self, image: &File) -> Result<Vec<u8>> {
        let mut packed = vec![0; usize::try_from(self.packed_bytes)?];
        image.read_exact_at(&mut packed, self.offset)?;
        Ok(packed)
    }
}

/// All blocks of an image but the holes.
///
/// # Errors
/// When the image cannot be read.
pub fn stored_blocks(image: &File) -> Result<Vec<Stored>> {
    let mut entry_at = read_u64(image, 29)?;
    let mut blocks = Vec::new();
    while entry_at < image.metadata()?.len() {
        let offset = read_u64(image, entry_at)?;
        if offset != u64::from_le_bytes(HOLE.to_le_bytes()) {
            let mut len = [0; 4];
            image.read_exact_at(&mut len, offset)?;
            blocks.push(Stored { offset: offset + 8, packed_bytes: u32::from_le_bytes(len) });
        }
        entry_at += 8;
    }
    Ok(blocks)
}

fn read_u64(file: &File, at: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Directory;

    #[test]
    fn written_blocks_unpack_to_what_was_wrapped_and_zeros_are_not_stored() {
        let directory = Directory::new().unwrap();
        let (inner, image) = (directory.path().join("inner"), directory.path().join("image"));
        let mut bytes = vec![1; BLOCK_BYTES];
        bytes.resize(2 * BLOCK_BYTES, 0);
        bytes.extend([2; 1000]);
        std::fs::write(&inner, &bytes).unwrap();

        for codec in [Codec::Zlib, Codec::Zstd] {
            write(&inner, &image, codec).unwrap();
            let file = File::open(&image).unwrap();
            let stored = stored_blocks(&file).unwrap();
            let mut last = vec![9; BLOCK_BYTES];
            codec.unpack(&stored[1].read(&file).unwrap(), &mut last).unwrap();

            assert_eq!(stored.len(), 2);
            assert_eq!(last[..1000], bytes[2 * BLOCK_BYTES..]);
            assert!(last[1000..].iter().all(|&byte| byte == 0));
        }
    }
}
