//! The inode numbers of a library's nodes: a node id and the tree that it is of do not fit 64 bits, so they have
//! numbers of their own as long as the kernel knows them.

use spelunk_tree::{Error, NodeId, Result};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers that were told but not looked up, as those in a plain listing, before the oldest are forgotten.
const UNUSED_MAX: usize = 64 * 1024;

/// The nodes that the kernel knows, until it forgets them.
#[derive(Default)]
pub(super) struct LibraryNodes {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<NodeId, u64>,
    /// Each with how often the kernel has looked it up.
    nodes: HashMap<u64, (NodeId, u64)>,
    /// Numbers that had not been looked up when they were given, the oldest first.
    unused: VecDeque<u64>,
    next: u64,
}

impl LibraryNodes {
    /// The node's number. No number is given twice.
    pub(super) fn number(&self, node: NodeId) -> u64 {
        let mut known = self.known();
        if let Some(number) = known.numbers.get(&node) {
            return *number;
        }
        let number = known.next;
        known.next += 1;
        known.numbers.insert(node, number);
        known.nodes.insert(number, (node, 0));
        known.unused.push_back(number);
        while known.unused.len() > UNUSED_MAX {
            let oldest = known.unused.pop_front();
            oldest.into_iter().for_each(|oldest| known.remove_unused(oldest));
        }
        number
    }

    /// The node with this number.
    ///
    /// # Errors
    /// `NotFound` when the kernel has forgotten it.
    pub(super) fn get(&self, number: u64) -> Result<NodeId> {
        let known = self.known();
        let node = known.nodes.get(&number).map(|(node, _)| *node);
        node.ok_or_else(|| Error::not_found("a node that was forgotten"))
    }

    /// Counts one lookup of the node with this number.
    pub(super) fn look_up(&self, number: u64) {
        if let Some((_, lookups)) = self.known().nodes.get_mut(&number) {
            *lookups = lookups.saturating_add(1);
        }
    }

    /// Takes back `lookups` of the node with this number.
    pub(super) fn forget(&self, number: u64, lookups: u64) {
        let mut known = self.known();
        if let Some((_, count)) = known.nodes.get_mut(&number) {
            *count = count.saturating_sub(lookups);
            known.remove_unused(number);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remove_unused(&mut self, number: u64) {
        if let Some((node, 0)) = self.nodes.get(&number) {
            self.numbers.remove(node);
            self.nodes.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap().in_tree(7)
    }

    #[test]
    fn a_node_keeps_its_number_until_it_was_forgotten_as_often_as_looked_up() {
        let nodes = LibraryNodes::default();
        let number = nodes.number(node(1));
        nodes.look_up(number);
        nodes.look_up(number);

        nodes.forget(number, 1);
        assert_eq!((nodes.number(node(1)), nodes.get(number)), (number, Ok(node(1))));

        nodes.forget(number, 1);
        assert!(nodes.get(number).is_err());
        assert_ne!(nodes.number(node(1)), number);
    }

    #[test]
    fn numbers_that_nobody_looks_up_do_not_pile_up() {
        let nodes = LibraryNodes::default();
        let looked_up = nodes.number(node(0));
        nodes.look_up(looked_up);

        for id in 1..=2 * UNUSED_MAX as u64 {
            nodes.number(node(id));
        }

        assert!(nodes.known().nodes.len() <= UNUSED_MAX + 1);
        assert_eq!(nodes.get(looked_up), Ok(node(0)));
    }
}
