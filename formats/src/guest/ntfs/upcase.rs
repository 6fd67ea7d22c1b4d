//! `$UpCase`: which letters are the same to this volume.

use super::attribute::{UNNAMED, types, utf16_units};
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use spelunk_tree::{Error, Result};
use std::cmp::Ordering;

/// Record of `$UpCase`.
const UPCASE: Reference = Reference { number: 10, sequence: 0 };
/// One unit of two bytes for each UTF-16 unit.
const TABLE_BYTES_MAX: u64 = 2 << 16;

/// Upper case of every UTF-16 unit.
pub(super) struct Upcase(Vec<u16>);

impl Upcase {
    /// Reads the volume's own table.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(volume: &Volume) -> Result<Upcase> {
        let node = Node::open(volume, UPCASE)?;
        let stream = Stream::open(volume, &node, types::DATA, UNNAMED)?;
        let stream = stream.ok_or_else(|| Error::corrupt("$UpCase without data"))?;
        let bytes = stream.whole(volume, TABLE_BYTES_MAX)?;
        Ok(Upcase(utf16_units(&bytes).collect()))
    }

    /// The table of Unicode, for volumes whose own cannot be read.
    pub fn unicode() -> Upcase {
        Upcase((0..=u16::MAX).map(unicode_upper).collect())
    }

    fn upper(&self, unit: u16) -> u16 {
        self.0.get(usize::from(unit)).copied().unwrap_or(unit)
    }

    /// Whether a name in UTF-16LE and one in units are the same but for case.
    pub fn is_same(&self, a: &[u8], b: &[u16]) -> bool {
        self.compare(utf16_units(a), b.iter().copied()).is_eq()
    }

    /// A name in UTF-16LE in upper case.
    pub fn upper_case(&self, name: &[u8]) -> Vec<u16> {
        utf16_units(name).map(|unit| self.upper(unit)).collect()
    }

    /// Compares names as directories are ordered, but for case.
    pub fn compare(&self, a: impl Iterator<Item = u16>, b: impl Iterator<Item = u16>) -> Ordering {
        a.map(|unit| self.upper(unit)).cmp(b.map(|unit| self.upper(unit)))
    }
}

/// Upper case of one unit, where that is one unit too.
fn unicode_upper(unit: u16) -> u16 {
    let Some(character) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = character.to_uppercase();
    match (upper.next().map(|upper| u16::try_from(u32::from(upper))), upper.next()) {
        (Some(Ok(upper)), None) => upper,
        _ => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case() {
        let upcase = Upcase::unicode();
        let compare = |a: &str, b: &str| upcase.compare(a.encode_utf16(), b.encode_utf16());

        assert_eq!(compare("größe", "GRÖßE"), Ordering::Equal);
        assert_eq!(compare("a_b", "aB"), Ordering::Greater);
        assert_eq!(compare("a", "ab"), Ordering::Less);
    }
}
