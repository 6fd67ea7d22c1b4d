//! Where the bytes of a file or directory lie: in one piece, or in a chain of clusters.

use crate::guest::clusters::{CLUSTER_FIRST, Chain, Clusters};
use spelunk_tree::{Error, Place, Result, Run, push_run};
use std::sync::Arc;

/// The clusters of something.
pub enum Extent {
    /// One behind the other (`NoFatChain`): as many bytes from an offset in the volume on, and whether the volume ends before their end.
    Piece {
        /// Where it begins.
        offset: u64,
        /// Bytes in the volume's clusters.
        len: u64,
        /// Whether there should be more.
        is_cut: bool,
    },
    /// As the allocation table links them.
    Chain(Arc<Chain>),
}

impl Extent {
    /// The clusters from `first` on that `bytes` take.
    ///
    /// # Errors
    /// When the table cannot be read. Clusters that are not there are no error yet, see [`Extent::end`].
    pub fn new(clusters: &Clusters, first: u32, is_one_piece: bool, bytes: u64) -> Result<Extent> {
        if !is_one_piece {
            return clusters.chain(first, bytes).map(Extent::Chain);
        }
        let layout = clusters.layout();
        if !layout.has_cluster(first) {
            return Ok(Extent::Piece { offset: 0, len: 0, is_cut: bytes > 0 });
        }
        let there = layout.clusters.saturating_sub(first.saturating_sub(CLUSTER_FIRST));
        let there_bytes = u64::from(there).saturating_mul(u64::from(layout.cluster_bytes));
        let (offset, len) = (layout.cluster_offset(first)?, bytes.min(there_bytes));
        Ok(Extent::Piece { offset, len, is_cut: bytes > there_bytes })
    }

    /// Appends where the `len` bytes from `offset` on lie in the volume, as far as there are any, and returns how
    /// many bytes that are.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn runs(&self, clusters: &Clusters, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<u64> {
        match self {
            Extent::Chain(chain) => clusters.runs(chain, offset, len, runs),
            Extent::Piece { offset: start, len: whole, .. } => {
                let covered = len.min(whole.saturating_sub(offset));
                let offset = start.saturating_add(offset);
                push_run(runs, Run { len: covered, place: Place::At { source: 0, offset } });
                Ok(covered)
            }
        }
    }

    /// How it ends behind what is sound of it.
    ///
    /// # Errors
    /// `Corrupt` when it is broken there, `Limit` when it goes on behind what was wanted.
    pub fn end(&self) -> Result<()> {
        match self {
            Extent::Chain(chain) => chain.end(),
            Extent::Piece { is_cut: true, .. } => Err(Error::corrupt("clusters that are not in the volume")),
            Extent::Piece { .. } => Ok(()),
        }
    }
}
