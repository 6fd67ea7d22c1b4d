//! Nodes: their identity and their kind.

use crate::{Error, Result};

/// Names a node within one tree, derived from the guest (inode number, MFT record and sequence,
/// position of a directory entry): the same in every process that opens the same image.
///
/// A tree's own ids have at most 56 bits. The eight bits above belong to a composition of trees, which
/// keeps there which of its parts the node is of (see [`NodeId::in_part`]); they are 0 elsewhere. Above
/// both, a library of many trees keeps which of them it is of (see [`NodeId::in_tree`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    tree: u32,
    id: u64,
}

impl NodeId {
    /// Bits that an id may use.
    pub const BITS: u32 = 56;

    /// Takes an id.
    ///
    /// # Errors
    /// `Limit` when it needs more than [`NodeId::BITS`] bits.
    pub fn new(id: u64) -> Result<NodeId> {
        if id >> NodeId::BITS != 0 {
            return Err(Error::limit("a node id of more than 56 bits"));
        }
        Ok(NodeId { tree: 0, id })
    }

    /// The id as a number, the part's number in its uppermost eight bits, without the library's tree.
    pub fn get(self) -> u64 {
        self.id
    }

    /// The same node as one of the part `part` of a composition, in place of what part it was of.
    #[must_use]
    pub fn in_part(self, part: u8) -> NodeId {
        NodeId { id: self.own().id | (u64::from(part) << NodeId::BITS), ..self }
    }

    /// The part of the composition that the node is of; 0 when it is of none.
    pub fn part(self) -> u8 {
        self.id.to_be_bytes()[0]
    }

    /// The id within the part's own tree.
    #[must_use]
    pub fn own(self) -> NodeId {
        NodeId { tree: 0, id: self.id & !(u64::MAX << NodeId::BITS) }
    }

    /// The same node as one of the tree `tree` of a library, from 1; 0 is of no library, or of the
    /// directories above all its trees.
    #[must_use]
    pub fn in_tree(self, tree: u32) -> NodeId {
        NodeId { tree, ..self }
    }

    /// The tree of the library that the node is of.
    pub fn tree(self) -> u32 {
        self.tree
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// What it is called, in JSON and to users.
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice => "char-device",
            Kind::BlockDevice => "block-device",
        }
    }
}

impl Kind {
    /// All kinds, in their wire order.
    pub const ALL: [Kind; 7] = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::CharDevice,
        Kind::BlockDevice,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_and_own_id_come_back_as_put_in() {
        let own = NodeId::new((1 << NodeId::BITS) - 1).unwrap();

        let node = own.in_part(3).in_part(254);

        assert_eq!((node.part(), node.own(), own.part()), (254, own, 0));
    }

    #[test]
    fn tree_of_a_library_comes_back_as_put_in() {
        let within = NodeId::new(7).unwrap().in_part(3);

        let node = within.in_tree(70_000);

        assert_eq!((node.tree(), node.part(), node.get()), (70_000, 3, within.get()));
        assert_eq!(node.in_tree(0), within);
    }

    #[test]
    fn ids_that_reach_into_the_part_are_refused() {
        assert!(NodeId::new(1 << NodeId::BITS).is_err());
    }
}
