//! Processes: what runs, and that nothing is left.

use crate::images;
use crate::trees::{first_tree, name, open};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The hidden subcommand with which this program opens an image, prints its worker, and waits to be killed.
pub const HOLD_COMMAND: &str = "__hold";

pub fn hold() -> ExitCode {
    let path = std::env::args_os().nth(2).expect("an image");
    let disk = open(Path::new(&path));
    println!("{}", disk.worker_pid().expect("a worker"));
    loop {
        std::thread::park();
    }
}

/// A field of `/proc/PID/status`; `None` when there is no such process.
pub fn status(pid: u32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// The worker's supervisor.
pub fn supervisor(worker: u32) -> u32 {
    status(worker, "PPid").expect("a worker").parse().expect("a number")
}

/// Whether there is such a process, be it a zombie.
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until `condition` holds.
pub fn eventually(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Children of this process that were started as workers, also dead ones that were not reaped.
pub fn own_workers() -> Vec<u32> {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").expect("a list of processes");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| status(*pid, "PPid").is_some_and(|parent| parent == own)).collect()
}

pub fn dropped() {
    let Some(image) = images::small() else { return };
    let disk = open(&image.path);
    let worker = disk.worker_pid().expect("a worker");
    let supervisor = supervisor(worker);
    assert!(exists(worker) && exists(supervisor));

    drop(disk);

    assert!(!exists(worker) && !exists(supervisor), "reaped before the drop returns");
    assert_eq!(own_workers(), []);
}

pub fn orphans() {
    let Some(image) = images::small() else { return };
    let mut host = Command::new(std::env::current_exe().expect("this program"))
        .arg(HOLD_COMMAND)
        .arg(&image.path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second host");
    let mut line = String::new();
    BufReader::new(host.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let worker: u32 = line.trim().parse().expect("a process id");
    let supervisor = supervisor(worker);

    host.kill().expect("killed");
    host.wait().expect("reaped");

    assert!(eventually(|| !is_running(worker) && !is_running(supervisor)));
}

pub fn supervisor_killed() {
    let Some(image) = images::small() else { return };
    let disk = open(&image.path);
    let tree = first_tree(&disk);
    let worker = disk.worker_pid().expect("a worker");

    crate::faults::signal(supervisor(worker), rustix::process::Signal::KILL);

    assert!(eventually(|| !is_running(worker)));
    assert!(tree.lookup(tree.root(), &name("hello")).is_ok(), "another worker answers");
}

/// Whether the process runs: one that is dead and waits for whoever inherited it does not count.
fn is_running(pid: u32) -> bool {
    status(pid, "State").is_some_and(|state| !state.starts_with('Z'))
}

pub fn threads() {
    let Some(image) = images::small() else { return };
    let disk = std::thread::spawn(move || (open(&image.path), image)).join().expect("opened");
    let worker = disk.0.worker_pid().expect("a worker");
    std::thread::sleep(Duration::from_millis(100));

    let tree = first_tree(&disk.0);

    assert!(tree.lookup(tree.root(), &name("hello")).is_ok());
    assert_eq!(disk.0.worker_pid(), Some(worker));
}
