//! Internal snapshots: other L1 tables of the same file (qcow2.rst, "Snapshots").

use super::header::{Disk, Header, Place};
use crate::bytes::{add, be_u16, be_u32, be_u64, count, index};
use spelunk_tree::{Error, ErrorKind, ReadAt, Result};

/// Bytes of an entry before its extra data.
const ENTRY_BYTES: usize = 40;

/// Bytes of an entry's extra data that hold the disk's size, after those of the machine's state.
const SIZE_AT: usize = 8;

/// Snapshots of one image, and bytes of extra data: QEMU's own limits.
const SNAPSHOTS_MAX: u32 = 65_536;
const EXTRA_BYTES_MAX: u32 = 1024;

/// Snapshots that notes tell of: more would push other notes out.
const LISTED_MAX: usize = 32;

/// Characters of a name in a note.
const SHOWN_MAX: usize = 100;

/// One internal snapshot.
pub(super) struct Snapshot {
    id: Vec<u8>,
    name: Vec<u8>,
    seconds: u32,
    disk: Disk,
}

/// The entries of the snapshot table, in their order. After an error there is nothing more.
pub(super) struct Snapshots<'a> {
    file: &'a dyn ReadAt,
    place: Place,
    /// The disk's size now, which is a snapshot's where that does not say (version 2).
    size_bytes: u64,
    number: u32,
    position: u64,
}

impl<'a> Snapshots<'a> {
    pub(super) fn new(file: &'a dyn ReadAt, header: &Header) -> Snapshots<'a> {
        let place = header.snapshots;
        Snapshots { file, place, size_bytes: header.disk.size_bytes, number: 0, position: place.offset }
    }

    /// A line for each snapshot. A damaged table is no reason not to show the disk as it is now.
    pub(super) fn notes(self) -> Vec<String> {
        let entries = self.place.entries;
        let mut notes = Vec::new();
        for snapshot in self.take(LISTED_MAX) {
            match snapshot {
                Ok(snapshot) => notes.push(snapshot.note()),
                Err(error) => {
                    notes.push(format!("the table of internal snapshots cannot be read: {error}"));
                    return notes;
                }
            }
        }
        let more = u64::from(entries).saturating_sub(count(notes.len()));
        if more > 0 {
            notes.push(format!("{more} more internal snapshots"));
        }
        notes
    }

    /// The disk of the snapshot with this id, or else the first with this name, as QEMU chooses.
    pub(super) fn find(self, wanted: &str) -> Result<Disk> {
        let mut named = None;
        for snapshot in self {
            let snapshot = snapshot?;
            if snapshot.id == wanted.as_bytes() {
                return Ok(snapshot.disk);
            }
            if snapshot.name == wanted.as_bytes() && named.is_none() {
                named = Some(snapshot.disk);
            }
        }
        named.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no internal snapshot \"{wanted}\"")))
    }

    fn entry(&mut self) -> Result<Snapshot> {
        if self.place.entries > SNAPSHOTS_MAX {
            return Err(Error::limit(format!("{} internal snapshots", self.place.entries)).at(60));
        }
        let fixed = self.bytes(ENTRY_BYTES)?;
        let extra = be_u32(&fixed, 36)?;
        if extra > EXTRA_BYTES_MAX {
            return Err(Error::limit(format!("{extra} bytes of extra data of a snapshot")).at(self.position));
        }
        let extra = self.bytes(index(extra)?)?;
        let id = self.bytes(be_u16(&fixed, 12)?.into())?;
        let name = self.bytes(be_u16(&fixed, 14)?.into())?;
        self.position = add(self.position, 7)? & !7;
        Ok(Snapshot {
            id,
            name,
            seconds: be_u32(&fixed, 16)?,
            disk: Disk {
                size_bytes: be_u64(&extra, SIZE_AT).unwrap_or(self.size_bytes),
                l1: Place { offset: be_u64(&fixed, 0)?, entries: be_u32(&fixed, 8)? },
            },
        })
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>> {
        let end = add(self.position, count(len))?;
        if end > self.file.size() {
            return Err(
                Error::corrupt("truncated: a snapshot goes past the end of the file").at(self.position)
            );
        }
        let mut bytes = vec![0; len];
        self.file.read_at(self.position, &mut bytes)?;
        self.position = end;
        Ok(bytes)
    }
}

impl Iterator for Snapshots<'_> {
    type Item = Result<Snapshot>;

    fn next(&mut self) -> Option<Result<Snapshot>> {
        if self.number >= self.place.entries {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let entry = self.entry();
        if entry.is_err() {
            self.number = u32::MAX;
        }
        Some(entry)
    }
}

impl Snapshot {
    fn note(&self) -> String {
        let (id, name, time) = (shown(&self.id), shown(&self.name), utc(self.seconds));
        format!("internal snapshot {id}, \"{name}\", of {time}")
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .filter(|character| !character.is_control())
        .take(SHOWN_MAX)
        .collect()
}

/// A point in time as people read it, such as `2026-11-27 05:30:00 UTC`.
fn utc(seconds: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin in March, so that a leap day is the last one.
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let leaps = (day / 1460).saturating_sub(day / 36_524).saturating_add(day / 146_096);
    let year = day.saturating_sub(leaps) / 365;
    let before = year.saturating_mul(365).saturating_add(year / 4).saturating_sub(year / 100);
    let day = day.saturating_sub(before);
    let march = day.saturating_mul(5).saturating_add(2) / 153;
    let day = day.saturating_sub(march.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = if march < 10 { march.saturating_add(3) } else { march.saturating_sub(9) };
    let year = era.saturating_mul(400).saturating_add(year).saturating_add(u32::from(month <= 2));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_757_553), "2026-11-27 05:32:33 UTC");
        assert_eq!(utc(u32::MAX), "2106-02-07 06:28:15 UTC");
    }
}
