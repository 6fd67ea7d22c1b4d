//! Long names: collected from the entries before a file's own.

use super::entry::{FileEntry, LONG_NAME_UNITS, LongNamePart};
use spelunk_tree::Name;

/// UTF-16 units of a long name.
const UNITS_MAX: usize = 255;
/// Entries that a long name of [`UNITS_MAX`] takes.
const PARTS_MAX: usize = 20;

/// A long name as far as it has been met. Its parts come from the last to the first.
#[derive(Default)]
pub struct LongName {
    /// The parts by their ordinals, from 1; those behind `parts` are old.
    units: [[u16; LONG_NAME_UNITS]; PARTS_MAX],
    /// How many parts the name has.
    parts: u8,
    /// The ordinal of the part that came last; 0 when there is none.
    ordinal: u8,
    checksum: u8,
}

impl LongName {
    /// Takes the next part. One that is out of order ends the name.
    pub fn push(&mut self, part: &LongNamePart) {
        if part.is_last {
            self.parts = part.ordinal;
            self.checksum = part.checksum;
        } else if self.ordinal.checked_sub(1) != Some(part.ordinal) || part.checksum != self.checksum {
            self.clear();
            return;
        }
        let slot = part.ordinal.checked_sub(1).and_then(|at| self.units.get_mut(usize::from(at)));
        match slot {
            Some(slot) => {
                *slot = part.units;
                self.ordinal = part.ordinal;
            }
            None => self.clear(),
        }
    }

    /// Forgets what was met.
    pub fn clear(&mut self) {
        self.ordinal = 0;
    }

    /// The whole name, when it belongs to `entry`; forgets it.
    pub fn take(&mut self, entry: &FileEntry) -> Option<Name> {
        let is_whole = self.ordinal == 1 && self.checksum == entry.checksum();
        self.clear();
        let units = self.units.get(..usize::from(self.parts)).filter(|_| is_whole)?.as_flattened();
        let name = units.split(|unit| *unit == 0).next().unwrap_or_default();
        if name.len() <= UNITS_MAX { Name::from_utf16(name).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::fat::entry::Slot;

    fn file() -> FileEntry {
        match Slot::parse(b"LONGFI~1TXT\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") {
            Ok(Slot::File(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    fn part(ordinal: u8, is_last: bool, text: &str) -> LongNamePart {
        let mut units = [0xFFFF; LONG_NAME_UNITS];
        for (unit, value) in units.iter_mut().zip(text.encode_utf16().chain([0])) {
            *unit = value;
        }
        LongNamePart { ordinal, is_last, checksum: file().checksum(), units }
    }

    fn collected(parts: &[LongNamePart]) -> Option<Vec<u8>> {
        let mut name = LongName::default();
        parts.iter().for_each(|part| name.push(part));
        name.take(&file()).map(|name| name.as_bytes().to_vec())
    }

    #[test]
    fn parts_from_last_to_first_make_a_name() {
        // The surrogates of one character lie in different parts.
        let mut parts = [part(2, true, "_ä.txt"), part(1, false, "a long name _")];
        (parts[0].units[0], parts[1].units[12]) = (0xDE00, 0xD83D);

        assert_eq!(collected(&parts).unwrap(), "a long name 😀ä.txt".as_bytes());
    }

    #[test]
    fn parts_out_of_order_or_of_another_entry_make_none() {
        let mut foreign = part(1, false, "a long name  ");
        foreign.checksum ^= 1;

        assert_eq!(collected(&[part(2, true, "x"), foreign]), None);
        assert_eq!(collected(&[part(1, false, "x")]), None);
        assert_eq!(collected(&[part(2, true, "x")]), None);
        assert_eq!(collected(&[part(3, true, "x"), part(1, false, "y")]), None);
        assert_eq!(collected(&[part(21, true, "x")]), None);
        assert_eq!(collected(&[part(1, true, "a/b")]), None);
    }

    #[test]
    fn name_of_more_than_255_units_makes_none() {
        let parts = |last: &str| -> Vec<LongNamePart> {
            let rest = (1..20).rev().map(|ordinal| part(ordinal, false, "thirteen char"));
            std::iter::once(part(20, true, last)).chain(rest).collect()
        };

        assert_eq!(collected(&parts("eightchr")).map(|name| name.len()), Some(255));
        assert_eq!(collected(&parts("nine char")), None);
        assert_eq!(collected(&parts("thirteen char")), None);
    }

    #[test]
    fn new_last_part_begins_a_new_name() {
        assert_eq!(collected(&[part(2, true, "x"), part(1, true, "y")]).unwrap(), b"y");
    }
}
