//! What users call their things.

use super::error::{Error, Result};
use crate::escape::is_hostile;

/// Characters of a label.
const CHARACTERS_MAX: usize = 100;

/// Refuses a label that is empty, too long, or could disguise itself.
///
/// # Errors
/// `Bad`.
pub fn check(label: &str) -> Result<()> {
    if label.trim().is_empty() || label.chars().count() > CHARACTERS_MAX || label.chars().any(is_hostile) {
        return Err(Error::Bad(format!("A name has 1 to {CHARACTERS_MAX} visible characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_are_empty_endless_or_disguised_are_refused() {
        assert!(check("My laptop's script").is_ok());
        assert!(check(&"é".repeat(CHARACTERS_MAX)).is_ok());
        for bad in [String::new(), " ".to_owned(), "é".repeat(CHARACTERS_MAX + 1), "a\u{202e}b".to_owned()] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
