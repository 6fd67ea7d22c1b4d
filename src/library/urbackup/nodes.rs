//! Node ids of a file backup's share.
//!
//! An id is a hash of the parent's id and the name, so it is the same in every process. What an id stands for is
//! remembered of those that were seen lately; of others it is found again by a search through the share.

use sha2::{Digest, Sha256};
use spelunk_tree::{Error, Name, NodeId, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The share itself. 0 is not used: a library means the root of an item by it.
pub(super) const ROOT: u64 = 1;

/// Nodes of one half of the memory: when it is full, the half before is forgotten.
const HALF_MAX: usize = 1 << 18;

/// The id that the entry `name` of the directory `parent` has.
pub(super) fn id_of(parent: NodeId, name: &Name) -> NodeId {
    const BYTES: usize = NodeId::BITS as usize / 8;
    let mut hash = Sha256::new();
    hash.update(parent.get().to_le_bytes());
    hash.update(name.as_bytes());
    let bytes = hash.finalize();
    let number = bytes.iter().take(BYTES).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    NodeId::new(number.max(ROOT + 1))
        .unwrap_or_else(|_| unreachable!("{BYTES} bytes are {} bits", NodeId::BITS))
}

/// What ids stand for: a directory and a name in it.
#[derive(Default)]
pub(super) struct Nodes {
    halves: Mutex<[HashMap<u64, (NodeId, Name)>; 2]>,
}

impl Nodes {
    /// The id of an entry, which is remembered.
    ///
    /// # Errors
    /// `Corrupt` when another entry has it: nobody gets such names by accident.
    pub(super) fn id(&self, parent: NodeId, name: &Name) -> Result<NodeId> {
        let id = id_of(parent, name);
        match self.find(id) {
            Some((other, known)) if other != parent || known != *name => {
                Err(Error::corrupt("two names that were made to be taken for each other"))
            }
            Some(_) => Ok(id),
            None => {
                self.remember(id, parent, name);
                Ok(id)
            }
        }
    }

    fn remember(&self, id: NodeId, parent: NodeId, name: &Name) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if halves[0].len() >= HALF_MAX {
            halves.swap(0, 1);
            halves[0] = HashMap::new();
        }
        halves[0].insert(id.get(), (parent, name.clone()));
    }

    /// What an id stands for, if that is remembered. It is remembered longer then.
    pub(super) fn find(&self, id: NodeId) -> Option<(NodeId, Name)> {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves[0].get(&id.get()) {
            return Some(known.clone());
        }
        let (parent, name) = halves[1].get(&id.get()).cloned()?;
        drop(halves);
        self.remember(id, parent, &name);
        Some((parent, name))
    }
}
