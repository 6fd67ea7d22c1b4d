//! Namespaces: what of the machine the worker could name at all.
#![allow(unsafe_code)]

use super::{Layer, layer_report};
use crate::LayerReport;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, pivot_root};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The namespaces besides the user's, with the names they are reported by.
const NAMESPACES: [(&str, UnshareFlags); 6] = [
    ("mount namespace", UnshareFlags::NEWNS),
    ("process namespace", UnshareFlags::NEWPID),
    ("network namespace", UnshareFlags::NEWNET),
    ("ipc namespace", UnshareFlags::NEWIPC),
    ("hostname namespace", UnshareFlags::NEWUTS),
    ("cgroup namespace", UnshareFlags::NEWCGROUP),
];

/// What could be had so far.
pub(super) struct Namespaces {
    user: Layer,
    root: Layer,
    others: [Layer; NAMESPACES.len()],
}

impl Default for Namespaces {
    fn default() -> Namespaces {
        let missing = || Err("not tried".to_string());
        Namespaces { user: missing(), root: missing(), others: std::array::from_fn(|_| missing()) }
    }
}

impl Namespaces {
    /// Tries for all namespaces that are not there yet.
    pub(super) fn unshare_missing(&mut self) {
        for ((_, flag), layer) in NAMESPACES.iter().zip(&mut self.others) {
            if layer.is_err() {
                *layer = unshare(*flag);
            }
        }
        if self.others[0].is_ok() && self.root.is_err() {
            self.root = empty_root();
        }
    }

    /// Tries for a user namespace, in which nobody has a name.
    pub(super) fn unshare_user(&mut self) {
        self.user = unshare(UnshareFlags::NEWUSER);
    }

    pub(super) fn report(self) -> Vec<LayerReport> {
        let mut reports = vec![layer_report("user namespace", self.user)];
        for ((name, _), layer) in NAMESPACES.iter().zip(self.others) {
            reports.push(layer_report(name, layer));
        }
        reports.push(layer_report("empty root", self.root));
        reports
    }
}

fn unshare(flag: UnshareFlags) -> Layer {
    // SAFETY: none of the flags used here changes the table of descriptors, and there is one thread.
    unsafe { unshare_unsafe(flag) }.map_err(|errno| errno.to_string())?;
    Ok("its own".into())
}

/// Makes an empty directory that cannot be written the root of all paths. All other mounts leave this
/// namespace, so that none of them is kept busy by the worker.
fn empty_root() -> Layer {
    // Until then, what the machine unmounts is unmounted here too.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|errno| format!("mount propagation: {errno}"))?;
    move_root().map_err(|errno| errno.to_string())?;
    Ok("an empty directory, read only".into())
}

fn move_root() -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    // Any directory that is there on every machine will do to put it on.
    mount("none", "/proc", "tmpfs", flags, Some(c"size=4k,nr_inodes=2,mode=0555"))?;
    chdir("/proc")?;
    // The manual page's idiom: the old root ends up on top of the new one, and is taken off.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}
