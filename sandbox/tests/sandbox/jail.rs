//! The jail, from outside and from inside.

use crate::images;
use crate::processes::status;
use crate::trees::open;
use spelunk_sandbox::{
    Disk, OpenOptions, Outcome, allowed_calls, doctor, probe_denials, probe_every_call, probe_unjailed,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What is sent when a filter forbids a system call.
const SIGSYS: i32 = 31;

/// What must be among the attempts: the list, and a good deal more.
const REQUIRED: [&str; 9] =
    ["open", "connect", "fork", "exec", "ptrace", "map-executable", "pwrite", "signal", "read-process"];

pub fn attempts() {
    let inside = probe_denials().expect("attempts inside");
    let outside = probe_unjailed().expect("attempts outside");

    for name in REQUIRED {
        assert!(inside.iter().any(|denial| denial.name == name), "{name} is tried");
    }
    for (inside, outside) in inside.iter().zip(&outside) {
        assert_eq!(inside.outcome, Outcome::Killed(SIGSYS), "{} inside", inside.name);
        if !outside.is_special {
            assert_eq!(outside.outcome, Outcome::Succeeded, "{} outside", outside.name);
        }
    }
}

/// What Linux shows to no filter (x86_64): `uretprobe` and `uprobe`, with which its own probes return. From anywhere else
/// the one kills and the other fails.
const NEVER_FILTERED: [u32; 2] = [335, 336];

pub fn every_call() {
    let tried = probe_every_call().expect("processes that try");

    let survived: Vec<u32> =
        tried.survived.iter().copied().filter(|number| !NEVER_FILTERED.contains(number)).collect();
    assert_eq!(survived, Vec::<u32>::new(), "system calls that did not kill");
    assert!(tried.tried > 1000, "{} were tried", tried.tried);
    assert!(allowed_calls().count() <= 20);
    assert!(allowed_calls().all(|(_, why)| !why.is_empty()));
}

pub fn layers() {
    let layers = doctor().expect("a jail");

    for name in ["no_new_privs", "seccomp", "capabilities", "descriptors", "memory limit", "no processes"] {
        let layer = layers.iter().find(|layer| layer.name == name);
        assert!(layer.is_some_and(|layer| layer.in_force), "{name}: {layer:?}");
    }
    // Where the kernel tells anything, it was asked; of a ruleset of Landlock and a death signal it tells nothing.
    for (name, evidence) in [
        ("no_new_privs", "NoNewPrivs: 1"),
        ("seccomp", "Seccomp: 2"),
        ("capabilities", "CapEff: 0000000000000000"),
        ("memory limit", "Max address space: 1073741824"),
        ("no processes", "Max processes: 0"),
        ("no core dumps", "Max core file size: 0"),
        ("no file growth", "Max file size: 0"),
    ] {
        let layer = layers.iter().find(|layer| layer.name == name).expect("a layer");
        assert!(layer.evidence.iter().any(|line| line == evidence), "{name}: {layer:?}");
    }
}

pub fn descriptors() {
    let Some(image) = images::small() else { return };
    let disk = open(&image.path);
    let worker = disk.worker_pid().expect("a worker");
    let Ok(entries) = std::fs::read_dir(format!("/proc/{worker}/fd")) else {
        eprintln!("skipped: only root may look at the worker's descriptors");
        return;
    };

    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        let target = std::fs::read_link(entry.expect("an entry").path()).expect("a descriptor");
        let target = target.to_string_lossy();
        let kind = if target.starts_with("socket:") { "socket" } else { &*target };
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }

    assert_eq!(kinds.remove(image.path.to_str().expect("a path")), Some(1));
    assert!(kinds.remove("socket").is_some_and(|count| (2..=4).contains(&count)));
    assert_eq!(kinds, BTreeMap::new(), "nothing else is open");
    assert_eq!(status(worker, "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(status(worker, "Seccomp").as_deref(), Some("2"));
}

/// This program, where every user may execute it.
fn program_for_all() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = images::temporary();
    let program = directory.path().join("sandbox-test");
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    for path in [directory.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    (directory, program)
}

/// The tests of this program that need no other user, run by `command`.
fn assert_tests_pass(mut command: Command) {
    let output = command.output().expect("a second run of the tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Those of this program's tests that say whether there is a jail, and whether it works.
const INNER_TESTS: &str = "inner::";

pub fn unprivileged() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: all tests run unprivileged already");
        return;
    }
    let (_directory, program) = program_for_all();
    let mut command = Command::new(program);
    command.arg(INNER_TESTS).uid(1234).gid(1234);
    assert_tests_pass(command);
}

pub fn plain_container() {
    let (_directory, program) = program_for_all();
    let mut command = Command::new("unshare");
    // In a user namespace in which there can be no further ones, and without capabilities.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all \"$@\"";
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]).arg(program).arg(INNER_TESTS);
    if !Command::new("unshare").args(["--user", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no user namespaces");
        return;
    }
    assert_tests_pass(command);
}

/// The hidden subcommand with which this program opens an image where seccomp cannot be had.
pub const NO_SECCOMP_COMMAND: &str = "__no-seccomp";

pub fn no_seccomp() {
    let Some(image) = images::small() else { return };
    let output = Command::new(std::env::current_exe().expect("this program"))
        .arg(NO_SECCOMP_COMMAND)
        .arg(&image.path)
        .output()
        .expect("a second host");

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("not permitted: locking the worker's system calls (seccomp)"), "{said:?}");
}

/// As on a kernel without seccomp's filters: a filter (of all things) refuses to set any further one.
pub fn open_without_seccomp() -> ExitCode {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known machine");
    let calls = BTreeMap::from([(SYS_SECCOMP, Vec::new())]);
    let refuse = SeccompAction::Errno(rustix::io::Errno::NOSYS.raw_os_error().cast_unsigned());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refuse, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("a filter is set");
    let path = std::env::args_os().nth(2).expect("an image");
    match Disk::open(Path::new(&path), &OpenOptions::default()) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error:?}"),
    }
    ExitCode::SUCCESS
}

/// The number of `seccomp`.
const SYS_SECCOMP: i64 = if cfg!(target_arch = "aarch64") { 277 } else { 317 };
