//! `--stats`: what of a file is plain in the image is read by the host; the worker decodes the rest alone.

use super::{Ended, spelunk};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{skip, tool};
use std::path::Path;
use std::process::Command;

/// Bytes of the file in each image, `data.bin`.
const FILE_BYTES: u64 = 3_000_000;

/// How the file gets into a filesystem of each kind, and the tools for it. The image is `disk.img`.
const MAKE: [(&str, &[&str], &str); 4] = [
    ("ext4", &["mkfs.ext4"], "mkdir root; cp data.bin root; mkfs.ext4 -q -d root disk.img 16M"),
    (
        "ntfs",
        &["mkntfs", "ntfscp"],
        "truncate -s 16M disk.img; mkntfs -q -F disk.img; ntfscp -q disk.img data.bin data.bin",
    ),
    ("vfat", &["mkfs.fat", "mcopy"], "mkfs.fat -C disk.img 16384; mcopy -i disk.img data.bin ::/data.bin"),
    (
        "exfat",
        &["mkfs.exfat", "mount.exfat-fuse", "losetup"],
        "truncate -s 16M disk.img; mkfs.exfat disk.img
         loop=$(losetup --show -f disk.img); trap 'losetup -d $loop' EXIT
         mkdir at; mount.exfat-fuse $loop at; cp data.bin at; umount at",
    ),
];

/// The numbers of the line: bytes read, bytes decoded, requests, restarts.
fn numbers(ended: &Ended) -> Vec<u64> {
    let line = ended.stderr.lines().find_map(|line| line.strip_prefix("stats: ")).expect("a line of numbers");
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn make(directory: &Path, script: &str) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let data = format!("head -c {FILE_BYTES} /dev/urandom > data.bin; {script}");
    let mut command = Command::new("sh");
    tool::output(command.args(["-ec", &data]).current_dir(directory).env("PATH", path)).expect("an image");
}

#[test]
fn plain_files_of_every_filesystem_are_read_from_the_image_by_the_host() {
    for (filesystem, tools, script) in MAKE {
        let needs_root = tools.contains(&"losetup");
        if !skip::unless_found(tools) || (needs_root && !skip::unless_root(filesystem)) {
            continue;
        }
        let directory = Directory::new().expect("a directory");
        make(directory.path(), script);
        let image = directory.path().join("disk.img").to_string_lossy().into_owned();

        let cat = spelunk(["cat", "--stats", &image, "data.bin"]);

        assert_eq!(cat.code, Some(0), "{filesystem}: {}", cat.stderr);
        assert_eq!(cat.stdout, std::fs::read(directory.path().join("data.bin")).expect("the file"));
        let [read, decoded, requests, restarts] = numbers(&cat)[..] else { panic!("{}", cat.stderr) };
        assert_eq!((read, decoded, restarts), (FILE_BYTES, 0, 0), "{filesystem}");
        assert!((1..50).contains(&requests), "{filesystem}: {requests} requests");
    }
}

#[test]
fn resident_files_are_decoded_by_the_worker() {
    // What is inside a file's own record has to be decoded, too: nothing in the image is the file's alone.
    let Some(image) = super::fixture::ntfs() else { return };

    let cat = spelunk(["cat", "--stats", &image.path().to_string_lossy(), "file.txt"]);

    assert_eq!(numbers(&cat)[..2], [0, 4], "{}", cat.stderr);
}

#[test]
fn mount_in_the_background_says_that_nobody_would_hear_its_stats() {
    let mount = spelunk(["mount", "--stats", "disk.img", "/mnt"]);

    assert_eq!(mount.code, Some(2), "{}", mount.stderr);
    assert!(mount.stderr.contains("--foreground"), "{}", mount.stderr);
}
