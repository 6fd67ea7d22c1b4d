//! `spelunk zip` and `spelunk tar`, read back by programs that are not ours.

use super::fixture;
use super::{Ended, spelunk};
use crate::program;
use spelunk_testkit::peer::{self, Directory};
use spelunk_testkit::walk::{self, Entry};
use spelunk_testkit::{image, skip, tool};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that read ZIP archives.
pub const READERS: [&str; 4] = ["unzip", "7z", "bsdtar", "python3"];

/// Runs `spelunk COMMAND IMAGE ARGUMENTS... -o FILE`, and returns how it ended, and the file.
fn pack(command: &str, image: &OsStr, arguments: &[&str], to: &Path) -> Ended {
    let mut all: Vec<&OsStr> = vec![command.as_ref(), image];
    all.extend(arguments.iter().map(OsStr::new));
    all.extend([OsStr::new("-o"), to.as_os_str()]);
    spelunk(all)
}

/// Has every reader check a ZIP archive.
#[track_caller]
pub fn check_zip(zip: &Path) {
    let name = zip.to_str().expect("a path in UTF-8");
    tool::run("unzip", ["-tqq", name]).expect("unzip takes it");
    tool::run("7z", ["t", name]).expect("7z takes it");
    tool::run("bsdtar", ["-tf", name]).expect("bsdtar takes it");
    let script = "import sys, zipfile; bad = zipfile.ZipFile(sys.argv[1]).testzip(); sys.exit(bad)";
    tool::run("python3", ["-c", script, name]).expect("Python takes it");
}

/// The names in a ZIP archive, as Python reads them, sorted.
pub fn names(zip: &Path) -> Vec<String> {
    let script = "import sys, zipfile; print('\\n'.join(sorted(zipfile.ZipFile(sys.argv[1]).namelist())))";
    let listed = tool::run("python3", ["-c", script, zip.to_str().expect("a path in UTF-8")]);
    let listed = String::from_utf8(listed.expect("Python lists it")).expect("names in UTF-8");
    listed.lines().map(str::to_owned).collect()
}

fn can_run() -> bool {
    fixture::can_be_made() && skip::unless_found(&READERS)
}

#[test]
fn zip_of_a_small_disk_is_sound_to_every_reader() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    for (number, options) in [&[][..], &["--store"], &["--level", "9"]].into_iter().enumerate() {
        let zip = directory.path().join(format!("{number}.zip"));
        pack("zip", fixture::plain().path(), options, &zip).success();

        check_zip(&zip);
        let all = [".hidden", "docs/", "docs/a.txt", "docs/b.doc", "docs/sub/", "docs/sub/deep.TXT"];
        assert_eq!(names(&zip)[..6], all, "{options:?}");
        assert!(names(&zip).ends_with(&[
            "link".to_owned(),
            "lost+found/".to_owned(),
            "old".to_owned(),
            "up".to_owned()
        ]));
    }
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 3, "no partial file is left");
}

#[test]
fn zip_unpacked_has_the_files_modes_times_and_links() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let zip = directory.path().join("a.zip");
    pack("zip", fixture::plain().path(), &["docs/", "--store"], &directory.path().join("docs.zip")).success();
    pack("zip", fixture::plain().path(), &["/hello.txt", "old", "link"], &zip).success();
    let to = directory.path().join("to");

    let [archive, to_name] = [&zip, &to].map(|path| path.to_str().expect("a path in UTF-8"));
    tool::run("unzip", ["-q", archive, "-d", to_name]).expect("unzip");

    assert_eq!(fs::read(to.join("hello.txt")).expect("a file"), b"hello, world\n");
    assert_eq!(fs::metadata(to.join("hello.txt")).expect("a file").mode() & 0o777, 0o750);
    let seconds = i64::try_from(fixture::OLD).expect("a time");
    assert_eq!(fs::metadata(to.join("old")).expect("a file").mtime(), seconds);
    assert_eq!(fs::read_link(to.join("link")).expect("a link"), Path::new("docs/a.txt"));
    assert_eq!(names(&directory.path().join("docs.zip")), ["a.txt", "b.doc", "sub/", "sub/deep.TXT"]);
}

#[test]
fn names_that_attack_are_escaped_and_can_be_read_back() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let zip = directory.path().join("a.zip");
    pack("zip", fixture::hostile().path(), &[], &zip).success();

    check_zip(&zip);
    assert_eq!(
        names(&zip),
        ["a\u{202e}cod.exe", "back%5Cslash", "caf%E9", "lost+found/", "red%1B[31m", "two%0Alines"]
    );
}

#[test]
fn damaged_parts_are_named_in_the_archive_and_on_stderr() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::damaged();
    for options in [&[][..], &["--store"]] {
        let zip = directory.path().join("a.zip");
        let ended = pack("zip", image.path(), options, &zip);

        assert_eq!(ended.code, Some(3));
        assert!(ended.stderr.starts_with("warning: /docs/b.doc: damaged: "), "{}", ended.stderr);
        check_zip(&zip);
        let list = tool::run("unzip", ["-p", zip.to_str().expect("UTF-8"), "SPELUNK-ERRORS.txt"]);
        let list = String::from_utf8(list.expect("a list")).expect("UTF-8");
        assert!(list.contains("\n/docs/b.doc: left out: damaged: "), "{list}");
        assert!(names(&zip).contains(&"docs/a.txt".to_owned()));
    }
    let tar = directory.path().join("a.tar");
    assert_eq!(pack("tar", image.path(), &[], &tar).code, Some(3));
    let listed = tool::run("tar", [OsStr::new("-tf"), tar.as_os_str()]).expect("tar takes it");
    assert!(String::from_utf8_lossy(&listed).ends_with("SPELUNK-ERRORS.txt\n"));
}

#[test]
fn archive_needs_an_image_a_path_and_a_place() {
    if !fixture::can_be_made() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::plain();
    let zip = directory.path().join("a.zip");

    assert_eq!(pack("zip", image.path(), &["missing"], &zip).code, Some(1));
    assert_eq!(pack("tar", image.path(), &["hello.txt/"], &zip).code, Some(1));
    assert_eq!(pack("zip", "missing.img".as_ref(), &[], &zip).code, Some(10));
    assert_eq!(pack("zip", image.path(), &[], &directory.path().join("missing/a.zip")).code, Some(1));
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

#[test]
fn threads_do_not_change_a_byte() {
    if !fixture::can_be_made() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::plain();
    for (command, option) in [("zip", "--follow"), ("zip", "--store"), ("tar", "--zstd"), ("tar", "--follow")]
    {
        // The same on every run, too: a download that was cut off can be completed by another.
        let [one, many] = ["1", "4"].map(|threads| {
            let file = directory.path().join(threads);
            pack(command, image.path(), &[option, "--threads", threads], &file).success();
            fs::read(file).expect("an archive")
        });
        assert!(one == many, "{command} {option}");
    }
}

#[test]
fn more_entries_than_16_bits_count_and_links_that_attack() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::many_by_links();
    for option in [&["--follow"][..], &["--follow", "--store"]] {
        let zip = directory.path().join("a.zip");
        let ended = pack("zip", image.path(), option, &zip);

        // The links to `..` are named, each time that one is met.
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.stderr.contains("warning: /d/up: over a limit: "), "{}", ended.stderr);
        check_zip(&zip);
        let names = names(&zip);
        assert!(names.len() > 70_000, "{}", names.len());
        assert!(names.contains(&"links/249/279".to_owned()));
    }
    let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1])\n\
        assert z.read('absolute') == b'/etc/passwd'\n\
        assert z.read('climbing') == b'../../../../../etc/passwd'\n\
        assert all(z.getinfo(name).external_attr >> 28 == 0o12 for name in ('absolute', 'climbing'))";
    let zip = directory.path().join("a.zip");
    tool::run("python3", ["-c", script, zip.to_str().expect("UTF-8")]).expect("links stay links");
}

#[test]
fn sizes_and_offsets_beyond_4_gib_are_right() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::beyond_4_gib();
    let zip = directory.path().join("a.zip");
    pack("zip", image.path(), &[], &zip).success();
    tool::run("unzip", ["-tqq", zip.to_str().expect("UTF-8")]).expect("unzip takes it");
    let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1])\n\
        assert z.getinfo('sparse').file_size == 5 << 30\n\
        assert z.read('zlast') == b'the last'";
    tool::run("python3", ["-c", script, zip.to_str().expect("UTF-8")]).expect("Python takes it");

    // Stored it is 5 GiB: it goes to a reader through a pipe, and is not kept.
    let mut packer = super::command([OsStr::new("zip"), image.path(), "--store".as_ref()]);
    let mut packer = packer.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut reader = Command::new("python3");
    reader.args(["-c", READ_STORED]).stdin(packer.stdout.take().expect("a pipe"));
    tool::output(&mut reader).expect("Python takes the stored one");
    assert!(packer.wait().expect("it ends").success());
}

/// Reads a stored archive from a pipe: counts it, and keeps its end, which must lead to the central directory.
const READ_STORED: &str = "
import struct, sys
total, tail = 0, b''
while True:
    block = sys.stdin.buffer.read(1 << 22)
    if not block:
        break
    total += len(block)
    tail = (tail + block)[-65536:]
end = tail.rindex(b'PK\\x05\\x06')
locator = tail[end - 20:end]
assert locator[:4] == b'PK\\x06\\x07'
at = struct.unpack('<Q', locator[8:16])[0] - (total - len(tail))
assert tail[at:at + 4] == b'PK\\x06\\x06'
count, size, offset = struct.unpack('<QQQ', tail[at + 32:at + 56])
directory = tail[offset - (total - len(tail)):][:size]
assert directory.count(b'PK\\x01\\x02') == count == 3, count
assert offset > 5 << 30
";

#[test]
fn tar_keeps_holes() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::beyond_4_gib();
    let tar = directory.path().join("a.tar");
    pack("tar", image.path(), &["sparse"], &tar).success();
    assert!(fs::metadata(&tar).expect("a file").len() < 64 << 10);

    for unpacker in ["tar", "bsdtar"] {
        let arguments = [OsStr::new("-xf"), tar.as_os_str(), "-C".as_ref(), directory.path().as_os_str()];
        tool::run(unpacker, arguments).expect("it takes the archive");
        let unpacked = directory.path().join("sparse");
        let found = fs::metadata(&unpacked).expect("a file");
        assert_eq!(found.len(), 5 << 30, "{unpacker}");
        assert!(found.blocks() < 1000, "{unpacker}");
        let mut bytes = [0; 7];
        let file = fs::File::open(&unpacked).expect("a file");
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, (4 << 30) - 1).expect("a read");
        assert_eq!(&bytes, b"\0found\0", "{unpacker}");
        fs::remove_file(unpacked).expect("removed");
    }
}

/// Compares what stands in a ZIP archive with a manifest of the image.
pub const AGAINST_MANIFEST: &str = r"
import hashlib, re, sys, zipfile
def bytes_of(name):
    return re.sub(rb'%([0-9A-F]{2})', lambda m: bytes([int(m[1], 16)]), name.encode())
expected = {}
for line in open(sys.argv[2], 'rb'):
    path, kind, size, digest, time, mode = line.rstrip(b'\n').split(b'\t')[:6]
    if kind in b'fdl':
        path = re.sub(rb'%([0-9A-F]{2})', lambda m: bytes([int(m[1], 16)]), path)
        expected[path] = (kind.decode(), digest.decode(), int(mode, 8))
archive = zipfile.ZipFile(sys.argv[1])
for info in archive.infolist():
    if info.filename.startswith('SPELUNK-ERRORS'):
        continue
    kind, digest, mode = expected.pop(bytes_of(info.filename.rstrip('/')))
    found = {0o10: 'f', 0o04: 'd', 0o12: 'l'}[info.external_attr >> 28]
    assert found == kind, info
    if kind != 'd':
        assert hashlib.sha256(archive.read(info)).hexdigest() == digest or not info.file_size, info
    if sys.argv[3] == 'modes':
        assert info.external_attr >> 16 & 0o7777 == mode, info
assert not expected, list(expected)[:9]
";

fn zip_equals_manifest(image: &Path, compared: &str) {
    let directory = Directory::new().expect("a directory");
    let [zip, manifest] = ["a.zip", "manifest"].map(|name| directory.path().join(name));
    let ended = pack("zip", image.as_os_str(), &[], &zip);
    assert!(matches!(ended.code, Some(0 | 3)), "{}", ended.stderr);
    fs::write(&manifest, spelunk([OsStr::new("manifest"), image.as_os_str()]).stdout).expect("a file");
    tool::run("unzip", ["-tqq", zip.to_str().expect("UTF-8")]).expect("unzip takes it");
    let arguments = [&zip, &manifest].map(|path| path.to_str().expect("a path in UTF-8"));
    tool::run("python3", ["-c", AGAINST_MANIFEST, arguments[0], arguments[1], compared]).expect("equal");
}

/// A cached image, or a word why the test is skipped.
fn made(image: spelunk_testkit::Result<PathBuf>) -> Option<PathBuf> {
    image.inspect_err(|error| skip::because(&error.to_string())).ok()
}

#[test]
fn zip_of_50_000_files_on_ext4_equals_the_manifest() {
    if !skip::unless_root("making the image") || !skip::unless_found(&READERS) {
        return;
    }
    if let Some(image) = made(image::ext4_of_50_000_files()) {
        zip_equals_manifest(&image, "modes");
    }
}

#[test]
fn zip_of_50_000_files_on_ntfs_equals_the_manifest() {
    if !skip::unless_found(&["mkntfs", "ntfs-3g"]) || !skip::unless_fuse() || !skip::unless_found(&READERS) {
        return;
    }
    if let Some(image) = made(image::ntfs_of_50_000_files()) {
        zip_equals_manifest(&image, "contents");
    }
}

/// What tar must bring over, a line for each entry; without what unpacking changes by itself.
fn told(entry: &Entry) -> String {
    let Entry { kind, mode, uid, gid, size, device, modified, xattrs, content, target, .. } = entry;
    // Links are counted in the whole tree, but the top directory and what is left out are not in it.
    let links = if *kind == 'f' { entry.links } else { 0 };
    let size = if *kind == 'd' { 0 } else { *size };
    format!(
        "{kind} {mode:o} {uid} {gid} {links} {size} {device:?} {modified:?} {xattrs:?} {content} {target:?}"
    )
}

#[test]
fn tar_unpacked_by_gnu_tar_equals_the_kernels_mount() {
    if !skip::unless_root("mounting") || !skip::unless_found(&["mkfs.ext4", "setfattr", "zstd"]) {
        return;
    }
    let Some(image) = made(image::ext4_of_50_000_files()) else { return };
    // On a filesystem of its own, which keeps all that can be told.
    let target = Directory::new().expect("a directory");
    let disk = target.path().join("disk");
    fs::File::create(&disk).and_then(|file| file.set_len(2 << 30)).expect("a sparse file");
    tool::run("mkfs.ext4", ["-q", "-F", "-N", "80000", disk.to_str().expect("UTF-8")]).expect("mkfs");
    let unpacked = peer::loop_mount(&disk, "ext4", "rw").expect("a mount");
    let script = "\"$0\" tar \"$1\" --zstd 2>\"$3\" | zstd -dqc | \
        tar -x -p --xattrs --xattrs-include='*' --acls --numeric-owner -C \"$2\"";
    let said = target.path().join("said");
    let arguments = [program::path(), &image, unpacked.path(), &said].map(Path::as_os_str);
    let command = [OsStr::new("-c"), OsStr::new(script)].into_iter().chain(arguments);
    tool::run("sh", command).expect("tar takes it");
    let said = fs::read_to_string(said).expect("what was said");
    assert!(said.lines().count() == 1 && said.contains("specials/socket"), "{said}");

    let original = peer::loop_mount(&image, "ext4", "ro,noload").expect("a mount");
    let [expected, actual] = [original.path(), unpacked.path()].map(|root| {
        let entries = walk::walk(root, walk::Options::default()).expect("a walk");
        let is_told = |entry: &Entry| {
            entry.kind != 's' && !entry.path.is_empty() && entry.path != b"SPELUNK-ERRORS.txt"
                // Making and deleting entries in it changed its time.
                && entry.path != b"lost+found"
        };
        let lines = entries.iter().filter(|entry| is_told(entry));
        let line = |entry: &Entry| format!("{} {}", entry.path.escape_ascii(), told(entry));
        lines.map(line).collect::<Vec<_>>()
    });
    let differing: Vec<_> = expected.iter().zip(&actual).filter(|(a, b)| a != b).take(5).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(expected.len(), actual.len());
    let blocks = fs::metadata(unpacked.path().join("shapes/sparse")).expect("a file").blocks();
    assert!(blocks < 2000, "{blocks} blocks");
}
