//! Runlists: which clusters of the volume hold a value, from the mapping pairs of its attribute.
//!
//! A pair is a byte with two lengths in its nibbles, a count of clusters, and the signed distance of the
//! first one from that of the pair before. A pair without distance is a hole.

use super::boot::Geometry;
use crate::bytes::{add, range, u8_at};
use spelunk_tree::{Error, Place, Result, Run, push_run};

/// Clusters that a value can have: sizes are signed 64-bit numbers of bytes.
const VCN_MAX: u64 = 1 << 55;

/// Runs of one answer: what 4 MiB hold. A range in more pieces has to be asked for in parts.
const RUNS_MAX: usize = 1 << 17;

/// A stretch of clusters of a value, up to the next extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// First cluster within the value.
    vcn: u64,
    /// Where it lies in the volume; `None` in a hole.
    lcn: Option<u64>,
}

/// What lies at a cluster of a value, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where the cluster lies in the volume; `None` in a hole.
    pub lcn: Option<u64>,
    /// Clusters from there on that continue in the same way, at least 1.
    pub len: u64,
}

/// The clusters of a value, or of one segment of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runlist {
    extents: Vec<Extent>,
    end: u64,
}

impl Runlist {
    /// Decodes the mapping pairs of the segment that begins at the cluster `lowest_vcn` of its value.
    ///
    /// # Errors
    /// `Corrupt` when a pair is cut short or impossible.
    pub fn decode(pairs: &[u8], lowest_vcn: u64) -> Result<Runlist> {
        let mut runlist = Runlist { extents: Vec::new(), end: lowest_vcn };
        let mut at = 0_usize;
        let mut lcn = 0_i64;
        while let Some(&header) = pairs.get(at).filter(|&&header| header != 0) {
            let (count_len, distance_len) = (usize::from(header & 0x0F), usize::from(header >> 4));
            let count = signed(pairs, at.saturating_add(1), count_len)?;
            let distance = signed(pairs, at.saturating_add(1).saturating_add(count_len), distance_len)?;
            at = at.saturating_add(1).saturating_add(count_len).saturating_add(distance_len);
            let count = u64::try_from(count).unwrap_or(0);
            let end = runlist.end.saturating_add(count);
            if count == 0 || end > VCN_MAX {
                return Err(Error::corrupt("a run with an impossible count of clusters"));
            }
            let place = if distance_len == 0 {
                None
            } else {
                lcn =
                    lcn.checked_add(distance).ok_or_else(|| Error::corrupt("a run outside of any volume"))?;
                place_of(lcn)?
            };
            runlist.extents.push(Extent { vcn: runlist.end, lcn: place });
            runlist.end = end;
        }
        Ok(runlist)
    }

    /// Puts the next segment behind this one.
    ///
    /// # Errors
    /// `Corrupt` when there is a gap between them, or they overlap.
    pub fn append(&mut self, next: &Runlist) -> Result<()> {
        if next.extents.first().is_some_and(|extent| extent.vcn != self.end) {
            return Err(Error::corrupt("segments of an attribute with a gap between them"));
        }
        self.extents.extend_from_slice(&next.extents);
        self.end = self.end.max(next.end);
        Ok(())
    }

    /// What lies at the cluster `vcn`; `None` outside of this runlist.
    pub fn find(&self, vcn: u64) -> Option<Span> {
        let behind = self.extents.partition_point(|extent| extent.vcn <= vcn);
        let extent = self.extents.get(behind.checked_sub(1)?)?;
        let end = self.extents.get(behind).map_or(self.end, |next| next.vcn);
        let len = end.checked_sub(vcn).filter(|&len| len > 0)?;
        let lcn = extent.lcn.map(|lcn| lcn.saturating_add(vcn.saturating_sub(extent.vcn)));
        Some(Span { lcn, len })
    }

    /// Appends where the `len` bytes from `offset` of the value on lie in the volume. Stops at the end of
    /// this runlist; returns how many bytes it covered.
    ///
    /// # Errors
    /// `Corrupt` when a run leaves the volume, `Limit` for more than [`RUNS_MAX`] runs.
    pub fn runs(&self, geometry: &Geometry, offset: u64, len: u64, out: &mut Vec<Run>) -> Result<u64> {
        let end = add(offset, len)?;
        let mut position = offset;
        while position < end {
            let Some(span) = self.find(position >> geometry.cluster_bits) else { break };
            let inside = position & u64::from(geometry.cluster_bytes).saturating_sub(1);
            let span_len = span.len.saturating_mul(u64::from(geometry.cluster_bytes));
            let len = span_len.saturating_sub(inside).min(end.saturating_sub(position));
            let place = match span.lcn {
                Some(lcn) => {
                    let offset = geometry.position(lcn, span.len)?.saturating_add(inside);
                    Place::At { source: 0, offset }
                }
                None => Place::Zero,
            };
            push_run(out, Run { len, place });
            if out.len() > RUNS_MAX {
                return Err(Error::limit("a range of a file in too many pieces"));
            }
            position = position.saturating_add(len);
        }
        Ok(position.saturating_sub(offset))
    }

    /// The cluster behind the last one.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Stretches in it.
    pub fn len(&self) -> usize {
        self.extents.len()
    }

    /// Bytes of memory that it takes.
    pub fn weight(&self) -> usize {
        self.extents.len().saturating_mul(size_of::<Extent>()).saturating_add(64)
    }
}

/// NTFS 1.2 wrote holes as runs at cluster -1.
fn place_of(lcn: i64) -> Result<Option<u64>> {
    match u64::try_from(lcn) {
        Ok(lcn) => Ok(Some(lcn)),
        Err(_) if lcn == -1 => Ok(None),
        Err(_) => Err(Error::corrupt(format!("a run at cluster {lcn}"))),
    }
}

/// A little-endian signed number of `len` bytes, at most eight; 0 when `len` is.
fn signed(bytes: &[u8], at: usize, len: usize) -> Result<i64> {
    if len == 0 {
        return Ok(0);
    }
    let digits = range(bytes, at, len)?;
    let negative = u8_at(digits, len.saturating_sub(1))? & 0x80 != 0;
    let mut wide = if negative { [0xFF; 8] } else { [0; 8] };
    wide.get_mut(..len)
        .ok_or_else(|| Error::corrupt("a run with a number of more than eight bytes"))?
        .copy_from_slice(digits);
    Ok(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    #[test]
    fn pairs_with_holes_and_steps_back_decode() {
        let runlist = Runlist::decode(&[0x11, 3, 0x10, 0x01, 2, 0x11, 1, 0xF8, 0x00, 0xAA], 100).unwrap();

        assert_eq!(runlist.find(101), Some(Span { lcn: Some(0x11), len: 2 }));
        assert_eq!(runlist.find(103), Some(Span { lcn: None, len: 2 }));
        assert_eq!(runlist.find(105), Some(Span { lcn: Some(8), len: 1 }));
        assert_eq!((runlist.find(106), runlist.find(99), runlist.end()), (None, None, 106));
    }

    #[test]
    fn impossible_pairs_are_corrupt() {
        let wide = [&[0x81][..], &[1; 9]].concat();
        assert!(Runlist::decode(&wide, 0).is_ok());
        let too_wide = [&[0x91][..], &[1; 10]].concat();
        for bad in [&[0x11, 1][..], &[0x11, 0, 1], &[0x11, 0x80, 1], &[0x10, 1], &[0x11, 1, 0x80], &too_wide]
        {
            assert!(Runlist::decode(bad, 0).is_err(), "{bad:x?}");
        }
    }

    #[test]
    fn value_of_more_clusters_than_bytes_can_be_counted_is_corrupt() {
        let clusters = |count: u64| {
            let pairs = [&[0x18][..], &count.to_le_bytes(), &[1]].concat();
            Runlist::decode(&pairs, 0).map(|runlist| runlist.end())
        };

        assert_eq!(clusters(VCN_MAX), Ok(VCN_MAX));
        assert_eq!(clusters(VCN_MAX + 1).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn answer_of_too_many_runs_is_over_the_limit_and_its_parts_are_not() {
        // Each cluster lies two behind the one before.
        let pairs = [0x11, 1, 2].repeat(RUNS_MAX + 2);
        let runlist = Runlist::decode(&pairs, 0).unwrap();
        let geometry = Geometry {
            sector_bytes: 512,
            cluster_bytes: 4096,
            cluster_bits: 12,
            clusters: 1 << 20,
            size_bytes: 4 << 30,
            record_bytes: 1024,
            mft_lcn: 4,
            mirror_lcn: 5,
            serial: 1,
        };
        let bytes = u64::try_from(RUNS_MAX + 2).unwrap() << 12;

        let whole = runlist.runs(&geometry, 0, bytes, &mut Vec::new());
        let part = runlist.runs(&geometry, bytes - 8192, 8192, &mut Vec::new());

        assert_eq!(whole.unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(part, Ok(8192));
    }

    #[test]
    fn segments_join_only_without_gap() {
        let mut first = Runlist::decode(&[0x11, 3, 0x10], 0).unwrap();

        assert!(first.append(&Runlist::decode(&[0x11, 1, 0x20], 4).unwrap()).is_err());
        first.append(&Runlist::decode(&[0x11, 1, 0x20], 3).unwrap()).unwrap();
        assert_eq!(first.find(3), Some(Span { lcn: Some(0x20), len: 1 }));
    }
}
