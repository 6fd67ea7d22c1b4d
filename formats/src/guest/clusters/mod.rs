//! Clusters and the allocation table that links them: what FAT and exFAT share.
//!
//! ```text
//! layout of the volume -> allocation table (table) -> chains of clusters (chain) -> runs in the volume
//! ```

mod chain;
mod table;

pub use chain::Chain;

use crate::bytes::{add, mul};
use spelunk_tree::{Error, ReadAt, Result, Run};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use table::Table;

/// Clusters are numbered from here.
pub const CLUSTER_FIRST: u32 = 2;

/// Chains that are kept: 2 MiB of files up to 4 GiB in clusters of 512 bytes, 64 MiB of the longest.
const CHAINS_MAX: usize = 64;
/// Clusters of one chain: as many as FAT32 has; of exFAT's, 1 TiB in clusters of 4 KiB.
const CHAIN_CLUSTERS_MAX: u32 = 1 << 28;

/// How wide the entries of the allocation table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 32 bits, of which 28 count.
    Fat32,
    /// 32 bits.
    ExFat,
}

/// Where clusters and their table lie. All offsets are in bytes from the start of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Width of the entries of the allocation table.
    pub width: Width,
    /// Bytes of a cluster, a power of two.
    pub cluster_bytes: u32,
    /// How many clusters there are; they are numbered from [`CLUSTER_FIRST`].
    pub clusters: u32,
    /// The allocation table in use.
    pub fat_offset: u64,
    /// Bytes of one allocation table.
    pub fat_bytes: u64,
    /// Where the first cluster begins.
    pub data_offset: u64,
}

impl Layout {
    /// Whether `cluster` is the number of one.
    pub fn has_cluster(&self, cluster: u32) -> bool {
        cluster.checked_sub(CLUSTER_FIRST).is_some_and(|index| index < self.clusters)
    }

    /// Where `cluster` begins.
    ///
    /// # Errors
    /// `Corrupt` when there is no such cluster.
    pub fn cluster_offset(&self, cluster: u32) -> Result<u64> {
        if !self.has_cluster(cluster) {
            return Err(Error::corrupt(format!("there is no cluster {cluster}")));
        }
        let index = cluster.saturating_sub(CLUSTER_FIRST);
        add(self.data_offset, mul(u64::from(index), u64::from(self.cluster_bytes))?)
    }

    /// Where the clusters end.
    pub fn data_end(&self) -> u64 {
        // At most 2^32 clusters of 2^25 bytes.
        let data_bytes = u64::from(self.clusters).saturating_mul(u64::from(self.cluster_bytes));
        self.data_offset.saturating_add(data_bytes)
    }
}

/// Chains by first cluster and wanted clusters, the one that was used last in front.
type Chains = VecDeque<((u32, u32), Arc<Chain>)>;

/// The clusters of an open volume, with the chains that were used last.
pub struct Clusters {
    table: Table,
    chains: Mutex<Chains>,
}

impl Clusters {
    /// The clusters of a volume of this layout.
    pub fn new(volume: Arc<dyn ReadAt>, layout: Layout) -> Clusters {
        Clusters { table: Table::new(volume, layout), chains: Mutex::default() }
    }

    /// Where they lie.
    pub fn layout(&self) -> &Layout {
        self.table.layout()
    }

    /// The chain from cluster `first` over the clusters that `bytes` take.
    ///
    /// # Errors
    /// As [`Chain::follow`].
    pub fn chain(&self, first: u32, bytes: u64) -> Result<Arc<Chain>> {
        let wanted = bytes.div_ceil(u64::from(self.layout().cluster_bytes.max(1)));
        let key = (first, u32::try_from(wanted).unwrap_or(u32::MAX).min(CHAIN_CLUSTERS_MAX));
        if let Some(chain) = self.kept_chain(key) {
            return Ok(chain);
        }
        let chain = Arc::new(Chain::follow(&self.table, key.0, key.1)?);
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        chains.truncate(CHAINS_MAX.saturating_sub(1));
        chains.push_front((key, chain.clone()));
        Ok(chain)
    }

    fn kept_chain(&self, key: (u32, u32)) -> Option<Arc<Chain>> {
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let at = chains.iter().position(|(other, _)| *other == key)?;
        let found = chains.remove(at)?;
        let chain = found.1.clone();
        chains.push_front(found);
        Some(chain)
    }

    /// Appends where the `len` bytes from `offset` of `chain` on lie in the volume, as far as it is sound, and
    /// returns how many bytes that are.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn runs(&self, chain: &Chain, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<u64> {
        chain.runs(&self.table, (offset, len), runs)
    }
}
