//! The records of a ZIP file, as PKWARE's APPNOTE and Info-ZIP's extra fields lay them out.

use crate::archive::members::Member;
use crate::civil::civil;
use spelunk_tree::{Attr, Error, Kind, Result, Time};

/// How the bytes of an entry are stored.
pub const STORED: u16 = 0;
/// The other way.
pub const DEFLATED: u16 = 8;

/// From this size on an entry's sizes are written in 64 bits. Below 4 GiB by more than deflate can add.
const ZIP64_FROM: u64 = 0xF000_0000;
const FIELD_FULL: u32 = u32::MAX;
const COUNT_FULL: u16 = u16::MAX;

/// Names are UTF-8.
const FLAG_UTF8: u16 = 1 << 11;
/// Checksum and sizes stand behind the data.
const FLAG_DESCRIPTOR: u16 = 1 << 3;

const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// "Made by": the attributes are Unix's.
const MADE_BY_UNIX: u16 = 3 << 8 | VERSION_ZIP64;

const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_NTFS: u16 = 0x000A;
const EXTRA_TIMES: u16 = 0x5455;
const EXTRA_OWNER: u16 = 0x7875;
/// Not registered, hence ignored by everyone: fills a record up to a length.
const EXTRA_FILLER: u16 = 0x7053;

/// What an entry tells of a member, but for its data.
#[derive(Clone, Debug)]
pub struct Record {
    /// The name, escaped.
    pub name: Box<str>,
    mode: u32,
    dos_attributes: u8,
    owner: Option<(u32, u32)>,
    modified: Option<Time>,
    accessed: Option<Time>,
    created: Option<Time>,
}

/// What an entry tells of its data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data {
    pub method: u16,
    pub crc: u32,
    pub packed: u64,
    pub size: u64,
    /// Whether checksum and sizes stand behind the data, since they are not known before it.
    pub has_descriptor: bool,
}

impl Data {
    fn is_zip64(&self) -> bool {
        self.size >= ZIP64_FROM
    }

    fn flags(&self) -> u16 {
        if self.has_descriptor { FLAG_UTF8 | FLAG_DESCRIPTOR } else { FLAG_UTF8 }
    }

    fn version(&self) -> u16 {
        if self.is_zip64() { VERSION_ZIP64 } else { VERSION }
    }

    /// Bytes of the record behind the data.
    pub fn descriptor_len(&self) -> u64 {
        if self.is_zip64() { 24 } else { 16 }
    }

    /// The record behind the data.
    pub fn descriptor(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.extend_from_slice(b"PK\x07\x08");
        put32(&mut out, self.crc);
        for size in [self.packed, self.size] {
            if self.is_zip64() {
                put64(&mut out, size);
            } else {
                put32(&mut out, low32(size));
            }
        }
        out
    }
}

impl Record {
    /// The record of a member.
    ///
    /// # Errors
    /// `Limit` for a name that the format cannot hold.
    pub fn new(member: &Member) -> Result<Record> {
        let name = member.zip_name();
        if name.len() > usize::from(u16::MAX) {
            return Err(Error::limit(format!("a path of {} bytes, more than ZIP can hold", name.len())));
        }
        let attr = &member.attr;
        Ok(Record {
            name: name.into(),
            mode: unix_mode(attr),
            dos_attributes: dos_attributes(attr),
            owner: attr.uid.zip(attr.gid),
            modified: attr.modified,
            accessed: attr.accessed,
            created: attr.created,
        })
    }

    /// The record of a file that is the archive's own.
    pub fn own(name: &str) -> Record {
        Record {
            name: name.into(),
            mode: 0o100_644,
            dos_attributes: 0,
            owner: None,
            modified: None,
            accessed: None,
            created: None,
        }
    }

    /// The header before the data.
    pub fn local(&self, data: &Data) -> Vec<u8> {
        let mut extra = Vec::with_capacity(128);
        // What stands behind the data is 0 here.
        let known = if data.has_descriptor { Data::default() } else { *data };
        let (mut packed, mut size) = (low32(known.packed), low32(known.size));
        if data.is_zip64() {
            (packed, size) = (FIELD_FULL, FIELD_FULL);
            put_extra(
                &mut extra,
                EXTRA_ZIP64,
                &[known.size.to_le_bytes(), known.packed.to_le_bytes()].concat(),
            );
        }
        self.put_extras(&mut extra, true);
        let mut out = Vec::with_capacity(30 + self.name.len() + extra.len());
        out.extend_from_slice(b"PK\x03\x04");
        for field in [data.version(), data.flags(), data.method] {
            put16(&mut out, field);
        }
        self.put_dos_time(&mut out);
        put32(&mut out, known.crc);
        put32(&mut out, packed);
        put32(&mut out, size);
        put16(&mut out, low16(self.name.len()));
        put16(&mut out, low16(extra.len()));
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }

    /// The record in the central directory of an entry whose header is at `offset`; `filler` bytes longer
    /// than it need be, which are none or at least 4.
    pub fn central(&self, data: &Data, offset: u64, filler: usize) -> Vec<u8> {
        let mut large = Vec::new();
        let (mut packed, mut size, mut at) = (low32(data.packed), low32(data.size), low32(offset));
        if data.is_zip64() {
            (packed, size) = (FIELD_FULL, FIELD_FULL);
            put64(&mut large, data.size);
            put64(&mut large, data.packed);
        }
        if offset >= u64::from(FIELD_FULL) {
            at = FIELD_FULL;
            put64(&mut large, offset);
        }
        let mut extra = Vec::with_capacity(128);
        if !large.is_empty() {
            put_extra(&mut extra, EXTRA_ZIP64, &large);
        }
        self.put_extras(&mut extra, false);
        if let Some(len) = filler.checked_sub(4) {
            put_extra(&mut extra, EXTRA_FILLER, &vec![0; len]);
        }
        let mut out = Vec::with_capacity(46 + self.name.len() + extra.len());
        out.extend_from_slice(b"PK\x01\x02");
        let version = if large.is_empty() { VERSION } else { VERSION_ZIP64 };
        for field in [MADE_BY_UNIX, version, data.flags(), data.method] {
            put16(&mut out, field);
        }
        self.put_dos_time(&mut out);
        for field in [data.crc, packed, size] {
            put32(&mut out, field);
        }
        // Name, extra fields, comment, disk, internal attributes.
        for field in [low16(self.name.len()), low16(extra.len()), 0, 0, 0] {
            put16(&mut out, field);
        }
        put32(&mut out, self.mode << 16 | u32::from(self.dos_attributes));
        put32(&mut out, at);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }

    fn put_extras(&self, extra: &mut Vec<u8>, is_local: bool) {
        if let Some(field) = self.unix_times(is_local) {
            put_extra(extra, EXTRA_TIMES, &field);
        }
        if let Some(modified) = self.modified.and_then(filetime) {
            // Where the guest does not tell the others, what there is stands for them.
            let or_modified = |time: Option<Time>| time.and_then(filetime).unwrap_or(modified);
            let mut field = vec![0; 4];
            put16(&mut field, 1);
            put16(&mut field, 24);
            for time in [modified, or_modified(self.accessed), or_modified(self.created)] {
                put64(&mut field, time);
            }
            put_extra(extra, EXTRA_NTFS, &field);
        }
        if let Some((uid, gid)) = self.owner {
            let mut field = vec![1, 4];
            put32(&mut field, uid);
            field.push(4);
            put32(&mut field, gid);
            put_extra(extra, EXTRA_OWNER, &field);
        }
    }

    /// Seconds of 32 bits. In the central directory stands the first of them alone.
    fn unix_times(&self, is_local: bool) -> Option<Vec<u8>> {
        let seconds = |time: Option<Time>| time.and_then(|time| i32::try_from(time.seconds()).ok());
        let modified = seconds(self.modified)?;
        let mut field = vec![1];
        field.extend_from_slice(&modified.to_le_bytes());
        for (bit, time) in [(2, seconds(self.accessed)), (4, seconds(self.created))] {
            if let (Some(time), Some(flags)) = (time, field.first_mut()) {
                *flags |= bit;
                if is_local {
                    field.extend_from_slice(&time.to_le_bytes());
                }
            }
        }
        Some(field)
    }

    /// Time and date as DOS has them, in UTC: the archive must not depend on where it is made.
    fn put_dos_time(&self, out: &mut Vec<u8>) {
        let (time, date) = dos_time(self.modified.unwrap_or(Time::from_seconds(0)));
        put16(out, time);
        put16(out, date);
    }
}

/// The end of the archive, behind a central directory of `len` bytes at `offset`. `is_large` asks for the
/// records of 64 bits, whatever the numbers are.
pub fn end(count: u64, offset: u64, len: u64, is_large: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut count16, mut len32, mut offset32) =
        (u16::try_from(count).unwrap_or(COUNT_FULL), low32(len), low32(offset));
    if is_large {
        (count16, len32, offset32) = (COUNT_FULL, FIELD_FULL, FIELD_FULL);
        out.extend_from_slice(b"PK\x06\x06");
        put64(&mut out, 44);
        put16(&mut out, MADE_BY_UNIX);
        put16(&mut out, VERSION_ZIP64);
        put64(&mut out, 0);
        for field in [count, count, len, offset] {
            put64(&mut out, field);
        }
        out.extend_from_slice(b"PK\x06\x07");
        put32(&mut out, 0);
        put64(&mut out, offset.saturating_add(len));
        put32(&mut out, 1);
    }
    out.extend_from_slice(b"PK\x05\x06");
    for field in [0, 0, count16, count16] {
        put16(&mut out, field);
    }
    put32(&mut out, len32);
    put32(&mut out, offset32);
    put16(&mut out, 0);
    out
}

/// Whether an archive needs the end of 64 bits.
pub fn is_large(count: u64, end: u64) -> bool {
    count >= u64::from(COUNT_FULL) || end >= u64::from(FIELD_FULL)
}

fn unix_mode(attr: &Attr) -> u32 {
    let (kind, usual) = match attr.kind {
        Kind::File => (0o100_000, 0o644),
        Kind::Directory => (0o040_000, 0o755),
        Kind::Symlink => (0o120_000, 0o777),
        Kind::Fifo => (0o010_000, 0o644),
        Kind::Socket => (0o140_000, 0o644),
        Kind::CharDevice => (0o020_000, 0o644),
        Kind::BlockDevice => (0o060_000, 0o644),
    };
    kind | (attr.mode.unwrap_or(usual) & 0o7777)
}

/// Read-only, hidden, system, directory, archive.
fn dos_attributes(attr: &Attr) -> u8 {
    let kept = u8::try_from(attr.dos_attributes.unwrap_or(0) & 0x27).unwrap_or(0);
    if attr.kind == Kind::Directory { kept | 0x10 } else { kept }
}

/// Time and date as DOS has them: two seconds are the least, 1980 to 2107 the range.
fn dos_time(time: Time) -> (u16, u16) {
    const DAY: i64 = 86_400;
    let (year, month, day) = civil(time.seconds().div_euclid(DAY));
    if year < 1980 {
        return (0, 1 << 5 | 1);
    }
    if year > 2107 {
        return (23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31);
    }
    let second = time.seconds().rem_euclid(DAY);
    let fields = [
        (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2),
        (year - 1980) << 9 | month << 5 | day,
    ];
    let [time, date] = fields.map(|field| u16::try_from(field).unwrap_or(0));
    (time, date)
}

/// Units of 100 ns since 1601; `None` outside of what Windows takes for a time.
fn filetime(time: Time) -> Option<u64> {
    let seconds = u64::try_from(time.seconds().checked_add(11_644_473_600)?).ok()?;
    let ticks = seconds.checked_mul(10_000_000)?.checked_add(u64::from(time.nanoseconds() / 100))?;
    (ticks <= i64::MAX.unsigned_abs()).then_some(ticks)
}

fn put_extra(out: &mut Vec<u8>, id: u16, field: &[u8]) {
    put16(out, id);
    put16(out, low16(field.len()));
    out.extend_from_slice(field);
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A number that was seen to fit; one that does not is the greatest, which ZIP reads as "elsewhere".
fn low32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(FIELD_FULL)
}

fn low16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_are_utc_and_stay_in_their_range() {
        let at = |seconds| dos_time(Time::from_seconds(seconds));

        assert_eq!(at(0), (0, 0x21));
        assert_eq!(at(i64::MIN), (0, 0x21));
        assert_eq!(at(i64::MAX), (0xBF7D, 0xFF9F));
        // 2026-11-27 01:02:03.
        assert_eq!(at(1_795_741_323), (1 << 11 | 2 << 5 | 1, 46 << 9 | 11 << 5 | 27));
        // 2024-02-29 23:59:59.
        assert_eq!(at(1_709_251_199), (23 << 11 | 59 << 5 | 29, 44 << 9 | 2 << 5 | 29));
    }

    #[test]
    fn filetimes_keep_what_they_can_hold() {
        assert_eq!(filetime(Time::new(0, 100).unwrap()), Some(116_444_736_000_000_001));
        assert_eq!(filetime(Time::from_seconds(-11_644_473_601)), None);
        assert_eq!(filetime(Time::from_seconds(i64::MAX)), None);
    }

    #[test]
    fn sizes_of_four_gibibytes_and_more_are_written_in_64_bits() {
        let record = Record::own("x");
        let data = |size| Data { size, packed: size, has_descriptor: true, ..Data::default() };

        assert_eq!(data(1).descriptor().len(), 16);
        assert_eq!(data(1 << 32).descriptor().len(), 24);
        assert_eq!((data(1).descriptor_len(), data(1 << 32).descriptor_len()), (16, 24));
        assert_eq!(record.local(&data(1 << 32)).len() - record.local(&data(1)).len(), 20);
        assert_eq!(record.central(&data(1), 1 << 32, 0).len() - record.central(&data(1), 1, 0).len(), 12);
    }

    #[test]
    fn filler_makes_a_record_as_long_as_it_says() {
        let record = Record::own("x");
        let len = |filler| record.central(&Data::default(), 0, filler).len();

        assert_eq!((len(4) - len(0), len(4000) - len(0)), (4, 4000));
    }
}
