//! Who competes: how each mounts an image and how its memory is found.

use crate::measure::{self, Sample};
use spelunk_testkit::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A way to look into an image.
pub struct Contender {
    /// Its name in the report.
    pub name: &'static str,
    /// The command that mounts, before image and mount point.
    mount: &'static [&'static str],
    /// The processes that serve the mount, by their name in /proc; none for the kernel.
    process: Option<&'static str>,
    /// Daemon and client share one core: faster for a daemon that handles one request at a time.
    pinned: bool,
}

/// The program under test.
pub const SPELUNK: Contender = Contender {
    name: "spelunk",
    mount: &[concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/spelunk"), "mount"],
    process: Some("spelunk"),
    pinned: false,
};

/// The kernel's own driver on a loop device.
pub const KERNEL: Contender =
    Contender { name: "kernel", mount: &["mount", "-o", "ro,loop"], process: None, pinned: false };

/// ntfs-3g as a user would start it.
pub const NTFS_3G: Contender =
    Contender { name: "ntfs-3g", mount: &["ntfs-3g", "-o", "ro"], process: Some("ntfs-3g"), pinned: false };

/// ntfs-3g with daemon and client on one core.
pub const NTFS_3G_PINNED: Contender = Contender {
    name: "ntfs-3g, one core",
    mount: &["taskset", "-c", "0", "ntfs-3g", "-o", "ro"],
    process: Some("ntfs-3g"),
    pinned: true,
};

/// A contender's mount, taken down when dropped.
pub struct Mounted<'a> {
    contender: &'a Contender,
    at: PathBuf,
    live: bool,
}

impl<'a> Mounted<'a> {
    /// Mounts; returns when the contender's command does.
    pub fn start(contender: &'a Contender, image: &Path, at: &Path) -> Result<Mounted<'a>> {
        let (program, arguments) = contender.mount.split_first().ok_or("a contender without a command")?;
        measure::run(Command::new(program).args(arguments).arg(image).arg(at))?;
        Ok(Mounted { contender, at: at.to_owned(), live: true })
    }

    /// The time of one `find -printf` of everything, which asks for names and attributes.
    pub fn walk(&self, mnt: &Path) -> Result<Duration> {
        let mut find = self.client("find");
        find.arg(mnt).args(["-printf", "%p %y %s %T@ %m %U %G %n\\n"]);
        timed(&mut find)
    }

    /// The time of one `ls -l`.
    pub fn list_long(&self, directory: &Path) -> Result<Duration> {
        timed(self.client("ls").arg("-l").arg(directory))
    }

    /// Peak resident memory of each process that serves the mount.
    pub fn peak_memory(&self) -> Vec<Sample> {
        let Some(name) = self.contender.process else { return Vec::new() };
        let of_process = |process: measure::Process| {
            let metric = if process.is_worker { "peak memory, worker" } else { "peak memory, host" };
            Sample { metric, value: process.peak_mebibytes, unit: "MiB" }
        };
        measure::processes(name).into_iter().map(of_process).collect()
    }

    /// Unmounts and waits until the image is free again.
    pub fn stop(mut self) -> Result<()> {
        self.live = false;
        unmount(&self.at)
    }

    fn client(&self, program: &str) -> Command {
        if self.contender.pinned {
            let mut command = Command::new("taskset");
            command.args(["-c", "0", program]);
            command
        } else {
            Command::new(program)
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.live
            && let Err(error) = unmount(&self.at)
        {
            eprintln!("warning: {error}");
        }
    }
}

fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    measure::run(command)?;
    Ok(started.elapsed())
}

fn unmount(at: &Path) -> Result<()> {
    measure::run(Command::new("umount").arg(at))
}
