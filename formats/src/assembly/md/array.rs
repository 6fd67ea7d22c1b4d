//! From members to an array's bytes.

use super::superblock::{Role, Superblock};
use crate::assembly::stripe::{LEGS_MAX, Striped};
use crate::assembly::{Member, NOTES_MAX, twice};
use crate::bytes::{count, index, mul, sub};
use crate::slice::Slice;
use crate::splice::{Whole, splice};
use spelunk_tree::{Error, ErrorKind, ReadAt, Result};
use std::sync::Arc;

/// Members of one array.
pub(super) struct Array {
    pub(super) members: Vec<(Member, Superblock)>,
    /// What was found out on the way.
    pub(super) notes: Vec<String>,
}

/// How raid0 lays chunks out where its members differ in size: by the kernels before 3.14, or after.
const LAYOUT_ORIGINAL: u32 = 1;
const LAYOUT_ALTERNATE: u32 = 2;

/// A member counts as up to date when it missed one change of the array's state: the last may not have reached all.
const EVENTS_MARGIN: u64 = 1;

/// A level by the kernel's name.
pub(super) fn level_name(level: i32) -> String {
    match level {
        -1 => "linear".into(),
        -4 => "multipath".into(),
        -5 => "faulty".into(),
        -10 => "container".into(),
        _ => format!("raid{level}"),
    }
}

impl Array {
    /// The superblock that was written last.
    pub(super) fn newest(&self) -> Result<&Superblock> {
        let newest = self.members.iter().max_by_key(|(_, superblock)| superblock.events);
        newest.map(|(_, superblock)| superblock).ok_or_else(|| Error::internal("an array of nothing"))
    }

    /// The array's size, as its metadata say, and its bytes, or why there are none.
    pub(super) fn open(&mut self) -> (u64, Result<Arc<dyn ReadAt>>) {
        let content = self.content();
        let size = match (&content, self.newest()) {
            (Ok(content), _) => content.size(),
            (Err(_), Ok(newest)) => newest.size_bytes,
            (Err(_), Err(_)) => 0,
        };
        (size, content)
    }

    fn content(&mut self) -> Result<Arc<dyn ReadAt>> {
        let newest = self.newest()?.clone();
        if newest.is_reshaping {
            return Err(Error::unsupported("an array that is being reshaped"));
        }
        let members = index(newest.members)?;
        if members == 0 || members > LEGS_MAX {
            return Err(Error::corrupt(format!("an array of {members} members")));
        }
        match newest.level {
            1 => self.mirror(&newest),
            -1 => {
                let parts = self.all(&newest)?.into_iter().map(|(bytes, _)| bytes).collect();
                splice(parts)
            }
            0 => stripes(&self.all(&newest)?, &newest),
            level => Err(Error::unsupported(format!("{} arrays of MD", level_name(level)))),
        }
    }

    /// The members that are up to date, by their places; notes tell of the others.
    fn places(&mut self, newest: &Superblock) -> Result<Vec<Option<&(Member, Superblock)>>> {
        let mut places: Vec<Option<&(Member, Superblock)>> = vec![None; index(newest.members)?];
        let mut notes = Vec::new();
        for found in &self.members {
            let (member, superblock) = found;
            let is_current = superblock.events.saturating_add(EVENTS_MARGIN) >= newest.events;
            // Whoever went on without it has written so.
            let has_failed = !newest.active.contains(&superblock.number);
            let place = match superblock.role {
                Role::Active(place) => index(place).ok().and_then(|place| places.get_mut(place)),
                Role::None => None,
            };
            let Some(place) = place else {
                notes.push(format!("{} is a spare, or has failed; it is not used", member.name));
                continue;
            };
            if !is_current || has_failed || superblock.is_recovering {
                notes.push(format!("{} is not up to date; it is not used", member.name));
            } else if let Some((other, _)) = place {
                let number = superblock.number.to_string();
                return Err(twice("member", &number, &other.name, &member.name));
            } else {
                *place = Some(found);
            }
        }
        notes.truncate(NOTES_MAX);
        self.notes.extend(notes);
        Ok(places)
    }

    /// The first leg that is up to date.
    fn mirror(&mut self, newest: &Superblock) -> Result<Arc<dyn ReadAt>> {
        let places = self.places(newest)?;
        let missing = places.iter().filter(|place| place.is_none()).count();
        let Some((member, superblock)) = places.into_iter().flatten().next() else {
            return Err(Error::new(
                ErrorKind::Storage,
                "no leg of the mirror that is there is up to date; give the others' images as well",
            ));
        };
        if newest.size_bytes > superblock.data_bytes {
            return Err(Error::corrupt(format!(
                "a mirror of {} bytes on a leg of {}",
                newest.size_bytes, superblock.data_bytes
            )));
        }
        let leg = Slice::new(member.bytes.clone(), superblock.data_start_bytes, newest.size_bytes);
        if missing > 0 {
            self.notes.push(format!("{missing} of {} legs are missing or not used", newest.members));
        }
        if newest.is_resyncing {
            self.notes
                .push("the array was not stopped, or was being synchronised: its legs may differ".into());
        }
        Ok(Arc::new(leg))
    }

    /// All members in their order, each with its length in whole chunks.
    fn all(&mut self, newest: &Superblock) -> Result<Vec<(Arc<dyn ReadAt>, u64)>> {
        let places = self.places(newest)?;
        let missing = places.iter().filter(|place| place.is_none()).count();
        if missing > 0 {
            return Err(Error::new(
                ErrorKind::Storage,
                format!(
                    "{missing} of the {} members of the array are missing; give their images as well",
                    newest.members
                ),
            ));
        }
        let member = |(member, superblock): &(Member, Superblock)| {
            let odd = superblock.data_bytes.checked_rem(newest.chunk_bytes).unwrap_or(0);
            let len = superblock.data_bytes.saturating_sub(odd);
            let bytes = Slice::new(member.bytes.clone(), superblock.data_start_bytes, len);
            let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
            (bytes, len)
        };
        Ok(places.into_iter().flatten().map(member).collect())
    }
}

/// Chunks in turn; where some members are at their end, in turn on those that are not: a zone each.
fn stripes(members: &[(Arc<dyn ReadAt>, u64)], newest: &Superblock) -> Result<Arc<dyn ReadAt>> {
    let mut zones: Vec<Arc<dyn ReadAt>> = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let mut longer: Vec<_> = members.iter().filter(|(_, len)| *len > start).collect();
        let Some(until) = longer.iter().map(|(_, len)| *len).min() else { break };
        if !zones.is_empty() {
            match newest.layout {
                LAYOUT_ORIGINAL => {
                    // Chunks are counted from the array's beginning, not from the zone's.
                    let chunks = count_chunks(end, newest.chunk_bytes)?;
                    let turned = chunks.checked_rem(count(longer.len())).unwrap_or(0);
                    longer.rotate_left(index(turned)?);
                }
                LAYOUT_ALTERNATE => {}
                other => {
                    return Err(Error::unsupported(format!(
                        "raid0 over members of several sizes with layout {other}"
                    )));
                }
            }
        }
        let len = sub(until, start)?;
        let slice = |(bytes, _): &&(Arc<dyn ReadAt>, u64)| -> Arc<dyn ReadAt> {
            Arc::new(Slice::new(bytes.clone(), start, len))
        };
        let legs = longer.iter().map(slice).collect();
        end = end.saturating_add(mul(len, count(longer.len()))?);
        zones.push(Arc::new(Whole(Striped::new(legs, len, newest.chunk_bytes)?)));
        start = until;
    }
    splice(zones)
}

fn count_chunks(bytes: u64, chunk_bytes: u64) -> Result<u64> {
    bytes.checked_div(chunk_bytes).ok_or_else(|| Error::corrupt("chunks of no size"))
}
