//! What is known of the volume: `$Volume` (label, version, flags) and `$Bitmap` (free clusters).

use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use super::{logfile, xattr};
use crate::bytes::{le_u16, u8_at};
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Case, Error, Result, TreeInfo, wtf8_from_utf16};

/// Record of `$Volume`.
const VOLUME: Reference = Reference { number: 3, sequence: 0 };
/// Record of `$Bitmap`.
const BITMAP: Reference = Reference { number: 6, sequence: 0 };
const FLAG_DIRTY: u16 = 0x0001;
/// Bytes of `$Bitmap` that are read to count free clusters; a larger one would make opening slow. With 4 KiB
/// clusters this is a volume of 64 GiB.
const BITMAP_BYTES_MAX: u64 = 2 << 20;

/// Describes the volume. What cannot be read is left out, and `notes` says so.
pub(super) fn read(volume: &Volume, mut notes: Vec<String>) -> TreeInfo {
    let mut label = Vec::new();
    match read_volume(volume, &mut label) {
        Ok(flags) if flags & FLAG_DIRTY != 0 => notes.push("volume is marked dirty (chkdsk pending)".into()),
        Ok(_) => {}
        Err(_) => notes.push("$Volume cannot be read: label unknown".into()),
    }
    if logfile::is_open(volume).unwrap_or(false) {
        notes.push("journal ($LogFile) not closed: the last changes may be incomplete".into());
    }
    let geometry = &volume.geometry;
    TreeInfo {
        filesystem: "ntfs".into(),
        label,
        uuid: format!("{:016X}", geometry.serial),
        case: Case::Insensitive,
        block_bytes: geometry.cluster_bytes,
        size_bytes: geometry.clusters.saturating_mul(u64::from(geometry.cluster_bytes)),
        free_bytes: free_bytes(volume).ok().flatten(),
        nodes: None,
        free_nodes: None,
        xattr_prefixes: Some(xattr::PREFIXES.map(String::from).to_vec()),
        written: None,
        notes,
    }
}

/// Reads the label; gives the flags.
fn read_volume(volume: &Volume, label: &mut Vec<u8>) -> Result<u16> {
    let node = Node::open(volume, VOLUME)?;
    if let Some(found) = node.first(&volume.mft, types::VOLUME_NAME, UNNAMED)? {
        let units: Vec<u16> = utf16_units(found.get()?.resident()?).collect();
        *label = wtf8_from_utf16(&units);
    }
    let found = node.first(&volume.mft, types::VOLUME_INFORMATION, UNNAMED)?;
    let found = found.ok_or_else(|| Error::corrupt("$Volume without information"))?;
    let attribute = found.get()?;
    let information = attribute.resident()?;
    u8_at(information, 9)?;
    le_u16(information, 0x0A)
}

/// Counts the free clusters, when that is quick.
fn free_bytes(volume: &Volume) -> Result<Option<u64>> {
    let geometry = &volume.geometry;
    if geometry.clusters / 8 > BITMAP_BYTES_MAX {
        return Ok(None);
    }
    let node = Node::open(volume, BITMAP)?;
    let Some(stream) = Stream::open(volume, &node, types::DATA, UNNAMED)? else { return Ok(None) };
    let bytes = stream.whole(volume, BITMAP_BYTES_MAX.saturating_mul(2))?;
    // Bits behind the last cluster are set, or, where some tool left them clear, no clusters.
    let mut free = 0_u64;
    let mut left = geometry.clusters;
    for &byte in &bytes {
        let bits = left.min(8);
        let mask = 0xFF_u8.checked_shr(8_u32.saturating_sub(u32::try_from(bits).unwrap_or(8))).unwrap_or(0);
        free = free.saturating_add(u64::from((!byte & mask).count_ones()));
        left = left.saturating_sub(bits);
    }
    Ok(Some(free.saturating_mul(u64::from(geometry.cluster_bytes))))
}
