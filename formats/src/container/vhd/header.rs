//! The dynamic header of dynamic and differencing disks.

use super::footer::checksum;
use crate::bytes::{array, be_u32, be_u64, range};
use spelunk_tree::{Error, ReadAt, Result};

pub(super) const HEADER_BYTES: u64 = 1024;

const COOKIE: &[u8; 8] = b"cxsparse";

const CHECKSUM_AT: usize = 36;

/// Parent locators in a header.
const LOCATORS: usize = 8;

/// The header's fields that matter ("Dynamic Disk Header Format").
pub(super) struct Header {
    /// Where the header itself is.
    pub(super) offset: u64,
    pub(super) table_offset: u64,
    /// Entries that the table has (`max_table_entries`).
    pub(super) table_entries: u64,
    /// A power of two, 512 or more.
    pub(super) block_bytes: u64,
    pub(super) parent_id: [u8; 16],
    /// Big-endian UTF-16.
    pub(super) parent_name: [u8; 512],
    pub(super) locators: Vec<Locator>,
}

/// Where a path of the parent stands ("Parent Locator Entry").
pub(super) struct Locator {
    pub(super) code: [u8; 4],
    pub(super) len: u64,
    pub(super) offset: u64,
}

impl Header {
    pub(super) fn read(file: &dyn ReadAt, offset: u64) -> Result<Header> {
        let end = offset.checked_add(HEADER_BYTES);
        if end.is_none_or(|end| end > file.size()) {
            return Err(
                Error::corrupt("truncated: the dynamic header lies past the end of the file").at(offset)
            );
        }
        let mut bytes = [0; 1024];
        file.read_at(offset, &mut bytes)?;
        Header::parse(&bytes, offset).map_err(|error| error.at(offset))
    }

    fn parse(bytes: &[u8; 1024], offset: u64) -> Result<Header> {
        if !bytes.starts_with(COOKIE) {
            return Err(Error::corrupt("there is no dynamic header"));
        }
        if be_u32(bytes, CHECKSUM_AT)? != checksum(bytes, CHECKSUM_AT) {
            return Err(Error::corrupt("the dynamic header's checksum is wrong"));
        }
        let version = be_u32(bytes, 24)?;
        if version >> 16 != 1 {
            return Err(Error::unsupported(format!("header version {}.{}", version >> 16, version & 0xFFFF)));
        }
        let block_bytes = u64::from(be_u32(bytes, 32)?);
        if block_bytes < 512 || !block_bytes.is_power_of_two() {
            return Err(Error::corrupt(format!("blocks of {block_bytes} bytes")));
        }
        Ok(Header {
            offset,
            table_offset: be_u64(bytes, 16)?,
            table_entries: be_u32(bytes, 28)?.into(),
            block_bytes,
            parent_id: array(bytes, 40)?,
            parent_name: array(bytes, 64)?,
            locators: range(bytes, 576, LOCATORS * 24)?
                .as_chunks::<24>()
                .0
                .iter()
                .map(Locator::parse)
                .collect::<Result<_>>()?,
        })
    }
}

impl Locator {
    fn parse(entry: &[u8; 24]) -> Result<Locator> {
        Ok(Locator { code: array(entry, 0)?, len: be_u32(entry, 8)?.into(), offset: be_u64(entry, 16)? })
    }
}
