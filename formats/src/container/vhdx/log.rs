//! The log: changes that were not yet made to the file when it was left ([MS-VHDX] 2.3).
//!
//! The log is a ring of sectors. An entry is a header with descriptors, and a data sector for each
//! descriptor that brings data:
//!
//! ```text
//! header, descriptors | more descriptors ... | data sector | data sector ...
//! ```
//!
//! What must be replayed is the newest unbroken sequence of valid entries that has the entry which its
//! last one calls its tail.

use super::MIB;
use super::header::{CHECKSUM_AT, Header};
use super::patched::{Patch, Patched};
use crate::bytes::{add, array, index, le_u32, le_u64, mul, range, sub};
use spelunk_tree::{Error, ReadAt, Result};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

pub(super) const SECTOR_BYTES: u64 = 4096;

/// Bytes of a log that is replayed. Windows makes it 1 MiB; the format's limit is 4 GiB.
const LOG_BYTES_MAX: u64 = 256 * MIB;

const ENTRY_HEADER_BYTES: u64 = 64;
const DESCRIPTOR_BYTES: u64 = 32;

type Sector = [u8; 4096];

/// The file with its log replayed; `None` when the log holds nothing.
pub(super) fn replay(header: &Header, file: &Arc<dyn ReadAt>) -> Result<Option<Patched>> {
    let Some(id) = header.log_id else { return Ok(None) };
    let ring = Ring::new(header, &**file, id)?;
    let entries = ring.entries()?;
    let sequence = active_sequence(&entries, ring.sectors);
    let Some(newest) = sequence.last() else {
        return Err(Error::corrupt("the image was not closed, and its log has no valid entries"));
    };
    if newest.flushed_bytes > file.size() {
        let size = newest.flushed_bytes;
        return Err(Error::corrupt(format!("truncated: the file had {size} bytes when it was last used")));
    }
    let mut patched = Patched::new(file.clone(), newest.size_bytes);
    for entry in &sequence {
        ring.changes(entry, &mut |change| patched.insert(change.start, change.len, change.patch))?;
    }
    Ok(Some(patched))
}

/// A valid entry.
#[derive(Clone)]
struct Entry {
    /// Its first sector in the ring.
    position: u64,
    /// Its length in sectors.
    sectors: u64,
    descriptors: u64,
    sequence: u64,
    /// The position of the oldest entry that is still needed.
    tail: u64,
    /// What the file's size was, at least, when the entry was written.
    flushed_bytes: u64,
    /// What the file's size must be, at least, with the entry replayed.
    size_bytes: u64,
}

/// What a descriptor asks for.
struct Change {
    start: u64,
    len: u64,
    patch: Patch,
}

/// The log's sectors.
struct Ring<'a> {
    file: &'a dyn ReadAt,
    start: u64,
    sectors: NonZeroU64,
    id: [u8; 16],
}

impl<'a> Ring<'a> {
    fn new(header: &Header, file: &'a dyn ReadAt, id: [u8; 16]) -> Result<Ring<'a>> {
        let (start, len) = (header.log_offset, header.log_bytes);
        if header.log_version != 0 {
            return Err(Error::unsupported(format!("log version {}", header.log_version)));
        }
        if start < MIB || start % MIB != 0 || len % MIB != 0 {
            return Err(Error::corrupt(format!("a log of {len} bytes at byte {start}")));
        }
        if len > LOG_BYTES_MAX {
            return Err(Error::limit(format!("a log of {len} bytes")));
        }
        if add(start, len)? > file.size() {
            return Err(Error::corrupt("truncated inside the log").at(start));
        }
        let sectors = NonZeroU64::new(len / SECTOR_BYTES)
            .ok_or_else(|| Error::corrupt("the image was not closed, and it has no log"))?;
        Ok(Ring { file, start, sectors, id })
    }

    fn offset(&self, position: u64) -> Result<u64> {
        add(self.start, mul(position % self.sectors, SECTOR_BYTES)?)
    }

    fn read(&self, position: u64, sector: &mut Sector) -> Result<()> {
        self.file.read_at(self.offset(position)?, sector)
    }

    /// All valid entries, by position. Sectors of a valid entry cannot begin another one, because each has
    /// a signature of its own: so each sector is read at most a few times.
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut position = 0;
        while position < self.sectors.get() {
            let mut sector = [0; 4096];
            self.read(position, &mut sector)?;
            let found = match self.parse(position, &sector)? {
                Some(entry) if self.changes(&entry, &mut |_| Ok(()))? && self.is_whole(&entry)? => {
                    Some(entry)
                }
                _ => None,
            };
            position = add(position, found.as_ref().map_or(1, |entry| entry.sectors))?;
            entries.extend(found);
        }
        Ok(entries)
    }

    /// The entry whose header is in `sector`, if there is one that may be valid: nothing else of it was
    /// looked at.
    fn parse(&self, position: u64, sector: &Sector) -> Result<Option<Entry>> {
        let (len, tail) = (u64::from(le_u32(sector, 8)?), u64::from(le_u32(sector, 12)?));
        let entry = Entry {
            position,
            sectors: len / SECTOR_BYTES,
            descriptors: le_u32(sector, 24)?.into(),
            sequence: le_u64(sector, 16)?,
            tail: tail / SECTOR_BYTES,
            flushed_bytes: le_u64(sector, 48)?,
            size_bytes: le_u64(sector, 56)?,
        };
        let is_valid = sector.starts_with(b"loge")
            && array::<16>(sector, 32)? == self.id
            && len % SECTOR_BYTES == 0
            && tail % SECTOR_BYTES == 0
            && entry.sequence > 0
            && entry.tail < self.sectors.get()
            && entry.sectors <= self.sectors.get()
            && entry.sectors >= entry.descriptor_sectors();
        Ok(is_valid.then_some(entry))
    }

    /// Whether the checksum of an entry is right and all its data sectors are its own.
    fn is_whole(&self, entry: &Entry) -> Result<bool> {
        let mut sector = [0; 4096];
        let (mut stored, mut sum) = (0, 0);
        for number in 0..entry.sectors {
            self.read(add(entry.position, number)?, &mut sector)?;
            if number == 0 {
                stored = le_u32(&sector, CHECKSUM_AT)?;
                sector.iter_mut().skip(CHECKSUM_AT).take(4).for_each(|byte| *byte = 0);
            }
            if number >= entry.descriptor_sectors() && !entry.owns_data(&sector)? {
                return Ok(false);
            }
            sum = crc32c::crc32c_append(sum, &sector);
        }
        Ok(sum == stored)
    }

    /// Calls `visit` with the changes of an entry. False when they do not fit the entry; what `visit` was
    /// told is then void.
    fn changes(&self, entry: &Entry, visit: &mut dyn FnMut(Change) -> Result<()>) -> Result<bool> {
        let mut sector = [0; 4096];
        let mut data = entry.descriptor_sectors();
        for number in 0..entry.descriptor_sectors() {
            self.read(add(entry.position, number)?, &mut sector)?;
            for descriptor in entry.descriptors_in(number, &sector)? {
                match self.change(entry, descriptor, &mut data)? {
                    Some(change) => visit(change)?,
                    None => return Ok(false),
                }
            }
        }
        Ok(data == entry.sectors)
    }

    /// What a descriptor asks for; `data` is the entry's next data sector. `None` when it is not valid.
    fn change(&self, entry: &Entry, descriptor: &[u8; 32], data: &mut u64) -> Result<Option<Change>> {
        let start = le_u64(descriptor, 16)?;
        let is_own = le_u64(descriptor, 24)? == entry.sequence;
        let (len, patch) = match &array(descriptor, 0)? {
            b"zero" => (le_u64(descriptor, 8)?, Patch::Zero),
            b"desc" => {
                let at = self.offset(add(entry.position, *data)?)?;
                *data = add(*data, 1)?;
                let (leading, trailing) = (array(descriptor, 8)?, array(descriptor, 4)?);
                (SECTOR_BYTES, Patch::Sector { at, leading, trailing })
            }
            _ => return Ok(None),
        };
        let is_valid = is_own && start % SECTOR_BYTES == 0 && len % SECTOR_BYTES == 0;
        Ok(is_valid.then_some(Change { start, len, patch }))
    }
}

impl Entry {
    /// Sectors that the header and the descriptors take.
    fn descriptor_sectors(&self) -> u64 {
        let bytes = self.descriptors.saturating_mul(DESCRIPTOR_BYTES).saturating_add(ENTRY_HEADER_BYTES);
        bytes.div_ceil(SECTOR_BYTES)
    }

    /// The descriptors in the entry's sector `number`.
    fn descriptors_in<'s>(&self, number: u64, sector: &'s Sector) -> Result<&'s [[u8; 32]]> {
        let start = if number == 0 { ENTRY_HEADER_BYTES } else { 0 };
        let skipped =
            number.saturating_mul(SECTOR_BYTES).saturating_sub(ENTRY_HEADER_BYTES) / DESCRIPTOR_BYTES;
        let skipped = if number == 0 { 0 } else { skipped };
        let room = sub(SECTOR_BYTES, start)? / DESCRIPTOR_BYTES;
        let descriptors = self.descriptors.saturating_sub(skipped).min(room);
        let bytes = range(sector, index(start)?, index(mul(descriptors, DESCRIPTOR_BYTES)?)?)?;
        Ok(bytes.as_chunks::<32>().0)
    }

    /// Whether `sector` is a data sector of this entry: its sequence number stands at both ends.
    fn owns_data(&self, sector: &Sector) -> Result<bool> {
        let [high, low] = [le_u32(sector, 4)?, le_u32(sector, 4092)?].map(u64::from);
        Ok(sector.starts_with(b"data") && (high << 32 | low) == self.sequence)
    }
}

/// The newest sequence of entries that holds its tail, from that on, oldest first; empty when there is none.
fn active_sequence(entries: &[Entry], sectors: NonZeroU64) -> Vec<Entry> {
    let at: HashMap<u64, &Entry> = entries.iter().map(|entry| (entry.position, entry)).collect();
    let next = |entry: &Entry| {
        let position = entry.position.saturating_add(entry.sectors) % sectors;
        at.get(&position).copied().filter(|next| entry.sequence.checked_add(1) == Some(next.sequence))
    };
    let mut is_first: HashMap<u64, bool> = at.keys().map(|&position| (position, true)).collect();
    for follower in entries.iter().filter_map(next) {
        is_first.insert(follower.position, false);
    }
    let mut active: Vec<Entry> = Vec::new();
    for first in entries.iter().filter(|entry| is_first.get(&entry.position) == Some(&true)) {
        let chain: Vec<&Entry> = std::iter::successors(Some(first), |&entry| next(entry)).collect();
        let Some(newest) = chain.last() else { continue };
        let Some(tail) = chain.iter().position(|entry| entry.position == newest.tail) else { continue };
        if active.last().is_none_or(|entry| entry.sequence < newest.sequence) {
            active = chain.iter().skip(tail).map(|&entry| entry.clone()).collect();
        }
    }
    active
}
