//! A worker that nobody needs goes, with what it holds; another comes when it is needed, and nobody notices.

use super::mount_foreground;
use spelunk_testkit::peer::{Directory, Mount};
use spelunk_testkit::{image, process, skip, tool};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the end of an idle worker may take here, which has a second to live.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn idle_worker_is_ended_and_the_next_walk_is_the_same() {
    if !(skip::unless_fuse() && skip::unless_root("mounting without a helper"))
        || !skip::unless_found(&["mkfs.ext4"])
    {
        return;
    }
    let place = Directory::new().expect("a directory");
    let small = place.path().join("image");
    image::small_ext4(&small).expect("an image can be made");
    let other = mount_foreground(&small, &["--idle", "0"]).expect("the image can be mounted");
    let mount = mount_foreground(&small, &["--idle", "1"]).expect("the image can be mounted");
    let server = mount.server().expect("a server in the foreground");
    let (workers, descriptors) = (workers(&mount), descriptors(server));

    let end = Instant::now() + PATIENCE;
    while !self::workers(&mount).is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (idle_workers, idle_descriptors) = (self::workers(&mount), self::descriptors(server));
    // Nothing was asked yet but for the root, so nothing comes from the kernel's memory.
    let walk = walk(mount.path());
    let again = self::workers(&mount);
    let others = self::workers(&other);
    let truth = self::walk(other.path());
    mount.unmount().expect("the mount ends");
    other.unmount().expect("the mount ends");

    assert!(!workers.is_empty(), "there was no worker to end");
    assert_eq!(idle_workers, [0; 0], "the idle worker lives on");
    assert!(idle_descriptors < descriptors, "{idle_descriptors} descriptors, {descriptors} before");
    assert!(!again.is_empty() && again != workers, "no new worker answers");
    assert_eq!(walk, truth);
    assert!(walk.lines().count() > 1, "nothing was walked: {walk}");
    assert!(!others.is_empty(), "a worker was ended that should live");
}

/// The processes below the mount's.
fn workers(mount: &Mount) -> Vec<u32> {
    process::descendants(mount.server().expect("a server in the foreground"))
}

fn descriptors(server: u32) -> usize {
    fs::read_dir(format!("/proc/{server}/fd")).expect("the server's descriptors").count()
}

/// All paths with all that stat tells, and the sums of all files.
fn walk(root: &Path) -> String {
    const SCRIPT: &str = "cd \"$0\" && find . -printf '%p %y %s %m %U %G %n %T@ %l\\n' | sort && \
                          find . -type f -exec sha256sum {} + | sort";
    let bytes = tool::run("sh", ["-c".as_ref(), SCRIPT.as_ref(), root.as_os_str()]).expect("a walk");
    String::from_utf8(bytes).expect("names in UTF-8")
}
