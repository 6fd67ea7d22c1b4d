//! The restart area, in two pages at the start of the log: how the log is laid out, and where to begin.

use crate::bytes::{array, le_u16, le_u32, le_u64};
use crate::guest::ntfs::fixup;
use crate::guest::ntfs::stream::Stream;
use crate::guest::ntfs::volume::Volume;
use spelunk_tree::{Error, Result};

/// Bytes of a restart page, and of all other pages that are read: Windows makes no others.
pub(super) const PAGE_BYTES: usize = 4096;
/// No client has the log open.
const NO_CLIENT: u16 = 0xFFFF;
const FLAG_CLEAN: u16 = 0x0002;

/// The newer of the two restart areas.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestartArea {
    /// Number of the last record when it was written: how new it is.
    current_lsn: u64,
    in_use: u16,
    flags: u16,
    /// Version of the log: 1.1, or 2.0 since Windows 8.
    pub(super) major: u16,
    log_page_bytes: u32,
    /// Bits of an LSN that count how often the log was written from its start; the rest is the place, in eight bytes.
    pub(super) sequence_bits: u32,
    /// Bytes of the log.
    pub(super) size: u64,
    /// Where records begin in a page.
    pub(super) data_at: u16,
    /// The oldest record that NTFS would need; 0 for none.
    pub(super) oldest_lsn: u64,
    /// The record of the last checkpoint; 0 for none.
    pub(super) restart_lsn: u64,
}

impl RestartArea {
    /// `None` for a log without any, which was emptied, as mkntfs and ntfs-3g do.
    pub(super) fn read(volume: &Volume, log: &Stream) -> Result<Option<RestartArea>> {
        let mut bytes = vec![0; PAGE_BYTES.saturating_mul(2)];
        let len = log.read(volume, 0, &mut bytes)?;
        bytes.truncate(len);
        let areas = bytes.chunks_exact_mut(PAGE_BYTES).filter_map(|page| decode(page, volume).ok());
        Ok(areas.max_by_key(|area| area.current_lsn))
    }

    /// Whether the volume was in use when the image was made.
    pub(super) fn is_open(&self) -> bool {
        self.in_use != NO_CLIENT && self.flags & FLAG_CLEAN == 0
    }

    /// Refuses what this reader does not know.
    ///
    /// # Errors
    /// `Unsupported`, `Corrupt`.
    pub(super) fn check(&self) -> Result<()> {
        if self.log_page_bytes != 4096 || !matches!(self.major, 1 | 2) {
            return Err(Error::unsupported(format!(
                "a log of version {} with pages of {} bytes",
                self.major, self.log_page_bytes
            )));
        }
        // The place must have room for all of the log, the sequence for at least a bit.
        let place_bits = 64u32.saturating_sub(self.sequence_bits);
        let fits = place_bits < 61 && self.size.checked_shr(3) < 1u64.checked_shl(place_bits);
        if !(4..61).contains(&self.sequence_bits) || !fits || !(48..512).contains(&self.data_at) {
            return Err(Error::corrupt("an impossible restart area"));
        }
        Ok(())
    }
}

fn decode(page: &mut [u8], volume: &Volume) -> Result<RestartArea> {
    if &array::<4>(page, 0)? != b"RSTR" {
        return Err(Error::corrupt("no restart page"));
    }
    fixup::apply(page, volume.geometry.sector_bytes)?;
    let area = usize::from(le_u16(page, 0x18)?);
    let at = |field: usize| area.saturating_add(field);
    let in_use = le_u16(page, at(0x0C))?;
    let client = at(usize::from(le_u16(page, at(0x16))?));
    Ok(RestartArea {
        current_lsn: le_u64(page, area)?,
        in_use,
        flags: le_u16(page, at(0x0E))?,
        major: le_u16(page, 0x1C)?,
        log_page_bytes: le_u32(page, 0x14)?,
        sequence_bits: le_u32(page, at(0x10))?,
        size: le_u64(page, at(0x18))?,
        data_at: le_u16(page, at(0x26))?,
        // NTFS is the only client that a log ever had.
        oldest_lsn: if in_use == NO_CLIENT { 0 } else { le_u64(page, client)? },
        restart_lsn: if in_use == NO_CLIENT { 0 } else { le_u64(page, client.saturating_add(8))? },
    })
}
