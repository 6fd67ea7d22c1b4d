//! What the kernel tells of a process.

use std::fs;
use std::time::Duration;

/// A field of `/proc/PID/status` that is a number of KiB, in bytes.
fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The most memory that a process has had so far, and what of the present is pages of files: its program, above
/// all, which a build for tests has ten times as large as users have it.
pub fn memory(pid: u32) -> Option<u64> {
    Some(status_bytes(pid, "VmHWM")?.saturating_sub(status_bytes(pid, "RssFile")?))
}

/// The memory that this process has by itself at present: heap and stacks.
pub fn own_anonymous() -> u64 {
    status_bytes(std::process::id(), "RssAnon").expect("the kernel tells")
}

/// The most memory that this process has had so far.
pub fn own_memory() -> u64 {
    memory(std::process::id()).expect("the kernel tells")
}

/// Processor time that a process has used so far, all threads.
pub fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Open descriptors of this process.
pub fn own_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("a list of descriptors").count()
}
