//! Chains of clusters: where the bytes of a file or directory lie.

use super::table::{Link, Table, Walker};
use spelunk_tree::{Error, Place, Result, Run, push_run};

/// Every so many clusters a chain remembers where it is, so that a file of 2^32 bytes in clusters of 512
/// needs 32 KiB, and no read follows more links than this to begin.
const CHECKPOINT_CLUSTERS: u32 = 1024;

/// A loop among the first n clusters is found within 3n links (see [`LoopDetector`]).
const LINKS_PER_CLUSTER_MAX: u32 = 4;

/// The beginning of a chain, followed once: no cluster comes twice in what is sound of it.
pub struct Chain {
    checkpoints: Vec<u32>,
    sound_clusters: u32,
    end: Result<()>,
}

impl Chain {
    /// Follows the chain from `first` over the `wanted` clusters.
    ///
    /// # Errors
    /// When the table cannot be read. A chain that is broken is no error yet, see [`Chain::end`].
    pub fn follow(table: &Table, first: u32, wanted: u32) -> Result<Chain> {
        let mut chain = Chain { checkpoints: Vec::new(), sound_clusters: 0, end: Ok(()) };
        let mut walker = table.walker();
        let mut detector = LoopDetector::new(first);
        let mut cluster = first;
        for position in 0..wanted.saturating_mul(LINKS_PER_CLUSTER_MAX) {
            if !table.layout().has_cluster(cluster) {
                chain.end =
                    Err(Error::corrupt(format!("a chain leads to cluster {cluster}, which is not there")));
                return Ok(chain);
            }
            if position < wanted {
                if position.is_multiple_of(CHECKPOINT_CLUSTERS) {
                    chain.checkpoints.push(cluster);
                }
                chain.sound_clusters = chain.sound_clusters.saturating_add(1);
            }
            match walker.next(cluster)? {
                Link::End if position < wanted => return Ok(chain),
                Link::End => break,
                Link::Next(next) | Link::Broken(next) => cluster = next,
            }
            if let Some(loop_clusters) = detector.step(cluster) {
                let distinct = distinct_clusters(table, first, loop_clusters)?;
                chain.sound_clusters = chain.sound_clusters.min(distinct);
                chain.end = Err(Error::corrupt("a chain of clusters loops"));
                return Ok(chain);
            }
        }
        chain.end = Err(Error::limit("a chain of clusters that goes on too long"));
        Ok(chain)
    }

    /// How the chain ends behind what is sound of it.
    ///
    /// # Errors
    /// `Corrupt` when it is broken there, `Limit` when it goes on behind what was wanted.
    pub fn end(&self) -> Result<()> {
        self.end.clone()
    }

    /// Appends where the `len` bytes from `offset` on lie in the volume, as far as the chain is sound, and
    /// returns how many bytes that are.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn runs(&self, table: &Table, (offset, len): (u64, u64), runs: &mut Vec<Run>) -> Result<u64> {
        let cluster_bytes = u64::from(table.layout().cluster_bytes);
        let sound_bytes = u64::from(self.sound_clusters).saturating_mul(cluster_bytes);
        let covered = len.min(sound_bytes.saturating_sub(offset));
        let mut walker = table.walker();
        let mut within = offset.checked_rem(cluster_bytes).unwrap_or(0);
        let mut rest = covered;
        let mut cluster = None;
        while rest > 0 {
            let here = match cluster {
                None => self.cluster_at(&mut walker, offset.checked_div(cluster_bytes).unwrap_or(0))?,
                Some(last) => next_of_sound(&mut walker, last)?,
            };
            let part = rest.min(cluster_bytes.saturating_sub(within));
            let at = table.layout().cluster_offset(here)?.saturating_add(within);
            push_run(runs, Run { len: part, place: Place::At { source: 0, offset: at } });
            rest = rest.saturating_sub(part);
            within = 0;
            cluster = Some(here);
        }
        Ok(covered)
    }

    /// The cluster at `position` in the sound part.
    fn cluster_at(&self, walker: &mut Walker<'_>, position: u64) -> Result<u32> {
        let step = u64::from(CHECKPOINT_CLUSTERS);
        let checkpoint = usize::try_from(position.checked_div(step).unwrap_or(0));
        let checkpoint = checkpoint.ok().and_then(|at| self.checkpoints.get(at));
        let mut cluster = *checkpoint.ok_or_else(|| Error::internal("a chain without a checkpoint"))?;
        for _ in 0..position.checked_rem(step).unwrap_or(0) {
            cluster = next_of_sound(walker, cluster)?;
        }
        Ok(cluster)
    }
}

fn next_of_sound(walker: &mut Walker<'_>, cluster: u32) -> Result<u32> {
    match walker.next(cluster)? {
        Link::Next(next) => Ok(next),
        Link::End | Link::Broken(_) => Err(Error::internal("a chain that changed")),
    }
}

/// Brent's search for loops: a mark is set on the clusters 0, 1, 3, 7, ... of the chain, and a loop is found
/// when the chain comes back to it. With the loop's length l and its beginning b that is so at the latest
/// from the mark at 2^k - 1 on, the first one not before b with 2^k >= l: before link 2 max(l, b + 1) + l.
struct LoopDetector {
    mark: u32,
    steps: u32,
    steps_max: u32,
}

impl LoopDetector {
    fn new(first: u32) -> LoopDetector {
        LoopDetector { mark: first, steps: 0, steps_max: 1 }
    }

    /// Takes the next cluster, and returns the length of the loop that it closes.
    fn step(&mut self, cluster: u32) -> Option<u32> {
        self.steps = self.steps.saturating_add(1);
        if cluster == self.mark {
            return Some(self.steps);
        }
        if self.steps == self.steps_max {
            *self = LoopDetector { mark: cluster, steps: 0, steps_max: self.steps_max.saturating_mul(2) };
        }
        None
    }
}

/// Counts the clusters of a chain that runs into a loop of `loop_clusters`: those before it, and it.
fn distinct_clusters(table: &Table, first: u32, loop_clusters: u32) -> Result<u32> {
    let (mut ahead, mut behind) = (table.walker(), table.walker());
    let (mut lead, mut trail) = (first, first);
    for _ in 0..loop_clusters {
        lead = next_of_sound(&mut ahead, lead)?;
    }
    let mut before: u32 = 0;
    while lead != trail {
        lead = next_of_sound(&mut ahead, lead)?;
        trail = next_of_sound(&mut behind, trail)?;
        before = before.saturating_add(1);
    }
    Ok(before.saturating_add(loop_clusters))
}
