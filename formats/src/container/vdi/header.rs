//! The header (VDICore.h: `VDIPREHEADER`, `VDIHEADER1`).

use crate::bytes::{array, le_u32, le_u64};
use crate::guid;
use spelunk_tree::{Error, ReadAt, Result};
use std::num::NonZeroU64;

/// What the text at the beginning begins with, whoever wrote it.
const TEXT: &[u8; 4] = b"<<< ";

const SIGNATURE: u32 = 0xBEDA_107F;
const SIGNATURE_AT: usize = 64;

/// Version 1.1; 1.x may have more fields behind those of 1.1.
const MAJOR_VERSION: u32 = 1;

/// Bytes up to the end of the last field that is read.
const HEADER_BYTES: u64 = 456;

/// Bytes of a block: VirtualBox writes 1 MiB, and takes any power of two from a sector on. As large as any
/// other format's.
const BLOCK_BYTES_MIN: u64 = 512;
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// Bytes of the largest disk, as of the other formats: with blocks of 1 MiB the format ends at 4 PiB.
const SIZE_BYTES_MAX: u64 = 64 << 40;

/// The kinds of images (`VDIIMAGETYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dynamic,
    Fixed,
    Differencing,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Dynamic => "dynamic",
            Kind::Fixed => "fixed",
            Kind::Differencing => "differencing",
        }
    }
}

/// What the header says; sizes are legal.
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) map_offset: u64,
    pub(super) data_offset: u64,
    pub(super) size_bytes: u64,
    pub(super) block_bytes: NonZeroU64,
    /// Bytes of other programs before each block's own.
    pub(super) extra_bytes: u64,
    pub(super) blocks: u64,
    pub(super) id: String,
    /// The id of the last change.
    pub(super) stamp: String,
    pub(super) parent_id: String,
    pub(super) parent_stamp: String,
}

/// By the signature, or by the text where that is damaged.
pub(super) fn probe(file: &dyn ReadAt) -> Result<bool> {
    if file.size() < 68 {
        return Ok(false);
    }
    let mut bytes = [0; 68];
    file.read_at(0, &mut bytes)?;
    Ok(bytes.starts_with(TEXT) || le_u32(&bytes, SIGNATURE_AT)? == SIGNATURE)
}

impl Header {
    pub(super) fn read(file: &dyn ReadAt) -> Result<Header> {
        if file.size() < HEADER_BYTES {
            return Err(Error::corrupt("truncated inside its header"));
        }
        let mut bytes = [0; 456];
        file.read_at(0, &mut bytes)?;
        if le_u32(&bytes, SIGNATURE_AT)? != SIGNATURE {
            return Err(Error::corrupt("a wrong signature").at(64));
        }
        let version = le_u32(&bytes, 68)?;
        if version >> 16 != MAJOR_VERSION {
            let (major, minor) = (version >> 16, version & 0xFFFF);
            return Err(Error::unsupported(format!("VDI version {major}.{minor}")).at(68));
        }
        let header = Header {
            kind: kind(le_u32(&bytes, 76)?)?,
            map_offset: le_u32(&bytes, 340)?.into(),
            data_offset: le_u32(&bytes, 344)?.into(),
            size_bytes: le_u64(&bytes, 368)?,
            block_bytes: block_bytes(le_u32(&bytes, 376)?)?,
            extra_bytes: le_u32(&bytes, 380)?.into(),
            blocks: le_u32(&bytes, 384)?.into(),
            id: id(&bytes, 392)?,
            stamp: id(&bytes, 408)?,
            parent_id: id(&bytes, 424)?,
            parent_stamp: id(&bytes, 440)?,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<()> {
        if self.size_bytes == 0 {
            return Err(Error::corrupt("a disk of 0 bytes").at(368));
        }
        if self.size_bytes > SIZE_BYTES_MAX {
            return Err(Error::limit(format!("a disk of {} bytes", self.size_bytes)).at(368));
        }
        let needed = self.size_bytes.div_ceil(self.block_bytes.get());
        if self.blocks < needed {
            return Err(Error::corrupt(format!("{} blocks for a disk of {needed}", self.blocks)).at(384));
        }
        Ok(())
    }
}

fn kind(value: u32) -> Result<Kind> {
    match value {
        1 => Ok(Kind::Dynamic),
        2 => Ok(Kind::Fixed),
        4 => Ok(Kind::Differencing),
        3 => Err(Error::unsupported("an undo image").at(76)),
        other => Err(Error::corrupt(format!("an image of the unknown type {other}")).at(76)),
    }
}

fn block_bytes(value: u32) -> Result<NonZeroU64> {
    let bytes = u64::from(value);
    NonZeroU64::new(bytes)
        .filter(|_| bytes.is_power_of_two() && (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&bytes))
        .ok_or_else(|| Error::corrupt(format!("blocks of {bytes} bytes")).at(376))
}

/// As VirtualBox prints it, lower-case.
fn id(bytes: &[u8], at: usize) -> Result<String> {
    Ok(guid::text(&array(bytes, at)?).to_lowercase())
}
