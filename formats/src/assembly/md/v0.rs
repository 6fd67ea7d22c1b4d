//! Superblocks of version 0.90: in the last 64 KiB that are whole. Linux `include/uapi/linux/raid/md_p.h`,
//! `struct mdp_superblock_s`. They are written in the byte order of their machine; the usual one is read.

use super::superblock::{MAGIC, Role, Superblock};
use crate::bytes::{le_u32, le_u64};
use spelunk_tree::{ReadAt, Result};

const BYTES: usize = 4096;
/// The superblock stands at the last multiple of this with as much behind it.
const RESERVED_BYTES: u64 = 64 * 1024;
/// Members that it has room for.
const MEMBERS_MAX: u32 = 27;
const CHECKSUM: usize = 38;
const THIS_MEMBER: usize = 992;
const MEMBERS: usize = 128;
/// Words of one member's description.
const MEMBER_WORDS: usize = 32;

/// State of a member: it has failed; it takes part; it is up to date.
const FAULTY: u32 = 1;
const ACTIVE_AND_SYNC: u32 = 6;
/// State of the array: all members are alike.
const CLEAN: u32 = 1;
/// The minor version of an array that is being reshaped.
const RESHAPING: u32 = 91;

/// A word of the superblock, by its number.
fn word(bytes: &[u8], number: usize) -> Result<u32> {
    le_u32(bytes, number.saturating_mul(4))
}

/// The superblock, if there is one that is intact.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<Superblock>> {
    let Some(position) = (volume.size() & !(RESERVED_BYTES - 1)).checked_sub(RESERVED_BYTES) else {
        return Ok(None);
    };
    let Some(bytes) = crate::assembly::read_if_there::<BYTES>(volume, position)? else { return Ok(None) };
    let minor = word(&bytes, 2)?;
    let is_ours = word(&bytes, 0)? == MAGIC && word(&bytes, 1)? == 0 && (90..=RESHAPING).contains(&minor);
    if !is_ours || word(&bytes, 9)? > MEMBERS_MAX || checksum(&bytes)? != word(&bytes, CHECKSUM)? {
        return Ok(None);
    }
    parse(&bytes, position, minor).map(Some)
}

/// The sum of all words but the checksum itself, with what overflows added again.
fn checksum(bytes: &[u8]) -> Result<u32> {
    let mut sum = 0u64;
    for number in 0..BYTES / 4 {
        sum = sum.saturating_add(if number == CHECKSUM { 0 } else { word(bytes, number)?.into() });
    }
    let folded = (sum & u64::from(u32::MAX)).saturating_add(sum >> 32);
    Ok(u32::try_from(folded & u64::from(u32::MAX)).unwrap_or(0))
}

fn is_active(state: u32) -> bool {
    state & ACTIVE_AND_SYNC == ACTIVE_AND_SYNC && state & FAULTY == 0
}

fn parse(bytes: &[u8], position: u64, minor: u32) -> Result<Superblock> {
    let mut array = [0; 16];
    for (slot, at) in array.chunks_mut(4).zip([5usize, 13, 14, 15]) {
        slot.copy_from_slice(&word(bytes, at)?.to_le_bytes());
    }
    let mut active = Vec::new();
    for number in 0..MEMBERS_MAX {
        let at = usize::try_from(number).unwrap_or(0).saturating_mul(MEMBER_WORDS).saturating_add(MEMBERS);
        if is_active(word(bytes, at.saturating_add(4))?) {
            active.push(number);
        }
    }
    let state = word(bytes, THIS_MEMBER.saturating_add(4))?;
    let role = word(bytes, THIS_MEMBER.saturating_add(3))?;
    let level = i32::from_le_bytes(word(bytes, 7)?.to_le_bytes());
    Ok(Superblock {
        position,
        array,
        name: format!("md{}", word(bytes, 11)?),
        version: "0.90",
        level,
        layout: word(bytes, 64)?,
        // In KiB.
        size_bytes: u64::from(word(bytes, 8)?).saturating_mul(1024),
        chunk_bytes: word(bytes, 65)?.into(),
        members: word(bytes, 10)?,
        events: le_u64(bytes, 39usize.saturating_mul(4))?,
        is_reshaping: minor == RESHAPING,
        // Of an array that was not stopped, mirrors may differ where it was being written.
        is_resyncing: word(bytes, 33)? & CLEAN == 0,
        number: word(bytes, THIS_MEMBER)?,
        role: if is_active(state) { Role::Active(role) } else { Role::None },
        active,
        is_recovering: false,
        data_start_bytes: 0,
        data_bytes: position,
    })
}
