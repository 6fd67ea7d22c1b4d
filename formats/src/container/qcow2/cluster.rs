//! Compressed clusters (qcow2.rst, "Compressed Clusters Descriptor").

use super::header::Compression;
use crate::bytes::{index, sub};
use crate::container::unpack;
use spelunk_tree::{Error, ReadAt, Result};

/// Packed lengths are counted in these.
const SECTOR_BYTES: u64 = 512;

/// Bits of a cluster's place that the format allows.
const OFFSET_BITS_MAX: u32 = 56;

/// Where a compressed cluster is. Its length is bounded by the bits that hold it: to twice a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) offset: u64,
    len: u64,
}

impl Packed {
    /// Out of an L2 entry without its two highest bits.
    pub(super) fn parse(descriptor: u64, cluster_bits: u32) -> Result<Packed> {
        let shift = 70_u32.saturating_sub(cluster_bits);
        let offset = descriptor & (1_u64 << shift).wrapping_sub(1);
        if offset >> OFFSET_BITS_MAX != 0 {
            return Err(Error::corrupt("a compressed cluster with reserved bits in its offset"));
        }
        let sectors = (descriptor >> shift).saturating_add(1);
        let len = sub(sectors.saturating_mul(SECTOR_BYTES), offset % SECTOR_BYTES)?;
        Ok(Packed { offset, len })
    }

    /// Reads and decodes the cluster. The file may end before its last sector does.
    pub(super) fn read(self, file: &dyn ReadAt, how: Compression, cluster_bytes: u64) -> Result<Vec<u8>> {
        let len = file.size().saturating_sub(self.offset).min(self.len);
        if len == 0 {
            return Err(
                Error::corrupt("truncated: a compressed cluster past the end of the file").at(self.offset)
            );
        }
        let mut packed = vec![0; index(len)?];
        file.read_at(self.offset, &mut packed)?;
        let cluster_bytes = index(cluster_bytes)?;
        match how {
            Compression::Deflate => unpack::deflate(&packed, cluster_bytes),
            Compression::Zstd => unpack::zstd_frame(&packed, cluster_bytes),
        }
        .map_err(|error| error.at(self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_holds_an_offset_and_sectors_beyond_the_first() {
        // 64 KiB clusters: 54 bits of offset, 8 of sectors.
        let packed = Packed::parse(5 << 54 | 0x1_0003, 16).unwrap();
        assert_eq!(packed, Packed { offset: 0x1_0003, len: 6 * 512 - 3 });

        // 2 MiB: 49 bits and 13, so at most 4 MiB.
        let longest = Packed::parse(0x1FFF << 49, 21).unwrap();
        assert_eq!(longest, Packed { offset: 0, len: 4 << 20 });

        // 512 bytes: 61 bits, of which the upper ones are reserved.
        assert_eq!(Packed::parse(1 << 61 | 7, 9).unwrap(), Packed { offset: 7, len: 1017 });
        assert!(Packed::parse(1 << 57, 9).is_err());
    }
}
