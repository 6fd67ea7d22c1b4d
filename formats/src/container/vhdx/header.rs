//! The file type identifier and the two headers ([MS-VHDX] 2.2).

use super::guid::{self, NIL};
use crate::bytes::{array, le_u16, le_u32, le_u64};
use spelunk_tree::{Error, ReadAt, Result};

const IDENTIFIER: &[u8; 8] = b"vhdxfile";
const SIGNATURE: &[u8; 4] = b"head";
const OFFSETS: [u64; 2] = [64 << 10, 128 << 10];
const HEADER_BYTES: usize = 4096;

/// Where the checksum stands in headers and region tables.
pub(super) const CHECKSUM_AT: usize = 4;

/// The end of the second region table: no image is shorter than this.
pub(super) const HEADERS_END: u64 = 320 << 10;

/// The header that holds.
#[derive(PartialEq, Eq)]
pub(super) struct Header {
    sequence: u64,
    /// The image's id: children name it as their parent's.
    pub(super) data_write_id: String,
    /// Which entries of the log are to be replayed; `None` when the image was closed.
    pub(super) log_id: Option<[u8; 16]>,
    pub(super) log_version: u16,
    pub(super) log_offset: u64,
    pub(super) log_bytes: u64,
}

/// Whether the file begins as a VHDX, or has its first header and region table.
pub(super) fn probe(file: &dyn ReadAt) -> Result<bool> {
    if file.size() < 8 {
        return Ok(false);
    }
    let mut identifier = [0; 8];
    file.read_at(0, &mut identifier)?;
    if identifier == *IDENTIFIER {
        return Ok(true);
    }
    if file.size() < HEADERS_END {
        return Ok(false);
    }
    let (mut header, mut region) = ([0; 4], [0; 4]);
    file.read_at(64 << 10, &mut header)?;
    file.read_at(192 << 10, &mut region)?;
    Ok(header == *SIGNATURE && region == *b"regi")
}

/// The CRC-32C of a structure in which the checksum's own place counts as zeros.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let (before, rest) = bytes.split_at_checked(CHECKSUM_AT).unwrap_or_default();
    let after = rest.get(4..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after)
}

impl Header {
    /// The newer of the headers that are valid.
    pub(super) fn read(file: &dyn ReadAt, notes: &mut Vec<String>) -> Result<Header> {
        if file.size() < HEADERS_END {
            return Err(Error::corrupt("truncated inside its headers"));
        }
        let mut identifier = [0; 8];
        file.read_at(0, &mut identifier)?;
        if identifier != *IDENTIFIER {
            return Err(Error::corrupt("the file type identifier is damaged").at(0));
        }
        let [first, second] = OFFSETS.map(|offset| Header::read_one(file, offset));
        match (first, second) {
            (Ok(first), Ok(second)) if first.sequence == second.sequence && first != second => {
                Err(Error::corrupt("two headers of the same age that differ").at(OFFSETS[0]))
            }
            (Ok(first), Ok(second)) => Ok(if first.sequence >= second.sequence { first } else { second }),
            (Ok(one), Err(error)) | (Err(error), Ok(one)) => {
                notes.push(format!("one of the two headers is unusable: {error}"));
                Ok(one)
            }
            (Err(error), Err(_)) => Err(error.context("both headers are unusable")),
        }
    }

    fn read_one(file: &dyn ReadAt, offset: u64) -> Result<Header> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(offset, &mut bytes)?;
        Header::parse(&bytes).map_err(|error| error.at(offset))
    }

    fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header> {
        if !bytes.starts_with(SIGNATURE) {
            return Err(Error::corrupt("there is no header"));
        }
        if le_u32(bytes, CHECKSUM_AT)? != checksum(bytes) {
            return Err(Error::corrupt("the header's checksum is wrong"));
        }
        let version = le_u16(bytes, 66)?;
        if version != 1 {
            return Err(Error::unsupported(format!("format version {version}")));
        }
        let log_id = array(bytes, 48)?;
        Ok(Header {
            sequence: le_u64(bytes, 8)?,
            data_write_id: guid::text(&array(bytes, 32)?),
            log_id: (log_id != NIL).then_some(log_id),
            log_version: le_u16(bytes, 64)?,
            log_bytes: le_u32(bytes, 68)?.into(),
            log_offset: le_u64(bytes, 72)?,
        })
    }
}
