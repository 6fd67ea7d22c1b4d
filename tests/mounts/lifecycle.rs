//! Who may mount, how a mount ends, and that nothing stays behind.

use super::{ext4_image, mount_foreground};
use crate::program;
use rustix::process::{Pid, Signal, kill_process};
use spelunk_testkit::peer::{self, Directory};
use spelunk_testkit::{image, process, skip, tool};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The user whom nothing belongs to.
const NOBODY: u32 = 65534;

/// How long a pipe may take to end after its last writer is said to have gone.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn mount_in_the_background_is_ready_when_the_command_returns() {
    let Some(image) = ext4_image() else { return };

    let mount = peer::spelunk_mount(program::path(), &image, &[]).expect("the image can be mounted");
    let count = fs::read_dir(mount.path().join("large")).expect("the directory can be listed").count();
    mount.unmount().expect("the mount ends");

    assert_eq!(count, 20_000);
}

/// How long mounts are made and ended, in seconds, unless `SPELUNK_MOUNT_SECONDS` says otherwise.
const CYCLES_SECONDS: f64 = 3.0;

#[test]
fn mounts_of_the_program_again_and_again_leave_no_process() {
    if !(skip::unless_fuse() && skip::unless_root("mounting without a helper"))
        || !skip::unless_found(&["mkfs.ext4"])
    {
        return;
    }
    let place = Directory::new().expect("a directory");
    let small = place.path().join("image-of-many-mounts");
    image::small_ext4(&small).expect("an image can be made");
    let seconds = std::env::var("SPELUNK_MOUNT_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(CYCLES_SECONDS));

    let mut count = 0;
    while Instant::now() < end {
        let mount = peer::spelunk_mount(program::path(), &small, &[]).expect("the image can be mounted");
        let hello = fs::read(mount.path().join("hello.txt"));
        let ended = program::run([OsStr::new("umount"), mount.path().as_os_str()]).expect("it runs");
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(!peer::is_mounted(mount.path()));
        assert_eq!(hello.expect("a file"), b"Hello from inside the image.\n");
        count += 1;
    }

    println!("{count} mounts");
    assert!(count > 0);
    assert_eq!(processes_with(&small), [] as [String; 0], "processes are left");
}

/// The processes in whose arguments a path stands.
fn processes_with(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("a path in UTF-8");
    let arguments = fs::read_dir("/proc").expect("the processes").flatten().filter_map(|entry| {
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    });
    arguments.filter(|arguments| arguments.contains(path)).collect()
}

#[test]
fn mount_in_the_background_keeps_nothing_that_the_shell_had_open() {
    let Some(image) = ext4_image() else { return };
    let directory = Directory::new().expect("a directory");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" mount "$@" 9>&1 >/dev/null"#]).arg(program::path());
    command.arg(image).arg(directory.path()).stdout(writer);

    let status = command.status().expect("the command runs");
    // Closes the end of the pipe that this process has.
    drop(command);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(reader.read(&mut [0]).ok()));
    let end = end.recv_timeout(PATIENCE);
    let is_mounted = peer::is_mounted(directory.path());
    peer::unmount(directory.path()).expect("the mount ends");

    assert!(status.success() && is_mounted, "{status}");
    assert_eq!(end, Ok(Some(0)), "the pipe has not ended");
}

#[test]
fn unprivileged_user_mounts_through_fusermount3() {
    let Some(image) = ext4_image() else { return };
    if !skip::unless_found(&["fusermount3"]) {
        return;
    }
    // Copies of the program and the image that the user can reach, wherever the workspace lies.
    let place = Directory::new().expect("a directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("may be entered");
    let small = place.path().join("image");
    image::small_ext4(&small).expect("an image can be made");
    let copy = place.path().join("spelunk");
    fs::copy(program::path(), &copy).expect("the program can be copied");
    drop(image);
    let directory = Directory::new().expect("a directory");
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("the directory can be given away");
    let mut command = Command::new(&copy);
    command.uid(NOBODY).gid(NOBODY);

    let mut mount =
        peer::spelunk_mount_foreground(command, &small, &[], directory).expect("nobody can mount");
    let as_nobody = |program: &str, arguments: &[&str]| {
        tool::output(Command::new(program).args(arguments).arg(mount.path()).uid(NOBODY).gid(NOBODY))
    };
    let listing = as_nobody("ls", &["-A"]).expect("nobody can list");
    as_nobody("fusermount3", &["-u"]).expect("nobody can unmount");
    let code = mount.wait_for_server().expect("the program ends");

    assert!(String::from_utf8_lossy(&listing.stdout).contains("hello.txt"), "{listing:?}");
    assert_eq!(code, Some(0));
    assert!(!peer::is_mounted(mount.path()));
}

#[test]
fn mount_ends_by_umount() {
    let Some(image) = ext4_image() else { return };
    ends_cleanly(&image, "umount", |mount, _| {
        tool::run("umount", [mount]).expect("umount works");
    });
}

#[test]
fn mount_ends_by_fusermount3() {
    let Some(image) = ext4_image() else { return };
    if skip::unless_found(&["fusermount3"]) {
        ends_cleanly(&image, "fusermount3 -u", |mount, _| {
            tool::run("fusermount3", ["-u".as_ref(), mount.as_os_str()]).expect("fusermount3 works");
        });
    }
}

#[test]
fn mount_ends_by_sigterm() {
    let Some(image) = ext4_image() else { return };
    ends_cleanly(&image, "SIGTERM", |_, server| {
        kill_process(server, Signal::TERM).expect("the server is there");
    });
}

#[test]
fn mount_ends_by_sigint() {
    let Some(image) = ext4_image() else { return };
    ends_cleanly(&image, "SIGINT", |_, server| {
        kill_process(server, Signal::INT).expect("the server is there");
    });
}

/// Mounts, ends the mount so, and looks for what stays behind.
fn ends_cleanly(image: &Path, how: &str, end: impl Fn(&Path, Pid)) {
    let mut mount = mount_foreground(image, &[]).expect("the image can be mounted");
    let server = mount.server().expect("a server in the foreground");
    let family = process::descendants(server);
    assert!(!family.is_empty(), "no worker below the server");

    end(mount.path(), pid(server));
    let code = mount.wait_for_server().expect("the server ends");

    assert!(matches!(code, Some(0 | 130)), "{how}: exit code {code:?}");
    assert!(!peer::is_mounted(mount.path()), "{how}: still mounted");
    let left: Vec<u32> = family.into_iter().filter(|&each| process::is_running(each)).collect();
    assert!(left.is_empty(), "{how}: workers {left:?} are left");
}

/// A process id as system calls take it.
pub fn pid(raw: u32) -> Pid {
    i32::try_from(raw).ok().and_then(Pid::from_raw).expect("the id of a process")
}
