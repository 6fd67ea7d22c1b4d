//! What the jail is worth on this machine: its layers as they came out, and what happens to a process that
//! tries, from inside, what it may not.

use crate::host::process::{self, Process};
use crate::jail::attempts::{self, ATTEMPTS, Attempt, Prepared};
use crate::jail::{self, Jail};
use crate::wire::{Encoder, Wire, whole};
use crate::worker;
use spelunk_tree::{Error, ErrorKind, Result};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One layer of the jail, as it came out on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerReport {
    /// Its name, a few lower-case words.
    pub name: String,
    /// Whether it holds.
    pub in_force: bool,
    /// What it gives, or why it is missing.
    pub detail: String,
}

/// What became of a forbidden thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The attempt's name, one word.
    pub name: &'static str,
    /// What was tried, for people.
    pub what: &'static str,
    /// Whether it also takes privileges or a feature of the kernel that not every machine gives: then it may
    /// fail outside the jail too.
    pub is_special: bool,
    /// How it ended.
    pub outcome: Outcome,
}

impl Denial {
    /// Whether it was denied.
    pub fn is_denied(&self) -> bool {
        self.outcome != Outcome::Succeeded
    }
}

/// What came of trying every system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EveryCall {
    /// How many numbers were tried: all but those that a worker may call.
    pub tried: u32,
    /// Those that did not kill.
    pub survived: Vec<u32>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process was killed by this signal (SIGSYS: the system call was forbidden).
    Killed(i32),
    /// It got this error number.
    Refused(i32),
    /// It did what it should not be able to do.
    Succeeded,
}

/// The hidden subcommand that makes the program try something forbidden; the attempt's name follows.
pub const ATTEMPT_COMMAND: &str = "__jail-attempt";

/// The second word behind [`ATTEMPT_COMMAND`] of an attempt outside the jail. No image is ever opened there.
const UNJAILED: &str = "unjailed";

/// How long an attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A layer as a worker reported it, and what the kernel says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenLayer {
    /// Its name, a few lower-case words.
    pub name: String,
    /// Whether it holds: the worker says so, and nothing that the kernel says contradicts it.
    pub in_force: bool,
    /// What it gives, or why it is missing.
    pub detail: String,
    /// What the kernel says of the living worker, a line each. Empty where it tells nothing, or not to this user.
    pub evidence: Vec<String>,
}

/// The layers of a worker that is started for this, compared with what the kernel says of it.
///
/// # Errors
/// `Denied` when there can be no jail, `WorkerLost` when the worker does not start.
pub fn doctor() -> Result<Vec<ProvenLayer>> {
    let (process, _lines) = process::start(Instant::now() + TIMEOUT)?;
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{}/{file}", process.pid))
            .map_err(|cause| Error::from_io("asking the kernel for the worker's state", &cause))
    };
    let (status, limits) = (read("status")?, read("limits")?);
    Ok(process.layers.iter().map(|layer| prove(layer, process.pid, &status, &limits)).collect())
}

/// Namespaces by the names of their layers and of the kernel's links to them.
const NAMESPACES: [(&str, &str); 7] = [
    ("user namespace", "user"),
    ("mount namespace", "mnt"),
    ("process namespace", "pid"),
    ("network namespace", "net"),
    ("ipc namespace", "ipc"),
    ("hostname namespace", "uts"),
    ("cgroup namespace", "cgroup"),
];

/// Lines of a process's status that must be so when a layer is in force.
const STATUS: &[(&str, &str, &str)] = &[
    ("no_new_privs", "NoNewPrivs", "1"),
    ("seccomp", "Seccomp", "2"),
    ("capabilities", "CapInh", "0000000000000000"),
    ("capabilities", "CapPrm", "0000000000000000"),
    ("capabilities", "CapEff", "0000000000000000"),
    ("capabilities", "CapAmb", "0000000000000000"),
];

/// Rows of a process's limits by the layers that set them, and whether they must be 0.
const LIMITS: [(&str, &str, bool); 5] = [
    ("memory limit", "Max address space", false),
    ("descriptor limit", "Max open files", false),
    ("no processes", "Max processes", true),
    ("no core dumps", "Max core file size", true),
    ("no file growth", "Max file size", true),
];

/// Asks the kernel about one layer. What it says decides.
fn prove(layer: &LayerReport, worker: u32, status: &str, limits: &str) -> ProvenLayer {
    let LayerReport { name, in_force, detail } = layer.clone();
    let mut proven = ProvenLayer { name, in_force, detail, evidence: Vec::new() };
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.map_or_else(String::new, |value| value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    for (_, key, expected) in STATUS.iter().filter(|(of, ..)| *of == layer.name) {
        proven.note(format!("{key}: {}", field(key)), field(key) == *expected);
    }
    for (_, row, is_none) in LIMITS.iter().filter(|(of, ..)| *of == layer.name) {
        let line = limits.lines().find_map(|line| line.strip_prefix(row)).unwrap_or_default();
        let (soft, hard) = (line.split_whitespace().next(), line.split_whitespace().nth(1));
        let holds = soft == hard
            && if *is_none { soft == Some("0") } else { soft.is_some_and(|it| it != "unlimited") };
        proven.note(format!("{row}: {}", soft.unwrap_or("unknown")), holds);
    }
    match &*layer.name {
        "user" => proven.note(format!("Uid: {}", field("Uid")), !field("Uid").split(' ').any(|id| id == "0")),
        // A process in a namespace of its own has an id there besides the one that is seen from here.
        "process namespace" if layer.in_force => {
            proven.note(format!("NSpid: {}", field("NSpid")), field("NSpid").contains(' '));
        }
        _ => {}
    }
    proven.compare_namespaces(worker);
    proven
}

impl ProvenLayer {
    /// Notes what the kernel says, and whether that is as it must be.
    fn note(&mut self, says: String, holds: bool) {
        if self.in_force && !holds {
            self.in_force = false;
            self.detail = format!("the kernel says {says}");
        }
        self.evidence.push(says);
    }

    /// Whether the worker is in another namespace than the host. (Only root may look.)
    fn compare_namespaces(&mut self, worker: u32) {
        let link = |process: &str, name: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}")).ok();
        if let Some((_, name)) = NAMESPACES.iter().find(|(of, _)| *of == self.name)
            && let (Some(theirs), Some(ours)) = (link(&worker.to_string(), name), link("self", name))
        {
            let says = format!("{} (the host: {})", theirs.display(), ours.display());
            self.note(says, theirs != ours);
        }
        if self.name == "descriptors"
            && let Ok(open) = std::fs::read_dir(format!("/proc/{worker}/fd"))
        {
            let targets = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            let targets: Vec<String> = targets.map(|target| target.display().to_string()).collect();
            let is_channel = |target: &String| target.starts_with("socket:");
            self.note(format!("open: {}", targets.join(", ")), targets.iter().all(is_channel));
        }
        if self.name == "empty root"
            && let Ok(entries) =
                std::fs::read_dir(Path::new(&format!("/proc/{worker}")).join("root").join("."))
        {
            let count = entries.count();
            self.note(format!("entries in the root: {count}"), count == 0);
        }
    }
}

/// The system calls that a worker may make, each with its reason.
pub fn allowed_calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    jail::allowed_calls()
}

/// Tries everything that the jail must deny, each in a jailed process of its own.
///
/// # Errors
/// When such a process cannot be started.
pub fn probe_denials() -> Result<Vec<Denial>> {
    ATTEMPTS.iter().map(|attempt| probe(attempt, true)).collect()
}

/// Tries the same outside any jail: what succeeds here and not there, the jail has denied.
///
/// # Errors
/// When such a process cannot be started.
pub fn probe_unjailed() -> Result<Vec<Denial>> {
    ATTEMPTS.iter().map(|attempt| probe(attempt, false)).collect()
}

/// The word behind [`ATTEMPT_COMMAND`] that has every system call tried.
const EVERY_CALL: &str = "every-call";

/// Tries every system call that a worker may not make, each in a process of its own under the worker's filter.
///
/// # Errors
/// When such processes cannot be started.
pub fn probe_every_call() -> Result<EveryCall> {
    let deadline = Instant::now() + EVERY_CALL_TIMEOUT;
    let (_process, lines) = process::start_as(&[ATTEMPT_COMMAND, EVERY_CALL], 1, deadline)?;
    let line = lines.first().ok_or_else(|| Error::internal("an attempt without a channel"))?;
    let mut buffer = [0; 8192];
    let unknown = |_| Error::new(ErrorKind::WorkerLost, "an attempt with an unknown end");
    let len = line.socket.receive(&mut buffer, deadline).map_err(unknown)?;
    let told = whole(&buffer[..len], |from| Ok((from.get()?, from.list(buffer.len())?)));
    let (tried, survived) = told.map_err(|malformed| Error::internal(malformed.0))?;
    Ok(EveryCall { tried, survived })
}

/// A thousand processes are started one after the other.
const EVERY_CALL_TIMEOUT: Duration = Duration::from_secs(120);

fn try_every_call() -> Result<()> {
    let (control, mut channels) = worker::inherit()?;
    let socket = channels.pop().ok_or_else(|| Error::internal("started without channels"))?.socket;
    drop(channels);
    Jail::enter(control)?;
    worker::greet(&socket, Ok(Vec::new()))?;
    let failed = |errno| Error::from_io("trying system calls", &std::io::Error::from(errno));
    let (tried, survived) = attempts::every_call().map_err(failed)?;
    let mut out = Encoder::default();
    out.put(&tried);
    out.list(&survived);
    let _ = socket.send(&out.bytes, &[]);
    jail::exit(0)
}

fn probe(attempt: &'static Attempt, is_jailed: bool) -> Result<Denial> {
    let deadline = Instant::now() + TIMEOUT;
    let arguments = [ATTEMPT_COMMAND, attempt.name, UNJAILED];
    let arguments = if is_jailed { &arguments[..2] } else { &arguments[..] };
    let (process, lines) = process::start_as(arguments, 1, deadline)?;
    let line = lines.first().ok_or_else(|| Error::internal("an attempt without a channel"))?;
    let mut buffer = [0; 8];
    let outcome = match line.socket.receive(&mut buffer, deadline) {
        Ok(len) => match u32::from_bytes(&buffer[..len]) {
            Ok(0) => Outcome::Succeeded,
            Ok(errno) => Outcome::Refused(errno.cast_signed()),
            Err(_) => return Err(Error::internal("an attempt with an unknown end")),
        },
        Err(_) => end_of(&process)?,
    };
    Ok(Denial { name: attempt.name, what: attempt.what, is_special: attempt.is_special, outcome })
}

/// How a process ended that did not say so itself.
fn end_of(process: &Process) -> Result<Outcome> {
    use std::os::unix::process::ExitStatusExt;
    let unknown = || Error::new(ErrorKind::WorkerLost, "an attempt with an unknown end");
    let status = process.reap().ok_or_else(unknown)?;
    match (status.signal(), status.code()) {
        (Some(signal), _) => Ok(Outcome::Killed(signal)),
        (_, Some(code)) if code == i32::from(attempts::EXECUTED) => Ok(Outcome::Succeeded),
        // Told by the supervisor.
        (_, Some(code)) if code > 128 => Ok(Outcome::Killed(code - 128)),
        _ => Err(unknown()),
    }
}

/// What the program runs for its hidden subcommand [`ATTEMPT_COMMAND`], first thing.
pub fn attempt_main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let name = arguments.first().map_or("", String::as_str);
    if name == "executed" {
        return ExitCode::from(attempts::EXECUTED);
    }
    if name == EVERY_CALL {
        let _ = try_every_call();
        return ExitCode::FAILURE;
    }
    let Some(attempt) = ATTEMPTS.iter().find(|attempt| attempt.name == name) else {
        return ExitCode::FAILURE;
    };
    match try_it(attempt, arguments.get(1).map(String::as_str) != Some(UNJAILED)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn try_it(attempt: &Attempt, is_jailed: bool) -> Result<()> {
    let (control, mut channels) = worker::inherit()?;
    let socket = channels.pop().ok_or_else(|| Error::internal("started without channels"))?.socket;
    drop(channels);
    let prepared = Prepared::new().map_err(|cause| Error::from_io("preparing an attempt", &cause))?;
    if is_jailed {
        let layers = Jail::enter(control).and_then(Jail::lock);
        worker::greet(&socket, layers)?;
    } else {
        worker::greet(&socket, Ok(Vec::new()))?;
        let _ = control.send(&std::process::id().to_bytes(), &[]);
    }
    let errno = match attempts::act(attempt, &prepared) {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error().cast_unsigned(),
    };
    let _ = socket.send(&errno.to_bytes(), &[]);
    jail::exit(0)
}
