//! Attributes of a node. Nothing is invented: what a guest lacks is `None`.

use crate::{Kind, Time};

/// What a guest says about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// What the node is.
    pub kind: Kind,
    /// Bytes of the main stream; of a symbolic link, of its target; 0 for directories where the guest
    /// gives no size.
    pub size: u64,
    /// Bytes that the guest has set aside for the node.
    pub allocated: Option<u64>,
    /// Count of hard links.
    pub links: Option<u32>,
    /// Permission bits with set-id and sticky bits (at most `0o7777`).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Owning group.
    pub gid: Option<u32>,
    /// Device number, of devices only.
    pub device: Option<Device>,
    /// Last change of the contents.
    pub modified: Option<Time>,
    /// Last access.
    pub accessed: Option<Time>,
    /// Last change of the attributes.
    pub changed: Option<Time>,
    /// Creation.
    pub created: Option<Time>,
    /// DOS file attributes (read-only 0x1, hidden 0x2, system 0x4, archive 0x20, ...), of guests that
    /// have them.
    pub dos_attributes: Option<u32>,
    /// Tag of an NTFS reparse point, also of those that are shown as symbolic links.
    pub reparse_tag: Option<u32>,
    /// Whether the node may have extended attributes: lets presenters answer without asking.
    pub xattrs: Xattrs,
}

impl Attr {
    /// Attributes of a node of `kind` of which nothing else is known.
    pub fn new(kind: Kind) -> Attr {
        Attr {
            kind,
            size: 0,
            allocated: None,
            links: None,
            mode: None,
            uid: None,
            gid: None,
            device: None,
            modified: None,
            accessed: None,
            changed: None,
            created: None,
            dos_attributes: None,
            reparse_tag: None,
            xattrs: Xattrs::Maybe,
        }
    }
}

/// Whether a node has extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Xattrs {
    /// Certainly none, and no named streams either.
    None,
    /// Ask with [`crate::Tree::xattrs`].
    Maybe,
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Driver.
    pub major: u32,
    /// Unit of the driver.
    pub minor: u32,
}
