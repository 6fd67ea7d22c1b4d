//! Guests: from a volume to a tree.
//!
//! To add one: a folder here, a row in [`GUESTS`], a fixture, a row in the README's table.

mod clusters;
mod code_page;
mod dos_time;
pub mod exfat;
pub mod ext;
pub mod fat;
pub mod ntfs;
mod time_zone;
mod upcase;
mod utf16;

pub use code_page::CodePage;
pub use time_zone::TimeZone;

use spelunk_tree::{Error, ReadAt, Result, Tree};
use std::sync::Arc;

/// Opens a guest filesystem in a volume.
pub type Open = fn(volume: Arc<dyn ReadAt>, options: &Options) -> Result<Arc<dyn Tree>>;

/// One guest filesystem.
pub struct Guest {
    /// Its name in the README's table; [`spelunk_tree::TreeInfo::filesystem`] may be more exact.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Whether `volume` holds this filesystem, by its magic and the shape of its first fields. Errors only when the storage fails; a volume
    /// too short for the magic is not of this kind.
    pub probe: fn(volume: &dyn ReadAt) -> Result<bool>,
    /// Opens it.
    pub open: Open,
}

/// How guests are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Show the files in which the filesystem keeps itself (`$MFT`, ...).
    pub show_metafiles: bool,
    /// Of names that are stored as bytes of an unknown code page: FAT's short names and labels.
    pub code_page: CodePage,
    /// Of times that are stored without their zone: FAT's, and exFAT's where they lack it.
    pub time_zone: TimeZone,
}

/// All guests in the order they are probed: those first whose magic is long, since ext has two bytes alone,
/// which may stand in a FAT's table, too. Whoever makes one of them wipes the magic of the others, but not always the
/// backups by which exFAT and NTFS may be known: so these are last.
pub static GUESTS: &[Guest] = &[ntfs::GUEST, fat::GUEST, ext::GUEST, exfat::GUEST, ntfs::GUEST_BY_BACKUP];

/// The guest whose filesystem `volume` holds, `None` when it is none of ours.
///
/// # Errors
/// When the storage fails.
pub fn recognise(volume: &dyn ReadAt) -> Result<Option<&'static Guest>> {
    for guest in GUESTS {
        if (guest.probe)(volume)? {
            return Ok(Some(guest));
        }
    }
    Ok(None)
}

/// Opens the filesystem in `volume`.
///
/// # Errors
/// `Unsupported` when none is recognised; what the guest's reader reports.
pub fn open(volume: Arc<dyn ReadAt>, options: &Options) -> Result<Arc<dyn Tree>> {
    match recognise(&*volume)? {
        Some(guest) => (guest.open)(volume, options),
        None => Err(Error::unsupported("no known filesystem")),
    }
}
