//! The region table: where the metadata and the block table are ([MS-VHDX] 2.2.3).

use super::MIB;
use super::guid::{self, stored};
use super::header::{CHECKSUM_AT, Header, checksum};
use crate::bytes::{add, array, le_u32, le_u64, range};
use spelunk_tree::{Error, ReadAt, Result};
use std::ops::Range;

const SIGNATURE: &[u8; 4] = b"regi";
const OFFSETS: [u64; 2] = [192 << 10, 256 << 10];
const TABLE_BYTES: usize = 64 << 10;
/// Entries of the table: the format's own limit, and what fits in it.
const ENTRIES_MAX: usize = 2047;
const ENTRY_BYTES: usize = 32;

const BLOCK_TABLE: [u8; 16] = stored(0x2DC2_7766, 0xF623, 0x4200, 0x9D64, 0x115E_9BFD_4A08);
const METADATA: [u8; 16] = stored(0x8B7C_A206, 0x4790, 0x4B9A, 0xB8FE, 0x575F_050F_886E);

/// The regions of a file; no two overlap, and none reaches into the headers.
pub(super) struct Regions {
    pub(super) metadata: Range<u64>,
    pub(super) block_table: Range<u64>,
    pub(super) log: Range<u64>,
}

impl Regions {
    /// Reads the first of the two tables that is valid.
    pub(super) fn read(file: &dyn ReadAt, header: &Header, notes: &mut Vec<String>) -> Result<Regions> {
        let [first, second] = OFFSETS.map(|offset| read_table(file, offset));
        let table = match (first, second) {
            (Ok(first), Ok(_)) => first,
            (Ok(one), Err(error)) | (Err(error), Ok(one)) => {
                notes.push(format!("one of the two region tables is unusable: {error}"));
                one
            }
            (Err(error), Err(_)) => return Err(error.context("both region tables are unusable")),
        };
        let log = header.log_offset..add(header.log_offset, header.log_bytes)?;
        Regions::parse(&table, log)
    }

    fn parse(table: &[u8], log: Range<u64>) -> Result<Regions> {
        let (mut metadata, mut block_table) = (None, None);
        let entries = usize::try_from(le_u32(table, 8)?).unwrap_or(usize::MAX);
        if entries > ENTRIES_MAX {
            return Err(Error::corrupt(format!("a region table of {entries} entries")));
        }
        for entry in range(table, 16, entries.saturating_mul(ENTRY_BYTES))?.as_chunks::<ENTRY_BYTES>().0 {
            let id: [u8; 16] = array(entry, 0)?;
            let slot = match id {
                METADATA => &mut metadata,
                BLOCK_TABLE => &mut block_table,
                _ if le_u32(entry, 28)? & 1 == 0 => continue,
                _ => return Err(Error::unsupported(format!("a required region {}", guid::text(&id)))),
            };
            let (start, len) = (le_u64(entry, 16)?, u64::from(le_u32(entry, 24)?));
            if slot.is_some() || start < MIB || start % MIB != 0 || len == 0 {
                return Err(Error::corrupt(format!("a bad entry for region {}", guid::text(&id))));
            }
            *slot = Some(start..add(start, len)?);
        }
        let regions = Regions {
            metadata: metadata.ok_or_else(|| Error::corrupt("there is no metadata region"))?,
            block_table: block_table.ok_or_else(|| Error::corrupt("there is no block table"))?,
            log,
        };
        let overlap = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
        if overlap(&regions.metadata, &regions.block_table)
            || overlap(&regions.metadata, &regions.log)
            || overlap(&regions.block_table, &regions.log)
        {
            return Err(Error::corrupt("regions that overlap"));
        }
        Ok(regions)
    }

    /// Whether a range of the file reaches into the headers or a region.
    pub(super) fn overlaps(&self, bytes: &Range<u64>) -> bool {
        let meets = |region: &Range<u64>| region.start < bytes.end && bytes.start < region.end;
        bytes.start < MIB || [&self.metadata, &self.block_table, &self.log].into_iter().any(meets)
    }
}

fn read_table(file: &dyn ReadAt, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; TABLE_BYTES];
    file.read_at(offset, &mut bytes)?;
    if !bytes.starts_with(SIGNATURE) {
        return Err(Error::corrupt("there is no region table").at(offset));
    }
    if le_u32(&bytes, CHECKSUM_AT)? != checksum(&bytes) {
        return Err(Error::corrupt("the region table's checksum is wrong").at(offset));
    }
    Ok(bytes)
}
