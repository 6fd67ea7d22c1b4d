//! `$LogFile`: whether it was closed cleanly, and if not, what it holds that the volume does not, replayed in memory.
//!
//! ```text
//! restart area -> checkpoint -> records, to the end -> actions on records of the MFT, blocks of indexes, clusters
//!                                                   -> overlay over the volume
//! ```
//!
//! Every record of the MFT and every block of an index bears the number (LSN) of the log's record that changed it last:
//! one with a lower number than the log says was not written after its last change.
//!
//! The layout is that of Linux's `fs/ntfs3/fslog.c`. When anything in the log is not understood, or does not fit to what
//! the volume holds, the volume is shown as it is.

mod block;
mod checkpoint;
mod file_action;
mod index_action;
mod log;
mod outstanding;
mod overlay;
mod record;
mod replay;
mod restart;

use self::log::Log;
use self::outstanding::Outstanding;
use self::restart::RestartArea;
use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use spelunk_tree::{ReadAt, Result};
use std::sync::Arc;

/// Record of `$LogFile`.
const LOG_FILE: Reference = Reference { number: 2, sequence: 0 };

/// What became of a log that was not closed.
pub(super) struct Open {
    /// What the user should know of it.
    pub note: String,
    /// The volume with the log replayed; `None` where the volume is to be shown as it is.
    pub replayed: Option<Arc<dyn ReadAt>>,
    /// What the user should know instead when the replayed volume cannot be opened.
    pub note_unreplayed: String,
}

/// Reads the log, and replays it if it was not closed; `None` for one that was.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn read(volume: &Volume) -> Result<Option<Open>> {
    let node = Node::open(volume, LOG_FILE)?;
    let Some(stream) = Stream::open(volume, &node, types::DATA, UNNAMED)? else { return Ok(None) };
    let Some(area) = RestartArea::read(volume, &stream)?.filter(RestartArea::is_open) else {
        return Ok(None);
    };
    let log = Log::new(volume, &stream, area);
    let outstanding = log.as_ref().map_err(Clone::clone).and_then(|log| Outstanding::find(volume, log));
    let details = match &outstanding {
        Ok(outstanding) if outstanding.is_known() => outstanding.to_string(),
        Ok(_) | Err(_) => "the last changes may be incomplete".into(),
    };
    let note_unreplayed = format!("journal ($LogFile) not closed: {details}");
    let replayed = match log.and_then(|log| replay::replay(volume, &log)) {
        Ok(replayed) if replayed.redone == 0 && replayed.undone == 0 => {
            return Ok(Some(Open { note: note_unreplayed.clone(), replayed: None, note_unreplayed }));
        }
        Ok(replayed) => replayed,
        Err(error) => {
            let note = format!("{note_unreplayed}; not replayed: {error}");
            return Ok(Some(Open { note: note.clone(), replayed: None, note_unreplayed: note }));
        }
    };
    let note = format!(
        "journal ($LogFile) not closed: {} changes were replayed in memory, {} unfinished transactions undone",
        replayed.redone, replayed.undone
    );
    Ok(Some(Open { note, replayed: Some(replayed.volume), note_unreplayed }))
}
