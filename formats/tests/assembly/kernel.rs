//! Against what the kernel read.

use crate::images::walk;
use crate::support::{assemble, disks, open, volume};
use sha2::{Digest, Sha256};
use spelunk_formats::disk::OpenDisk;
use spelunk_testkit::assemblies::{self, Truth};
use spelunk_tree::{ErrorKind, Kind, Place, ReadAt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind of members, the disks, and what is on them: a directory, and what the kernel's manifest calls it.
type Set = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const SETS: &[Set] = &[
    (
        "lvm2",
        &["lvm-a", "lvm-b"],
        &[
            ("vg0-lin", "vg0-lin"),
            ("vg0-my--data", "vg0-my--data"),
            ("vg0-striped", "vg0-striped"),
            ("vg0-mir", "vg0-mir"),
            ("vg0-r1", "vg0-r1"),
            ("vg0-r0", "vg0-r0"),
        ],
    ),
    (
        "lvm2",
        &["lvm-thin"],
        &[("thin-sparse", "thin-sparse"), ("thin-full", "thin-full"), ("thin-snap", "thin-snap")],
    ),
    ("lvm2", &["lvm-r5-a", "lvm-r5-b", "lvm-r5-c"], &[("five-plain", "five-plain")]),
    ("md", &["md-090-0", "md-090-1"], &[("md9", "md-090")]),
    ("md", &["md-10-0", "md-10-1"], &[("r1.0", "md-10")]),
    ("md", &["md-11-0", "md-11-1"], &[("r1.1", "md-11")]),
    ("md", &["md-12-0", "md-12-1"], &[("r1.2", "md-12")]),
    ("md", &["md-12-1"], &[("r1.2", "md-12")]),
    ("md", &["md-linear-0", "md-linear-1"], &[("line", "md-linear")]),
    ("md", &["md-linear-1", "md-linear-0"], &[("line", "md-linear")]),
    ("md", &["md-linear090-0", "md-linear090-1"], &[("md9", "md-linear090")]),
    ("md", &["md-stripe-0", "md-stripe-1", "md-stripe-2"], &[("stripe", "md-stripe")]),
    ("md", &["md-stale-0", "md-stale-1"], &[("stale", "md-stale")]),
    ("md", &["md-stale-1", "md-stale-0"], &[("stale", "md-stale")]),
];

/// Arrays in which other things lie.
const NESTED: &[(&[&str], &str, &str)] = &[
    (&["md-lvm-0", "md-lvm-1"], "nested-data", "nested-data"),
    (&["md-lvm-1"], "nested-data", "nested-data"),
    (&["md-parts-0", "md-parts-1"], "partsp1", "partsp1"),
    (&["md-parts-0"], "partsp1", "partsp1"),
];

fn truth(name: &str) -> Truth {
    assemblies::truth().unwrap().remove(name).unwrap_or_else(|| panic!("the kernel read no {name}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of a device's bytes, read through it, and read from the disks where its runs say.
fn hashes(device: &dyn ReadAt, disks: &[Arc<dyn ReadAt>]) -> (String, String) {
    const PIECE: u64 = 1 << 20;
    let (mut direct, mut through_runs) = (Sha256::new(), Sha256::new());
    let mut offset = 0;
    while offset < device.size() {
        let len = PIECE.min(device.size() - offset);
        let mut bytes = vec![0; len as usize];
        device.read_at(offset, &mut bytes).unwrap();
        direct.update(&bytes);
        let mut runs = Vec::new();
        device.runs(offset, len, &mut runs).unwrap();
        assert_eq!(runs.iter().map(|run| run.len).sum::<u64>(), len);
        for run in runs {
            let mut bytes = vec![0; run.len as usize];
            match run.place {
                Place::At { source, offset } => disks[source as usize].read_at(offset, &mut bytes).unwrap(),
                Place::Zero => {}
                Place::Opaque => panic!("nothing here is to be decoded"),
            }
            through_runs.update(&bytes);
        }
        offset += len;
    }
    (hex(&direct.finalize()), hex(&through_runs.finalize()))
}

fn assert_files(disk: &OpenDisk, directory: &str, truth: &Truth) {
    let index = disk.info.volumes.iter().position(|volume| volume.directory == directory).unwrap();
    let tree = disk.trees[index].as_ref().unwrap_or_else(|| panic!("{:?}", disk.info.volumes[index]));
    let files = walk(&**tree).into_iter().filter(|found| found.attr.kind == Kind::File);
    let files: BTreeMap<String, String> = files.map(|found| (found.path, found.hash)).collect();
    assert_eq!(files, truth.files, "{directory}");
}

#[test]
fn devices_have_the_bytes_that_the_kernel_read_directly_and_through_runs() {
    for (kind, names, devices) in SETS {
        let disks = disks(names);
        let assembled = assemble(kind, &disks);
        for (directory, name) in *devices {
            let device = assembled.devices.iter().find(|device| device.directory == *directory).unwrap();
            let content = device.content.as_ref().unwrap();
            let truth = truth(name);
            assert_eq!((content.size(), device.size_bytes), (truth.size, truth.size), "{name}");
            let expected = (truth.device.clone(), truth.device);
            assert_eq!(hashes(&**content, &disks), expected, "{name} of {names:?}");
        }
    }
}

#[test]
fn files_are_those_that_the_kernel_read_also_in_what_lies_in_something_else() {
    for (_, names, devices) in SETS {
        let disk = open(disks(names));
        for (directory, name) in *devices {
            assert_files(&disk, directory, &truth(name));
        }
    }
    for (names, directory, name) in NESTED {
        assert_files(&open(disks(names)), directory, &truth(name));
    }
}

#[test]
fn members_are_shown_as_such_and_hidden_volumes_not_at_all() {
    let disk = open(disks(&["lvm-a", "lvm-b"]));

    let shown: Vec<&str> = disk.info.volumes.iter().map(|volume| &*volume.directory).collect();

    assert_eq!(
        shown,
        ["p0", "d2p0", "vg0-lin", "vg0-my--data", "vg0-striped", "vg0-mir", "vg0-r1", "vg0-r0", "vg0-old"]
    );
    assert_eq!(volume(&disk, "d2p0").member_of, "lvm2 member of vg0");
    let lin = volume(&disk, "vg0-lin");
    let assembled = lin.assembled.as_ref().unwrap();
    assert_eq!(
        (&*assembled.group, &*lin.name, &assembled.segments[..]),
        ("vg0", "lin", &["linear".to_owned()][..])
    );
    assert_eq!(volume(&disk, "vg0-r1").assembled.as_ref().unwrap().segments, ["raid1 of 2"]);
    assert_eq!(disk.info.notes, Vec::<String>::new());
}

#[test]
fn a_snapshot_is_refused_by_name_and_its_origin_is_shown() {
    let disk = open(disks(&["lvm-a", "lvm-b"]));

    let error = volume(&disk, "vg0-old").filesystem.clone().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(format!("{error:?}").contains("snapshot of my-data"), "{error:?}");
}

#[test]
fn what_does_not_need_a_missing_physical_volume_is_shown_without_it() {
    let disk = open(disks(&["lvm-b"]));

    assert_files(&disk, "vg0-my--data", &truth("vg0-my--data"));
    for name in ["vg0-lin", "vg0-striped", "vg0-r0"] {
        let error = volume(&disk, name).filesystem.clone().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
        assert!(format!("{error:?}").contains("volume group vg0 lacks physical volume "), "{error:?}");
    }
    let note = disk.info.notes.join("\n");
    assert!(
        note.contains("volume group vg0 lacks physical volume ") && note.contains("give its image as well"),
        "{note}"
    );
}

#[test]
fn mirrors_are_shown_by_the_leg_that_is_there_and_say_so() {
    for (names, missing) in [(["lvm-a"], 1), (["lvm-b"], 0)] {
        let disk = open(disks(&names));
        assert_files(&disk, "vg0-r1", &truth("vg0-r1"));
        assert_files(&disk, "vg0-mir", &truth("vg0-mir"));
        let notes = &volume(&disk, "vg0-r1").assembled.as_ref().unwrap().notes;
        assert_eq!(*notes, [format!("leg {missing} of the mirror is missing; leg {} is shown", 1 - missing)]);
    }
}

#[test]
fn kinds_that_are_not_read_are_refused_by_name() {
    for (names, directory, kind) in [
        (&["lvm-thin"][..], "thin-slow", "cache volumes"),
        (&["lvm-r5-a", "lvm-r5-b", "lvm-r5-c"], "five-r5", "raid5 volumes"),
        (&["md-five-0", "md-five-1", "md-five-2"], "five", "raid5 arrays"),
    ] {
        let error = volume(&open(disks(names)), directory).filesystem.clone().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{directory}");
        assert!(format!("{error:?}").contains(kind), "{error:?}");
    }
}

#[test]
fn a_stale_leg_is_shown_only_where_nothing_newer_is_known() {
    let both = open(disks(&["md-stale-1", "md-stale-0"]));
    let notes = &volume(&both, "stale").assembled.as_ref().unwrap().notes;
    assert!(notes.iter().any(|note| note.starts_with("p0 is not up to date")), "{notes:?}");

    let alone = open(disks(&["md-stale-1"]));
    let tree = alone.trees.iter().flatten().next().unwrap();
    let name = walk(&**tree).into_iter().find(|found| found.path == "name.txt").unwrap();
    assert_ne!(name.hash, truth("md-stale").files["name.txt"]);
}

#[test]
fn arrays_that_lack_a_member_name_what_is_missing() {
    let error = volume(&open(disks(&["md-linear-0"])), "line").filesystem.clone().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.message().contains("1 of the 2 members"), "{error:?}");
}
