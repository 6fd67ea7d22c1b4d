//! `--library`: a directory with backups as one tree, for commands and as a mount.

use super::{fixture, spelunk};
use spelunk_testkit::peer::{self, Directory};
use spelunk_testkit::{skip, tool};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// 2026-01-02 03:04:05 UTC, and a day later.
const FIRST: u64 = fixture::MODIFIED;
const SECOND: u64 = FIRST + 86_400;

/// How long a new backup may take to be seen: what is known is at most two seconds old, and the kernel keeps names for
/// one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A library of two clients. What alice has: the same image twice, a day apart, beside what is no image.
fn library() -> Directory {
    let library = Directory::new().expect("a directory");
    let image = fixture::plain();
    add(&library, "alice/C.img", image.path().as_ref(), FIRST);
    add(&library, "alice/monday/C.img", image.path().as_ref(), SECOND);
    add(&library, "bob smith/old/deep/hostile.raw", fixture::hostile().path().as_ref(), FIRST);
    fs::write(library.path().join("alice/notes.txt"), "no image").expect("a file");
    symlink("/etc/passwd", library.path().join("alice/passwd.img")).expect("a link");
    symlink("/etc", library.path().join("carol")).expect("a link");
    library
}

/// Copies an image into a library; when it was changed is when the backup was made.
fn add(library: &Directory, path: &str, image: &Path, modified: u64) -> PathBuf {
    let path = library.path().join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::copy(image, &path).expect("an image");
    let file = File::options().write(true).open(&path).expect("the image");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(modified)).expect("a time");
    path
}

/// What a command says of a library.
fn of(library: &Directory, arguments: &[&str]) -> super::Ended {
    let (command, rest) = arguments.split_first().expect("a command");
    spelunk([&[*command, "--library", library.path().to_str().expect("a path in UTF-8")], rest].concat())
}

#[test]
fn clients_and_moments_are_listed_and_links_lead_to_the_newest() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library();

    assert_eq!(of(&library, &["ls"]).success(), "alice\nbob smith\n");
    assert_eq!(of(&library, &["ls", "alice"]).success(), "2026-01-02_0304\n2026-01-03_0304\nlatest\n");
    let latest = of(&library, &["ls", "-l", "alice/latest"]);
    assert!(latest.success().ends_with("C.img -> ../2026-01-03_0304/C.img\n"), "{}", latest.success());
    assert_eq!(of(&library, &["cat", "alice/latest/C.img/docs/a.txt"]).success(), "aaaa");
    assert_eq!(of(&library, &["ls", "bob smith"]).success(), "2026-01-02_0304\nlatest\n");
}

#[test]
fn folders_deeper_than_are_searched_are_not_shown() {
    if !fixture::can_be_made() {
        return;
    }
    let library = Directory::new().expect("a directory");
    let image = fixture::plain();
    add(&library, "alice/1/2/3/4/5/near.img", image.path().as_ref(), FIRST);
    add(&library, "alice/1/2/3/4/5/6/7/far.img", image.path().as_ref(), FIRST);

    assert_eq!(of(&library, &["ls", "alice/latest"]).success(), "near.img\n");
}

#[test]
fn guests_links_are_not_followed_where_the_librarys_are() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library();

    let through_a_link = of(&library, &["cat", "alice/latest/C.img/up/a.txt"]);
    let followed = of(&library, &["cat", "--follow", "alice/latest/C.img/up/a.txt"]);

    assert_eq!(through_a_link.code, Some(1), "{}", through_a_link.stderr);
    assert_eq!(followed.success(), "aaaa");
}

#[test]
fn manifest_of_a_library_is_that_of_its_images() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library();
    let own = |path: &str| {
        let manifest = spelunk([Path::new("manifest"), &library.path().join(path)]);
        manifest.success().lines().map(str::to_owned).collect::<Vec<_>>()
    };

    let manifest = of(&library, &["manifest"]);

    let below = |prefix: &str| {
        let lines = manifest.success().lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(below("alice/2026-01-02_0304/C.img/"), own("alice/C.img"));
    assert_eq!(below("alice/2026-01-03_0304/C.img/"), own("alice/monday/C.img"));
    assert_eq!(below("bob smith/2026-01-02_0304/hostile.raw/"), own("bob smith/old/deep/hostile.raw"));
}

#[test]
fn an_image_that_cannot_be_opened_hides_no_other() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library();
    let broken = library.path().join("alice/broken.vhdx");
    fs::write(&broken, vec![b'x'; 100_000]).expect("a file");

    let found = of(&library, &["find", "--name", "a.txt"]);

    assert_eq!(found.code, Some(3), "{}", found.stderr);
    assert_eq!(found.text().lines().count(), 2, "{}", found.text());
    assert!(found.stderr.contains("broken.vhdx"), "{}", found.stderr);
}

#[test]
fn parts_of_a_split_disk_are_left_to_its_descriptor() {
    if !fixture::can_be_made() || !skip::unless_found(&["qemu-img"]) {
        return;
    }
    let library = Directory::new().expect("a directory");
    let image = add(&library, "dave/disk.vmdk", fixture::plain().path().as_ref(), FIRST);
    let raw = add(&library, "disk", &image, FIRST);
    for kind in ["monolithicFlat", "twoGbMaxExtentSparse"] {
        let image = image.with_file_name(format!("{kind}.vmdk"));
        let options = format!("subformat={kind}");
        let words = ["convert", "-f", "raw", "-O", "vmdk", "-o", &options];
        let paths = [&raw, &image].map(|path| path.to_str().expect("a path in UTF-8"));
        tool::run("qemu-img", words.into_iter().chain(paths)).expect("qemu-img");
    }
    let orphan = add(&library, "dave/orphan-flat.vmdk", &raw, FIRST);

    let latest = of(&library, &["ls", "dave/latest"]);

    let names = ["disk.vmdk", "monolithicFlat.vmdk", "orphan-flat.vmdk", "twoGbMaxExtentSparse.vmdk"];
    assert_eq!(latest.success().lines().collect::<Vec<_>>(), names, "{}", orphan.display());
    let file = of(&library, &["cat", "dave/latest/monolithicFlat.vmdk/docs/a.txt"]);
    assert_eq!(file.success(), "aaaa");
}

#[test]
fn what_is_no_directory_is_no_library() {
    let missing = spelunk(["ls", "--library", "/nowhere/at/all"]);
    let file = spelunk(["ls", "--library", "/etc/passwd"]);

    assert_eq!((missing.code, file.code), (Some(10), Some(10)), "{} {}", missing.stderr, file.stderr);
}

#[test]
fn a_mounted_library_shows_its_images_and_new_ones_as_they_come() {
    if !fixture::can_be_made() || !skip::unless_fuse() || !skip::unless_root("dropping what the kernel keeps")
    {
        return;
    }
    let library = library();
    let mount = mount(&library);
    let expected = of(&library, &["find"]).success().lines().count();
    let count =
        || tool::run("find", [mount.path()]).expect("a walk").split(|byte| *byte == b'\n').count() - 1;

    // The hostile names have a line break.
    assert_eq!(count(), expected + 1);
    // The kernel forgets what it was told, and asks again.
    fs::write("/proc/sys/vm/drop_caches", "2").expect("caches can be dropped");
    assert_eq!(count(), expected + 1);
    let latest = mount.path().join("alice/latest/C.img");
    assert_eq!(fs::read(latest.join("docs/a.txt")).expect("a file"), b"aaaa");

    let image = fixture::plain();
    add(&library, "dave/E.img", image.path().as_ref(), FIRST);
    let new = mount.path().join("dave/2026-01-02_0304/E.img/hello.txt");
    let start = Instant::now();
    while !new.exists() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(fs::read(new).expect("the new backup is there"), b"hello, world\n");
    mount.unmount().expect("the mount ends");
}

/// Mounts a library in the foreground, in UTC.
fn mount(library: &Directory) -> peer::Mount {
    let command = super::command::<&str>([]);
    let point = Directory::new().expect("a directory");
    peer::spelunk_mount_foreground(command, library.path(), &["--library"], point).expect("a mount")
}
