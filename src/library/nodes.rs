//! Node ids of trees that are stored by names: a file backup's share, a snapshot.
//!
//! An id is a hash of the parent's id and the name, so it is the same in every process. What an id stands for is
//! remembered of those that were seen lately; of others it is found again by a search through the tree.

use sha2::{Digest, Sha256};
use spelunk_tree::{Error, Name, NodeId, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The top of the tree. 0 is not used: a library means the root of an item by it.
pub(super) const ROOT: u64 = 1;

/// Nodes of one half of the memory: when it is full, the half before is forgotten.
const HALF_MAX: usize = 1 << 18;

/// The id that the entry `name` of the directory `parent` has.
pub(super) fn id_of(parent: NodeId, name: &Name) -> NodeId {
    id_of_hash(Sha256::new().chain_update(parent.get().to_le_bytes()).chain_update(name.as_bytes()))
}

/// The id that what was hashed has.
pub(super) fn id_of_hash(hash: Sha256) -> NodeId {
    const BYTES: usize = NodeId::BITS as usize / 8;
    let bytes = hash.finalize();
    let number = bytes.iter().take(BYTES).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    NodeId::new(number.max(ROOT + 1))
        .unwrap_or_else(|_| unreachable!("{BYTES} bytes are {} bits", NodeId::BITS))
}

/// What ids stand for: places `P`, such as a directory and a name in it.
pub(super) struct Nodes<P> {
    halves: Mutex<[HashMap<u64, P>; 2]>,
}

impl<P> Default for Nodes<P> {
    fn default() -> Nodes<P> {
        Nodes { halves: Mutex::default() }
    }
}

impl<P: Clone + PartialEq> Nodes<P> {
    /// Remembers what an id stands for.
    ///
    /// # Errors
    /// `Corrupt` when it stands for another place: nobody gets such names by accident.
    pub(super) fn put(&self, id: NodeId, place: P) -> Result<NodeId> {
        match self.find(id) {
            Some(known) if known != place => {
                Err(Error::corrupt("two names that were made to be taken for each other"))
            }
            Some(_) => Ok(id),
            None => Ok(self.share(id, place)),
        }
    }

    /// Remembers one of the places that an id stands for, all of which are alike.
    pub(super) fn share(&self, id: NodeId, place: P) -> NodeId {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if halves[0].len() >= HALF_MAX {
            halves.swap(0, 1);
            halves[0] = HashMap::new();
        }
        halves[0].insert(id.get(), place);
        id
    }

    /// What an id stands for, if that is remembered. It is remembered longer then.
    pub(super) fn find(&self, id: NodeId) -> Option<P> {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves[0].get(&id.get()) {
            return Some(known.clone());
        }
        let place = halves[1].get(&id.get()).cloned()?;
        drop(halves);
        self.share(id, place.clone());
        Some(place)
    }
}
