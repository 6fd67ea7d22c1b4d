//! Comparing names without case, in directories that have it (`casefold`, set for each directory).
//!
//! Linux compares names in the Unicode 12.1 form NFDi with full case folding. Here names are compared after
//! canonical decomposition (NFD) and folding by the standard library's tables: upper case, then lower case, so
//! that `ß`, `ẞ` and `SS` are one, and so are `σ`, `ς` and `Σ`. What differs: characters that Unicode says to
//! ignore count here, and characters younger than Unicode 12.1 fold. A name that is not UTF-8 equals only itself.

use unicode_normalization::UnicodeNormalization;

/// A name to look for.
pub(super) struct Folded(Option<String>);

impl Folded {
    /// Folds `name`.
    pub(super) fn new(name: &[u8]) -> Folded {
        Folded(str::from_utf8(name).ok().map(fold))
    }

    /// Whether `name` is the same but for case.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let (Some(folded), Ok(name)) = (&self.0, str::from_utf8(name)) else { return false };
        if folded.is_ascii() && name.is_ascii() {
            return folded.eq_ignore_ascii_case(name);
        }
        *folded == fold(name)
    }
}

fn fold(name: &str) -> String {
    name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_or_composition_match() {
        for (a, b) in [("readme", "ReadMe"), ("STRASSE", "straße"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("É", "e\u{301}")]
        {
            assert!(Folded::new(a.as_bytes()).matches(b.as_bytes()), "{a} {b}");
            assert!(Folded::new(b.as_bytes()).matches(a.as_bytes()), "{b} {a}");
        }
    }

    #[test]
    fn other_names_and_names_that_are_not_unicode_do_not_match() {
        assert!(!Folded::new(b"a").matches(b"b"));
        assert!(!Folded::new(b"A\xFF").matches(b"a\xFF"));
    }
}
