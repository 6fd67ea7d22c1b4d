//! The footer: at the end of the file, and, but for fixed disks, once more at its beginning.

use crate::bytes::{array, be_u32, be_u64, range, sub};
use spelunk_tree::{Error, ReadAt, Result};

pub(super) const FOOTER_BYTES: u64 = 512;

const COOKIE: &[u8; 8] = b"conectix";

/// The cookie of the dynamic header, which mostly stands behind the footer's copy.
const HEADER_COOKIE: &[u8; 8] = b"cxsparse";

/// Where the checksum stands in the footer.
const CHECKSUM_AT: usize = 64;

/// How the disk is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskType {
    Fixed,
    Dynamic,
    Differencing,
}

/// The footer's fields that matter ("Hard Disk Footer Format").
pub(super) struct Footer {
    pub(super) disk_type: DiskType,
    /// Size of the disk (`current_size`).
    pub(super) size_bytes: u64,
    /// Where the dynamic header is (`data_offset`).
    pub(super) header_offset: u64,
    pub(super) id: [u8; 16],
}

impl Footer {
    /// `Ok(None)` when there is no footer.
    fn parse(bytes: &[u8; 512]) -> Result<Option<Footer>> {
        if !bytes.starts_with(COOKIE) {
            return Ok(None);
        }
        if be_u32(bytes, CHECKSUM_AT)? != checksum(bytes, CHECKSUM_AT) {
            return Err(Error::corrupt("the footer's checksum is wrong"));
        }
        let version = be_u32(bytes, 12)?;
        if version >> 16 != 1 {
            return Err(Error::unsupported(format!("format version {}.{}", version >> 16, version & 0xFFFF)));
        }
        let disk_type = match be_u32(bytes, 60)? {
            2 => DiskType::Fixed,
            3 => DiskType::Dynamic,
            4 => DiskType::Differencing,
            other => return Err(Error::unsupported(format!("disk type {other}"))),
        };
        Ok(Some(Footer {
            disk_type,
            size_bytes: be_u64(bytes, 48)?,
            header_offset: be_u64(bytes, 16)?,
            id: array(bytes, 68)?,
        }))
    }
}

/// One's complement of the sum of all bytes but those of the checksum itself.
pub(super) fn checksum(bytes: &[u8], checksum_at: usize) -> u32 {
    let own = checksum_at..checksum_at.saturating_add(4);
    let others = bytes.iter().enumerate().filter(|(at, _)| !own.contains(at));
    !others.fold(0, |sum: u32, (_, &byte)| sum.wrapping_add(byte.into()))
}

/// The footer that holds, and where it was.
pub(super) struct Found {
    pub(super) footer: Footer,
    /// Whether it is the one at the end.
    pub(super) is_at_end: bool,
    /// Whether nothing like a footer is at the end: the file was never finished, or cut.
    pub(super) is_end_missing: bool,
    /// Where data must end: at the footer, or at the end of the file where that has none.
    pub(super) data_end: u64,
}

impl Found {
    /// What the user should know.
    pub(super) fn note(&self) -> Option<String> {
        if self.is_at_end {
            return None;
        }
        let what = if self.is_end_missing { "missing: the file may be cut off" } else { "damaged" };
        Some(format!("the footer at the end is {what}; its copy at the beginning was used"))
    }
}

/// Whether there is anything of a VHD at the end or the beginning.
pub(super) fn probe(file: &dyn ReadAt) -> Result<bool> {
    let end = file.size();
    for (at, cookie) in [(Some(0), COOKIE), (Some(512), HEADER_COOKIE)]
        .into_iter()
        .chain([512, 511].map(|len| (end.checked_sub(len), COOKIE)))
    {
        let Some(at) = at else { continue };
        if end.saturating_sub(at) < 8 {
            continue;
        }
        let mut bytes = [0; 8];
        file.read_at(at, &mut bytes)?;
        if bytes == *cookie {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The footer at the end, or its copy at the beginning where that is missing or damaged.
pub(super) fn find(file: &dyn ReadAt) -> Result<Found> {
    let end = at_end(file);
    let (is_end_missing, reason) = match end {
        Ok(Some((footer, data_end))) => {
            return Ok(Found { footer, is_at_end: true, is_end_missing: false, data_end });
        }
        Ok(None) => (true, Error::corrupt("there is no footer at the end of the file")),
        Err(error) => (false, error),
    };
    if file.size() < FOOTER_BYTES {
        return Err(Error::corrupt("truncated inside the footer's copy at the beginning").because(reason));
    }
    let mut bytes = [0; 512];
    file.read_at(0, &mut bytes)?;
    match Footer::parse(&bytes) {
        Ok(Some(footer)) => Ok(Found { footer, is_at_end: false, is_end_missing, data_end: file.size() }),
        Ok(None) => Err(reason.context("there is no valid footer, at the end or at the beginning")),
        Err(error) => Err(error.context("the footers at the end and at the beginning are both unusable")),
    }
}

/// The footer at the end and where it begins. Those of Virtual PC before 2004 are a byte shorter.
fn at_end(file: &dyn ReadAt) -> Result<Option<(Footer, u64)>> {
    for len in [512, 511] {
        if file.size() < len {
            continue;
        }
        let start = sub(file.size(), len)?;
        let mut bytes = [0; 512];
        let found = if len == 512 { &mut bytes[..] } else { &mut bytes[..511] };
        file.read_at(start, found)?;
        if range(found, 0, 8)? == COOKIE {
            return Ok(Footer::parse(&bytes).map_err(|error| error.at(start))?.map(|footer| (footer, start)));
        }
    }
    Ok(None)
}
