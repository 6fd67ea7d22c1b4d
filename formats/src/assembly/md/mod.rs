//! MD: Linux' software RAID. Mirrors, stripes and lines of volumes.
//!
//! Each member has a superblock (`v0.rs`, `v1.rs`; what is common in `superblock.rs`); `array.rs` puts the bytes together.

mod array;
mod superblock;
mod v0;
mod v1;

use super::{Assembled, Assembly, Device, Member, safe_name};
use array::{Array, level_name};
use spelunk_tree::{Error, ReadAt, Result};
use std::collections::BTreeMap;
use superblock::Superblock;

/// MD's row in the table.
pub const ASSEMBLY: Assembly = Assembly {
    name: "md",
    summary: "MD: Linux software RAID (raid1, raid0, linear) on one disk or several",
    probe: |volume: &dyn ReadAt| Ok(superblock::find(volume)?.map(|superblock| superblock.position)),
    assemble,
};

fn assemble(members: Vec<Member>) -> Assembled {
    let mut all = Assembled { member_of: Vec::new(), devices: Vec::new(), notes: Vec::new() };
    let mut arrays: BTreeMap<[u8; 16], Array> = BTreeMap::new();
    for member in members {
        let found = superblock::find(&*member.bytes);
        let found = found.and_then(|it| it.ok_or_else(|| Error::corrupt("no superblock")));
        all.member_of.push(found.as_ref().map(|it| it.name.clone()).map_err(Clone::clone));
        if let Ok(superblock) = found {
            let array = arrays.entry(superblock.array);
            array
                .or_insert_with(|| Array { members: Vec::new(), notes: Vec::new() })
                .members
                .push((member, superblock));
        }
    }
    for (_, mut array) in arrays {
        let Ok(newest) = array.newest().cloned() else { continue };
        let (size_bytes, content) = array.open();
        all.devices.push(device(&newest, size_bytes, content, array.notes));
    }
    all
}

fn device(
    newest: &Superblock,
    size_bytes: u64,
    content: Result<std::sync::Arc<dyn ReadAt>>,
    notes: Vec<String>,
) -> Device {
    Device {
        directory: safe_name(&newest.name),
        name: newest.name.clone(),
        id: id(&newest.array),
        group: (String::new(), String::new()),
        segments: vec![format!(
            "{} of {}, metadata {}",
            level_name(newest.level),
            newest.members,
            newest.version
        )],
        notes,
        size_bytes,
        content,
    }
}

/// An id as mdadm writes it: four groups of eight digits.
fn id(array: &[u8; 16]) -> String {
    let group = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    array.chunks(4).map(group).collect::<Vec<_>>().join(":")
}
