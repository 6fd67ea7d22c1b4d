//! `$LogFile`: whether it was closed cleanly, and what it holds that the volume does not. Nothing of it is applied.
//!
//! ```text
//! restart area -> oldest record that is needed -> records, to the end -> what they changed <-> what the volume holds
//! ```
//!
//! Every record of the MFT and every block of an index bears the number (LSN) of the log's record that changed it last:
//! one with a lower number than the log says was not written after its last change.

mod log;
mod outstanding;
mod record;
mod restart;

use self::log::Log;
use self::outstanding::Outstanding;
use self::restart::RestartArea;
use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use spelunk_tree::Result;

/// Record of `$LogFile`.
const LOG_FILE: Reference = Reference { number: 2, sequence: 0 };

/// What the user should know of the log; `None` when it was closed.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn note(volume: &Volume) -> Result<Option<String>> {
    let node = Node::open(volume, LOG_FILE)?;
    let Some(stream) = Stream::open(volume, &node, types::DATA, UNNAMED)? else { return Ok(None) };
    let Some(area) = RestartArea::read(volume, &stream)?.filter(RestartArea::is_open) else {
        return Ok(None);
    };
    let outstanding = Log::new(volume, &stream, area).and_then(|log| Outstanding::find(volume, &log));
    let details = match outstanding {
        Ok(outstanding) if outstanding.is_known() => outstanding.to_string(),
        Ok(_) | Err(_) => "the last changes may be incomplete".into(),
    };
    Ok(Some(format!("journal ($LogFile) not closed: {details}")))
}
