//! `spelunk doctor`: what works on this machine.

use super::printer::Printer;
use super::{Error, Outcome, json};
use serde::Serialize;
use spelunk_sandbox as sandbox;
use spelunk_tree::Error as TreeError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Check this machine: the jail, layer by layer, and mounting
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk doctor
  spelunk doctor --json | jq '.checks[] | select(.is_good | not)'

A missing layer of the jail is no error as long as seccomp is in force: each layer holds by itself.
The denials are tried for real, each by a jailed process of its own. Exits with 1 when images cannot
be opened safely here, that is without seccomp, or when something forbidden was possible.")]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let mut printer = Printer::new();
    let (checks, failures) = examine();
    if args.json {
        let version = env!("CARGO_PKG_VERSION");
        let document = Document { schema: json::SCHEMA, version, is_safe: failures.is_empty(), checks };
        printer.json_document(&document)?;
    } else {
        print(&mut printer, &checks)?;
    }
    for failure in &failures {
        printer.failed(failure);
    }
    printer.finish()
}

/// The answer, as JSON.
#[derive(Serialize)]
struct Document {
    schema: u32,
    version: &'static str,
    /// Whether images may be opened here.
    is_safe: bool,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    area: Area,
    name: String,
    is_good: bool,
    detail: String,
    /// What the kernel says of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Area {
    Jail,
    Denials,
    Mounting,
    Machine,
}

impl Area {
    fn title(self) -> &'static str {
        match self {
            Area::Jail => "Layers of the jail",
            Area::Denials => "Tried from inside the jail",
            Area::Mounting => "Mounting",
            Area::Machine => "This machine",
        }
    }

    /// What a check of this area that came out good, or not, is called.
    fn verdict(self, is_good: bool) -> &'static str {
        match (self, is_good) {
            (Area::Denials, true) => "denied",
            (Area::Denials, false) => "POSSIBLE",
            (_, true) => "yes",
            (_, false) => "no",
        }
    }
}

impl Check {
    fn new(area: Area, name: impl Into<String>, is_good: bool, detail: impl Into<String>) -> Check {
        Check { area, name: name.into(), is_good, detail: detail.into(), evidence: Vec::new() }
    }
}

/// All checks, and what makes images unsafe to open here.
fn examine() -> (Vec<Check>, Vec<Error>) {
    let (mut checks, mut failures) = (Vec::new(), Vec::new());
    match sandbox::doctor() {
        Ok(layers) => {
            if !layers.iter().any(|layer| layer.name == SECCOMP && layer.in_force) {
                failures.push(TreeError::unsupported("the jail has no seccomp layer here").into());
            }
            let check = |layer: sandbox::ProvenLayer| Check {
                evidence: layer.evidence,
                ..Check::new(Area::Jail, layer.name, layer.in_force, layer.detail)
            };
            checks.extend(layers.into_iter().map(check));
        }
        Err(error) => failures.push(error.context("there is no jail here").into()),
    }
    match sandbox::probe_denials() {
        Ok(denials) => {
            if let Some(possible) = denials.iter().find(|denial| !denial.is_denied()) {
                let text = format!("a jailed process could {}", possible.what);
                failures.push(TreeError::internal(text).into());
            }
            checks.extend(denials.iter().map(denial));
        }
        Err(error) => failures.push(error.context("the jail's denials cannot be tried").into()),
    }
    checks.extend([fuse_device(), fuse_helper(), user_namespaces(), kernel()]);
    (checks, failures)
}

/// The layer without which no image is opened, by its name in [`sandbox::LayerReport`].
const SECCOMP: &str = "seccomp";

fn denial(denial: &sandbox::Denial) -> Check {
    let end = match denial.outcome {
        sandbox::Outcome::Killed(signal) => format!("killed by signal {signal}"),
        sandbox::Outcome::Refused(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        sandbox::Outcome::Succeeded => "it went through".to_owned(),
    };
    Check::new(Area::Denials, denial.name, denial.is_denied(), format!("{}: {end}", denial.what))
}

fn fuse_device() -> Check {
    const DEVICE: &str = "/dev/fuse";
    let opened = File::options().read(true).write(true).open(DEVICE);
    let detail = match &opened {
        Ok(_) => "can be opened".to_owned(),
        Err(error) => format!("{error}; ls, cat, find and manifest work without it"),
    };
    Check::new(Area::Mounting, DEVICE, opened.is_ok(), detail)
}

fn fuse_helper() -> Check {
    const HELPER: &str = "fusermount3";
    match find_program(HELPER) {
        Some(path) => Check::new(Area::Mounting, HELPER, true, path.display().to_string()),
        None => Check::new(
            Area::Mounting,
            HELPER,
            false,
            "not installed (package fuse3); only root can mount without it",
        ),
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Settings under which users without privileges get no user namespaces, and the value that forbids them.
const NAMESPACE_SETTINGS: [(&str, &str); 3] = [
    ("/proc/sys/user/max_user_namespaces", "0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
];

fn user_namespaces() -> Check {
    let name = "user namespaces for all";
    let forbidding = NAMESPACE_SETTINGS
        .iter()
        .find(|(path, forbids)| setting(Path::new(path)).is_some_and(|value| value == *forbids));
    match forbidding {
        None => Check::new(Area::Machine, name, true, "no setting forbids them"),
        Some((path, value)) => Check::new(Area::Machine, name, false, format!("{path} is {value}")),
    }
}

fn kernel() -> Check {
    let release = setting(Path::new("/proc/sys/kernel/osrelease"));
    Check::new(Area::Machine, "kernel", true, release.unwrap_or_else(|| "unknown".to_owned()))
}

fn setting(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn print(printer: &mut Printer, checks: &[Check]) -> Result<(), Error> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut area = None;
    for check in checks {
        if area != Some(check.area) {
            if area.is_some() {
                printer.line("")?;
            }
            printer.line(check.area.title())?;
            area = Some(check.area);
        }
        let verdict = check.area.verdict(check.is_good);
        printer.line(format!("  {verdict:8}  {:width$}  {}", check.name, check.detail).trim_end())?;
    }
    Ok(())
}
