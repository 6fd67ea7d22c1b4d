//! `spelunk mount` of disks that cannot be shown whole.

use super::{fixture, spelunk};
use spelunk_testkit::peer::{self, Directory};
use spelunk_testkit::skip;
use std::ffi::OsStr;
use std::fs;

#[test]
fn volume_that_cannot_be_opened_is_told_listed_and_an_error_to_enter() {
    if !skip::unless_fuse() || !skip::unless_root("mounting") || !fixture::can_be_made() {
        return;
    }
    let image = fixture::partitioned();
    let directory = Directory::new().expect("a directory");

    let ended = spelunk([OsStr::new("mount"), image.path(), directory.path().as_os_str()]);
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .expect("the mount can be listed")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    let broken = fs::read_dir(directory.path().join("p4")).err().and_then(|error| error.raw_os_error());
    let sound = fs::read(directory.path().join("p3/docs/a.txt"));
    peer::unmount(directory.path()).expect("the mount ends");

    assert_eq!((ended.code, ended.text()), (Some(0), ""));
    assert_eq!(ended.stderr, "warning: p4: not supported: no known filesystem\n");
    assert_eq!(names, ["p1", "p3", "p4"]);
    assert!(broken.is_some_and(|code| code != rustix::io::Errno::NOENT.raw_os_error()), "{broken:?}");
    assert_eq!(sound.expect("the other volumes can be read"), b"aaaa");
}

#[test]
fn disk_without_a_volume_that_can_be_opened_is_not_mounted() {
    if !skip::unless_fuse() || !fixture::can_be_made() {
        return;
    }
    let image = fixture::partitioned();
    let directory = Directory::new().expect("a directory");

    for options in [&["--volume", "p4"][..], &["--volume", "p2"]] {
        let arguments = [OsStr::new("mount"), image.path(), directory.path().as_os_str()];
        let ended = spelunk(arguments.into_iter().chain(options.iter().map(OsStr::new)));

        assert_eq!(ended.code, Some(1), "{options:?}: {}", ended.stderr);
        assert!(!peer::is_mounted(directory.path()), "{options:?}");
    }
}

#[test]
fn mount_shows_one_library_only() {
    let directory = Directory::new().expect("a directory");
    let place = directory.path().as_os_str();

    let ended = spelunk([OsStr::new("mount"), OsStr::new("--library"), place, place, place]);

    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("a mount shows one library"), "{}", ended.stderr);
}
