//! The inode numbers of a mount: 64 bits, of which the tree's node ids use nearly all.
//!
//! | Inode number            | What it is                                                        |
//! |-------------------------|-------------------------------------------------------------------|
//! | 1                       | the root, as FUSE has it                                          |
//! | a node's id             | the node; its upper eight bits are a composition's, 0 to 254      |
//! | `0xFF << 56` + 0 or 1   | the nodes whose ids are 0 and 1, where they are not the root      |
//! | `0xFF << 56` + 2^54 + n | the `n`th node of a library's trees that the kernel was told of   |
//! | `0xFF << 56` + 2^55 + n | the `n`th stream in use                                           |
//! | all ones                | an entry that is there but broken                                 |
//!
//! So a guest's inode numbers are seen as they are, and most numbers need no table.

use spelunk_tree::{NodeId, Result};

/// What an inode number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inode {
    /// A node of the tree, that is no library.
    Node(NodeId),
    /// A node of a library's trees, by its number in the table of those.
    OfLibrary(u64),
    /// A stream, by its number in the table of streams.
    Stream(u64),
    /// An entry without usable attributes.
    Broken,
}

/// The inode number of the root.
const ROOT: u64 = 1;
/// Where the presenter's own numbers begin: no composition has a part 255.
const OWN: u64 = 0xFF << NodeId::BITS;
const LIBRARY: u64 = OWN | 1 << (NodeId::BITS - 2);
const STREAM: u64 = OWN | 1 << (NodeId::BITS - 1);
const BROKEN: u64 = u64::MAX;

impl Inode {
    /// The number by which the kernel knows the inode, in a tree with this root.
    pub(super) fn number(self, root: NodeId) -> u64 {
        match self {
            Inode::Node(node) if node == root => ROOT,
            Inode::Node(node) if node.get() <= ROOT => OWN | node.get(),
            Inode::Node(node) => node.get(),
            Inode::OfLibrary(index) => LIBRARY | index,
            Inode::Stream(index) => STREAM | index,
            Inode::Broken => BROKEN,
        }
    }

    /// What the kernel means by a number.
    ///
    /// # Errors
    /// Those of [`NodeId::new`], for no number that [`Inode::number`] has given.
    pub(super) fn of_number(number: u64, root: NodeId) -> Result<Inode> {
        Ok(match number {
            ROOT => Inode::Node(root),
            BROKEN => Inode::Broken,
            _ if number & STREAM == STREAM => Inode::Stream(number & !STREAM),
            _ if number & LIBRARY == LIBRARY => Inode::OfLibrary(number & !LIBRARY),
            _ if number & OWN == OWN => Inode::Node(NodeId::new(number & !OWN)?),
            _ => {
                let [part, ..] = number.to_be_bytes();
                Inode::Node(NodeId::new(number & !OWN)?.in_part(part))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    #[test]
    fn every_inode_comes_back_from_its_number_and_none_is_zero() {
        let highest = node((1 << NodeId::BITS) - 1);
        for root in [node(0), node(1), node(2), node(5), highest, node(1).in_part(254)] {
            let nodes =
                [node(0), node(1), node(2), node(5), highest, node(0).in_part(1), highest.in_part(254)];
            let mut inodes = vec![Inode::Node(root), Inode::Broken, Inode::Stream(0), Inode::Stream(70_000)];
            inodes.extend([Inode::OfLibrary(0), Inode::OfLibrary(70_000)]);
            inodes.extend(nodes.into_iter().map(Inode::Node));

            for inode in inodes {
                let number = inode.number(root);
                assert_ne!(number, 0, "{inode:?}");
                assert_eq!(Inode::of_number(number, root), Ok(inode), "root {root:?}");
            }
        }
    }

    #[test]
    fn guests_numbers_are_seen_as_they_are_except_the_roots() {
        assert_eq!(Inode::Node(node(12)).number(node(2)), 12);
        assert_eq!(Inode::Node(node(2)).number(node(2)), 1);
    }
}
