//! Names of a directory, in the order in which they are listed: by the hashes that their ids are, so that a cursor
//! says where a listing goes on in every process, and a page costs no more than what is on it.

use crate::library::nodes::id_of;
use rustix::fs::Dir;
use spelunk_tree::{Cursor, Error, Name, NodeId, Result};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Names of one directory.
const NAMES_MAX: usize = 1 << 22;
/// Directories whose names are kept, and how many names there may be in them together.
const KEPT_MAX: usize = 16;
const KEPT_NAMES_MAX: usize = 1 << 20;

/// Reads the names of a directory, sorted. What cannot be a name is left out.
///
/// # Errors
/// `Limit` for more than anybody has in a directory; when it cannot be read.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<Name>> {
    let failed = |errno: rustix::io::Errno| Error::from_io("reading a directory of a storage", &errno.into());
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if names.len() >= NAMES_MAX {
            return Err(Error::limit(format!("a directory of more than {NAMES_MAX} names")));
        }
        names.extend(Name::new(entry.file_name().to_bytes()).ok());
    }
    names.sort();
    Ok(names)
}

/// The names of a directory with the cursors behind them, which rise.
pub(super) type Listing = Vec<(Cursor, Name)>;

/// Puts names in the order in which they are listed.
fn ordered(directory: NodeId, names: Vec<Name>) -> Listing {
    let mut listing: Listing =
        names.into_iter().map(|name| (Cursor(id_of(directory, &name).get()), name)).collect();
    listing.sort();
    let mut before = 0;
    for (cursor, _) in &mut listing {
        // Names of one hash come one after the other.
        cursor.0 = cursor.0.max(before + 1);
        before = cursor.0;
    }
    listing
}

/// Listings that somebody looks at just now.
#[derive(Default)]
pub(super) struct Listings {
    kept: Mutex<VecDeque<(NodeId, Arc<Listing>)>>,
}

impl Listings {
    /// The listing of a directory, read by `read` when it is not kept.
    pub(super) fn get(
        &self,
        directory: NodeId,
        read: impl FnOnce() -> Result<Vec<Name>>,
    ) -> Result<Arc<Listing>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, listing)) = kept.iter().find(|(known, _)| *known == directory) {
            return Ok(listing.clone());
        }
        drop(kept);
        let listing = Arc::new(ordered(directory, read()?));
        kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((directory, listing.clone()));
        let mut names = 0usize;
        let mut fits = |(_, listing): &(NodeId, Arc<Listing>)| {
            names = names.saturating_add(listing.len());
            names <= KEPT_NAMES_MAX
        };
        let count = kept.iter().take(KEPT_MAX).take_while(|each| fits(each)).count();
        kept.truncate(count);
        Ok(listing)
    }
}
