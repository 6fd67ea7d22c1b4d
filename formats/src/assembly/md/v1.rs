//! Superblocks of version 1: at the end (1.0), at the beginning (1.1), 4 KiB behind it (1.2). Linux
//! `include/uapi/linux/raid/md_p.h`, `struct mdp_superblock_1`.

use super::superblock::{MAGIC, Role, Superblock};
use crate::assembly::safe_name;
use crate::bytes::{array, index, le_u16, le_u32, le_u64, mul};
use spelunk_tree::{ReadAt, Result};

/// The fixed part; two bytes for each role follow.
const BYTES: usize = 256;
/// Roles that a superblock of 4 KiB has room for.
const ROLES_MAX: usize = 1920;
const SECTOR: u64 = 512;

const RECOVERY_OFFSET: u32 = 2;
const RESHAPE_ACTIVE: u32 = 4;
const NEW_OFFSET: u32 = 64;
/// Roles from here on are spare, faulty and journal.
const ROLES_SPECIAL: u16 = 0xFF00;

/// A minor version: where its superblock stands.
#[derive(Clone, Copy)]
pub(super) struct Version {
    name: &'static str,
    place: fn(size_bytes: u64) -> Option<u64>,
}

/// The minor versions.
pub(super) const VERSIONS: [Version; 3] = [
    Version { name: "1.2", place: |_| Some(4096) },
    Version { name: "1.1", place: |_| Some(0) },
    // Between 8 and 12 KiB before the end, at a multiple of 4 KiB.
    Version { name: "1.0", place: |size| size.checked_sub(8192).map(|at| at & !4095) },
];

/// The superblock of that version, if there is one that is intact.
pub(super) fn find(volume: &dyn ReadAt, version: Version) -> Result<Option<Superblock>> {
    // Only whole sectors count.
    let Some(position) = (version.place)(volume.size() & !511) else { return Ok(None) };
    let Some(fixed) = crate::assembly::read_if_there::<BYTES>(volume, position)? else { return Ok(None) };
    let roles = index(le_u32(&fixed, 220)?)?;
    let is_ours = le_u32(&fixed, 0)? == MAGIC && le_u32(&fixed, 4)? == 1;
    if !is_ours || roles > ROLES_MAX || mul(le_u64(&fixed, 144)?, SECTOR) != Ok(position) {
        return Ok(None);
    }
    let len = roles.saturating_mul(2).saturating_add(BYTES);
    if position.checked_add(crate::bytes::count(len)).is_none_or(|end| end > volume.size()) {
        return Ok(None);
    }
    let mut bytes = vec![0; len];
    volume.read_at(position, &mut bytes)?;
    if checksum(&bytes)? != le_u32(&bytes, 216)? {
        return Ok(None);
    }
    parse(&bytes, position, version.name, roles).map(Some)
}

/// The sum of all words but the checksum itself, with what overflows added again.
fn checksum(bytes: &[u8]) -> Result<u32> {
    let mut sum = 0u64;
    for at in (0..bytes.len()).step_by(4) {
        let word =
            if at.saturating_add(4) <= bytes.len() { le_u32(bytes, at)? } else { le_u16(bytes, at)?.into() };
        sum = sum.saturating_add(if at == 216 { 0 } else { word.into() });
    }
    let folded = (sum & u64::from(u32::MAX)).saturating_add(sum >> 32);
    Ok(u32::try_from(folded & u64::from(u32::MAX)).unwrap_or(0))
}

fn parse(bytes: &[u8], position: u64, version: &'static str, roles: usize) -> Result<Superblock> {
    let features = le_u32(bytes, 8)?;
    let number = le_u32(bytes, 160)?;
    let mut active = Vec::new();
    let mut role = Role::None;
    for member in 0..roles {
        let value = le_u16(bytes, member.saturating_mul(2).saturating_add(BYTES))?;
        let member = u32::try_from(member).unwrap_or(u32::MAX);
        if value >= ROLES_SPECIAL {
            continue;
        }
        active.push(member);
        if member == number {
            role = Role::Active(value.into());
        }
    }
    let sectors = |at| le_u64(bytes, at).map(|sectors| sectors.saturating_mul(SECTOR));
    Ok(Superblock {
        position,
        array: array(bytes, 16)?,
        name: name(&array::<32>(bytes, 32)?),
        version,
        level: i32::from_le_bytes(array(bytes, 72)?),
        layout: le_u32(bytes, 76)?,
        size_bytes: sectors(80)?,
        chunk_bytes: u64::from(le_u32(bytes, 88)?).saturating_mul(SECTOR),
        members: le_u32(bytes, 92)?,
        events: le_u64(bytes, 200)?,
        is_reshaping: features & (RESHAPE_ACTIVE | NEW_OFFSET) != 0,
        is_resyncing: le_u64(bytes, 208)? != u64::MAX,
        number,
        role,
        active,
        is_recovering: features & RECOVERY_OFFSET != 0,
        data_start_bytes: sectors(128)?,
        data_bytes: sectors(136)?,
    })
}

/// The array's name: that of the host stands before a colon. Arrays that have a number alone are called by it.
fn name(stored: &[u8]) -> String {
    let text = String::from_utf8_lossy(stored);
    let text = text.trim_end_matches('\0');
    let name = text.split_once(':').map_or(text, |(_, name)| name);
    if name.bytes().all(|it| it.is_ascii_digit()) { format!("md{name}") } else { safe_name(name) }
}
