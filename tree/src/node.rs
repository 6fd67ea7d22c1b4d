//! Nodes: their identity and their kind.

use crate::{Error, Result};

/// Names a node within one tree, derived from the guest (inode number, MFT record and sequence,
/// position of a directory entry): the same in every process that opens the same image.
///
/// A tree's own ids have at most 56 bits. The eight bits above belong to a composition of trees, which
/// keeps there which of its parts the node is of (see [`NodeId::in_part`]); they are 0 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

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
        Ok(NodeId(id))
    }

    /// The id as a number, the part's number in its uppermost eight bits.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The same node as one of the part `part` of a composition, in place of what part it was of.
    #[must_use]
    pub fn in_part(self, part: u8) -> NodeId {
        NodeId(self.own().0 | (u64::from(part) << NodeId::BITS))
    }

    /// The part of the composition that the node is of; 0 when it is of none.
    pub fn part(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The id within the part's own tree.
    #[must_use]
    pub fn own(self) -> NodeId {
        NodeId(self.0 & !(u64::MAX << NodeId::BITS))
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
    fn ids_that_reach_into_the_part_are_refused() {
        assert!(NodeId::new(1 << NodeId::BITS).is_err());
    }
}
