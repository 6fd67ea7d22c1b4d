//! `$LogFile`: only whether it was closed cleanly. What it holds is not applied.

use super::attribute::{UNNAMED, types};
use super::fixup;
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use crate::bytes::{array, le_u16, le_u64};
use spelunk_tree::Result;

/// Record of `$LogFile`.
const LOG_FILE: Reference = Reference { number: 2, sequence: 0 };
/// Bytes of a restart page, of which the log has two at its start.
const PAGE_BYTES: usize = 4096;
/// No client has the log open.
const NO_CLIENT: u16 = 0xFFFF;
const FLAG_CLEAN: u16 = 0x0002;

/// Whether the volume was in use when the image was made: the log has not been closed.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn is_open(volume: &Volume) -> Result<bool> {
    let node = Node::open(volume, LOG_FILE)?;
    let Some(stream) = Stream::open(volume, &node, types::DATA, UNNAMED)? else { return Ok(false) };
    let mut bytes = vec![0; PAGE_BYTES.saturating_mul(2)];
    let len = stream.read(volume, 0, &mut bytes)?;
    bytes.truncate(len);
    let pages = bytes.chunks_exact_mut(PAGE_BYTES).filter_map(|page| restart_area(page, volume));
    // The newer of the two pages counts. A log without any was emptied, as mkntfs and ntfs-3g do.
    Ok(pages.max_by_key(|(lsn, _)| *lsn).is_some_and(|(_, is_open)| is_open))
}

/// Age and state of a restart page; `None` when it is not one.
fn restart_area(page: &mut [u8], volume: &Volume) -> Option<(u64, bool)> {
    if &array::<4>(page, 0).ok()? != b"RSTR" {
        return None;
    }
    fixup::apply(page, volume.geometry.sector_bytes).ok()?;
    let area = usize::from(le_u16(page, 0x18).ok()?);
    let clients = le_u16(page, area.saturating_add(0x0C)).ok()?;
    let flags = le_u16(page, area.saturating_add(0x0E)).ok()?;
    Some((le_u64(page, area).ok()?, clients != NO_CLIENT && flags & FLAG_CLEAN == 0))
}
