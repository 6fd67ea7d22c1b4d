//! Real mounts, walked with ordinary tools. Skipped, with the reason, where mounting is not possible.

#![cfg(target_os = "linux")]
// What fails in a helper fails the test.
#![allow(clippy::unwrap_used)]

mod dir_tree;
mod faults;
mod lifetime;
mod memory_tree;
mod speed;
mod walk;

use spelunk_mount::fuse::{Mount, MountPoint, Obstacle, Options, Stopper};
use spelunk_tree::Tree;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A mount on a directory of its own, unmounted when dropped.
struct Mounted {
    stopper: Stopper,
    waiter: Option<JoinHandle<spelunk_tree::Result<()>>>,
    directory: tempfile::TempDir,
}

impl Mounted {
    /// Mounts, or says why this machine cannot.
    fn new(tree: impl Tree + 'static, options: &str) -> Option<Mounted> {
        let directory = tempfile::tempdir().unwrap();
        let point = match MountPoint::new(directory.path()) {
            Err(Obstacle::NoFuse(error)) => {
                println!("skipped: {error:?}");
                return None;
            }
            point => point.unwrap(),
        };
        if !rustix::process::geteuid().is_root() && !has_helper() {
            println!("skipped: neither root nor fusermount3");
            return None;
        }
        let options = Options::parse([options]).unwrap();
        let mount = Mount::start(Arc::new(tree), &point, Path::new("/images/a b,c.vhd"), &options).unwrap();
        let stopper = mount.stopper();
        let waiter = std::thread::spawn(move || mount.wait());
        Some(Mounted { stopper, waiter: Some(waiter), directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until the mount has ended.
    fn wait(&mut self) -> spelunk_tree::Result<()> {
        self.waiter.take().unwrap().join().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.stopper.stop();
            let result = waiter.join().unwrap();
            assert!(std::thread::panicking() || result.is_ok(), "{result:?}");
        }
    }
}

fn has_helper() -> bool {
    Command::new("fusermount3").arg("-V").output().is_ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a shell script in a directory, with the arguments as `$1` and so on.
fn shell(directory: &Path, script: &str) -> Output {
    Command::new("sh").arg("-c").arg(script).current_dir(directory).env("LC_ALL", "C").output().unwrap()
}

/// What a script prints, which must succeed.
fn printed(directory: &Path, script: &str) -> String {
    let output = shell(directory, script);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the table of mounts has this directory.
fn is_mounted(directory: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == directory.to_str())
}
