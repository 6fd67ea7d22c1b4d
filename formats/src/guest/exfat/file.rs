//! Files and directories: sets of entries under a checksum.
//!
//! Specification, sections 6.3, 7.4, 7.6 and 7.7.

use super::entry::{ENTRY_LEN, FILE_NAME, Kind, STREAM};
use crate::bytes::{le_u16, le_u32, le_u64, range, u8_at};
use crate::guest::TimeZone;
use crate::guest::dos_time;
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Attr, Error, Name, Result, Time, Xattrs};

const ATTRIBUTE_DIRECTORY: u16 = 0x10;
const FLAG_NO_FAT_CHAIN: u8 = 2;
/// Entries behind the first: that of the stream, and one of the name at least.
const SECONDARIES_MIN: u8 = 2;
/// Where the checksum of a set stands, which leaves itself out.
const CHECKSUM_AT: usize = 2;
/// Where the stream's entry has the length of the name, in UTF-16 units.
const NAME_LEN_AT: usize = 3;
/// Where an entry of the name has its part of it, to its end.
const NAME_AT: usize = 2;
const OFFSET_VALID: u8 = 0x80;
/// Time zones are counted in quarters of an hour.
const OFFSET_SECONDS: i64 = 15 * 60;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    attributes: u16,
    created: Option<Time>,
    modified: Option<Time>,
    accessed: Option<Time>,
    /// Its name.
    pub name: Name,
    /// Where its clusters begin; none without bytes.
    pub first_cluster: u32,
    /// Whether its clusters lie one behind the other, without links in the table.
    pub is_one_piece: bool,
    /// Its bytes.
    pub size: u64,
    /// How many of them were written: those behind are zeros.
    pub valid_bytes: u64,
}

/// A set that is damaged.
pub struct Broken {
    /// Its name, if that much can be read.
    pub name: Option<Name>,
    /// What is wrong.
    pub error: Error,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken { name: None, error }
    }
}

/// How many entries follow the first of a set, by what that says.
///
/// # Errors
/// `Corrupt` when they are too few for a file.
pub fn secondaries(first: &[u8]) -> Result<u8> {
    match u8_at(first, 1)? {
        few if few < SECONDARIES_MIN => {
            Err(Error::corrupt(format!("a file with {few} secondary entries, which are too few")))
        }
        secondary_count => Ok(secondary_count),
    }
}

impl File {
    /// Takes the entries of a set, as many as the first says. Times that do not say their zone are of `zone`.
    ///
    /// # Errors
    /// `Corrupt` with a wrong checksum and where entries are missing, `Unsupported` with one that is not known.
    pub fn parse(set: &[u8], zone: &TimeZone) -> Result<File, Broken> {
        let name = name(set);
        check(set).map_err(|error| Broken { name: name.clone().ok(), error })?;
        let stream = range(set, ENTRY_LEN, ENTRY_LEN)?;
        let size = le_u64(stream, 24)?;
        Ok(File {
            attributes: le_u16(set, 4)?,
            created: time(le_u32(set, 8)?, u8_at(set, 20)?, u8_at(set, 22)?, zone),
            modified: time(le_u32(set, 12)?, u8_at(set, 21)?, u8_at(set, 23)?, zone),
            accessed: time(le_u32(set, 16)?, 0, u8_at(set, 24)?, zone),
            name: name?,
            first_cluster: le_u32(stream, 20)?,
            is_one_piece: u8_at(stream, 1)? & FLAG_NO_FAT_CHAIN != 0,
            size,
            valid_bytes: le_u64(stream, 8)?.min(size),
        })
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.attributes & ATTRIBUTE_DIRECTORY != 0
    }

    /// Its attributes.
    pub fn attr(&self, cluster_bytes: u32) -> Attr {
        let kind = if self.is_directory() { spelunk_tree::Kind::Directory } else { spelunk_tree::Kind::File };
        Attr {
            size: self.size,
            allocated: self.size.checked_next_multiple_of(u64::from(cluster_bytes)),
            modified: self.modified,
            accessed: self.accessed,
            created: self.created,
            dos_attributes: Some(u32::from(self.attributes)),
            xattrs: Xattrs::None,
            ..Attr::new(kind)
        }
    }
}

fn check(set: &[u8]) -> Result<()> {
    if set_checksum(set) != le_u16(set, CHECKSUM_AT)? {
        return Err(Error::corrupt("a set of directory entries with a wrong checksum"));
    }
    for (position, entry) in set.chunks(ENTRY_LEN).enumerate().skip(1) {
        match (position, Kind::of(u8_at(entry, 0)?)) {
            (1, Kind::CriticalSecondary(STREAM)) => {}
            (1, _) => return Err(Error::corrupt("a file whose second entry does not say where it lies")),
            (_, Kind::CriticalSecondary(FILE_NAME) | Kind::BenignSecondary) => {}
            (_, Kind::CriticalSecondary(entry_type)) => {
                return Err(Error::unsupported(format!(
                    "a file with a critical entry of type {entry_type:#04X}"
                )));
            }
            _ => return Err(Error::corrupt("a set of directory entries that ends early")),
        }
    }
    Ok(())
}

/// The name in the entries of a set, in UTF-16, as far as it is there. Its hash is not looked at: nothing here is found
/// by it.
pub fn stored_name(set: &[u8]) -> impl Iterator<Item = u16> + Clone {
    let len = u8_at(set, ENTRY_LEN.saturating_add(NAME_LEN_AT)).map_or(0, usize::from);
    let parts = set.chunks(ENTRY_LEN).skip(2).filter(|entry| entry.first() == Some(&FILE_NAME));
    parts.flat_map(|entry| utf16_units(entry.get(NAME_AT..).unwrap_or_default())).take(len)
}

fn name(set: &[u8]) -> Result<Name> {
    let units: Vec<u16> = stored_name(set).collect();
    if units.len() < usize::from(u8_at(set, ENTRY_LEN.saturating_add(NAME_LEN_AT))?) {
        return Err(Error::corrupt("a file with fewer entries than its name needs"));
    }
    Name::from_utf16(&units)
}

fn set_checksum(set: &[u8]) -> u16 {
    let (before, rest) = set.split_at_checked(CHECKSUM_AT).unwrap_or_default();
    let behind = rest.get(size_of::<u16>()..).unwrap_or_default();
    let add = |sum: u16, byte: &u8| sum.rotate_right(1).wrapping_add(u16::from(*byte));
    behind.iter().fold(before.iter().fold(0, add), add)
}

/// A DOS date in the upper half and time in the lower, up to 1.99 seconds more, and the offset from UTC. Without one it
/// is the local time of who wrote it, as FAT's is. `None` when it is no time.
fn time(timestamp: u32, hundredths: u8, utc_offset: u8, zone: &TimeZone) -> Option<Time> {
    let [date_high, date_low, time_high, time_low] = timestamp.to_be_bytes();
    let (date, of_day) =
        (u16::from_be_bytes([date_high, date_low]), u16::from_be_bytes([time_high, time_low]));
    let local = dos_time::time(date, of_day, hundredths)?;
    if utc_offset & OFFSET_VALID == 0 {
        return Some(zone.when(local));
    }
    // Seven bits with a sign.
    let quarters = i64::from(utc_offset & 0x7F);
    let quarters = if quarters >= 64 { quarters.saturating_sub(128) } else { quarters };
    let seconds = local.seconds().saturating_sub(quarters.saturating_mul(OFFSET_SECONDS));
    Time::new(seconds, local.nanoseconds()).ok()
}
