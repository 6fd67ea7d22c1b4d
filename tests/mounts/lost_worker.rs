//! A worker that dies or hangs costs at most the request that met it: the mount goes on.

use super::lifecycle::pid;
use super::{ext4_image, mount_foreground};
use rustix::process::{Signal, kill_process};
use spelunk_testkit::peer::{Directory, Mount};
use spelunk_testkit::{image, process, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A deadline that a living worker keeps easily, in seconds.
const DEADLINE: &str = "3";

#[test]
fn killed_worker_costs_at_most_one_error_and_the_walk_goes_on() {
    let Some(image) = ext4_image() else { return };
    let mount = mount_foreground(&image, &[]).expect("the image can be mounted");
    let whole = count(mount.path());

    let again = mount_foreground(&image, &[]).expect("the image can be mounted twice");
    let mut errors = Vec::new();
    let mut read = 0;
    for (index, path) in paths(again.path(), &mut errors).into_iter().enumerate() {
        if index == 500 {
            signal_workers(&again, Signal::KILL);
        }
        match fs::read(&path) {
            Ok(_) => read += 1,
            Err(error) => errors.push(error),
        }
    }

    assert!(errors.len() <= 1, "{} errors, the first: {:?}", errors.len(), errors.first());
    assert_eq!(count(again.path()), whole);
    assert!(read > 5000, "only {read} files could be read");
    again.unmount().expect("the mount ends");
    mount.unmount().expect("the mount ends");
}

#[test]
fn worker_killed_in_the_middle_of_a_listing_costs_at_most_one_error() {
    let Some(image) = ext4_image() else { return };
    let mount = mount_foreground(&image, &[]).expect("the image can be mounted");

    let mut errors = 0;
    let mut names = 0;
    for entry in fs::read_dir(mount.path().join("large")).expect("the directory can be opened") {
        names += 1;
        errors += u32::from(entry.is_err());
        if names == 100 {
            signal_workers(&mount, Signal::KILL);
        }
    }
    let after = fs::read_dir(mount.path().join("large")).expect("the directory can be opened again").count();
    mount.unmount().expect("the mount ends");

    assert!(errors <= 1, "{errors} errors");
    assert_eq!(after, 20_000);
}

#[test]
fn hung_worker_is_caught_by_the_deadline_and_the_mount_goes_on() {
    let Some(image) = ext4_image() else { return };
    let mount = mount_foreground(&image, &["--deadline", DEADLINE]).expect("the image can be mounted");
    let large = mount.path().join("large");

    signal_workers(&mount, Signal::STOP);
    let start = Instant::now();
    let first = list(&large);
    let took = start.elapsed();
    let second = list(&large);
    mount.unmount().expect("the mount ends");

    assert!(took < Duration::from_secs(20), "the deadline of {DEADLINE} s came after {took:?}");
    assert!(first.is_err() || took > Duration::from_secs(2), "the stopped worker answered");
    assert_eq!(second.expect("the mount goes on"), 20_000);
}

/// More than a mount has threads of its own, on whatever machine.
const ASKERS: usize = 100;

#[test]
fn many_who_wait_for_a_hung_disk_leave_the_others_of_the_mount_to_be_read() {
    if !skip::unless_fuse() || !skip::unless_found(&["mkfs.ext4"]) {
        return;
    }
    let library = Directory::new().expect("a directory");
    let images = ["hung.img", "good.img"];
    let disks = library.path().join("disks");
    fs::create_dir(&disks).expect("a directory");
    for image in images {
        image::small_ext4(&disks.join(image)).expect("an image can be made");
    }
    let mount = mount_foreground(library.path(), &["--library", "--deadline", "10"]).expect("a mount");
    let latest = fs::canonicalize(mount.path().join("disks/latest")).expect("the backup is there");
    let [hung, good] = images.map(|image| latest.join(image));
    let worker = |root: &Path| {
        let before = process::descendants(mount.server().expect("a server"));
        fs::read(root.join("hello.txt")).expect("a file is read");
        let after = process::descendants(mount.server().expect("a server"));
        after.into_iter().filter(|pid| !before.contains(pid)).collect::<Vec<_>>()
    };
    let workers = worker(&hung);
    assert!(!workers.is_empty(), "the disk had a worker before anyone asked");
    assert!(!worker(&good).is_empty());
    for worker in workers {
        kill_process(pid(worker), Signal::STOP).expect("it is stopped");
    }

    let started = Instant::now();
    let ask = |number: usize| {
        let mut stat = Command::new("stat");
        stat.arg(hung.join(format!("not there {number}"))).stderr(Stdio::null()).stdout(Stdio::null());
        stat.spawn().expect("stat starts")
    };
    let mut askers: Vec<_> = (0..ASKERS).map(ask).collect();
    std::thread::sleep(Duration::from_secs(1));
    let ended = askers.iter_mut().map(|each| each.try_wait().expect("a child"));
    let answered = ended.filter(Option::is_some).count();
    // Nothing that the kernel or the program knows already.
    let listing = fs::read_dir(&good).map(Iterator::count);
    let missing = fs::metadata(good.join("not there")).map_err(|error| error.kind());
    let took = started.elapsed();
    for asker in &mut askers {
        asker.wait().expect("the deadline ends it");
    }
    mount.unmount().expect("the mount ends");

    assert_eq!(answered, 0, "the stopped worker answered");
    assert!(listing.is_ok_and(|entries| entries > 1));
    assert_eq!(missing.err(), Some(std::io::ErrorKind::NotFound));
    assert!(took < Duration::from_secs(6), "the other disk answered after {took:?}");
}

/// How many entries a directory has. Nothing of it stays open.
fn list(directory: &Path) -> std::io::Result<usize> {
    fs::read_dir(directory)?.try_fold(0, |count, entry| entry.map(|_| count + 1))
}

fn signal_workers(mount: &Mount, signal: Signal) {
    let workers = process::descendants(mount.server().expect("a server in the foreground"));
    assert!(!workers.is_empty(), "no worker below the server");
    for worker in workers {
        // A child may have gone together with its parent.
        _ = kill_process(pid(worker), signal);
    }
}

/// All regular files of the home directories, in the order of the walk.
fn paths(root: &Path, errors: &mut Vec<std::io::Error>) -> Vec<PathBuf> {
    let mut directories = vec![root.join("home")];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        for entry in entries.unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        }) {
            match entry.file_type() {
                Ok(found) if found.is_dir() => directories.push(entry.path()),
                Ok(_) => files.push(entry.path()),
                Err(error) => errors.push(error),
            }
        }
    }
    files.truncate(8000);
    files
}

fn count(root: &Path) -> usize {
    paths(root, &mut Vec::new()).len()
}
