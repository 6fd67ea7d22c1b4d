//! What is known of the volume: `$Volume` (label, version, flags) and `$Bitmap` (free clusters).

use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use super::{shadow_copy, xattr};
use crate::bytes::{le_u16, u8_at};
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Case, Error, Result, Time, TreeInfo, wtf8_from_utf16};

/// Record of `$Volume`.
const VOLUME: Reference = Reference { number: 3, sequence: 0 };
/// Record of `$Bitmap`.
const BITMAP: Reference = Reference { number: 6, sequence: 0 };
const FLAG_DIRTY: u16 = 0x0001;
/// Bytes of `$Bitmap` that are read to count free clusters; a larger one would make opening slow. With 4 KiB
/// clusters this is a volume of 64 GiB.
const BITMAP_BYTES_MAX: u64 = 2 << 20;

/// Shadow copies that are named: Windows itself keeps 64 unless told otherwise.
const SHADOW_COPIES_SHOWN_MAX: usize = 64;

/// Describes the volume. What cannot be read is left out, and `notes` says so.
pub(super) fn read(volume: &Volume, mut notes: Vec<String>) -> TreeInfo {
    let mut label = Vec::new();
    match read_volume(volume, &mut label) {
        Ok(flags) if flags & FLAG_DIRTY != 0 => notes.push("volume is marked dirty (chkdsk pending)".into()),
        Ok(_) => {}
        Err(_) => notes.push("$Volume cannot be read: label unknown".into()),
    }
    match shadow_copy::list(&*volume.bytes) {
        Ok(copies) => notes.extend(copies.iter().take(SHADOW_COPIES_SHOWN_MAX).map(|copy| {
            format!("shadow copy {} of {} UTC in this volume, not shown", copy.id, date(copy.created))
        })),
        Err(error) => notes.push(format!("catalog of shadow copies cannot be read: {error}")),
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

/// Date and time of day, by the Gregorian calendar.
fn date(time: Time) -> String {
    let seconds_of_day = time.seconds().rem_euclid(86_400);
    // Counted from 1 March of the year 0, leap days are the last of their year. 719468 days from there to 1970.
    let days = time.seconds().div_euclid(86_400).saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days =
        (day_of_era / 1460).saturating_sub(day_of_era / 36_524).saturating_add(day_of_era / 146_096);
    let year_of_era = day_of_era.saturating_sub(leap_days) / 365;
    let before = (365_i64.saturating_mul(year_of_era)).saturating_add(year_of_era / 4);
    let day_of_year = day_of_era.saturating_sub(before).saturating_add(year_of_era / 100);
    let month_from_march = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let month_start = month_from_march.saturating_mul(153).saturating_add(2) / 5;
    let day = day_of_year.saturating_sub(month_start).saturating_add(1);
    let month = if month_from_march < 10 {
        month_from_march.saturating_add(3)
    } else {
        month_from_march.saturating_sub(9)
    };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(i64::from(month <= 2));
    let (hour, minute, second) = (seconds_of_day / 3600, seconds_of_day / 60 % 60, seconds_of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days_and_centuries_are_right() {
        let cases = [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_799, "2000-02-29 23:59:59"),
            (951_868_800, "2000-03-01 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (-11_644_473_600, "1601-01-01 00:00:00"),
            (1_795_403_918, "2026-11-23 03:18:38"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(date(Time::from_seconds(seconds)), expected);
        }
    }
}
