//! Which processes run, as /proc tells.

use std::fs;
use std::time::{Duration, Instant};

/// How long a process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The processes of a group that are still there a moment after its leader has gone.
pub fn left_behind(group: u32) -> Vec<u32> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left: Vec<u32> = processes().filter(|&(_, _, each)| each == group).map(|(pid, ..)| pid).collect();
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All processes below `ancestor`, children's children included.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let all: Vec<(u32, u32, u32)> = processes().collect();
    let mut family = vec![ancestor];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        family.extend(all.iter().filter(|&&(_, each, _)| each == parent).map(|&(pid, ..)| pid));
        at += 1;
    }
    family.split_off(1)
}

/// Whether a process is there and no zombie, a moment after it should have gone.
pub fn is_running(pid: u32) -> bool {
    let is_there = || processes().any(|(each, ..)| each == pid);
    let end = Instant::now() + PATIENCE;
    while is_there() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    is_there()
}

/// Process, parent and group of everything that runs and is not a zombie.
fn processes() -> impl Iterator<Item = (u32, u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
        let is_zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        (!is_zombie).then_some((pid, parent, group))
    })
}

/// What a process has read so far, from files and devices (not from sockets).
#[derive(Clone, Copy, Debug, Default)]
pub struct Reads {
    /// System calls that read.
    pub calls: u64,
    /// Bytes that they brought.
    pub bytes: u64,
}

/// What a process has read so far, or `None` where that is not told: it is gone, or another user's.
pub fn reads(pid: u32) -> Option<Reads> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let field = |name| io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    Some(Reads { calls: field("syscr:")?, bytes: field("rchar:")? })
}
