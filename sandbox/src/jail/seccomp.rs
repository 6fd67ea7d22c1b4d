//! Seccomp: the system calls that are left. The policy is data, a reason a line.
//!
//! The calls have the same names and arguments on x86_64 and aarch64, the machines for which this policy
//! was made; their numbers come from `libc`. Calls of another calling convention (32-bit, x32) are none of
//! these and kill as well.

use super::denied;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use spelunk_tree::Result;
use std::collections::BTreeMap;

/// One allowed call.
pub(super) struct Rule {
    /// Its number.
    pub(super) call: libc::c_long,
    /// Its name.
    pub(super) name: &'static str,
    /// What its arguments must be; all of these.
    when: &'static [Argument],
    /// What it is needed for.
    pub(super) why: &'static str,
}

/// `argument & mask == value`.
struct Argument {
    index: u8,
    mask: u64,
    value: u64,
}

/// A bit of an argument that must not be set.
const fn without(index: u8, bit: i32) -> Argument {
    Argument { index, mask: bit.cast_unsigned() as u64, value: 0 }
}

/// A bit of an argument that must be set.
const fn with(index: u8, bit: i32) -> Argument {
    Argument { index, mask: bit.cast_unsigned() as u64, value: bit.cast_unsigned() as u64 }
}

/// A rule for the call of this name.
macro_rules! allow {
    ($name:ident, $when:expr, $why:literal $(,)?) => {
        Rule { call: libc::$name, name: stringify!($name).split_at(4).1, when: $when, why: $why }
    };
}

/// What the worker may do.
pub(super) const WORKER: &[Rule] = &[
    // Its work.
    allow!(SYS_recvmsg, &[], "requests, and the descriptors of images with them"),
    allow!(SYS_sendmsg, &[], "replies; what a socket is not cannot be written by it"),
    allow!(SYS_pread64, &[], "image files"),
    allow!(SYS_close, &[], "image files that turned out not to be the parent"),
    allow!(
        SYS_fcntl,
        &[Argument { index: 1, mask: u32::MAX as u64, value: libc::F_GETFD as u64 }],
        "what the standard library asks before it closes, in builds with assertions",
    ),
    // Memory: private, never executable, never a file.
    allow!(SYS_mmap, &[without(2, libc::PROT_EXEC), with(3, libc::MAP_ANONYMOUS)], "large allocations"),
    allow!(SYS_munmap, &[], "large allocations, freed"),
    allow!(SYS_mremap, &[], "large allocations, grown; what was not executable does not become so"),
    allow!(SYS_mprotect, &[without(2, libc::PROT_EXEC)], "the allocator's heaps, grown"),
    allow!(SYS_madvise, &[], "the allocator's heaps, freed"),
    allow!(SYS_brk, &[], "small allocations"),
    // Threads that are there already.
    allow!(SYS_futex, &[], "locks"),
    allow!(SYS_sched_yield, &[], "locks that spin"),
    // What the standard library asks.
    allow!(SYS_getrandom, &[], "seeds of hash maps"),
    allow!(SYS_clock_gettime, &[], "time, where the machine has no faster way"),
    allow!(SYS_restart_syscall, &[], "calls that a stop signal interrupted"),
    allow!(SYS_exit_group, &[], "the end"),
];

/// What the supervisor may do.
pub(super) const SUPERVISOR: &[Rule] = &[
    allow!(SYS_ppoll, &[], "waiting for either death"),
    allow!(SYS_restart_syscall, &[], "waiting on after a stop signal"),
    allow!(SYS_pidfd_send_signal, &[], "killing the worker"),
    allow!(SYS_waitid, &[], "reaping it"),
    allow!(SYS_exit_group, &[], "the end"),
];

/// Allows `rules` to all threads of the process; any other call kills it. Returns how many there are.
pub(super) fn lock(rules: &[Rule]) -> Result<usize> {
    let program = compile(rules)?;
    seccompiler::apply_filter_all_threads(&program).map_err(|cause| denied(DOING, cause))?;
    Ok(rules.len())
}

const DOING: &str = "locking the worker's system calls (seccomp), without which no image is opened";

fn compile(rules: &[Rule]) -> Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|cause| denied(DOING, cause))?;
    let mut chains = BTreeMap::new();
    for rule in rules {
        chains.insert(rule.call, conditions(rule.when)?);
    }
    let filter = SeccompFilter::new(chains, SeccompAction::KillProcess, SeccompAction::Allow, arch)
        .map_err(|cause| denied(DOING, cause))?;
    filter.try_into().map_err(|cause: seccompiler::BackendError| denied(DOING, cause))
}

fn conditions(arguments: &[Argument]) -> Result<Vec<SeccompRule>> {
    if arguments.is_empty() {
        return Ok(Vec::new());
    }
    let conditions = arguments
        .iter()
        .map(|argument| {
            let matches = SeccompCmpOp::MaskedEq(argument.mask);
            SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, matches, argument.value)
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .and_then(SeccompRule::new)
        .map_err(|cause| denied(DOING, cause))?;
    Ok(vec![conditions])
}
