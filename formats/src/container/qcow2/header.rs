//! The header and its extensions (qcow2.rst, "Header", "Additional fields", "Header extensions").

use super::backing::Backing;
use crate::bytes::{add, be_u32, be_u64, count, index, mul, sub, u8_at};
use spelunk_tree::{Error, ReadAt, Result};

const MAGIC: &[u8; 4] = b"QFI\xFB";

/// Bytes of a header of version 2, and the least of one of version 3.
const HEADER_BYTES_V2: u64 = 72;
const HEADER_BYTES_V3: u64 = 104;

/// Bytes of the header that hold fields that are known.
const KNOWN_BYTES: usize = 112;

/// Bits of a cluster's size: 512 bytes, as the format demands, to QEMU's largest, 2 MiB.
const CLUSTER_BITS_MIN: u32 = 9;
const CLUSTER_BITS_MAX: u32 = 21;

/// As above, with 32 subclusters of at least 512 bytes each.
const CLUSTER_BITS_MIN_EXTENDED: u32 = 14;

/// Bytes of the largest disk: QEMU's largest L1 table (32 MiB) covers this in the usual clusters of 64 KiB.
const SIZE_BYTES_MAX: u64 = 2 << 50;

/// Extensions of one header: five kinds are known, each at most once.
const EXTENSIONS_MAX: usize = 64;

const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xE279_2ACA;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

/// How compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Bare deflate, which QEMU calls zlib.
    Deflate,
    Zstd,
}

/// A contiguous table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) entries: u32,
}

/// A disk in the file: the one as it is now, or a snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) size_bytes: u64,
    pub(super) l1: Place,
}

/// What the header says; all that is read of it is legal.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) disk: Disk,
    pub(super) snapshots: Place,
    pub(super) compression: Compression,
    pub(super) has_subclusters: bool,
    pub(super) backing: Option<Backing>,
    features: u64,
}

/// By the magic; version 1 has the same and is refused with its name.
pub(super) fn probe(file: &dyn ReadAt) -> Result<bool> {
    if file.size() < 4 {
        return Ok(false);
    }
    let mut magic = [0; 4];
    file.read_at(0, &mut magic)?;
    Ok(magic == *MAGIC)
}

impl Header {
    pub(super) fn read(file: &dyn ReadAt) -> Result<Header> {
        if file.size() < HEADER_BYTES_V2 {
            return Err(Error::corrupt("truncated inside its header"));
        }
        let mut bytes = [0; KNOWN_BYTES];
        let len = index(file.size().min(count(KNOWN_BYTES)))?;
        file.read_at(0, bytes.get_mut(..len).unwrap_or_default())?;
        let version = be_u32(&bytes, 4)?;
        let header_bytes = match version {
            2 => HEADER_BYTES_V2,
            3 => u64::from(be_u32(&bytes, 100)?),
            _ => return Err(Error::unsupported(format!("QCOW version {version}")).at(4)),
        };
        if file.size() < header_bytes {
            return Err(Error::corrupt("truncated inside its header"));
        }
        if version == 3 && (header_bytes < HEADER_BYTES_V3 || !header_bytes.is_multiple_of(8)) {
            return Err(Error::corrupt(format!("a header of {header_bytes} bytes")).at(100));
        }
        // What the header is too short for is 0.
        bytes.get_mut(index(header_bytes)?..).unwrap_or_default().fill(0);
        let mut header = Header::parse(&bytes, version)?;
        if header_bytes > header.cluster_bytes() {
            return Err(Error::corrupt(format!("a header of {header_bytes} bytes, over a cluster")).at(100));
        }
        header.backing = header.backing(file, &bytes, header_bytes)?;
        Ok(header)
    }

    fn parse(bytes: &[u8], version: u32) -> Result<Header> {
        let features = be_u64(bytes, 72)?;
        if features & !KNOWN != 0 {
            let bits = features & !KNOWN;
            return Err(Error::unsupported(format!("unknown incompatible features {bits:#x}")).at(72));
        }
        if features & EXTERNAL_DATA != 0 {
            return Err(Error::unsupported("an image whose data are in an external data file").at(72));
        }
        match be_u32(bytes, 32)? {
            0 => {}
            1 => return Err(Error::unsupported("an image encrypted with AES").at(32)),
            2 => return Err(Error::unsupported("an image encrypted with LUKS").at(32)),
            method => return Err(Error::unsupported(format!("encryption method {method}")).at(32)),
        }
        let compression = match (features & COMPRESSION_TYPE != 0, u8_at(bytes, 104)?) {
            (false, 0) => Compression::Deflate,
            (true, 1) => Compression::Zstd,
            (true, 0) | (false, _) => {
                return Err(Error::corrupt("the compression type contradicts the features").at(104));
            }
            (true, other) => return Err(Error::unsupported(format!("compression type {other}")).at(104)),
        };
        let header = Header {
            version,
            cluster_bits: be_u32(bytes, 20)?,
            disk: Disk {
                size_bytes: be_u64(bytes, 24)?,
                l1: Place { offset: be_u64(bytes, 40)?, entries: be_u32(bytes, 36)? },
            },
            snapshots: Place { offset: be_u64(bytes, 64)?, entries: be_u32(bytes, 60)? },
            compression,
            has_subclusters: features & EXTENDED_L2 != 0,
            backing: None,
            features,
        };
        header.check_sizes()?;
        Ok(header)
    }

    fn check_sizes(&self) -> Result<()> {
        let bits_min = if self.has_subclusters { CLUSTER_BITS_MIN_EXTENDED } else { CLUSTER_BITS_MIN };
        if !(bits_min..=CLUSTER_BITS_MAX).contains(&self.cluster_bits) {
            return Err(Error::corrupt(format!("clusters of 2^{} bytes", self.cluster_bits)).at(20));
        }
        Ok(())
    }

    /// Whether a disk has a size, and its L1 table is in the file and has entries for all of it.
    pub(super) fn check(&self, disk: &Disk, file_bytes: u64) -> Result<()> {
        let Disk { size_bytes, l1 } = *disk;
        if size_bytes == 0 {
            return Err(Error::corrupt("a disk of 0 bytes"));
        }
        if size_bytes > SIZE_BYTES_MAX {
            return Err(Error::limit(format!("a disk of {size_bytes} bytes")));
        }
        let needed = size_bytes.div_ceil(self.l2_covers());
        if u64::from(l1.entries) < needed {
            return Err(Error::corrupt(format!("an L1 table of {} entries, not {needed}", l1.entries)));
        }
        if !l1.offset.is_multiple_of(self.cluster_bytes()) || l1.offset == 0 {
            return Err(Error::corrupt("an L1 table that does not begin with a cluster").at(l1.offset));
        }
        if add(l1.offset, mul(needed, 8)?)? > file_bytes {
            return Err(Error::corrupt("truncated: the L1 table goes past the end of the file").at(l1.offset));
        }
        Ok(())
    }

    fn backing(&self, file: &dyn ReadAt, bytes: &[u8], header_bytes: u64) -> Result<Option<Backing>> {
        let (offset, len) = (be_u64(bytes, 8)?, be_u32(bytes, 16)?);
        if offset == 0 || len == 0 {
            return Ok(None);
        }
        let name = Backing::read_name(file, offset, len, self.cluster_bytes())?;
        let format = extension(file, header_bytes, offset, BACKING_FORMAT)?;
        Ok(Some(Backing { name, format }))
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits.min(CLUSTER_BITS_MAX)
    }

    /// Bytes of an L2 table's entry.
    pub(super) fn entry_bytes(&self) -> u64 {
        if self.has_subclusters { 16 } else { 8 }
    }

    /// Bytes of the disk that one L2 table, which fills a cluster, covers.
    pub(super) fn l2_covers(&self) -> u64 {
        let entries = if self.has_subclusters { self.cluster_bytes() / 16 } else { self.cluster_bytes() / 8 };
        entries.saturating_mul(self.cluster_bytes())
    }

    pub(super) fn variant(&self) -> String {
        let mut variant = format!("version {}", self.version);
        if self.compression == Compression::Zstd {
            variant.push_str(", zstd");
        }
        if self.has_subclusters {
            variant.push_str(", subclusters");
        }
        variant
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.features & DIRTY != 0 {
            notes.push(
                "the image was not closed (its dirty bit is set): only reference counts may be stale".into(),
            );
        }
        if self.features & CORRUPT != 0 {
            notes.push("QEMU marked the image as corrupt: any of its tables may be wrong".into());
        }
        notes
    }
}

/// The contents of the first extension of a kind, between the header and `end`.
fn extension(file: &dyn ReadAt, header_bytes: u64, end: u64, wanted: u32) -> Result<Option<Vec<u8>>> {
    let mut position = header_bytes;
    for _ in 0..EXTENSIONS_MAX {
        let start = add(position, 8)?;
        if start > end.min(file.size()) {
            return Ok(None);
        }
        let mut head = [0; 8];
        file.read_at(position, &mut head)?;
        let (kind, len) = (be_u32(&head, 0)?, u64::from(be_u32(&head, 4)?));
        if kind == END {
            return Ok(None);
        }
        if len > sub(end.min(file.size()), start)? {
            return Err(Error::corrupt("a header extension that is too long").at(position));
        }
        if kind == wanted {
            let mut contents = vec![0; index(len)?];
            file.read_at(start, &mut contents)?;
            return Ok(Some(contents));
        }
        position = add(start, len.next_multiple_of(8))?;
    }
    Err(Error::limit(format!("a header of more than {EXTENSIONS_MAX} extensions")).at(position))
}
