//! Blocks of image files that were read lately.

use spelunk_tree::Result;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of a block: far below what a disk moves in the time of a seek.
pub(super) const BLOCK_BYTES: usize = 32 * 1024;

/// Blocks that are kept: 4 MiB.
const SLOTS: usize = 128;

/// One place for a block.
#[derive(Default)]
struct Slot {
    /// The image file and the block in it.
    held: Option<(u32, u64)>,
    bytes: Vec<u8>,
}

/// A cache in which every block has one place, so that nothing is searched and threads seldom meet.
pub(super) struct BlockCache {
    slots: Vec<Mutex<Slot>>,
    files: AtomicU32,
}

impl Default for BlockCache {
    fn default() -> BlockCache {
        BlockCache { slots: (0..SLOTS).map(|_| Mutex::default()).collect(), files: AtomicU32::new(0) }
    }
}

impl BlockCache {
    /// A name for one more image file.
    pub(super) fn new_file(&self) -> u32 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a block to `take`, after `fill` has read it where it was not there.
    pub(super) fn with(
        &self,
        file: u32,
        block: u64,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
        take: impl FnOnce(&[u8]),
    ) -> Result<()> {
        // A panic in another thread leaves a slot that holds nothing: see below.
        let mut slot = self.slots[slot_of(file, block)].lock().unwrap_or_else(PoisonError::into_inner);
        if slot.held != Some((file, block)) {
            slot.held = None;
            slot.bytes.resize(BLOCK_BYTES, 0);
            fill(&mut slot.bytes)?;
            slot.held = Some((file, block));
        }
        take(&slot.bytes);
        Ok(())
    }
}

/// Neighbours have different places; files of a chain are shifted against each other.
fn slot_of(file: u32, block: u64) -> usize {
    let mixed = block.wrapping_add(u64::from(file).wrapping_mul(37));
    usize::try_from(mixed % SLOTS as u64).unwrap_or(0)
}
