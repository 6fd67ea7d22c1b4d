//! What the jail must deny, each as something that can be tried: the doctor and the tests try them all from
//! inside, and the tests try them outside as well, to know that there they work.
#![allow(unsafe_code)]

use super::descriptors::last_errno;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::CString;
use std::io::{PipeWriter, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::raw::{c_long, c_void};
use std::ptr::null;

/// One forbidden thing.
pub(crate) struct Attempt {
    /// Its name, as a subcommand takes it.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// Whether it also takes privileges, or a kernel with a certain feature, that not every machine gives.
    pub(crate) is_special: bool,
    act: fn(&Prepared) -> Result<(), Errno>,
}

/// What an attempt needs and could not get inside.
pub(crate) struct Prepared {
    /// A file that can be written: even if an image's descriptor could, the jail would not let it.
    file: OwnedFd,
    /// This program.
    program: OwnedFd,
    /// A server and a socket that is not connected to it.
    server: SocketAddr,
    _listener: TcpListener,
    socket: OwnedFd,
    /// The host, and a child that does nothing.
    host: libc::pid_t,
    child: libc::pid_t,
    _child_end: PipeWriter,
}

const fn attempt(name: &'static str, what: &'static str, act: fn(&Prepared) -> Result<(), Errno>) -> Attempt {
    Attempt { name, what, is_special: false, act }
}

const fn special(name: &'static str, what: &'static str, act: fn(&Prepared) -> Result<(), Errno>) -> Attempt {
    Attempt { name, what, is_special: true, act }
}

/// All that is tried.
pub(crate) const ATTEMPTS: &[Attempt] = &[
    attempt("open", "open a path", |_| call(libc::SYS_openat, &[cwd(), path(c"/"), 0])),
    attempt("stat", "look at a path", |_| {
        let mut buffer = [0u8; 256];
        call(libc::SYS_statx, &[cwd(), path(c"/"), 0, 0, address(&mut buffer)])
    }),
    attempt("socket", "make a network socket", |_| {
        call(libc::SYS_socket, &[libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0])
    }),
    attempt("connect", "connect to a server", connect),
    attempt("fork", "make a process", |_| fork()),
    attempt("thread", "make a thread", |_| thread()),
    attempt("exec", "execute a program", exec),
    attempt("ptrace", "trace a process", |it| {
        call(libc::SYS_ptrace, &[i64::from(libc::PTRACE_SEIZE), it.child.into(), 0, 0])
    }),
    attempt("read-process", "read another process's memory", read_process),
    attempt("signal", "signal the host", |it| call(libc::SYS_kill, &[it.host.into(), libc::SIGCONT.into()])),
    attempt("pidfd", "get hold of the host's process", |it| call(libc::SYS_pidfd_open, &[it.host.into(), 0])),
    attempt("map-executable", "map executable memory", |_| {
        map(libc::PROT_READ | libc::PROT_EXEC, libc::MAP_ANONYMOUS, -1).map(drop)
    }),
    attempt("make-executable", "make memory executable", |_| {
        let memory = map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS, -1)?;
        call(libc::SYS_mprotect, &[memory, PAGE, i64::from(libc::PROT_READ | libc::PROT_EXEC)])
    }),
    attempt("map-file", "map a file", |it| map(libc::PROT_READ, 0, it.file.as_raw_fd()).map(drop)),
    attempt("write", "write to a file's descriptor", |it| {
        call(libc::SYS_write, &[fd(&it.file), path(c"x"), 1])
    }),
    attempt("pwrite", "write into an image", |it| {
        call(libc::SYS_pwrite64, &[fd(&it.file), path(c"x"), 1, 0])
    }),
    attempt("truncate", "cut an image", |it| call(libc::SYS_ftruncate, &[fd(&it.file), 0])),
    attempt("ioctl", "control a device", |it| {
        call(libc::SYS_ioctl, &[fd(&it.file), libc::FIOCLEX.cast_signed(), 0])
    }),
    attempt("memfd", "make a file in memory", |_| call(libc::SYS_memfd_create, &[path(c"x"), 0])),
    attempt("setuid", "change the user", |_| {
        // SAFETY: `getuid` always succeeds.
        call(libc::SYS_setuid, &[unsafe { libc::getuid() }.into()])
    }),
    attempt("prctl", "change the process's settings", |_| {
        call(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0])
    }),
    attempt("limits", "ask for other limits", |_| {
        let mut limits = [0u8; 16];
        call(libc::SYS_prlimit64, &[0, 7, 0, address(&mut limits)])
    }),
    attempt("unshare", "make a namespace or the like", |_| call(libc::SYS_unshare, &[libc::CLONE_FS.into()])),
    // Each of these is one of a class: of files by path, of descriptors, of sockets, of memory that processes share,
    // of processes, of namespaces, of the machine. That the others of its class are no different is shown by trying
    // every number there is: see `every_call`.
    attempt("list", "list a directory", |_| {
        let mut buffer = [0u8; 512];
        raw(libc::SYS_getcwd, &[address(&mut buffer), 512]).map(drop)
    }),
    attempt("chdir", "go to a directory", |_| call(libc::SYS_chdir, &[path(c"/")])),
    attempt("duplicate", "duplicate a descriptor", |it| call(libc::SYS_dup, &[fd(&it.file)])),
    attempt("duplicate-fcntl", "duplicate a descriptor by fcntl", |it| {
        call(libc::SYS_fcntl, &[fd(&it.file), libc::F_DUPFD.into(), 0])
    }),
    attempt("owner-fcntl", "have signals sent by fcntl", |it| {
        call(libc::SYS_fcntl, &[fd(&it.socket), libc::F_SETOWN.into(), 0])
    }),
    attempt("seek", "move a file's position", |it| call(libc::SYS_lseek, &[fd(&it.file), 0, 0])),
    attempt("read", "read from a file's position", |it| {
        let mut buffer = [0u8; 8];
        call(libc::SYS_read, &[fd(&it.file), address(&mut buffer), 8])
    }),
    attempt("pipe", "make a pipe", |_| {
        let mut ends = [0i32; 2];
        call(libc::SYS_pipe2, &[address(&mut ends), 0])
    }),
    attempt("socketpair", "make a pair of sockets", |_| {
        let mut ends = [0i32; 2];
        let family = libc::AF_UNIX.into();
        call(libc::SYS_socketpair, &[family, libc::SOCK_STREAM.into(), 0, address(&mut ends)])
    }),
    attempt("event", "make a counter for events", |_| call(libc::SYS_eventfd2, &[0, 0])),
    attempt("epoll", "wait for many descriptors", |_| call(libc::SYS_epoll_create1, &[0])),
    attempt("watch", "watch files", |_| call(libc::SYS_inotify_init1, &[0])),
    attempt("timer", "make a timer", |_| call(libc::SYS_timerfd_create, &[0, 0])),
    attempt("affinity", "choose processors", |_| {
        let mut processors = [0u64; 16];
        raw(libc::SYS_sched_getaffinity, &[0, 128, address(&mut processors)]).map(drop)
    }),
    attempt("priority", "change the priority", |_| call(libc::SYS_setpriority, &[0, 0, 19])),
    attempt("personality", "change the kind of process", |_| {
        raw(libc::SYS_personality, &[c_long::from(u32::MAX)]).map(drop)
    }),
    attempt("session", "leave the session", |_| raw(libc::SYS_getsid, &[0]).map(drop)),
    attempt("shared-memory", "share memory by a key", |_| {
        let memory = raw(libc::SYS_shmget, &[0, PAGE, 0o600])?;
        call(libc::SYS_shmctl, &[memory, 0, 0])
    }),
    attempt("messages", "queue messages by a key", |_| {
        let queue = raw(libc::SYS_msgget, &[0, 0o600])?;
        call(libc::SYS_msgctl, &[queue, 0, 0])
    }),
    attempt("hostname", "ask for the machine's name", |_| {
        let mut buffer = [0u8; 512];
        call(libc::SYS_uname, &[address(&mut buffer)])
    }),
    attempt("filter", "set a further filter", |_| {
        let mut action = [0x7fff_0000u32];
        call(libc::SYS_seccomp, &[2, 0, address(&mut action)])
    }),
    special("enter-namespace", "enter another namespace", |it| {
        let namespace = raw(libc::SYS_pidfd_open, &[it.child.into(), 0])?;
        call(libc::SYS_setns, &[namespace, libc::CLONE_NEWUTS.into()])
    }),
    special("user-namespace", "make a user namespace", |_| unshare(libc::CLONE_NEWUSER)),
    special("mount-namespace", "make a mount namespace", |_| unshare(libc::CLONE_NEWNS)),
    special("process-namespace", "make a process namespace", |_| unshare(libc::CLONE_NEWPID)),
    special("network-namespace", "make a network namespace", |_| unshare(libc::CLONE_NEWNET)),
    special("ipc-namespace", "make an IPC namespace", |_| unshare(libc::CLONE_NEWIPC)),
    special("hostname-namespace", "make a hostname namespace", |_| unshare(libc::CLONE_NEWUTS)),
    special("cgroup-namespace", "make a cgroup namespace", |_| unshare(libc::CLONE_NEWCGROUP)),
    special("time-namespace", "make a time namespace", |_| unshare(libc::CLONE_NEWTIME)),
    special("root", "change the root of paths", |_| call(libc::SYS_chroot, &[path(c"/")])),
    special("steal-descriptor", "take a descriptor of the host", |it| {
        let host = raw(libc::SYS_pidfd_open, &[it.host.into(), 0])?;
        call(libc::SYS_pidfd_getfd, &[host, 0, 0])
    }),
    special("clock", "set the clock", |_| {
        let mut now = [0i64; 2];
        call(libc::SYS_clock_gettime, &[0, address(&mut now)])?;
        call(libc::SYS_clock_settime, &[0, address(&mut now)])
    }),
    special("performance", "measure the machine", |_| {
        let mut attributes = [0u32; 32];
        attributes[..2].copy_from_slice(&[1, 128]);
        call(libc::SYS_perf_event_open, &[address(&mut attributes), 0, -1, -1, 0])
    }),
    special("handle", "open a file without a path", |_| call(libc::SYS_open_by_handle_at, &[cwd(), 0, 0])),
    special("compatible-call", "make a system call of 32-bit programs", |_| compatible_call()),
    special("mount", "mount a filesystem", |_| {
        call(libc::SYS_mount, &[path(c"none"), path(c"/"), path(c"tmpfs"), 0, 0])
    }),
    special("bpf", "load a program into the kernel", |_| {
        // A map of one entry: type array, key 4, value 4, entries 1.
        let mut attributes = [0u32; 18];
        attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
        call(libc::SYS_bpf, &[0, address(&mut attributes), 72])
    }),
    special("io-uring", "queue calls past the filter", |_| {
        let mut parameters = [0u8; 120];
        call(libc::SYS_io_uring_setup, &[1, address(&mut parameters)])
    }),
    special("keyctl", "use the kernel's keys", |_| call(libc::SYS_keyctl, &[0, -2, 1])),
    special("userfaultfd", "handle page faults", |_| call(libc::SYS_userfaultfd, &[1])),
];

/// Bytes of a page on the machines that there are, or of several.
const PAGE: c_long = 65536;

impl Prepared {
    /// Gets everything ready. The process has one thread and is not in its jail yet.
    pub(crate) fn new() -> Result<Prepared, std::io::Error> {
        let file = memfd_create("attempt", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, 1 << 16)?;
        let program = open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let family = rustix::net::AddressFamily::INET;
        let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None)?;
        // What is mounted by an attempt outside the jail must not be seen by anyone else.
        // SAFETY: the flag does not change the table of descriptors, and there is one thread.
        if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_ok() {
            let private = rustix::mount::MountPropagationFlags::PRIVATE;
            rustix::mount::mount_change("/", private | rustix::mount::MountPropagationFlags::REC)?;
        }
        // SAFETY: `getppid` always succeeds.
        let host = unsafe { libc::getppid() };
        let (child, child_end) = idle_child()?;
        Ok(Prepared {
            file,
            program,
            server: listener.local_addr()?,
            _listener: listener,
            socket,
            host,
            child,
            _child_end: child_end,
        })
    }
}

/// Tries one forbidden thing.
pub(crate) fn act(attempt: &Attempt, prepared: &Prepared) -> Result<(), Errno> {
    (attempt.act)(prepared)
}

/// A process that does nothing, until this one and its children are gone: then nobody holds the pipe's other
/// end, which is returned as well. (A parent-death signal would not do: it is sent with the rights that the
/// parent has at its death.)
fn idle_child() -> Result<(libc::pid_t, PipeWriter), std::io::Error> {
    let (mut end, ours) = std::io::pipe()?;
    match super::supervisor::fork()? {
        Some(child) => Ok((child.as_raw_nonzero().get(), ours)),
        None => {
            let kept = end.as_raw_fd().cast_unsigned();
            let _ = super::descriptors::close_all_but(kept, kept);
            let _ = end.read(&mut [0]);
            super::exit(0);
        }
    }
}

/// A system call as it is, past all that the library does around it.
fn call(number: c_long, arguments: &[c_long]) -> Result<(), Errno> {
    raw(number, arguments).map(drop)
}

fn raw(number: c_long, arguments: &[c_long]) -> Result<c_long, Errno> {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let (a, b, c) = (argument(0), argument(1), argument(2));
    let (d, e, f) = (argument(3), argument(4), argument(5));
    // SAFETY: the callers in this file pass live buffers of the size that the call expects, or calls that
    // touch no memory of ours. The process exists only to make this call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

fn unshare(namespace: i32) -> Result<(), Errno> {
    call(libc::SYS_unshare, &[namespace.into()])
}

/// `getpid` as a 32-bit program asks for it, whose numbers mean other calls.
#[cfg(target_arch = "x86_64")]
fn compatible_call() -> Result<(), Errno> {
    let mut result: i64 = 20;
    // SAFETY: the call takes no arguments and touches no memory; where the kernel has no such calls, it ends the
    // process, which exists only to make this call.
    unsafe { std::arch::asm!("int 0x80", inout("rax") result) };
    if result > 0 { Ok(()) } else { Err(Errno::NOSYS) }
}

/// There is none that this program could make.
#[cfg(not(target_arch = "x86_64"))]
fn compatible_call() -> Result<(), Errno> {
    call(libc::SYS_getpid, &[])
}

/// Numbers that are tried: all that there are, with room for those of kernels to come; and those of the x32 calling
/// convention, which differ by a bit.
const NUMBERS: c_long = 520;
const X32: c_long = 0x4000_0000;

/// In a process that has entered its jail and not locked it: tries every system call that a worker may not make, each
/// in a locked child, and returns how many these were and which did not kill.
pub(crate) fn every_call() -> Result<(u32, Vec<u32>), Errno> {
    let (mut tried, mut survived) = (0, Vec::new());
    let numbers = (0..NUMBERS).chain((0..NUMBERS).map(|number| number | X32));
    for number in numbers.filter(|number| !super::seccomp::WORKER.iter().any(|rule| rule.call == *number)) {
        let child = match super::supervisor::fork()? {
            None => {
                if super::seccomp::lock(super::seccomp::WORKER).is_ok() {
                    let _ = call(number, &[]);
                }
                super::exit(0);
            }
            Some(child) => child,
        };
        tried += 1;
        let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())?;
        let signal = status.and_then(|(_, status)| status.terminating_signal());
        if signal != Some(libc::SIGSYS) {
            survived.push(u32::try_from(number).unwrap_or(u32::MAX));
        }
    }
    Ok((tried, survived))
}

fn cwd() -> c_long {
    libc::AT_FDCWD.into()
}

fn fd(descriptor: &OwnedFd) -> c_long {
    descriptor.as_raw_fd().into()
}

fn path(text: &'static std::ffi::CStr) -> c_long {
    text.as_ptr().expose_provenance().cast_signed() as c_long
}

fn address<T>(buffer: &mut [T]) -> c_long {
    buffer.as_mut_ptr().expose_provenance().cast_signed() as c_long
}

fn map(protection: i32, flags: i32, descriptor: i32) -> Result<c_long, Errno> {
    let flags = flags | libc::MAP_PRIVATE;
    raw(libc::SYS_mmap, &[0, PAGE, protection.into(), flags.into(), descriptor.into(), 0])
}

fn connect(prepared: &Prepared) -> Result<(), Errno> {
    rustix::net::connect(&prepared.socket, &prepared.server)
}

fn fork() -> Result<(), Errno> {
    match super::supervisor::fork()? {
        Some(_) => Ok(()),
        None => super::exit(0),
    }
}

fn thread() -> Result<(), Errno> {
    let thread = std::thread::Builder::new().spawn(|| {});
    thread.map(drop).map_err(|cause| Errno::from_io_error(&cause).unwrap_or(Errno::AGAIN))
}

/// Executes this program, to end with [`EXECUTED`]: a success cannot tell otherwise.
fn exec(prepared: &Prepared) -> Result<(), Errno> {
    let arguments = [c"spelunk", c"__jail-attempt", c"executed"].map(CString::from);
    let pointers = [arguments[0].as_ptr(), arguments[1].as_ptr(), arguments[2].as_ptr(), null()];
    let environment: [*const libc::c_char; 1] = [null()];
    // SAFETY: both lists end with a null pointer and live until the call has failed.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            prepared.program.as_raw_fd(),
            c"".as_ptr(),
            pointers.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(last_errno())
}

/// The exit code of a program that should never have run.
pub(crate) const EXECUTED: u8 = 42;

fn read_process(prepared: &Prepared) -> Result<(), Errno> {
    // The child is a copy of this process, so what is here is there.
    static SECRET: [u8; 8] = *b"spelunk!";
    let mut buffer = [0u8; 8];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: SECRET.as_ptr().cast_mut().cast::<c_void>(), iov_len: SECRET.len() };
    // SAFETY: the local vector names `buffer`, which is as long as it says.
    let read = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            prepared.child,
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    if read == -1 { Err(last_errno()) } else { Ok(()) }
}
