//! The program under test, run as users run it.

use spelunk_testkit::Result;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the program is.
pub fn path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_spelunk"))
}

/// No input may make the program run longer than this, in seconds.
const HANG_SECONDS: &str = "300";

/// What `timeout` ends with when it had to.
pub const HUNG: i32 = 124;

/// How a run of the program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; 128 and the signal's number when a signal ended it; [`HUNG`].
    pub code: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// The process group it ran in.
    pub group: u32,
}

/// Runs the program to its end, in a process group of its own.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Finished> {
    let mut command = Command::new("timeout");
    command.arg(HANG_SECONDS).arg(path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn()?;
    let group = child.id();
    let output = child.wait_with_output()?;
    Ok(Finished {
        code: output.status.code().unwrap_or(HUNG),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        group,
    })
}
