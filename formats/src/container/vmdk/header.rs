//! Headers of sparse extents (Virtual Disk Format 5.0, "Hosted Sparse Extents", "Stream-Optimized Compressed
//! Sparse Extents"), and those of ESX, "ESXi Host Sparse Extents".

use super::{SECTOR_BYTES, SIZE_BYTES_MAX};
use crate::bytes::{add, le_u16, le_u32, le_u64, mul, range, sub, u8_at};
use spelunk_tree::{Error, ReadAt, Result};
use std::num::NonZeroU64;

pub(super) const MAGIC: &[u8; 4] = b"KDMV";
pub(super) const MAGIC_VMFS: &[u8; 4] = b"COWD";

const HEADER_BYTES: u64 = 512;

/// Where the grain directory is when only the footer knows it.
const AT_END: u64 = u64::MAX;

/// Bytes of a grain: QEMU's limit. A grain that is compressed must fit a worker's memory.
const GRAIN_BYTES_MAX: u64 = 1 << 30;
const GRAIN_BYTES_MAX_PACKED: u64 = 16 << 20;

/// Entries of a grain table: the format's number, and the only one of ESX.
const TABLE_ENTRIES_MAX: u32 = 512;
const TABLE_ENTRIES_VMFS: u64 = 4096;

const HAS_NEWLINES: u32 = 1 << 0;
const HAS_ZERO_GRAINS: u32 = 1 << 2;
const IS_COMPRESSED: u32 = 1 << 16;
const HAS_MARKERS: u32 = 1 << 17;

/// What a transfer of the file as text would have changed.
const NEWLINES: &[u8; 4] = b"\n \r\n";

/// The only method of compression.
const DEFLATE: u16 = 1;

/// The marker before a footer, and the one at the end of the file.
const MARKER_END: u32 = 0;
const MARKER_FOOTER: u32 = 3;

/// How grains are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    /// zlib streams, each behind its position and length where there are markers.
    Zlib {
        has_markers: bool,
    },
}

/// What a header says; sizes are legal.
pub(super) struct Header {
    pub(super) size_bytes: u64,
    pub(super) grain_bytes: NonZeroU64,
    pub(super) directory_offset: u64,
    pub(super) table_entries: NonZeroU64,
    pub(super) packing: Packing,
    pub(super) has_zero_grains: bool,
    /// Position and length of the descriptor in the file.
    pub(super) descriptor: Option<(u64, u64)>,
    is_unclean: bool,
    is_mangled: bool,
}

/// # Errors
/// When `file` does not begin with `magic`.
pub(super) fn check_magic(file: &dyn ReadAt, magic: &[u8; 4]) -> Result<()> {
    if file.size() >= 4 {
        let mut start = [0; 4];
        file.read_at(0, &mut start)?;
        if start == *magic {
            return Ok(());
        }
    }
    Err(Error::corrupt("it is no extent of the type that the descriptor says"))
}

impl Header {
    pub(super) fn probe(file: &dyn ReadAt) -> Result<bool> {
        if file.size() < 4 {
            return Ok(false);
        }
        let mut magic = [0; 4];
        file.read_at(0, &mut magic)?;
        Ok(magic == *MAGIC || magic == *MAGIC_VMFS)
    }

    pub(super) fn read(file: &dyn ReadAt) -> Result<Header> {
        let bytes = sector(file, 0)?;
        if bytes.starts_with(MAGIC_VMFS) {
            return Header::parse_vmfs(&bytes);
        }
        let header = Header::parse(&bytes)?;
        if header.directory_offset != AT_END {
            return Ok(header);
        }
        // The last three sectors: a marker, the footer, a marker.
        let end = file.size() / SECTOR_BYTES;
        let start = mul(sub(end, 3)?, SECTOR_BYTES)?;
        let [before, footer, behind] = [0, 512, 1024].map(|at| sector(file, start.saturating_add(at)));
        let is_marker = |bytes: &[u8; 512], kind| -> Result<bool> {
            Ok(le_u32(bytes, 8)? == 0 && le_u32(bytes, 12)? == kind)
        };
        if !is_marker(&before?, MARKER_FOOTER)? || !is_marker(&behind?, MARKER_END)? {
            return Err(Error::corrupt("no footer at the end (was the file cut off?)").at(start));
        }
        let footer = Header::parse(&footer?)?;
        if footer.directory_offset == AT_END {
            return Err(Error::corrupt("a footer without a grain directory").at(start));
        }
        Ok(Header { descriptor: header.descriptor, ..footer })
    }

    fn parse(bytes: &[u8; 512]) -> Result<Header> {
        if !bytes.starts_with(MAGIC) {
            return Err(Error::corrupt("no header of a sparse extent"));
        }
        let version = le_u32(bytes, 4)?;
        if !(1..=3).contains(&version) {
            return Err(Error::unsupported(format!("VMDK version {version}")).at(4));
        }
        let flags = le_u32(bytes, 8)?;
        let packing = match (flags & IS_COMPRESSED != 0, le_u16(bytes, 77)?) {
            (false, _) => Packing::Plain,
            (true, DEFLATE) => Packing::Zlib { has_markers: flags & HAS_MARKERS != 0 },
            (true, other) => return Err(Error::unsupported(format!("compression method {other}")).at(77)),
        };
        let entries = le_u32(bytes, 44)?;
        let (offset, len) = (sectors(bytes, 28)?, sectors(bytes, 36)?);
        let directory = le_u64(bytes, 56)?;
        Ok(Header {
            size_bytes: size_bytes(sectors(bytes, 12)?)?,
            grain_bytes: grain_bytes(sectors(bytes, 20)?, packing)?,
            directory_offset: if directory == AT_END { AT_END } else { mul(directory, SECTOR_BYTES)? },
            table_entries: NonZeroU64::new(entries.into())
                .filter(|_| entries <= TABLE_ENTRIES_MAX)
                .ok_or_else(|| Error::corrupt(format!("grain tables of {entries} entries")).at(44))?,
            packing,
            has_zero_grains: flags & HAS_ZERO_GRAINS != 0,
            descriptor: (offset != 0 && len != 0).then_some((offset, len)),
            is_unclean: u8_at(bytes, 72)? != 0,
            is_mangled: flags & HAS_NEWLINES != 0 && range(bytes, 73, 4)? != NEWLINES,
        })
    }

    fn parse_vmfs(bytes: &[u8; 512]) -> Result<Header> {
        let version = le_u32(bytes, 4)?;
        if version != 1 {
            return Err(Error::unsupported(format!("ESX sparse version {version}")).at(4));
        }
        let sectors = |at| Ok::<u64, Error>(u64::from(le_u32(bytes, at)?).saturating_mul(SECTOR_BYTES));
        Ok(Header {
            size_bytes: size_bytes(sectors(12)?)?,
            grain_bytes: grain_bytes(sectors(16)?, Packing::Plain)?,
            directory_offset: sectors(20)?,
            table_entries: NonZeroU64::MIN.saturating_add(TABLE_ENTRIES_VMFS.saturating_sub(1)),
            packing: Packing::Plain,
            has_zero_grains: false,
            descriptor: None,
            is_unclean: false,
            is_mangled: false,
        })
    }

    /// Bytes of the disk that one grain table covers.
    pub(super) fn table_covers(&self) -> NonZeroU64 {
        self.grain_bytes.saturating_mul(self.table_entries)
    }

    /// Whether the grain directory for `size_bytes` is in the file.
    pub(super) fn check(&self, size_bytes: u64, file_bytes: u64) -> Result<()> {
        if self.size_bytes < size_bytes {
            let size = self.size_bytes;
            return Err(Error::corrupt(format!("an extent of {size} bytes, not {size_bytes}")).at(12));
        }
        let entries = size_bytes.div_ceil(self.table_covers().get());
        if add(self.directory_offset, mul(entries, 4)?)? > file_bytes {
            return Err(Error::corrupt("truncated: the grain directory goes past the end of the file")
                .at(self.directory_offset));
        }
        Ok(())
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_unclean {
            notes.push("the image was not closed".into());
        }
        if self.is_mangled {
            notes.push("the file was transferred as text once, which damages it".into());
        }
        notes
    }
}

fn sector(file: &dyn ReadAt, offset: u64) -> Result<[u8; 512]> {
    if add(offset, HEADER_BYTES)? > file.size() {
        return Err(Error::corrupt("truncated inside its header").at(offset));
    }
    let mut bytes = [0; 512];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// A number of sectors as bytes.
fn sectors(bytes: &[u8], at: usize) -> Result<u64> {
    mul(le_u64(bytes, at)?, SECTOR_BYTES).map_err(|error| error.at(u64::try_from(at).unwrap_or(0)))
}

fn size_bytes(size: u64) -> Result<u64> {
    if size > SIZE_BYTES_MAX {
        return Err(Error::limit(format!("a disk of {size} bytes")).at(12));
    }
    Ok(size)
}

fn grain_bytes(bytes: u64, packing: Packing) -> Result<NonZeroU64> {
    let max = if packing == Packing::Plain { GRAIN_BYTES_MAX } else { GRAIN_BYTES_MAX_PACKED };
    if bytes > max {
        return Err(Error::limit(format!("grains of {bytes} bytes")).at(20));
    }
    NonZeroU64::new(bytes)
        .filter(|bytes| bytes.is_power_of_two())
        .ok_or_else(|| Error::corrupt(format!("grains of {bytes} bytes")).at(20))
}
