//! `$ATTRIBUTE_LIST`: where the attributes of a file are that needs more than one record.

use super::attribute::{Attribute, Body};
use super::boot::Geometry;
use super::record::Reference;
use super::runlist::Runlist;
use crate::bytes::{count, index, le_u16, le_u32, le_u64, range, u8_at};
use crate::extent::read_runs;
use spelunk_tree::{Error, ReadAt, Result};

/// Windows gives a list one view of its cache, 256 KiB.
const LIST_BYTES_MAX: u64 = 256 << 10;
const ENTRY_BYTES_MIN: usize = 0x1A;

/// One segment of one attribute of a file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Type of the attribute.
    pub kind: u32,
    /// Its name in UTF-16LE.
    pub name: Box<[u8]>,
    /// First cluster of this segment.
    pub lowest_vcn: u64,
    /// The record that it stands in.
    pub record: Reference,
    /// Tells it from others in that record.
    pub instance: u16,
}

/// Reads the list that `attribute` of a base record holds or points to.
///
/// # Errors
/// `Corrupt` for an impossible entry, `Limit` for a list above Windows' own limit.
pub(super) fn read(
    attribute: &Attribute<'_>,
    volume: &dyn ReadAt,
    geometry: &Geometry,
) -> Result<Vec<Segment>> {
    match &attribute.body {
        Body::Resident(value) => parse(value),
        Body::NonResident(body) => {
            let len = body.size.min(body.initialized);
            if len > LIST_BYTES_MAX {
                return Err(Error::limit(format!("an attribute list of {len} bytes")));
            }
            let mut runs = Vec::new();
            Runlist::decode(body.pairs, body.lowest_vcn)?.runs(geometry, 0, len, &mut runs)?;
            let mut bytes = vec![0; index(len)?];
            read_runs(volume, &runs, &mut bytes)
                .map_err(|error| error.context("reading an attribute list"))?;
            parse(&bytes)
        }
    }
}

fn parse(list: &[u8]) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut at = 0_usize;
    while at < list.len() {
        let len = usize::from(le_u16(list, at.saturating_add(4))?);
        if len < ENTRY_BYTES_MIN {
            return Err(Error::corrupt(format!("an attribute list entry of {len} bytes")).at(count(at)));
        }
        let entry = range(list, at, len)?;
        let name_len = usize::from(u8_at(entry, 6)?).saturating_mul(2);
        segments.push(Segment {
            kind: le_u32(entry, 0)?,
            name: range(entry, usize::from(u8_at(entry, 7)?), name_len)?.into(),
            lowest_vcn: le_u64(entry, 8)?,
            record: Reference::from_disk(le_u64(entry, 0x10)?),
            instance: le_u16(entry, 0x18)?,
        });
        at = at.saturating_add(len);
    }
    Ok(segments)
}
