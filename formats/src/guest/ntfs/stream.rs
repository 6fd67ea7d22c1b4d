//! Streams: the values of attributes as bytes and as runs in the volume.

use super::attribute::{Attribute, Body};
use super::attribute_list::Segment;
use super::node::{self, Node};
use super::record::Reference;
use super::runlist::{Runlist, Span};
use super::volume::{AttributeId, Volume};
use crate::bytes::{add, count, index};
use crate::codec::lznt1;
use crate::extent::{clamp_buffer, clamp_len, read_runs};
use spelunk_tree::{Error, Place, Result, Run, push_run};
use std::sync::Arc;

/// Windows compresses units of 16 clusters of at most 4 KiB; other writers have used larger ones.
const UNIT_BYTES_MAX: u64 = 1 << 20;

/// Sizes are signed numbers on disk.
const SIZE_MAX: u64 = u64::MAX >> 1;

/// The value of an attribute.
pub(super) struct Stream {
    /// Bytes of it.
    pub size: u64,
    id: AttributeId,
    form: Form,
}

enum Form {
    /// In the record.
    Resident(Box<[u8]>),
    /// In clusters.
    Clusters(Clusters),
    /// In clusters, in a way that is not read.
    Unreadable(&'static str),
}

struct Clusters {
    base: Reference,
    segments: Vec<Segment>,
    initialized: u64,
    /// log2 of the clusters of a compression unit, of compressed values.
    unit_bits: Option<u32>,
}

/// What is in a compression unit.
enum Unit {
    /// Nothing: a hole.
    Hole,
    /// As many clusters as the unit has: bytes as they are.
    Stored,
    /// So many clusters of LZNT1.
    Compressed(u64),
}

impl Stream {
    /// Opens the attribute of `node` with this type and name (UTF-16LE); `None` when there is none.
    ///
    /// # Errors
    /// `Corrupt` when its header cannot be read. A value that is of a kind that is not read opens, and is
    /// `Unsupported` when read.
    pub fn open(volume: &Volume, node: &Node, kind: u32, name: &[u8]) -> Result<Option<Stream>> {
        let mut segments = node.segments(|a, b| a == kind && b == name)?;
        segments.sort_by_key(|segment| segment.lowest_vcn);
        let Some(first) = segments.first() else { return Ok(None) };
        let found = node.attribute(&volume.mft, first)?;
        let id = (first.record.number, first.instance);
        let attribute = found.get()?;
        let base = node.reference();
        let size = attribute.sizes().0;
        if size > SIZE_MAX {
            return Err(Error::corrupt(format!("a value of {size} bytes")));
        }
        Ok(Some(Stream { size, id, form: form(volume, &attribute, base, segments)? }))
    }

    /// The value of a file without the attribute: no bytes.
    pub fn empty() -> Stream {
        Stream { size: 0, id: (0, 0), form: Form::Resident([].into()) }
    }

    /// Bytes of memory that it takes, nearly.
    pub fn weight(&self) -> usize {
        let body = match &self.form {
            Form::Resident(value) => value.len(),
            Form::Clusters(clusters) => clusters.segments.len().saturating_mul(size_of::<Segment>()),
            Form::Unreadable(_) => 0,
        };
        body.saturating_add(256)
    }

    /// The attribute that the value belongs to.
    pub fn id(&self) -> AttributeId {
        self.id
    }

    /// Whether its bytes can be read at all.
    pub fn is_readable(&self) -> bool {
        !matches!(self.form, Form::Unreadable(_))
    }

    /// Appends where the `len` bytes from `offset` on lie in the volume, cut at the end of the value.
    ///
    /// # Errors
    /// `Unsupported` for encrypted values; `Corrupt` where clusters are missing or leave the volume;
    /// `Limit` when there are too many runs.
    pub fn runs(&self, volume: &Volume, offset: u64, len: u64, out: &mut Vec<Run>) -> Result<()> {
        let len = clamp_len(self.size, offset, len);
        match &self.form {
            Form::Resident(_) => push_run(out, Run { len, place: Place::Opaque }),
            Form::Clusters(clusters) => {
                let written = clamp_len(clusters.initialized, offset, len);
                clusters.runs(volume, offset, written, out)?;
                push_run(out, Run { len: len.saturating_sub(written), place: Place::Zero });
            }
            Form::Unreadable(why) => return Err(Error::unsupported(*why)),
        }
        Ok(())
    }

    /// Reads from `offset` on; fewer bytes than `buffer` holds only at the end of the value.
    ///
    /// # Errors
    /// As [`Stream::runs`]; what decompression and the volume report.
    pub fn read(&self, volume: &Volume, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let buffer = clamp_buffer(self.size, offset, buffer);
        match &self.form {
            Form::Resident(value) => {
                let from = index(offset.min(self.size))?;
                buffer.copy_from_slice(crate::bytes::range(value, from, buffer.len())?);
            }
            Form::Clusters(clusters) => {
                let mut runs = Vec::new();
                self.runs(volume, offset, count(buffer.len()), &mut runs)?;
                self.fill(volume, clusters, offset, &runs, buffer)?;
            }
            Form::Unreadable(why) => return Err(Error::unsupported(*why)),
        }
        Ok(buffer.len())
    }

    /// The whole value, when it is not longer than `max` bytes.
    ///
    /// # Errors
    /// `Limit` when it is longer; else as [`Stream::read`].
    pub fn whole(&self, volume: &Volume, max: u64) -> Result<Vec<u8>> {
        if self.size > max {
            return Err(Error::limit(format!("a value of {} bytes, above {max}", self.size)));
        }
        let mut bytes = vec![0; index(self.size)?];
        self.read(volume, 0, &mut bytes)?;
        Ok(bytes)
    }

    fn fill(
        &self,
        volume: &Volume,
        clusters: &Clusters,
        offset: u64,
        runs: &[Run],
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut rest = buffer;
        let mut position = offset;
        for run in runs {
            let len = index(run.len)?.min(rest.len());
            let (part, behind) = rest.split_at_mut(len);
            match run.place {
                Place::Opaque => self.decompress(volume, clusters, position, part)?,
                _ => read_runs(&*volume.bytes, std::slice::from_ref(run), part)?,
            }
            position = add(position, run.len)?;
            rest = behind;
        }
        Ok(())
    }

    /// Fills `buffer` from the compressed units from `offset` on.
    fn decompress(&self, volume: &Volume, clusters: &Clusters, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let unit_bits = clusters.unit_bits.unwrap_or(0).saturating_add(volume.geometry.cluster_bits);
        let mut rest = buffer;
        let mut position = offset;
        while !rest.is_empty() {
            let number = position >> unit_bits;
            let unit = self.unit(volume, clusters, number, 1 << unit_bits)?;
            let from = index(position.saturating_sub(number << unit_bits))?;
            let bytes = unit.get(from..).unwrap_or_default();
            let len = bytes.len().min(rest.len());
            let (part, behind) = rest.split_at_mut(len);
            part.copy_from_slice(crate::bytes::range(bytes, 0, len)?);
            position = add(position, count(len))?;
            rest = behind;
        }
        Ok(())
    }

    fn unit(&self, volume: &Volume, clusters: &Clusters, number: u64, unit_bytes: u64) -> Result<Arc<[u8]>> {
        if let Some(unit) = volume.units.get(&(self.id, number)) {
            return Ok(unit);
        }
        let offset = number.saturating_mul(unit_bytes);
        let bits = volume.geometry.cluster_bits;
        let Unit::Compressed(stored) = clusters.unit(volume, offset >> bits, unit_bytes >> bits)? else {
            return Err(Error::internal("decompressing what is not compressed"));
        };
        let mut runs = Vec::new();
        clusters.plain_runs(volume, offset, stored << bits, &mut runs)?;
        let mut input = vec![0; index(stored << bits)?];
        read_runs(&*volume.bytes, &runs, &mut input)?;
        let mut unit = vec![0; index(unit_bytes)?];
        lznt1::decompress(&input, &mut unit).map_err(|error| error.at(offset))?;
        let unit: Arc<[u8]> = unit.into();
        volume.units.insert((self.id, number), unit.clone(), unit.len());
        Ok(unit)
    }
}

fn form(volume: &Volume, attribute: &Attribute<'_>, base: Reference, segments: Vec<Segment>) -> Result<Form> {
    let body = match &attribute.body {
        Body::Resident(value) => return Ok(Form::Resident((*value).into())),
        Body::NonResident(body) => body,
    };
    if attribute.is_encrypted() {
        return Ok(Form::Unreadable("encrypted by Windows (EFS)"));
    }
    if body.lowest_vcn != 0 {
        return Err(Error::corrupt("the first part of an attribute is missing"));
    }
    let unit_bits = u32::from(body.unit_bits);
    let unit_bytes = 1_u64.checked_shl(unit_bits.saturating_add(volume.geometry.cluster_bits));
    let unit_bits = match (attribute.is_compressed(), unit_bytes) {
        (false, _) => None,
        (true, Some(1..=UNIT_BYTES_MAX)) if unit_bits > 0 => Some(unit_bits),
        (true, _) => return Ok(Form::Unreadable("compressed in units of an unknown size")),
    };
    if attribute.is_compressed_unknown() {
        return Ok(Form::Unreadable("compressed by an unknown method"));
    }
    Ok(Form::Clusters(Clusters { base, segments, initialized: body.initialized.min(body.size), unit_bits }))
}

impl Clusters {
    fn runs(&self, volume: &Volume, offset: u64, len: u64, out: &mut Vec<Run>) -> Result<()> {
        let Some(unit_bits) = self.unit_bits else {
            return self.plain_runs(volume, offset, len, out);
        };
        let cluster_bits = volume.geometry.cluster_bits;
        let cluster_bytes = u64::from(volume.geometry.cluster_bytes);
        let unit_clusters = 1_u64 << unit_bits;
        let end = add(offset, len)?;
        let mut position = offset;
        while position < end {
            let vcn = (position >> cluster_bits) & !(unit_clusters.saturating_sub(1));
            let unit = self.unit(volume, vcn, unit_clusters)?;
            // Where the clusters behind a whole unit continue in the same way, so do the units.
            let units = match unit {
                Unit::Compressed(_) => 1,
                _ => (self.span(volume, vcn)?.map_or(0, |span| span.len) >> unit_bits).max(1),
            };
            let unit_end = vcn.saturating_add(units << unit_bits).saturating_mul(cluster_bytes);
            let len = unit_end.min(end).saturating_sub(position);
            match unit {
                Unit::Hole => push_run(out, Run { len, place: Place::Zero }),
                Unit::Stored => self.plain_runs(volume, position, len, out)?,
                Unit::Compressed(_) => push_run(out, Run { len, place: Place::Opaque }),
            }
            position = position.saturating_add(len);
        }
        Ok(())
    }

    fn plain_runs(&self, volume: &Volume, offset: u64, len: u64, out: &mut Vec<Run>) -> Result<()> {
        let end = add(offset, len)?;
        let mut position = offset;
        while position < end {
            let runlist = self.runlist(volume, position >> volume.geometry.cluster_bits)?;
            let covered = runlist.runs(&volume.geometry, position, end.saturating_sub(position), out)?;
            if covered == 0 {
                return Err(Error::corrupt("a file whose clusters end before its data").at(position));
            }
            position = position.saturating_add(covered);
        }
        Ok(())
    }

    /// What the compression unit of `unit_clusters` from `vcn` on holds.
    fn unit(&self, volume: &Volume, vcn: u64, unit_clusters: u64) -> Result<Unit> {
        let (mut stored, mut seen) = (0_u64, 0_u64);
        while seen < unit_clusters {
            let Some(span) = self.span(volume, vcn.saturating_add(seen))? else { break };
            let len = span.len.min(unit_clusters.saturating_sub(seen));
            if span.lcn.is_some() {
                if stored != seen {
                    return Err(Error::corrupt("a compression unit with a hole in its middle"));
                }
                stored = stored.saturating_add(len);
            }
            seen = seen.saturating_add(len);
        }
        Ok(match stored {
            0 if seen == 0 => return Err(Error::corrupt("a file whose clusters end before its data")),
            0 => Unit::Hole,
            _ if stored == unit_clusters => Unit::Stored,
            _ => Unit::Compressed(stored),
        })
    }

    fn span(&self, volume: &Volume, vcn: u64) -> Result<Option<Span>> {
        Ok(self.runlist(volume, vcn)?.find(vcn))
    }

    /// The runlist of the segment that `vcn` is in.
    fn runlist(&self, volume: &Volume, vcn: u64) -> Result<Arc<Runlist>> {
        let behind = self.segments.partition_point(|segment| segment.lowest_vcn <= vcn);
        let segment = behind.checked_sub(1).and_then(|at| self.segments.get(at));
        let segment = segment.ok_or_else(|| Error::internal("an attribute without segments"))?;
        let key = (segment.record.number, segment.instance);
        if let Some(runlist) = volume.runlists.get(&key) {
            return Ok(runlist);
        }
        let found = node::attribute(&volume.mft, self.base, segment)?;
        let Body::NonResident(body) = found.get()?.body else {
            return Err(Error::corrupt("an attribute that is resident in parts"));
        };
        let runlist = Arc::new(Runlist::decode(body.pairs, body.lowest_vcn)?);
        if runlist.end() != body.end_vcn {
            return Err(Error::corrupt(format!(
                "runs up to cluster {} where {} was announced",
                runlist.end(),
                body.end_vcn
            )));
        }
        volume.runlists.insert(key, runlist.clone(), runlist.weight());
        Ok(runlist)
    }
}
