//! Volumes that lie on several disks, as whole commands.

use super::{Ended, spelunk};
use spelunk_testkit::assemblies;
use spelunk_testkit::peer::{self, Directory};
use spelunk_testkit::{skip, walk};
use std::ffi::OsStr;
use std::path::PathBuf;

fn disk(name: &str) -> PathBuf {
    assemblies::directory().expect("the disks").join(format!("{name}.img"))
}

fn run(arguments: &[&str], disks: &[PathBuf]) -> Ended {
    let disks = disks.iter().map(|disk| disk.as_os_str());
    spelunk(arguments.iter().map(OsStr::new).chain(disks))
}

#[test]
fn disks_that_are_mounted_together_show_the_files_that_the_kernel_read() {
    if !skip::unless_fuse() || !skip::unless_root("mounting") {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let places = [disk("lvm-a"), disk("lvm-b"), directory.path().to_owned()];

    let ended = run(&["mount"], &places);
    let mut wrong = Vec::new();
    let truth = assemblies::truth().expect("what the kernel read");
    let volumes = ["vg0-lin", "vg0-my--data", "vg0-striped", "vg0-mir", "vg0-r1", "vg0-r0"];
    for volume in volumes {
        for (path, hash) in &truth[volume].files {
            let read = walk::hash_file(&directory.path().join(volume).join(path));
            if read.as_ref().ok() != Some(hash) {
                wrong.push(format!("{volume}/{path}: {read:?}, not {hash}"));
            }
        }
    }
    peer::unmount(directory.path()).expect("the mount ends");

    assert_eq!((ended.code, ended.text()), (Some(0), ""));
    assert!(ended.stderr.starts_with("warning: vg0-old: "), "{}", ended.stderr);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_logical_volume_is_picked_by_its_name() {
    let picked = run(&["cat", "--volume", "vg0-lin"], &[disk("lvm-a"), "name.txt".into()]);
    assert_eq!(picked.code, Some(1));
    assert!(picked.stderr.contains("lacks physical volume"), "{}", picked.stderr);

    let with = disk("lvm-b");
    let with = with.to_str().expect("UTF-8");
    let picked = run(&["cat", "--with", with, "--volume", "vg0-lin"], &[disk("lvm-a"), "name.txt".into()]);
    assert_eq!(picked.success(), "this is lin\n");
}

#[test]
fn info_names_what_is_missing_and_what_the_disks_are_members_of() {
    let alone = run(&["info"], &[disk("lvm-b")]);
    let note = "note          volume group vg0 lacks physical volume ";
    assert!(
        alone.text().contains(note) && alone.text().contains("; give its image as well"),
        "{}",
        alone.text()
    );

    let together = run(&["info", "--json"], &[disk("lvm-a"), disk("lvm-b")]);
    let document: serde_json::Value = serde_json::from_str(together.success()).expect("an object");
    assert_eq!(document["others"][0]["size_bytes"], 16 << 20);
    let volumes = document["volumes"].as_array().expect("volumes");
    assert_eq!(volumes[1]["directory"], "d2p0");
    assert_eq!(volumes[1]["member_of"], "lvm2 member of vg0");
    assert_eq!(volumes[2]["directory"], "vg0-lin");
    assert_eq!(volumes[2]["assembled"]["group"], "vg0");
    assert_eq!(volumes[2]["assembled"]["segments"][0], "linear");
}

#[test]
fn an_image_that_is_not_there_is_named() {
    let ended = run(&["info"], &[disk("lvm-a"), disk("no-such-disk")]);

    assert_eq!(ended.code, Some(10), "{}", ended.stderr);
    assert!(ended.stderr.contains("no-such-disk"), "{}", ended.stderr);
}

#[test]
fn more_disks_than_may_be_are_over_a_limit() {
    let ended = run(&["info"], &vec![disk("lvm-a"); 65]);

    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("more than 64 disks"), "{}", ended.stderr);
}
