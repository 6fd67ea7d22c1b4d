//! A worker that dies or hangs costs at most the request that met it: the mount goes on.

use super::lifecycle::pid;
use super::{ext4_image, mount_foreground};
use rustix::process::{Signal, kill_process};
use spelunk_testkit::peer::Mount;
use spelunk_testkit::process;
use std::fs;
use std::path::{Path, PathBuf};
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
