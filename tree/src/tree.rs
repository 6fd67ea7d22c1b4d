//! Trees of named nodes.

use crate::{Attr, Error, Name, NodeId, Place, Result, Run, Time, limits};

/// A read-only tree of named nodes: a guest filesystem, a file backup, a composition of trees.
///
/// Requests are stateless: node ids and cursors come from the guest and stay good across processes.
/// All methods may be called from several threads at once.
pub trait Tree: Send + Sync {
    /// What the tree is.
    fn info(&self) -> &TreeInfo;

    /// The directory at the top.
    fn root(&self) -> NodeId;

    /// The entry called `name` in the directory `dir`. Where the tree ignores case, an exact match
    /// comes before any other, and the entry has the name as stored.
    ///
    /// # Errors
    /// `NotFound`; `NotADirectory`; `Corrupt` and others when the entry is there but broken.
    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry>;

    /// Up to `max` entries of the directory `dir` from `cursor` on, with their attributes, without
    /// `.` and `..`. A broken entry stands in its place as an error. A page may be shorter than `max`;
    /// the listing ends when [`Page::next`] is `None`.
    ///
    /// # Errors
    /// When the directory itself cannot be read on from there.
    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page>;

    /// The attributes of `node`.
    ///
    /// # Errors
    /// `NotFound` when the id names no node in use.
    fn attr(&self, node: NodeId) -> Result<Attr>;

    /// Reads from the main stream of the file `node`, or from a named one, and returns how many bytes:
    /// fewer than `buffer` holds only at the end of the stream.
    ///
    /// # Errors
    /// `IsADirectory`; `NotFound` for an unknown stream; `Corrupt`, `Unsupported`, ...
    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// Appends to `runs` where the `len` bytes from `offset` on lie in the image files (see
    /// [`crate::ReadAt::runs`]), merged, cut at the end of the stream. A tree may cut a long answer short; it
    /// then goes on where the runs end. A tree that cannot tell answers one [`Place::Opaque`] run.
    ///
    /// # Errors
    /// As [`Tree::read`].
    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let _ = (node, stream, offset);
        runs.push(Run { len, place: Place::Opaque });
        Ok(())
    }

    /// The target of the symbolic link `node`, as the guest wrote it: not a [`Name`], not resolved, not
    /// safe.
    ///
    /// # Errors
    /// `NotALink`.
    fn link_target(&self, node: NodeId) -> Result<Vec<u8>>;

    /// All extended attributes of `node`, under the names that Linux gives them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>>;

    /// The named streams of `node`, without the main one.
    ///
    /// # Errors
    /// When they cannot be read.
    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>>;

    /// Whether the directory `node` may come to hold other entries while the tree is open: one of a library, to
    /// which backups are added. Never one of a guest.
    fn is_live(&self, node: NodeId) -> bool {
        let _ = node;
        false
    }
}

/// What a tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeInfo {
    /// Filesystem, in lower case: `ext4`, `ntfs`, `vfat`.
    pub filesystem: String,
    /// The volume's label as bytes of the guest; empty when there is none.
    pub label: Vec<u8>,
    /// Serial number or UUID in its usual form; empty when there is none.
    pub uuid: String,
    /// How names are compared.
    pub case: Case,
    /// Unit of allocation (block, cluster).
    pub block_bytes: u32,
    /// Size of the filesystem.
    pub size_bytes: u64,
    /// Bytes not in use, when the guest says.
    pub free_bytes: Option<u64>,
    /// Nodes that can exist, when there is a fixed count.
    pub nodes: Option<u64>,
    /// Nodes not in use, when the guest says.
    pub free_nodes: Option<u64>,
    /// How the full names of its nodes' extended attributes begin, where there is a list that names all; so
    /// nobody need be asked for others. `None` where they may begin in any way.
    pub xattr_prefixes: Option<Vec<String>>,
    /// When the filesystem was last written, when it says.
    pub written: Option<Time>,
    /// What the user should know of its state, a line each: `journal needs recovery`, ...
    pub notes: Vec<String>,
}

impl TreeInfo {
    /// A tree of which nothing else is known.
    pub fn new(filesystem: impl Into<String>) -> TreeInfo {
        TreeInfo {
            filesystem: filesystem.into(),
            label: Vec::new(),
            uuid: String::new(),
            case: Case::Sensitive,
            block_bytes: 4096,
            size_bytes: 0,
            free_bytes: None,
            nodes: None,
            free_nodes: None,
            xattr_prefixes: None,
            written: None,
            notes: Vec::new(),
        }
    }
}

/// How a tree compares names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Byte by byte.
    Sensitive,
    /// Ignoring case; names as stored.
    Insensitive,
    /// Some directories ignore case.
    PerDirectory,
}

/// A place in a listing. Only [`Cursor::START`] and cursors that a listing of the same directory gave
/// mean anything; a forged one gets an error or some entries, never harm. Below 2^63 - 2: what presenters
/// make of it must fit the signed offsets of operating systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Before the first entry.
    pub const START: Cursor = Cursor(0);
}

/// An entry of a directory that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory.
    pub name: Name,
    /// The node it names.
    pub node: NodeId,
    /// The node's attributes.
    pub attr: Attr,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// An entry.
    Entry {
        /// The entry.
        entry: Entry,
        /// Where the listing goes on after it.
        next: Cursor,
    },
    /// Something is here, but broken.
    Broken {
        /// Its name, when that much could be read.
        name: Option<Name>,
        /// What is wrong.
        error: Error,
        /// Where the listing goes on after it.
        next: Cursor,
    },
}

impl Listed {
    /// Bytes of memory that it takes, about: what is kept of a hostile tree is bounded by these.
    pub fn memory_bytes(&self) -> usize {
        // What an error takes besides its texts: allocations are rounded up.
        const ERROR_BYTES: usize = 160;
        size_of::<Listed>()
            + match self {
                Listed::Entry { entry, .. } => entry.name.as_bytes().len(),
                Listed::Broken { name, error, .. } => {
                    let texts: usize = error.chain().map(|error| error.text_bytes() + ERROR_BYTES).sum();
                    name.as_ref().map_or(0, |name| name.as_bytes().len()) + texts
                }
            }
    }
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What is listed.
    pub entries: Vec<Listed>,
    /// Where the next page begins; `None` at the end of the directory.
    pub next: Option<Cursor>,
}

impl Page {
    /// Bytes of memory that its entries take, about.
    pub fn memory_bytes(&self) -> usize {
        self.entries.iter().map(Listed::memory_bytes).sum()
    }
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    name: Box<[u8]>,
    value: Vec<u8>,
}

impl Xattr {
    /// Checks and takes an attribute: the full name (`user.comment`, `system.posix_acl_access`) of 1 to
    /// [`limits::XATTR_NAME_BYTES_MAX`] bytes without NUL (it may hold `/`), and a value of at most
    /// [`limits::XATTR_VALUE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// `Corrupt` for a name that cannot be, `Limit` for what is too long.
    pub fn new(name: impl Into<Box<[u8]>>, value: Vec<u8>) -> Result<Xattr> {
        let name = name.into();
        if name.is_empty() || name.contains(&0) {
            return Err(Error::corrupt("an extended attribute's name that is empty or holds NUL"));
        }
        if name.len() > limits::XATTR_NAME_BYTES_MAX {
            return Err(Error::limit(format!("an extended attribute's name of {} bytes", name.len())));
        }
        if value.len() > limits::XATTR_VALUE_BYTES_MAX {
            return Err(Error::limit(format!("an extended attribute of {} bytes", value.len())));
        }
        Ok(Xattr { name, value })
    }

    /// Its full name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// A named stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name, without colon and type.
    pub name: Name,
    /// Bytes in it.
    pub size: u64,
}
