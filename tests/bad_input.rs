//! Input that is no image, or a broken one: one clear line, the right exit code, nothing left behind.

use crate::program::{self, Finished};
use spelunk_testkit::peer::{self, Directory};
use spelunk_testkit::{image, process, skip, tool};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Exit codes, as the README lists them.
const FAILED: i32 = 1;
const NO_SUCH_IMAGE: i32 = 10;
const NOT_PERMITTED: i32 = 12;

/// What every command must do with input that it cannot open.
struct Expected {
    code: i32,
    /// Whether there is a disk all the same, though nothing on it can be shown: then `info` tells of it.
    is_disk: bool,
    /// What the line on stderr must name, besides the file; one of these.
    says: &'static [&'static str],
}

/// Runs the commands on the image.
fn check(image: &Path, expected: &Expected) {
    let commands = ["ls", "info", "manifest", "mount"];
    for command in commands.into_iter().filter(|command| !expected.is_disk || *command != "info") {
        let directory = Directory::new().expect("a directory");
        let mut arguments = vec![command.as_ref(), image.as_os_str()];
        if command == "mount" {
            arguments.push(directory.path().as_os_str());
        }
        let finished = program::run(arguments).expect("the program can be run");
        let what = format!("spelunk {command} {}: {finished:?}", image.display());
        assert_eq!(finished.code, expected.code, "{what}");
        assert_eq!(finished.stdout, "", "{what}");
        check_message(&finished, expected, &what);
        assert_eq!(process::left_behind(finished.group), Vec::<u32>::new(), "{what}");
        assert!(!peer::is_mounted(directory.path()), "{what}");
    }
}

/// One line that says what is wrong; hints may follow on lines of their own.
fn check_message(finished: &Finished, expected: &Expected, what: &str) {
    let is_hint = |line: &&str| line.starts_with("hint:") || line.starts_with("  ");
    let lines: Vec<&str> = finished.stderr.lines().filter(|line| !is_hint(line)).collect();
    assert_eq!(lines.len(), 1, "{what}");
    let line = lines.concat();
    assert!(expected.says.iter().any(|word| line.contains(word)), "{what}: none of {:?}", expected.says);
    assert!(!line.contains("panicked") && !line.chars().any(char::is_control), "{what}");
}

/// A file with these bytes at these places, of this size.
fn file(directory: &Directory, name: &str, size: u64, pieces: &[(u64, &[u8])]) -> PathBuf {
    let path = directory.path().join(name);
    let file = File::create(&path).expect("a file");
    file.set_len(size).expect("a sparse file");
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset).expect("a write");
    }
    path
}

/// Runs qemu-img, or says that it is not there.
fn qemu_img(arguments: &[&str]) -> bool {
    skip::unless_found(&["qemu-img"]) && tool::run("qemu-img", arguments).is_ok()
}

#[test]
fn file_that_is_not_there() {
    let expected = Expected { code: NO_SUCH_IMAGE, is_disk: false, says: &["No such file", "not found"] };

    check(Path::new("no/such/image.vhd"), &expected);
}

#[test]
fn directory_in_place_of_a_file() {
    let directory = Directory::new().expect("a directory");

    check(directory.path(), &Expected { code: FAILED, is_disk: false, says: &["directory"] });
}

#[test]
fn file_that_may_not_be_read() {
    if tool::is_root() {
        // Root may read everything: what remains is a file that cannot be read by its nature.
        return check(
            Path::new("/proc/self/mem"),
            &Expected { code: FAILED, is_disk: false, says: &["/proc/self/mem"] },
        );
    }
    let directory = Directory::new().expect("a directory");
    let image = file(&directory, "secret.img", 4096, &[]);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o000)).expect("the mode can be set");

    check(
        &image,
        &Expected { code: NOT_PERMITTED, is_disk: false, says: &["ermission denied", "not permitted"] },
    );
}

#[test]
fn empty_file() {
    let directory = Directory::new().expect("a directory");
    let image = file(&directory, "empty.img", 0, &[]);

    check(
        &image,
        &Expected {
            code: FAILED,
            is_disk: true,
            says: &["empty", "not supported", "no filesystem", "damaged"],
        },
    );
}

#[test]
fn file_of_noise() {
    let directory = Directory::new().expect("a directory");
    let noise: Vec<u8> =
        (0..1_u32 << 20).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let image = file(&directory, "noise.img", 1 << 20, &[(0, &noise)]);

    check(&image, &Expected { code: FAILED, is_disk: true, says: &["not supported", "no filesystem"] });
}

#[test]
fn device_that_never_ends() {
    check(
        Path::new("/dev/zero"),
        &Expected { code: FAILED, is_disk: false, says: &["/dev/zero", "not a", "no filesystem"] },
    );
}

#[test]
fn ext4_image_cut_off() {
    if !skip::unless_found(&["mkfs.ext4"]) {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = directory.path().join("cut.img");
    image::small_ext4(&image).expect("an image can be made");
    File::options()
        .write(true)
        .open(&image)
        .and_then(|file| file.set_len(1500))
        .expect("the file can be cut");

    check(
        &image,
        &Expected {
            code: FAILED,
            is_disk: true,
            says: &["damaged", "not supported", "no filesystem", "end of the"],
        },
    );
}

#[test]
fn vhd_without_its_footer() {
    let directory = Directory::new().expect("a directory");
    let image = directory.path().join("cut.vhd");
    if !qemu_img(&["create", "-q", "-f", "vpc", image.to_str().expect("UTF-8"), "64M"]) {
        return;
    }
    // Only the copy at the beginning stays, and half of the table.
    File::options()
        .write(true)
        .open(&image)
        .and_then(|file| file.set_len(1600))
        .expect("the file can be cut");

    check(
        &image,
        &Expected {
            code: FAILED,
            is_disk: false,
            says: &["damaged", "truncated", "not complete", "unfinished"],
        },
    );
}

#[test]
fn vhd_with_an_impossible_geometry() {
    let directory = Directory::new().expect("a directory");
    let image = directory.path().join("huge.vhd");
    if !qemu_img(&["create", "-q", "-f", "vpc", image.to_str().expect("UTF-8"), "64M"]) {
        return;
    }
    // The number of blocks and the size of one, in the dynamic header; its checksum is not corrected.
    let file = File::options().write(true).open(&image).expect("the file can be opened");
    file.write_all_at(&[0xFF; 8], 512 + 28).expect("a write");

    check(&image, &Expected { code: FAILED, is_disk: false, says: &["damaged", "over a limit"] });
}

#[test]
fn vhdx_of_zeros_behind_its_magic() {
    let directory = Directory::new().expect("a directory");
    let image = file(&directory, "hollow.vhdx", 4 << 20, &[(0, b"vhdxfile")]);

    check(&image, &Expected { code: FAILED, is_disk: false, says: &["damaged"] });
}

#[test]
fn compressed_image_that_was_never_finished() {
    let directory = Directory::new().expect("a directory");
    let image = file(
        &directory,
        "partial.vhdz",
        4096,
        &[(0, b"URBACKUP COMPRESSED FILE#1.1\0"), (45, &[0, 0, 32, 0])],
    );

    check(
        &image,
        &Expected {
            code: FAILED,
            is_disk: false,
            says: &["not finished", "unfinished", "never finished", "incomplete", "contains nothing"],
        },
    );
}

#[test]
fn compressed_image_with_blocks_of_no_bytes() {
    let directory = Directory::new().expect("a directory");
    let mut header = b"URBACKUP COMPRESSED FILE#1.1\0".to_vec();
    header.extend_from_slice(&4088_u64.to_le_bytes());
    header.extend_from_slice(&(1_u64 << 40).to_le_bytes());
    header.extend_from_slice(&0_u32.to_le_bytes());
    let image = file(&directory, "zero-block.vhdz", 4096, &[(0, &header)]);

    check(&image, &Expected { code: FAILED, is_disk: false, says: &["damaged", "over a limit"] });
}

#[test]
fn differencing_vhd_that_is_its_own_parent() {
    let directory = Directory::new().expect("a directory");
    let image = directory.path().join("loop.vhd");
    if !qemu_img(&["create", "-q", "-f", "vpc", image.to_str().expect("UTF-8"), "64M"]) {
        return;
    }
    make_own_parent(&image);

    check(&image, &Expected { code: FAILED, is_disk: false, says: &["parent", "cycl", "own", "chain"] });
}

/// Turns a dynamic VHD into a differencing one whose parent's id and name are its own.
fn make_own_parent(image: &Path) {
    let mut bytes = fs::read(image).expect("the file can be read");
    let end = bytes.len() - 512;
    let id: Vec<u8> = bytes[end + 68..end + 84].to_vec();
    for footer in [0, end] {
        bytes[footer + 63] = 4;
        seal(&mut bytes[footer..footer + 512], 64);
    }
    let header = &mut bytes[512..1536];
    header[40..56].copy_from_slice(&id);
    let name: Vec<u8> = "loop.vhd".encode_utf16().flat_map(u16::to_be_bytes).collect();
    header[64..64 + name.len()].copy_from_slice(&name);
    seal(header, 36);
    fs::write(image, bytes).expect("the file can be written");
}

/// Sets a VHD structure's checksum: the complement of the sum of its other bytes.
fn seal(structure: &mut [u8], at: usize) {
    structure[at..at + 4].fill(0);
    let sum: u32 = structure.iter().map(|&byte| u32::from(byte)).sum();
    structure[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

#[test]
fn differencing_vhd_whose_parent_is_missing_names_it() {
    let Some(root) = spelunk_testkit::corpus::root() else { return };
    let all = spelunk_testkit::corpus::index(&root).expect("the corpus has an index");
    let child: Vec<_> = all.iter().filter(|image| image.id == "gen-urb-incr1-vhd-A").collect();
    let paths = spelunk_testkit::corpus::unpack(&root, &all, &child).expect("the image can be unpacked");
    let directory = Directory::new().expect("a directory");
    let alone = directory.path().join("alone.vhd");
    fs::copy(paths.first().expect("the corpus has the image"), &alone).expect("the image can be copied");

    check(&alone, &Expected { code: NO_SUCH_IMAGE, is_disk: false, says: &["urb-full.vhd"] });
}

#[test]
fn wrong_usage() {
    for arguments in [&["ls"][..], &["frobnicate"], &["mount", "image"], &["ls", "--no-such-option", "image"]]
    {
        let finished = program::run(arguments).expect("the program can be run");

        assert_eq!(finished.code, 2, "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn mount_point_that_is_not_there_or_no_directory() {
    if !skip::unless_found(&["mkfs.ext4"]) || !skip::unless_fuse() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = directory.path().join("small.img");
    image::small_ext4(&image).expect("an image can be made");
    for target in ["missing", "small.img"] {
        let target = directory.path().join(target);

        let finished = program::run(["mount".as_ref(), image.as_os_str(), target.as_os_str()])
            .expect("the program can be run");

        assert!(matches!(finished.code, 1 | 2 | 10), "{target:?}: {finished:?}");
        assert!(finished.stderr.lines().count() <= 2, "{finished:?}");
        assert_eq!(process::left_behind(finished.group), Vec::<u32>::new(), "{finished:?}");
    }
}
