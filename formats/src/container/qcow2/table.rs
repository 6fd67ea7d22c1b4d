//! The two levels of tables that map the disk (qcow2.rst, "Cluster mapping", "Extended L2 Entries").

use super::cluster::Packed;
use super::header::{Compression, Disk, Header, Place};
use crate::bytes::{add, count, index, mul, range, sub};
use crate::container::Context;
use crate::container::cache::{Cache, Pages};
use crate::container::mapped::{Map, Origin, Stretch};
use spelunk_tree::{Error, ReadAt, Result};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Bits of an L1 or L2 entry that hold an offset.
const OFFSET_MASK: u64 = 0x00FF_FFFF_FFFF_FE00;

/// The bit that says that nothing else refers to a cluster: for writers.
const COPIED: u64 = 1 << 63;

/// The cluster is compressed; below this bit and [`COPIED`] stands its descriptor.
const COMPRESSED: u64 = 1 << 62;

/// The cluster reads as zeros.
const ZERO: u64 = 1;

/// Subclusters of a cluster.
const SUBCLUSTERS: u64 = 32;

/// The disk's map.
pub(super) struct Table {
    pages: Pages,
    file: Arc<dyn ReadAt>,
    blocks: Arc<Cache>,
    owner: u32,
    l1: Place,
    version: u32,
    size_bytes: u64,
    cluster_bits: u32,
    cluster_bytes: NonZeroU64,
    entry_bytes: u64,
    /// Bytes of the disk that an L2 table covers.
    l2_covers: NonZeroU64,
    has_subclusters: bool,
    compression: Compression,
    /// Where clusters come from that the image does not have.
    absent: Origin,
}

/// What an L2 entry says, and its subclusters: those that are there, and those that are zeros.
struct Entry {
    cluster: Cluster,
    here: u32,
    zeros: u32,
}

#[derive(Clone, Copy)]
enum Cluster {
    Absent,
    Zero,
    At(u64),
    Packed(Packed),
}

impl Table {
    /// The map of one of the disks in the file.
    pub(super) fn new(
        header: &Header,
        disk: Disk,
        file: Arc<dyn ReadAt>,
        context: &Context,
    ) -> Result<Table> {
        let nonzero = |value| NonZeroU64::new(value).ok_or_else(|| Error::internal("clusters of 0 bytes"));
        Ok(Table {
            pages: Pages::new(&context.pages, file.clone()),
            file,
            blocks: context.blocks.clone(),
            owner: context.blocks.owner(),
            l1: disk.l1,
            version: header.version,
            size_bytes: disk.size_bytes,
            cluster_bits: header.cluster_bits,
            cluster_bytes: nonzero(header.cluster_bytes())?,
            entry_bytes: header.entry_bytes(),
            l2_covers: nonzero(header.l2_covers())?,
            has_subclusters: header.has_subclusters,
            compression: header.compression,
            absent: if header.backing.is_some() { Origin::Parent } else { Origin::Zero },
        })
    }

    /// Where the L2 table for `offset` is; `None` when there is none.
    fn l2_table(&self, offset: u64) -> Result<Option<u64>> {
        let at = add(self.l1.offset, mul(offset / self.l2_covers, 8)?)?;
        let entry = u64::from_be_bytes(self.pages.array(at)?);
        if entry & !(OFFSET_MASK | COPIED) != 0 {
            return Err(Error::corrupt("an L1 entry with reserved bits").at(at));
        }
        match entry & OFFSET_MASK {
            0 => Ok(None),
            table if table % self.cluster_bytes == 0 => Ok(Some(table)),
            _ => Err(Error::corrupt("an L1 entry that points into the middle of a cluster").at(at)),
        }
    }

    /// The entry for the cluster that `offset` is in.
    fn entry(&self, l2_table: u64, offset: u64) -> Result<Entry> {
        let at = add(l2_table, mul(offset % self.l2_covers / self.cluster_bytes, self.entry_bytes)?)?;
        let entry = u64::from_be_bytes(self.pages.array(at)?);
        let cluster = self.cluster(entry).map_err(|error| self.at(error, offset, at))?;
        if !self.has_subclusters {
            return Ok(Entry { cluster, here: u32::MAX, zeros: 0 });
        }
        let zeros = u32::from_be_bytes(self.pages.array(add(at, 8)?)?);
        let here = u32::from_be_bytes(self.pages.array(add(at, 12)?)?);
        let is_wrong = match cluster {
            Cluster::At(_) => here & zeros != 0,
            Cluster::Absent => here != 0,
            Cluster::Zero | Cluster::Packed(_) => false,
        };
        if is_wrong {
            return Err(self.at(
                Error::corrupt("a cluster whose subclusters contradict each other"),
                offset,
                at,
            ));
        }
        Ok(Entry { cluster, here, zeros })
    }

    fn cluster(&self, entry: u64) -> Result<Cluster> {
        if entry & COMPRESSED != 0 {
            let descriptor = entry & !(COMPRESSED | COPIED);
            return Ok(Cluster::Packed(Packed::parse(descriptor, self.cluster_bits)?));
        }
        if entry & !(OFFSET_MASK | COPIED | ZERO) != 0 {
            return Err(Error::corrupt("an L2 entry with reserved bits"));
        }
        let offset = entry & OFFSET_MASK;
        if offset % self.cluster_bytes != 0 {
            return Err(Error::corrupt("an L2 entry that points into the middle of a cluster"));
        }
        match (entry & ZERO != 0, offset) {
            (true, _) if self.version < 3 || self.has_subclusters => {
                Err(Error::corrupt("a cluster of zeros in an image that cannot have any"))
            }
            (true, _) => Ok(Cluster::Zero),
            (false, 0) => Ok(Cluster::Absent),
            (false, offset) => Ok(Cluster::At(offset)),
        }
    }

    fn at(&self, error: Error, offset: u64, at: u64) -> Error {
        error.object(format!("cluster {}", offset / self.cluster_bytes)).at(at)
    }

    /// Which bytes of a cluster from `within` on are alike, at most `len`, and what they are.
    fn part(&self, entry: &Entry, within: u64, len: u64) -> Result<Stretch> {
        let subcluster_bytes = self.cluster_bytes.get() / SUBCLUSTERS;
        let first = within.checked_div(subcluster_bytes).unwrap_or(0);
        let state = |number: u64| {
            let bit = 1_u32.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
            (entry.here & bit != 0, entry.zeros & bit != 0)
        };
        let is = state(first);
        let last = (first..SUBCLUSTERS).find(|&number| state(number) != is).unwrap_or(SUBCLUSTERS);
        let len = len.min(sub(mul(last, subcluster_bytes)?, within)?);
        let origin = match (entry.cluster, is) {
            (Cluster::At(start), (true, _)) => return self.stored(start, within, len),
            (Cluster::Zero, _) | (_, (_, true)) => Origin::Zero,
            _ => self.absent,
        };
        Ok(Stretch { len, origin })
    }

    fn stored(&self, start: u64, within: u64, len: u64) -> Result<Stretch> {
        let from = add(start, within)?;
        if add(from, len)? > self.file.size() {
            return Err(Error::corrupt("truncated: data past the end of the file").at(from));
        }
        Ok(Stretch { len, origin: Origin::File(from) })
    }

    /// A compressed cluster's bytes.
    fn unpacked(&self, offset: u64) -> Result<Arc<Vec<u8>>> {
        let entry = self.l2_table(offset)?.map(|table| self.entry(table, offset)).transpose()?;
        let Some(Entry { cluster: Cluster::Packed(packed), .. }) = entry else {
            return Err(Error::internal("a compressed cluster that is none"));
        };
        let cluster_bytes = self.cluster_bytes.get();
        let load = || {
            packed
                .read(&*self.file, self.compression, cluster_bytes)
                .map_err(|error| error.context(format!("unpacking cluster {}", offset / self.cluster_bytes)))
        };
        self.blocks.get((self.owner, packed.offset), cluster_bytes.saturating_mul(3), load)
    }
}

impl Map for Table {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn stretch(&self, offset: u64, len: u64) -> Result<Stretch> {
        let Some(table) = self.l2_table(offset)? else {
            let len = len.min(sub(self.l2_covers.get(), offset % self.l2_covers)?);
            return Ok(Stretch { len, origin: self.absent });
        };
        let within = offset % self.cluster_bytes;
        let len = len.min(sub(self.cluster_bytes.get(), within)?);
        let entry = self.entry(table, offset)?;
        match entry.cluster {
            Cluster::Packed(_) => Ok(Stretch { len, origin: Origin::Packed }),
            Cluster::At(start) if !self.has_subclusters => self.stored(start, within, len),
            Cluster::Absent if !self.has_subclusters => Ok(Stretch { len, origin: self.absent }),
            Cluster::Zero => Ok(Stretch { len, origin: Origin::Zero }),
            Cluster::At(_) | Cluster::Absent => self.part(&entry, within, len),
        }
    }

    fn unpack(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = position % self.cluster_bytes;
            let len = sub(self.cluster_bytes.get(), within)?.min(count(rest.len()));
            let (part, behind) = rest.split_at_mut(index(len)?);
            part.copy_from_slice(range(&self.unpacked(position)?, index(within)?, part.len())?);
            position = add(position, len)?;
            rest = behind;
        }
        Ok(())
    }
}
