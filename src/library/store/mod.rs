//! Spelunk's own store:
//!
//! ```text
//! STORE/
//!   spelunk.toml                                 version, id, settings
//!   images/<client>/<UTC time>/<volume>.<vhdz|vhd|vhdx|raw>
//!   files/                                       a repository of restic's format
//! ```
//!
//! What else is in it (`catalog.sqlite`, manifests) is of the program that makes backups, and is not needed to read
//! them. A directory of images is called after the time when its backup began, `2026-11-23T024305Z`; one that is called
//! otherwise is not complete.

mod images;
mod settings;

use super::restic::Restic;
use super::{Place, Sources};
use images::Images;
use spelunk_tree::Result;

/// Whether a place is a store.
pub(super) fn probe(place: &Place) -> bool {
    place.path.join(settings::FILE).is_file()
}

/// Opens a store: its images, and its file backups.
///
/// # Errors
/// `Unsupported` for one that a newer version made; `Corrupt` when its settings cannot be read.
pub(super) fn open(place: &Place) -> Result<Sources> {
    settings::check(&place.path)?;
    let images = Images::new(place.path.join("images"));
    let files = Restic::new(place.path.join("files"), place.password.clone(), true);
    Ok(vec![Box::new(images), Box::new(files)])
}
