//! Nodes: their identity and their kind.

use crate::{Error, Result};

/// Names a node within one tree, derived from the guest (inode number, MFT record and sequence,
/// position of a directory entry): the same in every process that opens the same image.
///
/// At most 56 bits, so that a composition of trees can put its own index above it.
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

    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0
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
