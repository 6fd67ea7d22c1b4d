//! Logical partitions: the chain of extended boot records in an extended partition.

use super::record::{BootRecord, Entry};
use crate::bytes::mul;
use spelunk_tree::{ReadAt, Result, limits};
use std::collections::BTreeSet;
use std::ops::Range;

/// Links that a chain may have: each normally adds a partition, and a disk shows no more than these.
const LINKS_MAX: usize = limits::VOLUMES_MAX;

/// A partition found in a chain.
pub struct Logical {
    /// Its entry, for type and status.
    pub entry: Entry,
    /// Its sectors, counted from the start of the disk.
    pub range: Range<u64>,
}

/// Follows the chain that begins in the extended partition `container` (sectors of the disk) and appends
/// its partitions in the order Linux numbers them. A chain that is broken ends there with a note.
///
/// # Errors
/// What the disk reports.
pub fn read_chain(
    disk: &dyn ReadAt,
    container: Range<u64>,
    sector_bytes: u32,
    logicals: &mut Vec<Logical>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut visited = BTreeSet::new();
    let mut link = container.clone();
    loop {
        if visited.len() >= LINKS_MAX || !visited.insert(link.start) {
            notes.push(format!(
                "the chain of logical partitions is cut: it loops or has over {LINKS_MAX} links"
            ));
            return Ok(());
        }
        let Some(record) = BootRecord::read(disk, mul(link.start, u64::from(sector_bytes))?)? else {
            notes.push(format!("the chain of logical partitions is broken at sector {}", link.start));
            return Ok(());
        };
        take_partitions(&record, &container, &link, logicals, notes);
        match record.used().find(|(_, entry)| entry.is_extended()) {
            // Links count from the start of the whole extended partition.
            Some((_, entry)) => link = shifted(entry.range(), container.start),
            None => return Ok(()),
        }
    }
}

/// Takes the one partition of a record; its start counts from the record. The last two slots are unused by
/// the standard and hold garbage at times, so they must lie inside. Further partitions in one record are
/// left out with a note, as fdisk does: numbers are the same as there.
fn take_partitions(
    record: &BootRecord,
    container: &Range<u64>,
    link: &Range<u64>,
    logicals: &mut Vec<Logical>,
    notes: &mut Vec<String>,
) {
    let partitions = record.used().filter(|(_, entry)| !entry.is_extended());
    let mut partitions = partitions.filter_map(|(slot, entry)| {
        let range = shifted(entry.range(), link.start);
        let inside = |outer: &Range<u64>| outer.start <= range.start && range.end <= outer.end;
        (slot < 2 || (inside(container) && inside(link))).then_some(Logical { entry: *entry, range })
    });
    logicals.extend(partitions.next());
    for Logical { range, .. } in partitions {
        notes.push(format!(
            "a second partition in one link of the chain, at sector {}, is left out",
            range.start
        ));
    }
}

fn shifted(range: Range<u64>, by: u64) -> Range<u64> {
    range.start.saturating_add(by)..range.end.saturating_add(by)
}
