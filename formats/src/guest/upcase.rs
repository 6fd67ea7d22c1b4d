//! Which letters are the same to a volume: the table of upper case that NTFS and exFAT keep.

use super::utf16::utf16_units;
use std::cmp::Ordering;

/// Upper case of every UTF-16 unit.
pub(super) struct Upcase(Vec<u16>);

impl Upcase {
    /// The table of a volume. Units behind its end are their own upper case.
    pub fn new(upper: Vec<u16>) -> Upcase {
        Upcase(upper)
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
