//! One guest in every container: what the program shows of each is what it shows of the raw image.

use crate::program;
use spelunk_testkit::image::small_ext4;
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{skip, tool};
use std::path::Path;

/// Formats and options of qemu-img.
const CONTAINERS: &[(&str, &str)] = &[
    ("qcow2", "compat=0.10"),
    ("qcow2", "cluster_size=512"),
    ("qcow2", "extended_l2=on,cluster_size=128k"),
    ("vmdk", ""),
    ("vmdk", "subformat=monolithicFlat"),
    ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("vmdk", "subformat=twoGbMaxExtentFlat"),
    ("vmdk", "subformat=streamOptimized"),
    ("vdi", ""),
    ("vdi", "static=on"),
];

/// Formats that take compressed blocks, with the options for it.
const COMPRESSED: &[(&str, &str)] =
    &[("qcow2", "compression_type=zlib,cluster_size=8k"), ("qcow2", "compression_type=zstd")];

fn manifest(image: &Path) -> String {
    let finished = program::run(["manifest".as_ref(), image.as_os_str()]).expect("the program runs");
    assert_eq!(finished.code, 0, "{}: {}", image.display(), finished.stderr);
    assert!(finished.stdout.lines().count() > 4, "{}", finished.stdout);
    finished.stdout
}

/// `qemu-img` with the words of `line`, in `directory`.
fn qemu_img(directory: &Path, line: &str) {
    let mut command = std::process::Command::new("qemu-img");
    tool::output(command.args(line.split_whitespace()).current_dir(directory)).expect("qemu-img");
}

fn convert(directory: &Path, flags: &str, format: &str, options: &str) {
    let options = if options.is_empty() { String::new() } else { format!("-o {options}") };
    qemu_img(directory, &format!("convert {flags} -f raw -O {format} {options} raw.img image.{format}"));
}

#[test]
fn guest_is_the_same_in_every_container() {
    if !skip::unless_found(&["qemu-img", "mkfs.ext4"]) {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let directory = directory.path();
    small_ext4(&directory.join("raw.img")).expect("an image");
    let expected = manifest(&directory.join("raw.img"));
    let cases = CONTAINERS.iter().map(|case| ("", case)).chain(COMPRESSED.iter().map(|case| ("-c", case)));
    for (flags, (format, options)) in cases {
        convert(directory, flags, format, options);

        let actual = manifest(&directory.join(format!("image.{format}")));

        assert_eq!(actual, expected, "{format} {options}");
    }
}

#[test]
fn guest_in_a_chain_is_read_through_the_jail() {
    if !skip::unless_found(&["qemu-img", "mkfs.ext4"]) {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let directory = directory.path();
    small_ext4(&directory.join("raw.img")).expect("an image");
    let expected = manifest(&directory.join("raw.img"));
    // The base has nothing but the disk's first half; the child is what turns it into the whole.
    std::fs::copy(directory.join("raw.img"), directory.join("base.img")).expect("a copy");
    let half = std::fs::File::options().write(true).open(directory.join("base.img")).expect("the base");
    half.set_len(2 << 20).expect("cutting");
    qemu_img(directory, "convert -f raw -O qcow2 -F raw -B base.img raw.img child.qcow2");
    qemu_img(directory, "create -q -f qcow2 -F qcow2 -b child.qcow2 grandchild.qcow2");
    convert(directory, "", "vmdk", "subformat=twoGbMaxExtentSparse");
    qemu_img(directory, "create -q -f vmdk -F vmdk -b image.vmdk child.vmdk");

    assert_eq!(manifest(&directory.join("child.vmdk")), expected);
    assert_eq!(manifest(&directory.join("grandchild.qcow2")), expected);

    std::fs::rename(directory.join("base.img"), directory.join("renamed.img")).expect("renaming");
    let finished = program::run(["manifest".as_ref(), directory.join("grandchild.qcow2").as_os_str()]);
    let finished = finished.expect("the program runs");
    assert_eq!(finished.code, 10, "{}", finished.stderr);
    assert!(finished.stderr.contains("the parent \"base.img\" of image 1 is missing"), "{}", finished.stderr);
}

#[test]
fn snapshot_in_an_image_is_shown_as_the_disk_was() {
    if !skip::unless_found(&["qemu-img", "qemu-io", "mkfs.ext4"]) {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let directory = directory.path();
    small_ext4(&directory.join("raw.img")).expect("an image");
    let expected = manifest(&directory.join("raw.img"));
    convert(directory, "", "qcow2", "");
    qemu_img(directory, "snapshot -c before image.qcow2");
    let image = directory.join("image.qcow2");
    let path = image.to_str().expect("a path in UTF-8");
    tool::run("qemu-io", ["-c", "write -z 0 8M", path]).expect("the disk is wiped");
    let run = |arguments: &[&str]| program::run(arguments).expect("the program runs");

    let now = run(&["manifest", path]);
    let before = run(&["manifest", "--snapshot", "before", path]);
    let info = run(&["info", path]);
    let missing = run(&["ls", "--snapshot", "after", path]);

    assert_ne!(now.code, 0, "{}", now.stdout);
    assert_eq!((before.code, before.stdout), (0, expected), "{}", before.stderr);
    assert!(info.stdout.contains("internal snapshot 1, \"before\", of 20"), "{}{}", info.stdout, info.stderr);
    assert_eq!(missing.code, 10);
    assert!(missing.stderr.contains("no internal snapshot \"after\""), "{}", missing.stderr);
}

/// A VDI that has nothing of its own, with the id of sixteen bytes `id`, above `parent`.
fn vdi_child(parent: &[u8], id: u8) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(parent[at..at + 4].try_into().expect("four bytes"));
    let (map, data) = (number(340) as usize, number(344) as usize);
    let mut child = parent[..data].to_vec();
    child[76] = 4;
    child[map..].fill(0xFF);
    child[392..408].fill(id);
    child.copy_within(408..424, 440);
    child[424..440].copy_from_slice(&parent[392..408]);
    child
}

#[test]
fn virtualbox_snapshots_are_found_as_virtualbox_stores_them() {
    if !skip::unless_found(&["qemu-img", "mkfs.ext4"]) {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let directory = directory.path();
    small_ext4(&directory.join("raw.img")).expect("an image");
    let expected = manifest(&directory.join("raw.img"));
    convert(directory, "", "vdi", "");
    let base = std::fs::read(directory.join("image.vdi")).expect("the first image");
    let first = vdi_child(&base, 0x11);
    let second = vdi_child(&first, 0x22);
    let snapshots = directory.join("Snapshots");
    std::fs::create_dir(&snapshots).expect("a folder");
    let name = |digit: &str| "{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}.vdi".replace('x', digit);
    for (image, id) in [(&first, "1"), (&second, "2")] {
        std::fs::write(snapshots.join(name(id)), image).expect("a snapshot");
    }
    // Strangers that are looked at and passed over.
    std::fs::write(directory.join("a stranger.vdi"), vdi_child(&first, 0x33)).expect("a stranger");

    assert_eq!(manifest(&snapshots.join(name("2"))), expected);

    std::fs::remove_file(directory.join("image.vdi")).expect("the first image goes");
    let finished = program::run(["manifest".as_ref(), snapshots.join(name("2")).as_os_str()]);
    assert_eq!(finished.expect("the program runs").code, 10);
}

#[test]
fn part_of_a_disk_that_is_missing_is_named() {
    if !skip::unless_found(&["qemu-img", "mkfs.ext4"]) {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let directory = directory.path();
    small_ext4(&directory.join("raw.img")).expect("an image");
    convert(directory, "", "vmdk", "subformat=twoGbMaxExtentSparse");
    let part = directory.join("image-s001.vmdk");
    let run = |image: &Path| program::run(["ls".as_ref(), image.as_os_str()]).expect("the program runs");

    let alone = run(&part);
    std::fs::remove_file(&part).expect("the part goes");
    let missing = run(&directory.join("image.vmdk"));

    assert_eq!(alone.code, 1);
    assert!(alone.stderr.contains("one extent of a split disk"), "{}", alone.stderr);
    assert_eq!(missing.code, 10);
    assert!(
        missing.stderr.contains("the part \"image-s001.vmdk\" of image 0 is missing"),
        "{}",
        missing.stderr
    );
}
