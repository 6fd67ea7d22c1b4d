//! VHDZ: UrBackup's compressed container around a VHD or VHDX (`.vhdz`, `.vhdxz`, `.urz`).
//!
//! ```text
//! header (50 bytes) | records, each one block of the file inside, in any order | index: a record's offset for each block
//! ```
//!
//! docs: FORMATS-URBACKUP.md 1.2. The header is written when a backup ends; before that its size is 0.

mod block;

use super::cache::{Cache, Pages};
use super::{Content, Context, Format, Opened};
use crate::bytes::{add, array, count, index, le_u32, mul, range, sub};
use spelunk_tree::{Error, LayerInfo, Place, ReadAt, Result, Run, push_run};
use std::num::NonZeroU64;
use std::sync::Arc;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "vhdz",
    summary: "UrBackup's compressed container around a VHD or VHDX, zlib or zstd",
    extensions: &["vhdz", "vhdxz", "urz"],
    probe,
    open,
};

const MAGIC: &[u8; 25] = b"URBACKUP COMPRESSED FILE#";

const HEADER_BYTES: u64 = 50;

/// Bytes of a block: UrBackup writes 2 MiB. More than this would not fit a worker's memory.
const BLOCK_BYTES_MAX: u64 = 16 << 20;

/// As above: less than a sector makes no sense.
const BLOCK_BYTES_MIN: u64 = 512;

/// Bytes of the file inside: VHDX's largest disk, twice over.
const SIZE_BYTES_MAX: u64 = 128 << 40;

fn probe(file: &dyn ReadAt) -> Result<bool> {
    if file.size() < count(MAGIC.len()) {
        return Ok(false);
    }
    let mut magic = [0; 25];
    file.read_at(0, &mut magic)?;
    Ok(magic == *MAGIC)
}

fn open(file: Arc<dyn ReadAt>, context: &Context) -> Result<Opened> {
    let header = Header::read(&*file)?;
    let info = LayerInfo {
        source: 0,
        format: FORMAT.name.into(),
        variant: header.variant.into(),
        size_bytes: header.size_bytes,
        block_bytes: header.block_bytes.get(),
        id: String::new(),
        parent: None,
        notes: Vec::new(),
    };
    let inner = Unpacked {
        header,
        index: Pages::new(&context.pages, file.clone()),
        blocks: context.blocks.clone(),
        owner: context.blocks.owner(),
        file,
    };
    Ok(Opened { info, sector_bytes: None, stamp: String::new(), content: Content::Wrapped(Arc::new(inner)) })
}

struct Header {
    variant: &'static str,
    index_offset: u64,
    size_bytes: u64,
    block_bytes: NonZeroU64,
}

impl Header {
    fn read(file: &dyn ReadAt) -> Result<Header> {
        if file.size() < HEADER_BYTES {
            return Err(Error::corrupt("truncated inside its header"));
        }
        let mut bytes = [0; 50];
        file.read_at(0, &mut bytes)?;
        let variant = match range(&bytes, 25, 4)? {
            b"1.0\0" => "zlib",
            b"1.1\0" => "zstd",
            _ => return Err(Error::unsupported("another version than 1.0 and 1.1").at(25)),
        };
        let size = i64::from_le_bytes(array(&bytes, 37)?);
        if size == 0 {
            return Err(Error::corrupt("an unfinished backup: the header's size is 0").at(37));
        }
        let header = Header {
            variant,
            index_offset: unsigned(i64::from_le_bytes(array(&bytes, 29)?), 29)?,
            size_bytes: unsigned(size, 37)?,
            block_bytes: block_bytes(le_u32(&bytes, 45)?)?,
        };
        header.check(file.size())?;
        Ok(header)
    }

    fn check(&self, file_bytes: u64) -> Result<()> {
        if self.size_bytes > SIZE_BYTES_MAX {
            return Err(Error::limit(format!("a compressed file of {} bytes", self.size_bytes)).at(37));
        }
        let blocks = self.size_bytes.div_ceil(self.block_bytes.get());
        if self.index_offset < HEADER_BYTES {
            return Err(Error::corrupt("an index inside the header").at(29));
        }
        if add(self.index_offset, mul(blocks, 8)?)? > file_bytes {
            return Err(Error::corrupt("truncated: the index goes past the end of the file").at(29));
        }
        Ok(())
    }
}

fn unsigned(value: i64, at: u64) -> Result<u64> {
    u64::try_from(value).map_err(|_| Error::corrupt(format!("a negative number, {value}")).at(at))
}

fn block_bytes(value: u32) -> Result<NonZeroU64> {
    let bytes = u64::from(value);
    if bytes > BLOCK_BYTES_MAX {
        return Err(Error::limit(format!("blocks of {bytes} bytes")).at(45));
    }
    NonZeroU64::new(bytes)
        .filter(|_| bytes >= BLOCK_BYTES_MIN)
        .ok_or_else(|| Error::corrupt(format!("blocks of {bytes} bytes")).at(45))
}

/// The file inside.
struct Unpacked {
    header: Header,
    file: Arc<dyn ReadAt>,
    index: Pages,
    blocks: Arc<Cache>,
    owner: u32,
}

/// The part of a range that lies in one block.
struct Part {
    block: u64,
    within: u64,
    len: u64,
}

impl Unpacked {
    fn check(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.header.size_bytes => Ok(()),
            _ => Err(Error::corrupt("reading past the end of the compressed file").at(offset)),
        }
    }

    fn part(&self, offset: u64, len: u64) -> Result<Part> {
        let within = offset % self.header.block_bytes;
        let len = len.min(sub(self.header.block_bytes.get(), within)?);
        Ok(Part { block: offset / self.header.block_bytes, within, len })
    }

    /// Where the record of a block is; `None` for a hole.
    fn record(&self, block: u64) -> Result<Option<u64>> {
        let at = add(self.header.index_offset, mul(block, 8)?)?;
        match i64::from_le_bytes(self.index.array(at)?) {
            -1 => Ok(None),
            offset => {
                match u64::try_from(offset) {
                    Ok(offset) if offset >= HEADER_BYTES => Ok(Some(offset)),
                    _ => Err(Error::corrupt(format!("offset {offset} of block {block} is outside the file"))
                        .at(at)),
                }
            }
        }
    }

    /// The bytes of a block, decoded, or none for a hole; all that lie before the end of the file inside.
    fn block(&self, block: u64) -> Result<Option<Arc<Vec<u8>>>> {
        let Some(record) = self.record(block)? else { return Ok(None) };
        let size = self.header.block_bytes.get();
        let needed = sub(self.header.size_bytes, mul(block, size)?)?.min(size);
        let load = || {
            block::read(&*self.file, record, size, needed)
                .map_err(|error| error.context(format!("unpacking block {block}")))
        };
        self.blocks.get((self.owner, block), size.saturating_mul(2), load).map(Some)
    }
}

impl ReadAt for Unpacked {
    fn size(&self) -> u64 {
        self.header.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(offset, count(buffer.len()))?;
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let part = self.part(position, count(rest.len()))?;
            let (out, behind) = rest.split_at_mut(index(part.len)?);
            match self.block(part.block)? {
                Some(bytes) => out.copy_from_slice(range(&bytes, index(part.within)?, out.len())?),
                None => out.fill(0),
            }
            position = add(position, part.len)?;
            rest = behind;
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.check(offset, len)?;
        let mut position = offset;
        let end = add(offset, len)?;
        while position < end {
            let part = self.part(position, sub(end, position)?)?;
            let place = if self.record(part.block)?.is_some() { Place::Opaque } else { Place::Zero };
            push_run(runs, Run { len: part.len, place });
            position = add(position, part.len)?;
        }
        Ok(())
    }
}
