//! LVM2: volume groups on physical volumes, and the logical volumes in them.
//!
//! A physical volume has a label (`label.rs`) that leads to areas (`area.rs`) with the group's description as text (`text.rs`,
//! `group.rs`); `build.rs` puts the logical volumes together, of mirrors (`mirror.rs`) the first good leg, of thin pools
//! what their trees map (`thin/`).

mod area;
mod build;
mod group;
mod label;
mod mirror;
mod text;
mod thin;

use super::{Assembled, Assembly, Device, Member, NOTES_MAX, safe_name, twice};
use build::Builder;
use group::{Group, Kind, Logical};
use spelunk_tree::{Error, ErrorKind, ReadAt, Result};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// LVM2's row in the table.
pub const ASSEMBLY: Assembly = Assembly {
    name: "lvm2",
    summary: "LVM2: logical volumes (linear, striped, mirrored, thin) on one disk or several",
    probe: label::find,
    assemble,
};

/// The checksum of LVM's structures: crc32 with a start of its own, and not inverted.
fn checksum(bytes: &[u8]) -> u32 {
    const START: u32 = 0xF597_A6CF;
    let mut hasher = crc32fast::Hasher::new_with_initial(!START);
    hasher.update(bytes);
    !hasher.finalize()
}

/// A physical volume that is there.
struct Found {
    member: Member,
    id: String,
    /// What its metadata say; `None` when it has none.
    group: Option<Group>,
    /// Why not all of it could be read.
    defects: Vec<Error>,
}

/// Reads a member's header and metadata.
fn find(member: Member) -> Result<Found> {
    let label = label::find(&*member.bytes)?.ok_or_else(|| Error::corrupt("no label"))?;
    let header = label::read(&*member.bytes, label)?;
    let mut found = Found { member, id: header.id, group: None, defects: Vec::new() };
    for area in header.metadata {
        let text = area::read(&*found.member.bytes, area);
        let group =
            text.and_then(|text| text.map(|text| Group::parse(&String::from_utf8_lossy(&text))).transpose());
        match group {
            Ok(Some(group)) if found.group.as_ref().is_none_or(|known| known.version < group.version) => {
                found.group = Some(group);
            }
            Ok(_) => {}
            Err(error) => found.defects.push(error),
        }
    }
    Ok(found)
}

fn assemble(members: Vec<Member>) -> Assembled {
    let mut all = Assembled { member_of: Vec::new(), devices: Vec::new(), notes: Vec::new() };
    let mut found = Vec::new();
    for (number, member) in members.into_iter().enumerate() {
        match find(member) {
            Ok(it) => {
                all.member_of.push(Ok(String::new()));
                found.push((number, it));
            }
            Err(error) => all.member_of.push(Err(error.context("an LVM2 physical volume"))),
        }
    }
    let groups = newest(&mut found, &mut all);
    for group in &groups {
        let bytes = physical(group, &found, &mut all.notes);
        devices(group, bytes, &mut all.devices);
    }
    for (number, it) in &found {
        let of = groups.iter().find(|group| group.physical.iter().any(|physical| physical.id == it.id));
        let of = match (of, it.defects.first()) {
            (Some(group), _) => Ok(safe_name(&group.name)),
            (None, Some(defect)) => Err(defect.clone().context("an LVM2 physical volume")),
            (None, None) => Ok("no volume group".into()),
        };
        if let Some(slot) = all.member_of.get_mut(*number) {
            *slot = of;
        }
    }
    all.notes.truncate(NOTES_MAX);
    all
}

/// The newest version of each group's description that any of its physical volumes has.
fn newest(found: &mut [(usize, Found)], all: &mut Assembled) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut versions: Vec<(String, String, u64)> = Vec::new();
    for (_, it) in found {
        for defect in &it.defects {
            let text: Vec<String> = defect.chain().map(ToString::to_string).collect();
            all.notes.push(format!("{}: {}", it.member.name, text.join(": ")));
        }
        let Some(group) = it.group.take() else { continue };
        versions.push((it.member.name.clone(), group.id.clone(), group.version));
        match groups.get(&group.id) {
            Some(known) if known.version >= group.version => {}
            _ => {
                groups.insert(group.id.clone(), group);
            }
        }
    }
    for (member, id, version) in versions {
        if let Some(group) = groups.get(&id).filter(|group| group.version > version) {
            all.notes.push(format!(
                "{member}: its description of volume group {} is version {version}; the newest is {}",
                safe_name(&group.name),
                group.version
            ));
        }
    }
    groups.into_values().collect()
}

/// The bytes of a group's physical volumes, in its order; notes tell of those that are missing.
fn physical(
    group: &Group,
    found: &[(usize, Found)],
    notes: &mut Vec<String>,
) -> Vec<Result<Arc<dyn ReadAt>>> {
    let mut by_id: HashMap<&str, Vec<&Found>> = HashMap::new();
    for (_, it) in found {
        by_id.entry(&it.id).or_default().push(it);
    }
    let name = safe_name(&group.name);
    let bytes =
        group.physical.iter().map(|physical| match by_id.get(physical.id.as_str()).map(|all| &all[..]) {
            Some([only]) if physical.is_missing => {
                notes.push(format!(
                    "volume group {name} went on without {}, which may be outdated and is not used",
                    only.member.name
                ));
                Err(missing(&name, &physical.id))
            }
            Some([only]) => Ok(only.member.bytes.clone()),
            Some([one, other, ..]) => {
                let error = twice("physical volume", &physical.id, &one.member.name, &other.member.name);
                notes.push(error.to_string());
                Err(error)
            }
            _ => {
                let error = missing(&name, &physical.id);
                notes.push(error.to_string());
                Err(error)
            }
        });
    bytes.collect()
}

fn missing(group: &str, id: &str) -> Error {
    let id: String =
        id.chars().filter(|it| it.is_ascii_alphanumeric() || "-!#".contains(*it)).take(38).collect();
    Error::new(
        ErrorKind::Storage,
        format!("volume group {group} lacks physical volume {id}; give its image as well"),
    )
}

/// Adds the logical volumes that users see.
fn devices(group: &Group, bytes: Vec<Result<Arc<dyn ReadAt>>>, devices: &mut Vec<Device>) {
    let mut builder = Builder::new(group, bytes);
    for logical in group.logical.iter().filter(|logical| logical.is_visible) {
        let Some(name) = shown_name(logical) else { continue };
        let content = match merging(group, logical) {
            Some(error) => Err(error),
            None => builder.volume(&logical.name),
        };
        devices.push(Device {
            directory: format!("{}-{}", escaped(&group.name), escaped(name)),
            name: name.to_owned(),
            id: logical.id.clone(),
            group: (group.name.clone(), group.id.clone()),
            segments: described(logical),
            notes: builder.take_notes(),
            size_bytes: logical.extents.saturating_mul(group.extent_bytes),
            content,
        });
    }
}

/// What users call a volume; `None` for those that hold no filesystem of their own. A snapshot is a volume without a name,
/// of one with the snapshot's name that keeps what was changed.
fn shown_name(logical: &Logical) -> Option<&str> {
    match logical.segments.as_deref() {
        Ok([only]) => match &only.kind {
            Kind::ThinPool { .. } => None,
            Kind::Other(kind) if kind.ends_with("-pool") || kind == "vdo-pool" => None,
            Kind::Snapshot { store, .. } => Some(store),
            _ => Some(&logical.name),
        },
        _ => Some(&logical.name),
    }
}

/// Why the origin of a snapshot that is being merged into it cannot be shown: part of it stands in the snapshot.
fn merging(group: &Group, logical: &Logical) -> Option<Error> {
    let merges = |other: &Logical| match other.segments.as_deref() {
        Ok([only]) => {
            matches!(&only.kind, Kind::Snapshot { origin, is_merging: true, .. } if *origin == logical.name)
        }
        _ => false,
    };
    let is_merging = group.logical.iter().any(merges);
    is_merging.then(|| Error::unsupported("a volume into which a snapshot is being merged"))
}

/// A name as device mapper writes it in `/dev/mapper`, where a dash stands between group and volume.
fn escaped(name: &str) -> String {
    safe_name(name).replace('-', "--")
}

/// Kinds of segments that are told of one volume.
const SEGMENTS_TOLD_MAX: usize = 16;

fn described(logical: &Logical) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for segment in logical.segments.iter().flatten() {
        let text = segment.kind.to_string();
        if !all.contains(&text) && all.len() < SEGMENTS_TOLD_MAX {
            all.push(text);
        }
    }
    all
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Striped { places, .. } if places.len() == 1 => f.write_str("linear"),
            Kind::Striped { places, .. } => write!(f, "striped over {}", places.len()),
            Kind::Mirror { legs, .. } => write!(f, "mirror of {}", legs.len()),
            Kind::Raid1 { legs } => write!(f, "raid1 of {}", legs.len()),
            Kind::Raid0 { legs, .. } => write!(f, "raid0 over {}", legs.len()),
            Kind::ThinPool { .. } => f.write_str("thin-pool"),
            Kind::Thin { pool, .. } => write!(f, "thin in {}", safe_name(pool)),
            Kind::Snapshot { origin, .. } => write!(f, "snapshot of {}", safe_name(origin)),
            Kind::Zero => f.write_str("zero"),
            Kind::Other(name) => f.write_str(&safe_name(name)),
        }
    }
}
