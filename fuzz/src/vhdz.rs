//! A VHDZ file around one packed block.

use crate::NoParents;
use spelunk_formats::container;
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::sync::Arc;

/// How the block is packed.
pub const ZLIB: u32 = 1;
/// As [`ZLIB`].
pub const ZSTD: u32 = 2;

/// Bytes of the block.
const BLOCK_BYTES: u32 = 1 << 16;

/// Bytes of a file.
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.0.get(start..).and_then(|bytes| bytes.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or_else(|| Error::corrupt("past the end of the image").at(offset))?);
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

/// Unpacks `packed` as the worker does: a block of a container.
pub fn unpack(mode: u32, packed: &[u8]) {
    const HEADER_BYTES: u64 = 50;
    let index = HEADER_BYTES + 8 + packed.len() as u64;
    let mut file = b"URBACKUP COMPRESSED FILE#1.0\0".to_vec();
    file.extend(index.to_le_bytes());
    file.extend(u64::from(BLOCK_BYTES).to_le_bytes());
    file.extend(BLOCK_BYTES.to_le_bytes());
    file.push(0);
    file.extend(u32::try_from(packed.len()).unwrap_or(u32::MAX).to_le_bytes());
    file.extend(mode.to_le_bytes());
    file.extend_from_slice(packed);
    file.extend(HEADER_BYTES.to_le_bytes());
    if let Ok(disk) = container::open(Arc::new(Memory(file)), &mut NoParents) {
        let _ = disk.bytes.read_at(0, &mut vec![0; usize::try_from(BLOCK_BYTES).unwrap_or(0)]);
    }
}
