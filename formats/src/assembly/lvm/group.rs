//! A volume group, out of its metadata: what logical volumes there are and what they are made of (lvmraid(7), lvmthin(7);
//! LVM2 `lib/format_text/import_vsn1.c` and the segment types' `text_import`).

use super::text::{self, Section, Value};
use crate::bytes::{add, mul};
use spelunk_tree::{Error, Result, ResultExt};

/// Bytes of a sector, the unit of most numbers.
const SECTOR: u64 = 512;

/// A volume group as one version of its metadata describes it.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) id: String,
    /// Which version this is: each change counts it up.
    pub(super) version: u64,
    pub(super) extent_bytes: u64,
    pub(super) physical: Vec<Physical>,
    pub(super) logical: Vec<Logical>,
}

/// A physical volume of the group.
pub(super) struct Physical {
    /// What segments call it.
    pub(super) name: String,
    pub(super) id: String,
    /// The group went on without it: its contents may be outdated.
    pub(super) is_missing: bool,
    /// Where its first extent begins, in bytes.
    pub(super) start_bytes: u64,
    pub(super) extents: u64,
}

/// A logical volume.
pub(super) struct Logical {
    pub(super) name: String,
    pub(super) id: String,
    /// Whether users see it; others are parts of these.
    pub(super) is_visible: bool,
    /// Its size; 0 when its segments are not known.
    pub(super) extents: u64,
    /// Ordered and without gaps, or why they are not known.
    pub(super) segments: Result<Vec<Segment>>,
}

/// A stretch of a logical volume.
pub(super) struct Segment {
    /// Its first extent.
    pub(super) start: u64,
    pub(super) extents: u64,
    pub(super) kind: Kind,
}

/// The place where extents of a segment lie: on a physical or a logical volume.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) volume: String,
    pub(super) extent: u64,
}

/// What a segment is made of.
pub(super) enum Kind {
    Striped {
        places: Vec<Place>,
        stripe_bytes: u64,
    },
    /// Device mapper's mirror; `log` is the volume that says which leg is up to date.
    Mirror {
        legs: Vec<Place>,
        has_log: bool,
    },
    /// Pairs of the volumes with a leg's state and its data.
    Raid1 {
        legs: Vec<(String, String)>,
    },
    Raid0 {
        legs: Vec<String>,
        stripe_bytes: u64,
    },
    ThinPool {
        metadata: String,
        data: String,
        chunk_bytes: u64,
    },
    Thin {
        pool: String,
        device: u64,
        external_origin: Option<String>,
    },
    Snapshot {
        origin: String,
        store: String,
        is_merging: bool,
    },
    Zero,
    /// One that is not read, by LVM's name for it.
    Other(String),
}

impl Group {
    /// The group in a text. A logical volume that is described wrongly is one whose segments are an error.
    pub(super) fn parse(text: &str) -> Result<Group> {
        let whole = text::parse(text)?;
        let group = whole.sections().find(|(_, section)| section.get("extent_size").is_some());
        let (name, section) = group.ok_or_else(|| Error::corrupt("LVM metadata without a volume group"))?;
        let extent_bytes = mul(section.number("extent_size")?, SECTOR)?;
        if extent_bytes == 0 {
            return Err(Error::corrupt("a volume group with extents of no size"));
        }
        let below = |key| section.section(key).into_iter().flat_map(Section::sections);
        let physical = below("physical_volumes").map(|(name, it)| Physical::parse(name, it));
        Ok(Group {
            name: name.to_owned(),
            id: section.text("id")?.to_owned(),
            version: section.number("seqno")?,
            extent_bytes,
            physical: physical.collect::<Result<_>>()?,
            logical: below("logical_volumes").map(|(name, it)| Logical::parse(name, it)).collect(),
        })
    }
}

impl Physical {
    fn parse(name: &str, section: &Section<'_>) -> Result<Physical> {
        Ok(Physical {
            name: name.to_owned(),
            id: section.text("id")?.to_owned(),
            is_missing: section.has_word("flags", "MISSING"),
            start_bytes: mul(section.number("pe_start")?, SECTOR)?,
            extents: section.number("pe_count")?,
        })
    }
}

impl Logical {
    fn parse(name: &str, section: &Section<'_>) -> Logical {
        let segments = segments(section).context(|| format!("logical volume {name}"));
        let last = segments.as_ref().ok().and_then(|all| all.last());
        Logical {
            name: name.to_owned(),
            id: section.text("id").unwrap_or_default().to_owned(),
            is_visible: section.has_word("status", "VISIBLE"),
            extents: last.map_or(0, |last| last.start.saturating_add(last.extents)),
            segments,
        }
    }
}

fn segments(section: &Section<'_>) -> Result<Vec<Segment>> {
    let found = section.sections().filter(|(name, _)| name.starts_with("segment"));
    let mut segments = found.map(|(_, section)| Segment::parse(section)).collect::<Result<Vec<_>>>()?;
    segments.sort_by_key(|segment| segment.start);
    let mut end = 0;
    for segment in &segments {
        if segment.start != end || segment.extents == 0 {
            return Err(Error::corrupt(format!("segments that overlap, or have a gap, at extent {end}")));
        }
        end = add(end, segment.extents)?;
    }
    if segments.is_empty() { Err(Error::corrupt("no segments")) } else { Ok(segments) }
}

impl Segment {
    fn parse(section: &Section<'_>) -> Result<Segment> {
        Ok(Segment {
            start: section.number("start_extent")?,
            extents: section.number("extent_count")?,
            kind: Kind::parse(section)?,
        })
    }
}

impl Kind {
    fn parse(section: &Section<'_>) -> Result<Kind> {
        let name = |key| section.text(key).map(str::to_owned);
        let optional = |key| section.get(key).map(|_| name(key)).transpose();
        // Behind a plus stand flags of newer versions, which do not change where data lie.
        let kind = section.text("type")?;
        Ok(match kind.split('+').next().unwrap_or(kind) {
            "striped" | "linear" => {
                Kind::Striped { places: places(section.list("stripes"))?, stripe_bytes: stripe(section)? }
            }
            "mirror" => Kind::Mirror {
                legs: places(section.list("mirrors"))?,
                has_log: section.get("mirror_log").is_some(),
            },
            "raid1" => Kind::Raid1 { legs: pairs(&names(section.list("raids"))?)? },
            "raid0" => {
                Kind::Raid0 { legs: names(section.list("raid0_lvs"))?, stripe_bytes: stripe(section)? }
            }
            "thin-pool" => Kind::ThinPool {
                metadata: name("metadata")?,
                data: name("pool")?,
                chunk_bytes: mul(section.number("chunk_size")?, SECTOR)?,
            },
            "thin" => Kind::Thin {
                pool: name("thin_pool")?,
                device: section.number("device_id")?,
                external_origin: optional("external_origin")?,
            },
            "snapshot" => {
                let merging = optional("merging_store")?;
                let is_merging = merging.is_some();
                let store = merging.map_or_else(|| name("cow_store"), Ok)?;
                Kind::Snapshot { origin: name("origin")?, store, is_merging }
            }
            "zero" => Kind::Zero,
            other => Kind::Other(other.to_owned()),
        })
    }
}

/// The size of a stripe in bytes; volumes of one stripe have none.
fn stripe(section: &Section<'_>) -> Result<u64> {
    mul(section.optional_number("stripe_size")?.unwrap_or(0), SECTOR)
}

/// A list of names, each with an extent behind it.
fn places(list: &[Value<'_>]) -> Result<Vec<Place>> {
    let place = |pair: &[Value<'_>]| match pair {
        [Value::Text(volume), Value::Number(extent)] => {
            let extent = u64::try_from(*extent).map_err(|_| Error::corrupt("a negative extent"))?;
            Ok(Place { volume: volume.to_string(), extent })
        }
        _ => Err(Error::corrupt("a list that is not one of volumes and extents")),
    };
    list.chunks(2).map(place).collect()
}

fn names(list: &[Value<'_>]) -> Result<Vec<String>> {
    let name = |value: &Value<'_>| match value {
        Value::Text(text) => Ok(text.to_string()),
        _ => Err(Error::corrupt("a list that is not one of volumes")),
    };
    list.iter().map(name).collect()
}

fn pairs(names: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |pair: &[String]| match pair {
        [one, other] => Ok((one.clone(), other.clone())),
        _ => Err(Error::corrupt("a list of volumes that are not in pairs")),
    };
    names.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(logical: &str) -> Group {
        let text = format!("vg {{ id = \"i\" seqno = 1 extent_size = 8\nlogical_volumes {{ {logical} }} }}");
        Group::parse(&text).unwrap()
    }

    #[test]
    fn a_wrong_volume_does_not_hide_the_others() {
        let segment = |start: u64| {
            format!(
                "segment{start} {{ start_extent = {start} extent_count = 2 type = \"striped\" stripes = [\"pv0\", 0] }}"
            )
        };
        let good = format!("good {{ id = \"a\" status = [\"VISIBLE\"] {} {} }}", segment(2), segment(0));
        let gap = format!("gap {{ id = \"b\" {} {} }}", segment(0), segment(3));
        let overlap = format!("overlap {{ id = \"c\" {} {} }}", segment(0), segment(1));

        let group = group(&format!("{good} {gap} {overlap} none {{ id = \"d\" }}"));

        let is_known: Vec<_> = group.logical.iter().map(|it| (it.segments.is_ok(), it.extents)).collect();
        assert_eq!(is_known, [(true, 4), (false, 0), (false, 0), (false, 0)]);
    }

    #[test]
    fn segments_of_hostile_lists_are_errors() {
        for list in ["[\"pv0\"]", "[0, \"pv0\"]", "[\"pv0\", -1]", "[\"pv0\", 0, 1]"] {
            let segment = format!(
                "lv {{ segment1 {{ start_extent = 0 extent_count = 2 type = \"striped\" stripes = {list} }} }}"
            );
            assert!(group(&segment).logical[0].segments.is_err(), "{list}");
        }
    }
}
