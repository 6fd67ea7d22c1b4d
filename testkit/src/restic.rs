//! Repositories that the program `restic` makes, and what it says of them itself.

use crate::peer::Directory;
use crate::{Result, tool};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The password of all repositories here.
pub const PASSWORD: &str = "carbide lamp";

/// A repository.
pub struct Repository {
    path: PathBuf,
    /// What restic keeps beside repositories.
    cache: Directory,
}

impl Repository {
    /// Makes an empty repository of this version (1 or 2) at `path`.
    ///
    /// # Errors
    /// What restic says.
    pub fn new(path: &Path, version: u32) -> Result<Repository> {
        let repository = Repository { path: path.to_owned(), cache: Directory::new()? };
        repository.run(["init", "--repository-version", &version.to_string()])?;
        Ok(repository)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Backs the directory `what` up, named relative to the one that it is in, as of the machine `host`, at `time` (`2026-01-02 03:04:05`, UTC).
    ///
    /// # Errors
    /// What restic says.
    pub fn backup(&self, host: &str, time: &str, what: &Path, more: &[&str]) -> Result<()> {
        let mut command = self.command(["backup", "--quiet", "--host", host, "--time", time]);
        command.args(more);
        command.current_dir(what.parent().unwrap_or(what)).arg(what.file_name().unwrap_or_default());
        tool::output(&mut command).map(drop)
    }

    /// Restores the newest snapshot of a host into a directory.
    ///
    /// # Errors
    /// What restic says.
    pub fn restore(&self, host: &str, target: &Path) -> Result<()> {
        let mut command = self.command(["restore", "--quiet", "latest", "--host", host, "--target"]);
        command.arg(target);
        tool::output(&mut command).map(drop)
    }

    /// Runs any of its commands, and gives what it prints.
    ///
    /// # Errors
    /// What restic says.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let output = tool::output(&mut self.command(arguments))?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The names of the files in one of its folders.
    ///
    /// # Errors
    /// What the filesystem reports.
    pub fn files(&self, folder: &str) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut pending = vec![self.path.join(folder)];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if path.is_dir() { pending.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        Ok(files)
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
        command.arg("--repo").arg(&self.path).arg("--cache-dir").arg(self.cache.path()).args(arguments);
        command
    }
}
