//! Mounts begin ready and end clean, whoever ends them, and admit whom they should.

use super::memory_tree::{MemoryTree, file};
use super::{Mounted, is_mounted, is_root, printed, shell};
use spelunk_mount::fuse::{self, Mount, MountPoint, Obstacle, Options};
use spelunk_tree::ErrorKind;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn tree() -> MemoryTree {
    let mut tree = MemoryTree::new();
    tree.add("file", file(b"content"));
    tree
}

/// Set in the processes that tests start of themselves.
const CHILD: &str = "SPELUNK_TEST_CHILD";

/// The user and group `nobody`: some other user.
const AS_OTHER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

#[test]
fn a_stop_unmounts_even_while_a_file_is_open() {
    let Some(mut mounted) = Mounted::new(tree(), "ro") else { return };
    let _open = std::fs::File::open(mounted.path().join("file")).unwrap();

    mounted.stopper.stop();

    assert_eq!(mounted.wait(), Ok(()));
    assert!(!is_mounted(mounted.path()));
}

#[test]
fn umount_from_outside_ends_the_session_and_nothing_else() {
    let Some(mut mounted) = Mounted::new(tree(), "ro") else { return };
    let directory = mounted.path().to_owned();
    let command = if is_root() { "umount" } else { "fusermount3 -u" };

    unmount_from_outside(&format!("{command} {}", directory.display()));

    assert_eq!(mounted.wait(), Ok(()));
    assert!(!is_mounted(&directory));
}

/// Runs a script that unmounts. A mount is in use for a moment when somebody looks at it: the session of another
/// test that ends does, when the kernel gave its mount's numbers to this one.
fn unmount_from_outside(script: &str) {
    const LOOK_MAX: Duration = Duration::from_secs(5);
    let end = Instant::now() + LOOK_MAX;
    loop {
        let output = shell(Path::new("/"), script);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return;
        }
        assert!(said.contains("busy") && Instant::now() < end, "{script}: {said}");
    }
}

#[test]
fn a_mount_that_is_gone_is_not_unmounted_a_second_time() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let Some(mut mounted) = Mounted::new(tree(), "ro") else { return };
    let directory = mounted.path().to_owned();
    let path = directory.display();

    // Another mount is at the same place when ours ends.
    unmount_from_outside(&format!("umount {path} && mount -t tmpfs spelunk-test {path}"));
    let ended = mounted.wait();
    let is_other_there = is_mounted(&directory);
    printed(Path::new("/"), &format!("umount {path}"));

    assert_eq!((ended, is_other_there), (Ok(()), true));
}

#[test]
fn umount_refuses_what_is_busy_or_not_ours_and_lazily_takes_it() {
    let Some(mut mounted) = Mounted::new(tree(), "ro") else { return };
    let directory = mounted.path().to_owned();
    let open = std::fs::File::open(directory.join("file")).unwrap();

    let busy = fuse::umount(&directory, false).map_err(|error| error.kind());
    let foreign = fuse::umount(Path::new("/"), true).map_err(|error| error.kind());
    let lazily = fuse::umount(&directory, true);

    assert_eq!((busy, foreign), (Err(ErrorKind::Denied), Err(ErrorKind::NotFound)));
    assert_eq!(lazily, Ok(()));
    assert!(!is_mounted(&directory));
    assert_eq!(std::io::read_to_string(&open).unwrap(), "content", "still served");
    drop(open);
    assert_eq!(mounted.wait(), Ok(()));
}

#[test]
fn a_mount_that_is_unmounted_before_it_is_ready_has_ended_and_not_failed() {
    let Some(probe) = Mounted::new(tree(), "ro") else { return };
    drop(probe);
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let point = MountPoint::new(directory.path()).unwrap();
        let path = directory.path().to_owned();
        let hasty = std::thread::spawn(move || {
            while !is_mounted(&path) {}
            // As the mounter can; where it is ready, `umount` would ask it who serves it.
            let by = if rustix::process::geteuid().is_root() { "umount" } else { "fusermount3" };
            let lazily = if by == "umount" { "-l" } else { "-uz" };
            assert!(Command::new(by).arg(lazily).arg(&path).status().unwrap().success());
        });

        let mount = Mount::start(Arc::new(tree()), &point, Path::new("image"), &Options::default()).unwrap();
        hasty.join().unwrap();

        assert_eq!(mount.wait(), Ok(()));
        assert!(!is_mounted(directory.path()));
    }
}

#[test]
fn a_place_that_is_taken_is_an_obstacle() {
    let Some(mounted) = Mounted::new(tree(), "ro") else { return };

    let taken = MountPoint::new(mounted.path());
    let file = MountPoint::new(&mounted.path().join("file"));

    assert!(matches!(taken, Err(Obstacle::Mounted(_))));
    assert!(matches!(file, Err(Obstacle::Directory(error)) if error.kind() == ErrorKind::NotADirectory));
}

#[test]
fn a_mount_whose_process_was_killed_is_an_obstacle_until_it_is_unmounted() {
    if let Some(directory) = std::env::var_os(CHILD) {
        let point = MountPoint::new(Path::new(&directory)).unwrap();
        let options = Options::default();
        let _mount = Mount::start(Arc::new(tree()), &point, Path::new("image"), &options).unwrap();
        println!("ready");
        loop {
            std::thread::park();
        }
    }
    let Some(probe) = Mounted::new(tree(), "ro") else { return };
    drop(probe);
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("lifetime::a_mount_whose_process_was_killed_is_an_obstacle_until_it_is_unmounted")
        .env(CHILD, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")));
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(matches!(MountPoint::new(directory.path()), Err(Obstacle::DeadMount(_))));
    assert_eq!(fuse::umount(directory.path(), false), Ok(()));
    assert!(!is_mounted(directory.path()));
    assert!(MountPoint::new(directory.path()).is_ok());
}

#[test]
fn a_session_that_is_aborted_leaves_no_dead_mount() {
    const CONNECTIONS: &str = "/sys/fs/fuse/connections";
    let Some(mut mounted) = Mounted::new(tree(), "ro") else { return };
    let minor = rustix::fs::minor(rustix::fs::stat(mounted.path()).unwrap().st_dev);
    let abort = format!("{CONNECTIONS}/{minor}/abort");
    if std::fs::write(&abort, "1").is_err() {
        println!("skipped: {abort} cannot be written");
        return;
    }

    assert_eq!(mounted.wait(), Ok(()));
    assert!(!is_mounted(mounted.path()));
}

#[test]
fn other_users_come_in_only_by_option_and_as_the_modes_permit() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let shared = || {
        let mut tree = tree();
        let mut secret = file(b"secret");
        secret.attr.mode = Some(0o600);
        secret.attr.uid = Some(0);
        tree.add("secret", secret);
        tree
    };
    let read_as_other = |mounted: &Mounted, name: &str| {
        // Root goes first, so that the kernel has everything in its caches.
        printed(mounted.path(), "cat file secret");
        shell(Path::new("/"), &format!("{AS_OTHER} cat {}", mounted.path().join(name).display()))
            .status
            .success()
    };
    let Some(mounted) = Mounted::new(shared(), "ro") else { return };
    assert!(!read_as_other(&mounted, "file"), "private");
    let mounted = Mounted::new(shared(), "allow_root").unwrap();
    assert!(!read_as_other(&mounted, "file"), "root only");
    let mounted = Mounted::new(shared(), "allow_other").unwrap();
    assert!(read_as_other(&mounted, "file"), "shared");
    assert!(!read_as_other(&mounted, "secret"), "shared, but modes hold");
    let mounted = Mounted::new(tree(), "allow_other,umask=077").unwrap();
    printed(mounted.path(), "cat file");
    let path = mounted.path().join("file");
    assert!(!shell(Path::new("/"), &format!("{AS_OTHER} cat {}", path.display())).status.success(), "masked");
}

#[test]
fn an_unprivileged_user_mounts_and_unmounts() {
    if std::env::var_os(CHILD).is_some() || !is_root() {
        user_mounts();
        return;
    }
    // Tests run as root change to another user to try it: the same test again, in a process of its own.
    let program = std::env::current_exe().unwrap();
    let copy =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir();
    let copy = copy.unwrap();
    let copied = copy.path().join("test");
    std::fs::copy(program, &copied).unwrap();
    let arguments = "--exact --nocapture lifetime::an_unprivileged_user_mounts_and_unmounts";
    let script = format!("{CHILD}=1 {AS_OTHER} {} {arguments}", copied.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines().filter(|line| line.contains("skipped:")) {
        println!("{line}");
    }
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn user_mounts() {
    let Some(mut mounted) = Mounted::new(tree(), "noexec") else { return };
    let directory = mounted.path().to_owned();
    let options =
        printed(Path::new("/"), &format!("findmnt -n -o SOURCE,FSTYPE,OPTIONS {}", directory.display()));
    assert!(options.starts_with("/images/a_b_c.vhd fuse.spelunk ro,nosuid,nodev,noexec"), "{options}");
    assert_eq!(printed(&directory, "cat file; stat -c ' %U' file"), "content nobody\n");

    let open = std::fs::File::open(directory.join("file")).unwrap();
    assert_eq!(fuse::umount(&directory, false).map_err(|error| error.kind()), Err(ErrorKind::Denied));
    mounted.stopper.stop();
    assert_eq!(mounted.wait(), Ok(()));
    assert!(!is_mounted(&directory), "stopped while busy");
    drop(open);

    let mut mounted = Mounted::new(tree(), "").unwrap();
    printed(Path::new("/"), &format!("fusermount3 -u {}", mounted.path().display()));
    assert_eq!(mounted.wait(), Ok(()));
}
