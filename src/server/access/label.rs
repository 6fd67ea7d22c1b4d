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
