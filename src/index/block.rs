//! Blocks: what is known of up to [`ROWS_MAX`] entries of one directory, as bytes.
//!
//! ```text
//! count, bytes of names, bytes of folded names  varints
//! names                                         each with a '/' behind it
//! folded names                                  likewise; only where a name is not ASCII, since it takes long to fold
//! per row                                       flags, size, [seconds, [nanoseconds]], since, [until]
//! ```
//!
//! A row is an entry as it was over some backups. Rows that lie together cost a third of rows of a table, and what is
//! searched without help of trigrams can be looked through at the speed of memory.

use super::fold::{EDGE, fold};
use spelunk_tree::{Error, Kind, Result, Time};

/// Rows of one block: what is decoded for one hit, and written for one change.
pub(super) const ROWS_MAX: usize = 128;

/// An entry of a directory, as it was in the backups from the minute `since` on, before the minute `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row<N> {
    pub(super) name: N,
    pub(super) attributes: Attributes,
    pub(super) since: i64,
    /// `None` while it is so in the newest backup, too.
    pub(super) until: Option<i64>,
}

/// What of an entry is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) modified: Option<Time>,
}

impl<N> Row<N> {
    /// The same row under a name.
    pub(super) fn called<M>(self, name: M) -> Row<M> {
        Row { name, attributes: self.attributes, since: self.since, until: self.until }
    }

    /// Whether it was so in the backup of this minute.
    pub(super) fn is_at(&self, minute: i64) -> bool {
        self.since <= minute && self.until.is_none_or(|until| minute < until)
    }
}

const KIND: u8 = 0b111;
const HAS_TIME: u8 = 1 << 3;
const HAS_NANOSECONDS: u8 = 1 << 4;
const HAS_END: u8 = 1 << 5;
/// The seconds do not fit 32 bits.
const IS_WIDE: u8 = 1 << 6;

/// The bytes of a block.
pub(super) fn encode(rows: &[Row<Vec<u8>>]) -> Vec<u8> {
    let mut names = Vec::new();
    for row in rows {
        names.extend_from_slice(&row.name);
        names.push(b'/');
    }
    let folded = if names.is_ascii() { "".into() } else { fold(&names) };
    let mut bytes = Vec::with_capacity(names.len() + folded.len() + rows.len() * 16);
    for number in [rows.len(), names.len(), folded.len()] {
        push(&mut bytes, number.try_into().unwrap_or(u64::MAX));
    }
    bytes.extend_from_slice(&names);
    bytes.extend_from_slice(folded.as_bytes());
    let mut last_since = 0;
    for row in rows {
        push_row(&mut bytes, row, last_since);
        last_since = row.since;
    }
    bytes
}

fn push_row(bytes: &mut Vec<u8>, row: &Row<Vec<u8>>, last_since: i64) {
    let Attributes { kind, size, modified } = row.attributes;
    let kind = Kind::ALL.iter().position(|known| *known == kind).and_then(|kind| u8::try_from(kind).ok());
    let nanoseconds = modified.map_or(0, Time::nanoseconds);
    let mut flags = kind.unwrap_or(0);
    let short = modified.and_then(|modified| u32::try_from(modified.seconds()).ok());
    for (is_set, flag) in [
        (modified.is_some(), HAS_TIME),
        (modified.is_some() && short.is_none(), IS_WIDE),
        (nanoseconds != 0, HAS_NANOSECONDS),
        (row.until.is_some(), HAS_END),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    bytes.push(flags);
    push(bytes, size);
    match (modified, short) {
        (_, Some(seconds)) => bytes.extend_from_slice(&seconds.to_le_bytes()),
        (Some(modified), None) => push_signed(bytes, modified.seconds()),
        (None, None) => {}
    }
    if nanoseconds != 0 {
        bytes.extend_from_slice(&nanoseconds.to_le_bytes());
    }
    push_signed(bytes, row.since.wrapping_sub(last_since));
    if let Some(until) = row.until {
        push_signed(bytes, until.wrapping_sub(row.since));
    }
}

/// A block that is read.
pub(super) struct Block<'a> {
    names: &'a [u8],
    folded: &'a [u8],
    rows: &'a [u8],
    count: u64,
}

impl<'a> Block<'a> {
    /// Reads a block's head.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no block.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Block<'a>> {
        let read = || {
            let mut rest = bytes;
            let count = take(&mut rest)?;
            let names = usize::try_from(take(&mut rest)?).ok()?;
            let folded = usize::try_from(take(&mut rest)?).ok()?;
            let (names, rest) = rest.split_at_checked(names)?;
            let (folded, rows) = rest.split_at_checked(folded)?;
            Some(Block { names, folded, rows, count })
        };
        read().ok_or_else(damaged)
    }

    /// Puts all folded names into `text`, an edge before and behind each.
    ///
    /// # Errors
    /// `Corrupt` when they are no text.
    pub(super) fn fold_into(&self, text: &mut String) -> Result<()> {
        let names = if self.folded.is_empty() { self.names } else { self.folded };
        text.clear();
        text.push(EDGE);
        text.push_str(std::str::from_utf8(names).map_err(|_| damaged())?);
        if self.folded.is_empty() {
            text.make_ascii_lowercase();
        }
        Ok(())
    }

    /// The names, in the order of the rows.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.names.split(|byte| *byte == b'/')
    }

    /// The rows, without names.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Row<()>>> + use<'a> {
        let mut rest = self.rows;
        let mut last_since = 0_i64;
        (0..self.count).map(move |_| {
            let row = take_row(&mut rest, last_since);
            last_since = row.as_ref().map_or(0, |row| row.since);
            row.ok_or_else(damaged)
        })
    }

    /// The rows, to be changed.
    ///
    /// # Errors
    /// `Corrupt` when one cannot be read.
    pub(super) fn to_rows(&self) -> Result<Vec<Row<Vec<u8>>>> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        // One more for what is behind the last name.
        if self.names().count() != count.saturating_add(1) {
            return Err(damaged());
        }
        self.rows().zip(self.names()).map(|(row, name)| Ok(row?.called(name.to_vec()))).collect()
    }
}

fn damaged() -> Error {
    Error::corrupt("a block of the index that cannot be read")
}

fn take_row(rest: &mut &[u8], last_since: i64) -> Option<Row<()>> {
    let flags = take_byte(rest)?;
    let kind = *Kind::ALL.get(usize::from(flags & KIND))?;
    let size = take(rest)?;
    let modified = if flags & HAS_TIME == 0 {
        None
    } else {
        let seconds = if flags & IS_WIDE == 0 { take_u32(rest)?.into() } else { take_signed(rest)? };
        let nanoseconds = if flags & HAS_NANOSECONDS == 0 { 0 } else { take_u32(rest)? };
        Some(Time::new(seconds, nanoseconds).ok()?)
    };
    let since = last_since.wrapping_add(take_signed(rest)?);
    let until = if flags & HAS_END == 0 { None } else { Some(since.wrapping_add(take_signed(rest)?)) };
    Some(Row { name: (), attributes: Attributes { kind, size, modified }, since, until })
}

/// Appends a number, seven bits a byte, the lowest first.
fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// The same for a number that may be negative: the sign goes to the lowest bit.
fn push_signed(bytes: &mut Vec<u8>, number: i64) {
    push(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    let mut shift = 0;
    while shift < u64::BITS {
        let byte = take_byte(rest)?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
    None
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let number = take(rest)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row<Vec<u8>>> {
        let row = |name: &[u8], kind, size, modified, since, until| Row {
            name: name.to_vec(),
            attributes: Attributes { kind, size, modified },
            since,
            until,
        };
        vec![
            row(b"a", Kind::File, 0, None, 29_000_000, None),
            row(b"\xff\n", Kind::Directory, 1 << 40, Some(Time::from_seconds(-5)), -7, Some(29_000_000)),
            row(
                "ö".as_bytes(),
                Kind::BlockDevice,
                u64::MAX,
                Time::new(i64::MIN, 999_999_999).ok(),
                5,
                Some(6),
            ),
        ]
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let bytes = encode(&rows());

        assert_eq!(Block::new(&bytes).unwrap().to_rows(), Ok(rows()));
        let mut folded = String::new();
        Block::new(&bytes).unwrap().fold_into(&mut folded).unwrap();
        assert_eq!(folded, "/a/\u{fffd}\n/ö/");
    }

    #[test]
    fn bytes_that_were_cut_or_turned_never_panic_and_a_cut_is_seen() {
        let bytes = encode(&rows());

        for end in 0..bytes.len() {
            let read = Block::new(&bytes[..end]).and_then(|block| block.to_rows());
            assert!(read.is_err(), "{end}");
        }
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[index] ^= 1 << bit;
                _ = Block::new(&bytes).and_then(|block| block.to_rows());
            }
        }
    }
}
