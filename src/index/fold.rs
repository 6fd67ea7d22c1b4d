//! Names as they are compared: without case, composed, as text. And the trigrams of what is searched for.

use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// What stands before and after each name in the text that is searched. No name holds it, and folding never makes
/// it, so a trigram with it is one of a name's beginning or end.
pub(super) const EDGE: char = '/';

/// Trigrams that one search asks the index for. More would only make it slower: candidates are compared anyway.
const TRIGRAMS_MAX: usize = 24;

/// The form of a name, or of a part of one, in which it is compared: in lower case and composed (NFC), with U+FFFD
/// for bytes that are no UTF-8.
pub(super) fn fold(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) => text.into(),
        Ok(text) if text.is_ascii() => text.to_ascii_lowercase().into(),
        _ => String::from_utf8_lossy(name).chars().flat_map(lower).nfc().collect::<String>().into(),
    }
}

/// Letter by letter, unlike [`str::to_lowercase`]: a sigma at the end of a word is the one in its middle.
fn lower(character: char) -> impl Iterator<Item = char> {
    let character = if character == 'ς' { 'σ' } else { character };
    character.to_lowercase()
}

/// What FTS5 is to look for, so that everything is found that holds all of `parts`: their trigrams. `None` when they
/// are too short to have any.
pub(super) fn trigrams(parts: &[String]) -> Option<String> {
    let mut trigrams: Vec<String> = Vec::new();
    for part in parts {
        let letters: Vec<char> = part.chars().collect();
        trigrams.extend(letters.windows(3).map(|three| three.iter().collect::<String>()));
    }
    trigrams.sort_unstable();
    trigrams.dedup();
    // Of too many some are taken from everywhere.
    let step = trigrams.len().div_ceil(TRIGRAMS_MAX).max(1);
    let quoted = trigrams.iter().step_by(step).map(|three| format!("\"{}\"", three.replace('"', "\"\"")));
    Some(quoted.collect::<Vec<_>>().join(" AND ")).filter(|query| !query.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_names_know_neither_case_nor_composition() {
        assert_eq!(fold(b"README.md"), "readme.md");
        assert_eq!(fold("GRÖSSE".as_bytes()), "grösse");
        assert_eq!(fold("Gro\u{308}sse".as_bytes()), fold("GRÖSSE".as_bytes()));
        assert_eq!(fold("ΟΔΟΣ".as_bytes()), fold("οδος".as_bytes()));
        assert_eq!(fold(b"caf\xe9"), "caf\u{fffd}");
    }

    #[test]
    fn trigrams_are_quoted_each_once_and_few() {
        let parts = |parts: &[&str]| trigrams(&parts.iter().map(ToString::to_string).collect::<Vec<_>>());

        assert_eq!(parts(&["abab", "bab"]).as_deref(), Some("\"aba\" AND \"bab\""));
        assert_eq!(parts(&["a\"b"]).as_deref(), Some("\"a\"\"b\""));
        assert_eq!(parts(&["ab", "", "写真"]), None);
        let long: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
        assert!(parts(&[&long]).is_some_and(|query| query.split(" AND ").count() <= TRIGRAMS_MAX));
    }
}
