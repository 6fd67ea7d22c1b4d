//! The kernel's requests, and which thread answers them.

use super::presenter::Presenter;
use super::relief::Relief;
use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the largest request, and so of each thread's buffer: what Linux allows unless told otherwise.
const REQUEST_BYTES_MAX: u32 = 1024 * 1024;
/// Requests in the background (readahead) before the kernel waits: enough to keep all threads busy.
const BACKGROUND_REQUESTS: u16 = 64;

/// A presenter as FUSE's filesystem, served by a number of threads that all hear the kernel.
pub(super) struct Requests {
    presenter: Arc<Presenter>,
    /// Threads that hear the kernel.
    threads: usize,
    /// Those of them that are at work.
    busy: AtomicUsize,
    relief: Arc<Relief>,
    /// What this kernel can open without asking.
    opens_unasked: InitFlags,
}

impl Requests {
    /// Requests that `threads` threads will hear.
    pub(super) fn new(presenter: Presenter, threads: usize) -> Requests {
        Requests {
            presenter: Arc::new(presenter),
            threads,
            busy: AtomicUsize::new(0),
            relief: Arc::default(),
            opens_unasked: InitFlags::empty(),
        }
    }

    /// Answers a request, which may wait for a disk: in this thread, unless all others are at work.
    fn answer(&self, answer: impl FnOnce(&Presenter) + Send + 'static) {
        let working = Working::new(&self.busy);
        if working.before + 1 < self.threads {
            return answer(&self.presenter);
        }
        drop(working);
        let presenter = self.presenter.clone();
        self.relief.take(move || answer(&presenter));
    }
}

/// A thread that is at work, however that ends.
struct Working<'a> {
    busy: &'a AtomicUsize,
    /// Others that were, when it began.
    before: usize,
}

impl Working<'_> {
    fn new(busy: &AtomicUsize) -> Working<'_> {
        Working { busy, before: busy.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests that would change something, all answered alike: the mount is read-only, but root can remount.
macro_rules! read_only {
    ($($method:ident($($argument:ty),*) -> $reply:ty;)*) => {
        $(fn $method(&self, _: &Request, _: INodeNo, $(_: $argument,)* reply: $reply) {
            reply.error(Errno::EROFS);
        })*
    };
}

impl Filesystem for Requests {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wishes = self.presenter.wishes();
        // What this kernel lacks is done without.
        let _ = config.add_capabilities(wishes & config.capabilities());
        let _ = config.set_max_write(REQUEST_BYTES_MAX);
        let _ = config.set_max_background(BACKGROUND_REQUESTS);
        self.opens_unasked = config.capabilities() & wishes;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.answer(move |presenter| presenter.lookup(parent, &name, reply));
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.presenter.forget(ino, lookups);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(move |presenter| presenter.getattr(ino, reply));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(move |presenter| presenter.readlink(ino, reply));
    }

    /// Kernels that can do without are told never to ask again, and then keep the file's pages.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.opens_unasked.contains(InitFlags::FUSE_NO_OPEN_SUPPORT) {
            return reply.error(Errno::ENOSYS);
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    /// As `open`.
    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.opens_unasked.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT) {
            return reply.error(Errno::ENOSYS);
        }
        reply.opened(FileHandle(0), self.presenter.kept(ino));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer(move |presenter| presenter.read(ino, offset, size, reply));
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        self.answer(move |presenter| presenter.lseek(ino, offset, whence, reply));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.answer(move |presenter| presenter.readdir(ino, offset, reply));
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.answer(move |presenter| presenter.readdirplus(ino, offset, reply));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.presenter.statfs(reply);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.to_owned();
        self.answer(move |presenter| presenter.getxattr(ino, &name, size, reply));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.answer(move |presenter| presenter.listxattr(ino, size, reply));
    }

    read_only! {
        mkdir(&OsStr, u32, u32) -> ReplyEntry;
        mknod(&OsStr, u32, u32, u32) -> ReplyEntry;
        symlink(&OsStr, &std::path::Path) -> ReplyEntry;
        link(INodeNo, &OsStr) -> ReplyEntry;
        create(&OsStr, u32, u32, i32) -> fuser::ReplyCreate;
        unlink(&OsStr) -> ReplyEmpty;
        rmdir(&OsStr) -> ReplyEmpty;
        rename(&OsStr, INodeNo, &OsStr, fuser::RenameFlags) -> ReplyEmpty;
        setxattr(&OsStr, &[u8], i32, u32) -> ReplyEmpty;
        removexattr(&OsStr) -> ReplyEmpty;
        fallocate(FileHandle, u64, u64, i32) -> ReplyEmpty;
        write(
            FileHandle, u64, &[u8], fuser::WriteFlags, OpenFlags, Option<LockOwner>
        ) -> fuser::ReplyWrite;
        copy_file_range(
            FileHandle, u64, INodeNo, FileHandle, u64, u64, fuser::CopyFileRangeFlags
        ) -> fuser::ReplyWrite;
        setattr(
            Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<fuser::TimeOrNow>,
            Option<fuser::TimeOrNow>, Option<std::time::SystemTime>, Option<FileHandle>,
            Option<std::time::SystemTime>, Option<std::time::SystemTime>, Option<std::time::SystemTime>,
            Option<fuser::BsdFileFlags>
        ) -> ReplyAttr;
    }
}
