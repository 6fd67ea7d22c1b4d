//! The translation: each of the kernel's requests becomes a call of the tree, each answer a reply.
//!
//! A guest's tree never changes, so the kernel is told to keep what it has been told, names that are not there
//! included, and to open files and directories without asking: nothing here has handles. Only a library's own
//! directories may change, and are asked for again after a moment.

use super::attributes::View;
use super::errno::errno;
use super::inode::Inode;
use super::linger::Linger;
use super::listing::{Line, Listings, Taken};
use super::options::{Access, Options, Streams};
use super::seek;
use super::streams::StreamTable;
use super::xattrs::{self, XattrCache};
use fuser::{
    Errno, FileAttr, FileType, FopenFlags, Generation, INodeNo, InitFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyLseek, ReplyStatfs, ReplyXattr,
};
use spelunk_tree::{Attr, Entry, Error, ErrorKind, Listed, Name, NodeId, Result, Tree, limits};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel may keep what it was told: longer than any mount lasts.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Of what is in a directory that may change.
const MOMENT: Duration = Duration::from_secs(1);
/// Of what must be asked for each time.
const NEVER: Duration = Duration::ZERO;
/// A read of no more than this from a file's beginning is, most likely, of a small file among many, whose reader
/// wants the next at once.
const SMALL_READ_BYTES: usize = 64 * 1024;
/// Bytes of the longest link target that Linux takes: PATH_MAX without its NUL.
const LINK_TARGET_BYTES_MAX: usize = 4095;
/// An extended attribute of the root by which `spelunk umount` learns whom to wait for. It is not listed.
pub(super) const PROCESS_XATTR: &str = "user.spelunk.process";
/// The one that holds a node's POSIX ACL.
const ACL_XATTR: &[u8] = b"system.posix_acl_access";
/// What a directory without a known parent shows as `..`, as libfuse does.
const UNKNOWN_INO: INodeNo = INodeNo(0xFFFF_FFFF);

thread_local! {
    /// The bytes of a read: made once for each of the session's threads.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A tree as FUSE's filesystem.
pub(super) struct Presenter {
    tree: Arc<dyn Tree>,
    root: NodeId,
    view: View,
    listings: Listings,
    xattrs: XattrCache,
    streams: Option<StreamTable>,
    /// How long the root's attributes hold: where others than the mounter must be turned away, each of
    /// their paths has to be asked for at its beginning.
    root_ttl: Duration,
    linger: Linger,
    has_acls: bool,
}

impl Presenter {
    pub(super) fn new(tree: Arc<dyn Tree>, options: &Options, linger: Linger) -> Presenter {
        let root = tree.root();
        let can_have_acls = xattrs::can_be(tree.info(), ACL_XATTR);
        let has_acls = can_have_acls && (options.access != Access::Mounter || options.default_permissions);
        Presenter {
            root,
            view: View::new(tree.info(), root, options),
            tree,
            listings: Listings::default(),
            xattrs: XattrCache::new(options.streams != Streams::Xattr),
            streams: (options.streams == Streams::Colon).then(StreamTable::default),
            root_ttl: if options.access == Access::Root { NEVER } else { FOREVER },
            linger,
            has_acls,
        }
    }

    /// What it would like of the kernel.
    pub(super) fn wishes(&self) -> InitFlags {
        let mut wishes = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA
            | InitFlags::FUSE_NO_OPEN_SUPPORT;
        // What may change must be opened anew.
        wishes.set(InitFlags::FUSE_NO_OPENDIR_SUPPORT, !self.tree.is_live(self.root));
        wishes.set(InitFlags::FUSE_POSIX_ACL, self.has_acls);
        wishes
    }

    /// What the kernel may keep of the directory `ino` that it opens.
    pub(super) fn kept(&self, ino: INodeNo) -> FopenFlags {
        let kept = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
        if self.ttl(ino) == FOREVER { kept } else { FopenFlags::empty() }
    }

    /// The kernel forgets so many of its lookups of `ino`.
    pub(super) fn forget(&self, ino: INodeNo, lookups: u64) {
        if let (Ok(Inode::Stream(number)), Some(streams)) = (self.inode(ino), &self.streams) {
            streams.forget(number, lookups);
        }
        self.view.forget(ino, lookups);
    }

    fn inode(&self, ino: INodeNo) -> Result<Inode> {
        self.view.inode(ino)
    }

    /// The node of an inode that is not a stream.
    fn node(&self, ino: INodeNo) -> Result<NodeId> {
        match self.inode(ino)? {
            Inode::Node(node) => Ok(node),
            Inode::Stream(_) => Err(Error::new(ErrorKind::NotADirectory, "a stream")),
            Inode::Broken | Inode::OfLibrary(_) => Err(Error::corrupt("a broken entry")),
        }
    }

    /// How long what is in the directory `ino` holds.
    fn ttl(&self, ino: INodeNo) -> Duration {
        let is_live = self.node(ino).is_ok_and(|dir| self.tree.is_live(dir));
        if is_live { MOMENT } else { FOREVER }
    }

    fn show(&self, node: NodeId, attr: &Attr) -> Result<FileAttr> {
        let shown = self.view.show(Inode::Node(node), attr)?;
        self.xattrs.note(shown.ino.0, attr.xattrs);
        Ok(shown)
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        let dir = self.node(parent)?;
        let name = Name::new(name.as_bytes())?;
        match (self.tree.lookup(dir, &name), &self.streams) {
            (Ok(Entry { node, attr, .. }), _) => self.show(node, &attr),
            (Err(error), Some(streams)) if error.kind() == ErrorKind::NotFound => {
                let (number, stream) = streams.lookup(self.tree.as_ref(), dir, &name)?;
                self.view.show(Inode::Stream(number), &stream.attr)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn attr_of(&self, ino: INodeNo) -> Result<FileAttr> {
        match self.inode(ino)? {
            Inode::Node(node) => {
                let shown = self.show(node, &self.tree.attr(node)?)?;
                Ok(FileAttr { ino: self.shown_number(ino), ..shown })
            }
            Inode::Stream(number) => {
                let stream = self.stream_table()?.get(number)?;
                self.view.show(Inode::Stream(number), &stream.attr)
            }
            Inode::Broken | Inode::OfLibrary(_) => Err(Error::corrupt("a broken entry")),
        }
    }

    fn stream_table(&self) -> Result<&StreamTable> {
        self.streams.as_ref().ok_or_else(|| Error::not_found("no such stream"))
    }

    fn read_into(&self, ino: INodeNo, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let read = match self.inode(ino)? {
            Inode::Node(node) => self.tree.read(node, None, offset, buffer)?,
            Inode::Stream(number) => {
                let stream = self.stream_table()?.get(number)?;
                self.tree.read(stream.node, Some(&stream.name), offset, buffer)?
            }
            Inode::Broken | Inode::OfLibrary(_) => return Err(Error::corrupt("a broken entry")),
        };
        Ok(read.min(buffer.len()))
    }

    fn seek(&self, ino: INodeNo, offset: u64, wanted: seek::Wanted) -> Result<Option<u64>> {
        match self.inode(ino)? {
            Inode::Node(node) => {
                let size = self.tree.attr(node)?.size;
                seek::seek(self.tree.as_ref(), (node, None), size, offset, wanted)
            }
            Inode::Stream(number) => {
                let stream = self.stream_table()?.get(number)?;
                let file = (stream.node, Some(&stream.name));
                seek::seek(self.tree.as_ref(), file, stream.attr.size, offset, wanted)
            }
            Inode::Broken | Inode::OfLibrary(_) => Err(Error::corrupt("a broken entry")),
        }
    }

    fn link_target(&self, ino: INodeNo) -> Result<Vec<u8>> {
        let target = self.tree.link_target(self.node(ino)?)?;
        if target.contains(&0) {
            return Err(Error::corrupt("a link target that holds NUL"));
        }
        Ok(target)
    }

    /// The value of one extended attribute, where the node has it.
    fn xattr(&self, ino: INodeNo, name: &[u8]) -> Result<Option<Vec<u8>>> {
        if ino == INodeNo::ROOT && name == PROCESS_XATTR.as_bytes() {
            return Ok(Some(std::process::id().to_string().into_bytes()));
        }
        let Inode::Node(node) = self.inode(ino)? else { return Ok(None) };
        if !xattrs::can_be(self.tree.info(), name) {
            return Err(Error::unsupported("no file of this guest can have such an attribute"));
        }
        let xattrs = self.xattrs.of(self.tree.as_ref(), ino.0, node)?;
        Ok(xattrs.iter().find(|xattr| xattr.name() == name).map(|xattr| xattr.value().to_vec()))
    }

    fn xattr_names(&self, ino: INodeNo) -> Result<Vec<u8>> {
        let Inode::Node(node) = self.inode(ino)? else { return Ok(Vec::new()) };
        Ok(xattrs::list(&self.xattrs.of(self.tree.as_ref(), ino.0, node)?))
    }

    /// One line of a listing: its name, attributes and how long they hold.
    fn line<'a>(
        &self,
        ino: INodeNo,
        ttl: Duration,
        line: &Line<'a>,
    ) -> Option<(&'a OsStr, FileAttr, Duration)> {
        match line {
            Line::Own => {
                let own = self.view.bare(self.shown_number(ino), FileType::Directory);
                Some((OsStr::new("."), own, NEVER))
            }
            Line::Parent => Some((OsStr::new(".."), self.view.bare(UNKNOWN_INO, FileType::Directory), NEVER)),
            Line::Listed(Listed::Entry { entry, .. }) => {
                let name = OsStr::from_bytes(entry.name.as_bytes());
                match self.show(entry.node, &entry.attr) {
                    Ok(attr) => Some((name, attr, ttl)),
                    Err(error) => Some(self.broken_line(name, &error)),
                }
            }
            Line::Listed(Listed::Broken { name: Some(name), error, .. }) => {
                Some(self.broken_line(OsStr::from_bytes(name.as_bytes()), error))
            }
            Line::Listed(Listed::Broken { name: None, error, .. }) => {
                tracing::debug!(ino = ino.0, ?error, "an entry without a name is left out");
                None
            }
        }
    }

    /// A broken entry is listed; whoever asks for more than its name gets the error.
    fn broken_line<'a>(&self, name: &'a OsStr, error: &Error) -> (&'a OsStr, FileAttr, Duration) {
        tracing::debug!(?name, ?error, "a broken entry is listed");
        (name, self.view.bare(self.view.number(Inode::Broken), FileType::RegularFile), NEVER)
    }

    /// The number under which a directory shows itself.
    fn shown_number(&self, ino: INodeNo) -> INodeNo {
        // Users see the root's own number, too, unless it cannot be one.
        match self.root.get() {
            0 => ino,
            own if ino == INodeNo::ROOT => INodeNo(own),
            _ => ino,
        }
    }

    /// Lists a directory from `offset` on; `add` puts a line into the reply unless it is full.
    fn list(
        &self,
        ino: INodeNo,
        offset: u64,
        mut add: impl FnMut(&OsStr, &FileAttr, u64, Duration) -> bool,
    ) -> Result<()> {
        let (dir, ttl) = (self.node(ino)?, self.ttl(ino));
        self.listings.serve(self.tree.as_ref(), dir, offset, |line, after| match self.line(ino, ttl, &line) {
            None => Taken::Skipped,
            Some((name, attr, ttl)) if add(name, &attr, after, ttl) => Taken::Full,
            Some(_) => Taken::Yes,
        })
    }
}

/// The answers to the kernel's requests.
impl Presenter {
    pub(super) fn lookup(&self, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ttl = self.ttl(parent);
        match self.find(parent, name) {
            Ok(attr) => {
                self.view.look_up(attr.ino);
                reply.entry(&ttl, &attr, Generation(0));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // An entry without a number is one that is not there.
                let nothing = self.view.bare(INodeNo(0), FileType::RegularFile);
                reply.entry(&ttl, &nothing, Generation(0));
            }
            Err(error) => reply.error(errno("lookup", parent.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn getattr(&self, ino: INodeNo, reply: ReplyAttr) {
        let ttl = if ino == INodeNo::ROOT { self.root_ttl.min(self.ttl(ino)) } else { self.ttl(ino) };
        match self.attr_of(ino) {
            Ok(attr) => reply.attr(&ttl, &attr),
            Err(error) => reply.error(errno("getattr", ino.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn readlink(&self, ino: INodeNo, reply: ReplyData) {
        match self.link_target(ino) {
            Ok(target) if target.len() > LINK_TARGET_BYTES_MAX => reply.error(Errno::ENAMETOOLONG),
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno("readlink", ino.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn read(&self, ino: INodeNo, offset: u64, size: u32, reply: ReplyData) {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.read_into(ino, offset, &mut buffer[..size]) {
                Ok(read) => reply.data(&buffer[..read]),
                Err(error) => reply.error(errno("read", ino.0, &error)),
            }
            if offset == 0 && size <= SMALL_READ_BYTES {
                self.linger.wait();
            }
        });
    }

    pub(super) fn lseek(&self, ino: INodeNo, offset: i64, whence: i32, reply: ReplyLseek) {
        let (Ok(offset), Some(wanted)) = (u64::try_from(offset), seek::Wanted::of_whence(whence)) else {
            return reply.error(Errno::EINVAL);
        };
        match self.seek(ino, offset, wanted) {
            Ok(found) => match found.and_then(|found| i64::try_from(found).ok()) {
                Some(found) => reply.offset(found),
                None => reply.error(Errno::ENXIO),
            },
            Err(error) => reply.error(errno("lseek", ino.0, &error)),
        }
    }

    pub(super) fn readdir(&self, ino: INodeNo, offset: u64, mut reply: ReplyDirectory) {
        match self.list(ino, offset, |name, attr, after, _| reply.add(attr.ino, after, attr.kind, name)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno("readdir", ino.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn readdirplus(&self, ino: INodeNo, offset: u64, mut reply: ReplyDirectoryPlus) {
        let add = |name: &OsStr, attr: &FileAttr, after, ttl| {
            let is_full = reply.add(attr.ino, after, name, &ttl, attr, Generation(0));
            // The kernel looks up what it is told here, but not what it knows.
            if !is_full && !matches!(name.as_bytes(), b"." | b"..") {
                self.view.look_up(attr.ino);
            }
            is_full
        };
        match self.list(ino, offset, add) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno("readdirplus", ino.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn getxattr(&self, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.xattr(ino, name.as_bytes()) {
            Ok(Some(value)) => answer(reply, &value, size),
            Ok(None) => reply.error(Errno::ENODATA),
            Err(error) => reply.error(errno("getxattr", ino.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn listxattr(&self, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.xattr_names(ino) {
            Ok(names) => answer(reply, &names, size),
            Err(error) => reply.error(errno("listxattr", ino.0, &error)),
        }
        self.linger.wait();
    }

    pub(super) fn statfs(&self, reply: ReplyStatfs) {
        let info = self.tree.info();
        let block = info.block_bytes.max(1);
        let blocks = |bytes: u64| bytes / u64::from(block);
        let free = blocks(info.free_bytes.unwrap_or(0));
        let (nodes, free_nodes) = (info.nodes.unwrap_or(0), info.free_nodes.unwrap_or(0));
        let name_bytes = u32::try_from(limits::NAME_BYTES_MAX).unwrap_or(u32::MAX);
        reply.statfs(blocks(info.size_bytes), free, free, nodes, free_nodes, block, name_bytes, block);
    }
}

/// Answers a question about extended attributes: their size first, then what fits.
fn answer(reply: ReplyXattr, value: &[u8], size: u32) {
    match (u32::try_from(value.len()), size) {
        (Ok(needed), 0) => reply.size(needed),
        (Ok(needed), size) if needed <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}
