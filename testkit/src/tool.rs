//! Running the tools of the system.

use crate::Result;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails, with what it said.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(&mut command).map(|output| output.stdout)
}

/// Runs a prepared command to its end.
///
/// # Errors
/// As [`run`].
pub fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {}", output.status, said.trim()).into());
    }
    Ok(output)
}

/// Where a program lies on the search path or in the places of system tools.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether FUSE filesystems can be mounted here at all.
pub fn has_fuse() -> bool {
    Path::new("/dev/fuse").exists() && std::fs::File::open("/dev/fuse").is_ok()
}
