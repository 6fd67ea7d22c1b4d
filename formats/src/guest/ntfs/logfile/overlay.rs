//! The volume with other bytes in the sectors that were replayed.

use crate::bytes::{add, count, index};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a sector: what the log counts in.
const SECTOR_BYTES: u64 = 512;
/// Sectors that are replaced: 16 MiB, what a log of the size that is read can change.
const SECTORS_MAX: usize = 32 * 1024;

/// A volume of which some sectors are replaced.
pub(super) struct Overlay {
    lower: Arc<dyn ReadAt>,
    sectors: BTreeMap<u64, [u8; 512]>,
}

impl Overlay {
    pub(super) fn new(lower: Arc<dyn ReadAt>) -> Overlay {
        Overlay { lower, sectors: BTreeMap::new() }
    }

    /// Replaces what lies at `offset`.
    ///
    /// # Errors
    /// `Limit`; what the volume reports.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = add(offset, count(bytes.len()))?;
        let mut at = offset;
        let mut rest = bytes;
        while at < end {
            let sector = at / SECTOR_BYTES;
            let within = at % SECTOR_BYTES;
            let len = SECTOR_BYTES.saturating_sub(within).min(end.saturating_sub(at));
            let (part, behind) = rest.split_at_checked(index(len)?).unwrap_or((rest, &[]));
            self.write_sector(sector, index(within)?, part)?;
            (rest, at) = (behind, at.saturating_add(len));
        }
        Ok(())
    }

    fn write_sector(&mut self, number: u64, within: usize, bytes: &[u8]) -> Result<()> {
        if !self.sectors.contains_key(&number) {
            if self.sectors.len() >= SECTORS_MAX {
                return Err(Error::limit(format!("a log that changes more than {SECTORS_MAX} sectors")));
            }
            let mut sector = [0; 512];
            self.lower.read_at(number.saturating_mul(SECTOR_BYTES), &mut sector)?;
            self.sectors.insert(number, sector);
        }
        let sector = self.sectors.get_mut(&number);
        let end = within.saturating_add(bytes.len());
        let place = sector.and_then(|sector| sector.get_mut(within..end));
        place.ok_or_else(|| Error::internal("a part of a sector longer than it"))?.copy_from_slice(bytes);
        Ok(())
    }

    /// The replaced sectors that have a part in a range.
    fn in_range(&self, offset: u64, end: u64) -> impl Iterator<Item = (u64, &[u8; 512])> {
        let behind = end.div_ceil(SECTOR_BYTES);
        let range = (offset / SECTOR_BYTES).min(behind)..behind;
        self.sectors.range(range).map(|(number, sector)| (number.saturating_mul(SECTOR_BYTES), sector))
    }
}

impl ReadAt for Overlay {
    fn size(&self) -> u64 {
        self.lower.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.lower.read_at(offset, buffer)?;
        let end = add(offset, count(buffer.len()))?;
        for (start, sector) in self.in_range(offset, end) {
            let skipped = index(offset.saturating_sub(start))?;
            let at = index(start.saturating_sub(offset))?;
            let source = sector.get(skipped..).unwrap_or_default();
            for (byte, new) in buffer.get_mut(at..).unwrap_or_default().iter_mut().zip(source) {
                *byte = *new;
            }
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        let end = add(offset, len)?;
        let mut position = offset;
        for (start, _) in self.in_range(offset, end) {
            if start > position {
                self.lower.runs(position, start.saturating_sub(position), runs)?;
                position = start;
            }
            let part_end = start.saturating_add(SECTOR_BYTES).min(end);
            push_run(runs, Run { len: part_end.saturating_sub(position), place: Place::Opaque });
            position = part_end;
        }
        if position < end {
            self.lower.runs(position, end.saturating_sub(position), runs)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Letters;

    impl ReadAt for Letters {
        fn size(&self) -> u64 {
            4096
        }

        fn read_at(&self, _: u64, buffer: &mut [u8]) -> Result<()> {
            buffer.fill(b'a');
            Ok(())
        }

        fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
            push_run(runs, Run { len, place: Place::At { source: 0, offset } });
            Ok(())
        }
    }

    #[test]
    fn what_was_written_is_read_and_what_lies_around_it_is_the_volume() {
        let mut overlay = Overlay::new(Arc::new(Letters));
        overlay.write(510, &[b'b'; 600]).unwrap();
        let mut bytes = [0; 1000];

        overlay.read_at(300, &mut bytes).unwrap();

        let expected: Vec<u8> =
            (300..1300).map(|at| if (510..1110).contains(&at) { b'b' } else { b'a' }).collect();
        assert_eq!(bytes[..], expected[..]);
        let mut runs = Vec::new();
        overlay.runs(100, 2000, &mut runs).unwrap();
        let stored = Run { len: 564, place: Place::At { source: 0, offset: 1536 } };
        assert_eq!(runs, [Run { len: 1436, place: Place::Opaque }, stored]);
    }
}
