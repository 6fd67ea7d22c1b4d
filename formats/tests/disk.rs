//! Whole disks through the public door, against blkid's view of their volumes.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod images;

use images::{CorpusImage, FileImage, corpus};
use spelunk_formats::container::ParentSource;
use spelunk_formats::disk::{self, OpenDisk};
use spelunk_formats::guest::{GUESTS, Options};
use spelunk_tree::{ErrorKind, ParentRef, ReadAt, Result, VolumeInfo};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const DISKS: &[&str] = &[
    "dftt-extend-part",
    "dfvfs-gpt",
    "dfvfs-gpt_non_sequential",
    "dfvfs-mbr",
    "dissect-ntfs-ntfs",
    "dissect-volume-gpt",
    "dissect-volume-gpt_4k",
    "dissect-volume-gpt_hybrid",
    "gen-gpt-256-entries-raw-A",
    "gen-gpt-4k-sectors-raw-A",
    "gen-gpt-backup-destroyed-raw-A",
    "gen-gpt-grown-disk-raw-A",
    "gen-gpt-hybrid-mbr-raw-A",
    "gen-gpt-lvm2-raw-A",
    "gen-gpt-mixed-raw-A",
    "gen-gpt-no-protective-mbr-raw-A",
    "gen-gpt-primary-destroyed-raw-A",
    "gen-gpt-truncated-copy-raw-A",
    "gen-mbr-4primary-raw-A",
    "gen-mbr-logical-raw-A",
    "gen-mbr-sector63-raw-A",
    "gen-superfloppy-fat16-raw-A",
    "gen-superfloppy-ntfs-raw-A",
    "gptcrate-disk",
    "gptman-disk1",
    "gptman-disk2",
    "suhanov-ntfs-ptrn",
];

struct NoParents;

impl ParentSource for NoParents {
    fn next_candidate(&mut self, _: u32, _: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }
}

fn open(path: &Path) -> OpenDisk {
    disk::open(Arc::new(FileImage::open(path)), &mut NoParents, &Options::default()).unwrap()
}

/// What blkid says of a volume, by its keys.
fn blkid(image: &CorpusImage, volume: &VolumeInfo) -> BTreeMap<String, String> {
    let mut command = Command::new("/sbin/blkid");
    command.args(["-p", "-o", "export", "-O", &volume.start_bytes.to_string()]);
    let output = command.args(["-S", &volume.size_bytes.to_string()]).arg(&image.path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    // It escapes for the shell.
    pairs.map(|(key, value)| (key.into(), value.replace('\\', ""))).collect()
}

#[test]
fn corpus_disks_have_the_volumes_that_blkid_finds() {
    let Some(images) = corpus(DISKS) else { return };
    let mut compared = 0;
    for image in images {
        let OpenDisk { info, trees } = open(&image.path);
        assert_eq!(info.volumes.len(), trees.len());
        assert!(!info.volumes.is_empty(), "{}", image.id);
        for (volume, tree) in info.volumes.iter().zip(&trees) {
            let what = format!("{} {}", image.id, volume.directory_name());
            assert_eq!(volume.filesystem.is_ok(), tree.is_some(), "{what}");
            let is_elsewhere = volume.start_bytes + volume.size_bytes > info.size_bytes;
            if is_elsewhere || volume.is_extended || volume.assembled.is_some() {
                continue;
            }
            let blkid = blkid(&image, volume);
            let get = |key| blkid.get(key).map_or("", String::as_str);
            match &volume.filesystem {
                Ok(tree) => {
                    let label = String::from_utf8_lossy(&tree.label).into_owned();
                    let ours = [tree.filesystem.as_str(), &label, &tree.uuid];
                    assert_eq!(ours, [get("TYPE"), get("LABEL"), get("UUID")], "{what}");
                    compared += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error:?}");
                    let has_reader = GUESTS.iter().any(|guest| match guest.name {
                        "fat" => get("TYPE") == "vfat",
                        name => get("TYPE").starts_with(name),
                    });
                    assert!(!has_reader, "{what}: {blkid:?}");
                }
            }
        }
    }
    assert!(compared > 0);
    eprintln!("{compared} volumes compared");
}

#[test]
fn whole_disk_volume_has_the_number_zero() {
    let Some(images) = corpus(&["gen-superfloppy-fat16-raw-A"]) else { return };
    let info = open(&images[0].path).info;

    assert_eq!((info.table.as_str(), info.table_id.as_str()), ("none", ""));
    assert_eq!((info.volumes[0].number, info.volumes[0].size_bytes), (0, info.size_bytes));
}

#[test]
fn truncated_disk_lists_its_volumes_and_says_why_they_cannot_be_opened() {
    let Some(images) = corpus(&["dissect-volume-gpt"]) else { return };
    let info = open(&images[0].path).info;

    assert_eq!(info.volumes.len(), 2);
    assert!(info.notes.iter().any(|note| note.contains("partition 2 leaves the disk")), "{:?}", info.notes);
    let kinds: Vec<ErrorKind> =
        info.volumes.into_iter().map(|it| it.filesystem.unwrap_err().kind()).collect();
    // The beginning of the first is there, and empty.
    assert_eq!(kinds, [ErrorKind::Unsupported, ErrorKind::Corrupt]);
}
