//! What the jail is worth on this machine: its layers as they came out, and what happens to a process that
//! tries, from inside, what it may not.

use crate::host::process::{self, Process};
use crate::jail::attempts::{self, ATTEMPTS, Attempt, Prepared};
use crate::jail::{self, Jail};
use crate::wire::Wire;
use crate::worker;
use spelunk_tree::{Error, ErrorKind, Result};
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

/// The layers of a worker that is started for this, compared with what the kernel says of it.
///
/// # Errors
/// `Denied` when there can be no jail, `WorkerLost` when the worker does not start.
pub fn doctor() -> Result<Vec<LayerReport>> {
    let (process, _lines) = process::start(Instant::now() + TIMEOUT)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid))
        .map_err(|cause| Error::from_io("reading the worker's status", &cause))?;
    let layers = process.layers.iter().map(|layer| confirmed(layer, &status));
    Ok(layers.map(|layer| apart(layer, process.pid)).collect())
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

/// The report, unless the worker is in the same namespace as the host. (Only root may look.)
fn apart(mut layer: LayerReport, worker: u32) -> LayerReport {
    let link = |process: &str, name: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}")).ok();
    for (_, name) in NAMESPACES.iter().filter(|(of, _)| *of == layer.name) {
        let theirs = link(&worker.to_string(), name);
        if theirs.is_some() && theirs == link("self", name) {
            layer.in_force = false;
            layer.detail = "the kernel says it is the host's".into();
        }
    }
    layer
}

/// Lines of a process's status that must be so when a layer is in force.
const EVIDENCE: &[(&str, &str, &str)] = &[
    ("no_new_privs", "NoNewPrivs", "1"),
    ("seccomp", "Seccomp", "2"),
    ("capabilities", "CapInh", "0000000000000000"),
    ("capabilities", "CapPrm", "0000000000000000"),
    ("capabilities", "CapEff", "0000000000000000"),
    ("capabilities", "CapAmb", "0000000000000000"),
];

/// The report, unless the kernel says otherwise.
fn confirmed(layer: &LayerReport, status: &str) -> LayerReport {
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    let mut confirmed = layer.clone();
    for (_, key, expected) in EVIDENCE.iter().filter(|(name, ..)| *name == layer.name) {
        if value(key) != *expected {
            confirmed.in_force = false;
            confirmed.detail = format!("the kernel says {key} {}", value(key));
        }
    }
    // A process in a namespace of its own has an id there besides the one that is seen from here.
    let is_inside = value("NSpid").split_whitespace().count() > 1;
    if layer.name == "process namespace" && layer.in_force && !is_inside {
        confirmed.in_force = false;
        confirmed.detail = "the kernel knows of none".into();
    }
    confirmed
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
