//! One entry of a GUID partition table.
//!
//! UEFI specification 2.10, section 5.3.3.

use crate::bytes::{add, array, le_u64, mul, range};
use crate::guid;
use crate::partition::Partition;
use spelunk_tree::Result;

/// Bytes of an entry that the specification defines; entries may be longer.
pub const BYTES: usize = 128;

const NAME_AT: usize = 56;
const NAME_BYTES: usize = 72;

/// Attributes that all partitions may have, in the order in which sfdisk prints them.
const ATTRIBUTES: [(u32, &str); 3] =
    [(0, "RequiredPartition"), (1, "NoBlockIOProtocol"), (2, "LegacyBIOSBootable")];
/// Attributes whose meaning depends on the partition's type.
const TYPE_ATTRIBUTES: std::ops::Range<u32> = 48..64;

/// Takes the entry of partition `number`, `None` when it is not in use. One that ends before it begins
/// has no bytes.
///
/// # Errors
/// `Corrupt` when its place overflows.
pub fn parse(bytes: &[u8], number: u32, sector_bytes: u32) -> Result<Option<Partition>> {
    let type_guid: [u8; 16] = array(bytes, 0)?;
    if type_guid == [0; 16] {
        return Ok(None);
    }
    let first_lba = le_u64(bytes, 32)?;
    let last_lba = le_u64(bytes, 40)?;
    let sectors = if last_lba < first_lba { 0 } else { add(last_lba.saturating_sub(first_lba), 1)? };
    Ok(Some(Partition {
        number,
        start_bytes: mul(first_lba, u64::from(sector_bytes))?,
        size_bytes: mul(sectors, u64::from(sector_bytes))?,
        partition_type: guid::text(&type_guid),
        name: name(range(bytes, NAME_AT, NAME_BYTES)?),
        id: guid::text(&array(bytes, 16)?),
        attributes: attributes(le_u64(bytes, 48)?),
        is_extended: false,
    }))
}

/// Up to the first NUL. Unpaired surrogates become U+FFFD.
fn name(utf16: &[u8]) -> String {
    let units = utf16.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

fn attributes(bits: u64) -> String {
    let is_set = |bit: u32| bits.checked_shr(bit).unwrap_or(0) & 1 == 1;
    let mut words: Vec<String> =
        ATTRIBUTES.iter().filter(|(bit, _)| is_set(*bit)).map(|(_, word)| (*word).into()).collect();
    let of_type: Vec<String> =
        TYPE_ATTRIBUTES.filter(|bit| is_set(*bit)).map(|bit| bit.to_string()).collect();
    if !of_type.is_empty() {
        words.push(format!("GUID:{}", of_type.join(",")));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_written_as_sfdisk_writes_them() {
        assert_eq!(attributes(0), "");
        assert_eq!(attributes(0b111), "RequiredPartition NoBlockIOProtocol LegacyBIOSBootable");
        assert_eq!(attributes(1 << 63 | 1 << 48 | 1 << 47 | 1), "RequiredPartition GUID:48,63");
    }

    #[test]
    fn entry_that_ends_before_it_begins_is_empty_and_one_that_overflows_is_corrupt() {
        let mut bytes = [0; BYTES];
        bytes[0] = 1;
        bytes[32] = 9;
        bytes[40] = 8;

        assert_eq!(parse(&bytes, 1, 512).unwrap().unwrap().size_bytes, 0);

        bytes[40..48].fill(0xFF);
        assert!(parse(&bytes, 1, 512).is_err());
    }

    #[test]
    fn name_ends_at_nul_and_keeps_control_characters() {
        let mut bytes = [0; NAME_BYTES];
        bytes[..8].copy_from_slice(&[b'a', 0, 0x1B, 0, 0x00, 0xD8, b'b', 0]);
        bytes[10] = b'x';

        assert_eq!(name(&bytes), "a\u{1B}\u{FFFD}b");
    }
}
