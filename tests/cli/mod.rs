//! The command line, as whole commands: what they print, what they say, how they end.

pub mod archive;
mod assemblies;
mod cat;
mod find;
mod hostile;
mod index;
mod info;
mod library;
mod ls;
mod manifest;
mod mount;
mod ntfs;
mod program;
mod restic;
mod stats;
pub mod store;
pub mod urbackup;
mod urbackup_databases;
mod user;

use crate::fixture;
use crate::program::path;
use spelunk_testkit::process;
use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

/// How a command ended, bytes kept.
struct Ended {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ended {
    /// What it printed, which is to be UTF-8.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("output in UTF-8")
    }

    /// What it printed, when it ended well without a word on stderr.
    #[track_caller]
    fn success(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "stdout: {}", self.text());
        self.text()
    }

    /// The objects it printed, one a line.
    fn objects(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }
}

/// The program, ready to be run in UTC.
fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(path());
    command.args(arguments).env("TZ", "UTC").stdin(Stdio::null()).process_group(0);
    command
}

/// Runs the program to its end; nothing may be left running.
fn spelunk<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    let child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let group = child.id();
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    assert_eq!(process::left_behind(group), Vec::<u32>::new());
    Ended { code: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}
