//! Repositories of restic as libraries, held against what restic itself restores and says.

use super::{Ended, command};
use serde_json::Value;
use spelunk_testkit::peer::{self, Directory, Mount};
use spelunk_testkit::restic::{PASSWORD, Repository};
use spelunk_testkit::walk::{self, Entry, Options};
use spelunk_testkit::{skip, tool};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// When backups are made, and what that is called.
const FIRST: &str = "2026-01-02 03:04:05";
const SECOND: &str = "2026-01-03 03:04:05";
const MOMENT: &str = "2026-01-02_0304";

/// How long a new snapshot may take to be seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the large file: some pieces of restic's.
const LARGE_BYTES: usize = 12 << 20;

/// What a command says of a repository, when it has the password.
fn of(repository: &Path, arguments: &[&str]) -> Ended {
    with(repository, arguments, &[("SPELUNK_STORE_PASSWORD", PASSWORD)])
}

fn with(repository: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let (first, rest) = arguments.split_first().expect("a command");
    let repository = repository.to_str().expect("a path in UTF-8");
    let mut command = command([&[*first, "--library", repository], rest].concat());
    for name in ["SPELUNK_STORE_PASSWORD", "RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE"] {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().expect("the program");
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("words in UTF-8"),
    }
}

/// Bytes that do not compress and do not repeat.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(bytes).collect()
}

/// Everything that a machine has: names, kinds, owners, modes, times, links, holes.
fn fill(root: &Path) {
    fs::create_dir_all(root.join("docs/deep/er")).expect("directories");
    for (name, bytes) in [
        (&b"docs/a.txt"[..], b"aaaa".to_vec()),
        (b"docs/deep/er/z", Vec::new()),
        (b"bad\xff\xfename", b"no utf-8".to_vec()),
        (b"two\nlines\t\"quoted\\", b"odd".to_vec()),
        ("gr\u{fc}n \u{1f600} \u{ad}\u{202e}".as_bytes(), b"unicode".to_vec()),
        (b"large", noise(7, LARGE_BYTES)),
        (b"text", b"the same line over and over\n".repeat(100_000)),
    ] {
        fs::write(root.join(OsStr::from_bytes(name)), bytes).expect("a file");
    }
    File::create(root.join("sparse")).and_then(|file| file.set_len(20 << 20)).expect("a file with a hole");
    fs::hard_link(root.join("docs/a.txt"), root.join("docs/deep/again")).expect("a hard link");
    symlink("docs/a.txt", root.join("link")).expect("a link");
    symlink("/nowhere/at all", root.join("dangling")).expect("a link");
    fs::set_permissions(root.join("docs"), fs::Permissions::from_mode(0o3751)).expect("a mode");
    fs::set_permissions(root.join("text"), fs::Permissions::from_mode(0o4640)).expect("a mode");
    let run = |program: &str, arguments: &[&str]| {
        let path =
            |word: &&str| word.strip_prefix('@').map_or_else(|| PathBuf::from(word), |name| root.join(name));
        tool::run(program, arguments.iter().map(path)).unwrap_or_else(|error| panic!("{program}: {error}"));
    };
    run("mkfifo", &["@pipe"]);
    run("mknod", &["@device", "c", "12", "345678"]);
    run("mknod", &["@disk", "b", "259", "7"]);
    run("chown", &["12345:54321", "@text", "@device"]);
    run("chown", &["-h", "7:8", "@link"]);
    run("setfattr", &["-n", "user.comment", "-v", "0x00ff20", "@docs/a.txt"]);
    run("setfattr", &["-n", "user.empty", "@docs"]);
    run("touch", &["-d", "1969-12-31T23:59:55.25Z", "@docs/deep/er/z"]);
    run("touch", &["-h", "-d", "2031-05-06T07:08:09.987654321Z", "@link"]);
}

/// A repository of one snapshot of everything.
fn repository(version: u32) -> Option<(Directory, Repository)> {
    if !skip::unless_found(&["restic", "setfattr"]) || !skip::unless_root("making devices and owners") {
        return None;
    }
    let directory = Directory::new().expect("a directory");
    let what = directory.path().join("what");
    fs::create_dir(&what).expect("a directory");
    fill(&what);
    let repository = Repository::new(&directory.path().join("repo"), version).expect("restic makes one");
    repository.backup("alice", FIRST, &what, &[]).expect("a backup");
    Some((directory, repository))
}

/// The only item of a moment, as it is called after the path that was backed up.
fn item(directory: &Directory) -> String {
    let path = directory.path().join("what");
    path.to_str().expect("a path in UTF-8").trim_start_matches('/').replace('/', "_")
}

/// Mounts a library that is a repository.
fn mount(repository: &Path) -> Mount {
    let mut command = command::<&str>([]);
    command.env("SPELUNK_STORE_PASSWORD", PASSWORD);
    let point = Directory::new().expect("a directory");
    peer::spelunk_mount_foreground(command, repository, &["--library"], point).expect("a mount")
}

/// What of an entry restic restores.
fn restored(entry: Entry) -> Entry {
    let links = if entry.kind == 'd' { 0 } else { entry.links };
    let size = if entry.kind == 'd' { 0 } else { entry.size };
    Entry { links, size, blocks: 0, block_size: 0, accessed: (0, 0), changed: (0, 0), created: None, ..entry }
}

/// All files of a directory: bytes, and when they were written.
fn state(path: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        let bytes = if metadata.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
        if metadata.is_dir() {
            pending.extend(
                fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
        }
        found.insert(path, (metadata.ino(), metadata.mtime(), metadata.ctime(), bytes));
    }
    found
}

#[test]
fn snapshots_are_what_restic_restores_and_nothing_is_written() {
    for version in [1, 2] {
        let Some((directory, repository)) = repository(version) else { return };
        if !skip::unless_fuse() {
            return;
        }
        let target = directory.path().join("restored");
        repository.restore("alice", &target).expect("restic restores it");
        let before = state(repository.path());

        let mount = mount(repository.path());
        let shown = mount.path().join("alice/latest").join(item(&directory));
        let walk = |path: &Path| -> Vec<Entry> {
            let entries = walk::walk(path, Options::default()).expect("a walk");
            entries.into_iter().filter(|entry| !entry.path.is_empty()).map(restored).collect()
        };
        let (expected, actual) = (walk(&target.join("what")), walk(&shown.join("what")));

        assert_eq!(expected.len(), 17);
        for (expected, actual) in expected.iter().zip(&actual) {
            assert_eq!(actual, expected, "version {version}");
        }
        assert_eq!(actual.len(), expected.len());
        let inode = |path: &str| fs::metadata(shown.join("what").join(path)).expect("a file").ino();
        assert_eq!(inode("docs/a.txt"), inode("docs/deep/again"), "one file of two names");
        times_are_those_that_restic_lists(&repository, &shown);
        mount.unmount().expect("the mount ends");
        assert_eq!(state(repository.path()), before, "the repository was changed");
    }
}

/// `restic ls` knows times that `restic restore` does not restore.
fn times_are_those_that_restic_lists(repository: &Repository, shown: &Path) {
    let listed = repository.run(["ls", "--json", "latest"]).expect("a list");
    let mut count = 0;
    for line in listed.lines() {
        let node: Value = serde_json::from_str(line).expect("an object a line");
        let Some(path) = node["path"].as_str().filter(|path| !path.contains('\u{fffd}')) else { continue };
        let metadata = fs::symlink_metadata(shown.join(path.trim_start_matches('/'))).expect("an entry");
        let times = [
            ("mtime", metadata.mtime(), metadata.mtime_nsec()),
            ("atime", metadata.atime(), metadata.atime_nsec()),
            ("ctime", metadata.ctime(), metadata.ctime_nsec()),
        ];
        for (field, seconds, nanoseconds) in times {
            let time: jiff::Timestamp = node[field].as_str().expect("a time").parse().expect("RFC 3339");
            let expected = time.as_nanosecond();
            assert_eq!(
                i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds),
                expected,
                "{field} of {path}"
            );
        }
        count += 1;
    }
    assert_eq!(count, 17, "all but what has a name that is not UTF-8, and the snapshot");
}

/// A repository of small backups of two hosts, with several of one moment.
fn many() -> Option<(Directory, Repository)> {
    if !skip::unless_found(&["restic"]) {
        return None;
    }
    let directory = Directory::new().expect("a directory");
    let repository = Repository::new(&directory.path().join("repo"), 2).expect("restic makes one");
    let what = |name: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(&path).expect("a directory");
        fs::write(path.join("file"), name).expect("a file");
        path
    };
    for (host, time, name, tags) in [
        ("alice", FIRST, "one", &[][..]),
        ("alice", SECOND, "one", &["--tag", "daily"]),
        ("alice", SECOND, "two", &[]),
        ("alice", SECOND, "two", &["--tag", "b/c", "--tag", "d"]),
        ("bob", FIRST, "one", &[]),
    ] {
        repository.backup(host, time, &what(name), tags).expect("a backup");
    }
    Some((directory, repository))
}

#[test]
fn hosts_are_clients_and_snapshots_of_one_moment_are_told_apart() {
    let Some((directory, repository)) = many() else { return };
    let name = directory.path().to_str().expect("UTF-8").trim_start_matches('/').replace('/', "_");
    let ls = |path: &str| of(repository.path(), &["ls", path]).success().replace(&name, "DIR");

    assert_eq!(ls("/"), "alice\nbob\n");
    assert_eq!(ls("alice"), "2026-01-02_0304\n2026-01-03_0304\nlatest\n");
    assert_eq!(ls("alice/2026-01-02_0304"), "DIR_one\n");
    assert_eq!(ls("alice/2026-01-03_0304"), "DIR_one\nDIR_two\nDIR_two [b_c,d]\n");
    assert_eq!(ls("bob/latest"), "DIR_one\n");
    let cat = format!("alice/latest/{name}_one/one/file");
    assert_eq!(of(repository.path(), &["cat", &cat]).success(), "one");
    // What is named from the top is there from the top.
    let one = directory.path().join("one");
    let one = one.to_str().expect("UTF-8");
    repository.run(["backup", "--quiet", "--host", "dave", one]).expect("a backup");
    assert_eq!(
        of(repository.path(), &["cat", &format!("dave/latest/{name}_one{one}/file")]).success(),
        "one"
    );
    let info = of(repository.path(), &["info", "--json"]);
    let lines = info.objects();
    assert_eq!(lines.len(), 6);
    assert!(
        lines[0]["started"].as_str().is_some_and(|time| time.starts_with("2026-01-02T03:04:05")),
        "{lines:?}"
    );
}

#[test]
fn new_snapshots_appear_and_forgotten_ones_go_while_it_is_open() {
    let Some((directory, repository)) = many() else { return };
    if !skip::unless_fuse() {
        return;
    }
    let mount = mount(repository.path());
    let name = directory.path().to_str().expect("UTF-8").trim_start_matches('/').replace('/', "_");
    let old = mount.path().join(format!("alice/2026-01-03_0304/{name}_two/two/file"));
    assert_eq!(fs::read(&old).expect("a file"), b"two");

    let three = directory.path().join("three");
    fs::create_dir(&three).expect("a directory");
    fs::write(three.join("file"), noise(3, 3 << 20)).expect("a file");
    repository.backup("carol", FIRST, &three, &[]).expect("a backup");
    let new = mount.path().join(format!("carol/{MOMENT}/{name}_three/three/file"));
    wait(|| new.exists());
    assert_eq!(fs::read(&new).expect("a file"), noise(3, 3 << 20));

    // Everything that is left is packed and indexed anew.
    repository
        .run(["forget", "--prune", "--host", "alice", "--keep-last", "1", "--max-unused", "0"])
        .expect("pruned");
    wait(|| !mount.path().join("alice").join(MOMENT).exists());
    let bob = mount.path().join(format!("bob/{MOMENT}/{name}_one/one/file"));
    assert_eq!(fs::read(bob).expect("a file that is left"), b"one");
    mount.unmount().expect("the mount ends");
}

fn wait(is_done: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "nothing came of it");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn passwords_come_from_a_file_or_the_environment_and_are_never_said() {
    let Some((directory, repository)) = many() else { return };
    let file = directory.path().join("password");
    fs::write(&file, format!("  {PASSWORD}\r\n")).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let ls = |arguments: &[&str], environment: &[(&str, &str)]| {
        with(repository.path(), &[&["ls"], arguments].concat(), environment)
    };

    for (arguments, environment) in [
        (&["--store-password-file", file][..], &[("SPELUNK_STORE_PASSWORD", "wrong")][..]),
        (&[], &[("SPELUNK_STORE_PASSWORD", PASSWORD), ("RESTIC_PASSWORD", "wrong")]),
        (&[], &[("RESTIC_PASSWORD_FILE", file)]),
        (&[], &[("RESTIC_PASSWORD", PASSWORD)]),
    ] {
        assert_eq!(ls(arguments, environment).success(), "alice\nbob\n", "{arguments:?} {environment:?}");
    }
    let none = ls(&[], &[]);
    let wrong = ls(&[], &[("RESTIC_PASSWORD", "quite wrong"), ("RUST_LOG", "trace")]);
    let lost = ls(&["--store-password-file", "/nowhere"], &[]);
    assert_eq!((none.code, wrong.code), (Some(12), Some(12)));
    assert!(none.stderr.contains("no password is given") && none.stderr.contains("hint:"), "{}", none.stderr);
    assert!(wrong.stderr.contains("opens no key") && wrong.stderr.contains("hint:"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("quite wrong"), "{}", wrong.stderr);
    assert!(lost.code != Some(0) && lost.stderr.contains("/nowhere"), "{}", lost.stderr);
    let image = super::spelunk(["ls", "--store-password-file", file, "/nowhere"]);
    assert_eq!(image.code, Some(2), "{}", image.stderr);
}

/// The pack with the blob `id`.
fn pack_of(repository: &Repository, id: &str) -> (PathBuf, u64, usize) {
    for index in repository.files("index").expect("the index") {
        let name = index.file_name().and_then(OsStr::to_str).expect("a name").to_owned();
        let index: Value =
            serde_json::from_str(&repository.run(["cat", "index", &name]).expect("an index")).expect("JSON");
        for pack in index["packs"].as_array().expect("packs") {
            let blobs = pack["blobs"].as_array().expect("blobs");
            let Some(blob) = blobs.iter().find(|blob| blob["id"] == *id) else { continue };
            let pack = pack["id"].as_str().expect("an id");
            let number = |field: &str| blob[field].as_u64().expect("a number");
            let length = usize::try_from(number("length")).expect("a length");
            return (repository.path().join("data").join(&pack[..2]).join(pack), number("offset"), length);
        }
    }
    panic!("no index names {id}");
}

/// The pieces of a file in the directory `what` of the newest snapshot.
fn pieces(repository: &Repository, name: &str) -> Vec<String> {
    let listed: Value =
        serde_json::from_str(&repository.run(["snapshots", "--json"]).expect("snapshots")).expect("JSON");
    let tree = |id: &Value| -> Value {
        let text = repository.run(["cat", "blob", id.as_str().expect("an id")]).expect("a tree");
        serde_json::from_str(&text).expect("JSON")
    };
    let top = tree(&listed.as_array().and_then(|all| all.last()).expect("a snapshot")["tree"]);
    let nodes = tree(&top["nodes"][0]["subtree"]);
    let nodes = nodes["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["name"] == *name).expect("the file");
    node["content"]
        .as_array()
        .expect("pieces")
        .iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn damage_costs_what_it_hit_and_hides_nothing_else() {
    let Some((directory, repository)) = repository(2) else { return };
    if !skip::unless_fuse() {
        return;
    }
    let pieces = pieces(&repository, "large");
    assert!(pieces.len() >= 3, "{} pieces", pieces.len());
    let (pack, offset, length) = pack_of(&repository, &pieces[1]);
    flip(&pack, offset + length as u64 / 2);
    let original = noise(7, LARGE_BYTES);

    let mount = mount(repository.path());
    let shown = mount.path().join("alice/latest").join(item(&directory)).join("what");
    let mut start = [0; 4096];
    let large = File::open(shown.join("large")).expect("it opens");
    large.read_exact_at(&mut start, 0).expect("its begin is whole");
    assert_eq!(start, original[..4096]);
    large.read_exact_at(&mut start, LARGE_BYTES as u64 - 4096).expect("its end is whole");
    assert_eq!(start, original[LARGE_BYTES - 4096..]);
    let whole = File::open(shown.join("large")).and_then(|mut file| file.read_to_end(&mut Vec::new()));
    assert_eq!(whole.err().and_then(|error| error.raw_os_error()), Some(5));
    assert_eq!(fs::read(shown.join("docs/a.txt")).expect("a whole file"), b"aaaa");
    drop(large);
    mount.unmount().expect("the mount ends");

    let path = format!("alice/latest/{}/what/large", item(&directory));
    let cat = of(repository.path(), &["cat", &path]);
    assert_eq!(cat.code, Some(3));
    assert!(cat.stderr.contains("damaged") && cat.stderr.contains(&pieces[1][..8]), "{}", cat.stderr);
    fs::remove_file(&pack).expect("the pack goes");
    let cat = of(repository.path(), &["cat", &path]);
    assert!(cat.stderr.contains("pack") && cat.stderr.contains("missing"), "{}", cat.stderr);
}

#[test]
fn blobs_that_change_places_are_damage() {
    let Some((directory, repository)) = repository(1) else { return };
    // Two blobs of one length, each sealed as it should be: without the password they can still change places.
    let twins = directory.path().join("twins");
    fs::create_dir(&twins).expect("a directory");
    fs::write(twins.join("one"), "1 of two files").expect("a file");
    fs::write(twins.join("two"), "2 of two files").expect("a file");
    repository.backup("bob", SECOND, &twins, &[]).expect("a backup");
    let places = ["one", "two"].map(|name| pack_of(&repository, &pieces(&repository, name)[0]));
    let bytes = places.clone().map(|(pack, offset, length)| {
        let mut bytes = vec![0; length];
        File::open(pack).and_then(|file| file.read_exact_at(&mut bytes, offset)).expect("a blob");
        bytes
    });
    fs::set_permissions(&places[0].0, fs::Permissions::from_mode(0o600)).expect("a mode");
    for ((pack, offset, _), bytes) in places.iter().zip(bytes.iter().rev()) {
        let file = File::options().write(true).open(pack).expect("a pack");
        file.write_all_at(bytes, *offset).expect("it is written");
    }

    let name = directory.path().to_str().expect("UTF-8").trim_start_matches('/').replace('/', "_");
    let cat = of(repository.path(), &["cat", &format!("bob/latest/{name}_twins/twins/one")]);

    assert_eq!((cat.code, cat.text()), (Some(3), ""), "{}", cat.stderr);
    assert!(cat.stderr.contains("not what it is called after"), "{}", cat.stderr);
}

#[test]
fn a_damaged_index_or_snapshot_leaves_the_others() {
    let Some((_directory, repository)) = many() else { return };
    let count = || of(repository.path(), &["info"]).text().lines().count();
    assert_eq!(count(), 5);

    flip(&repository.files("snapshots").expect("snapshots")[0], 40);
    let info = of(repository.path(), &["info"]);
    assert_eq!((info.code, count()), (Some(0), 4));
    assert!(info.stderr.contains("1 snapshots are damaged"), "{}", info.stderr);

    for index in &repository.files("index").expect("the index")[1..] {
        flip(index, 40);
    }
    let manifest = of(repository.path(), &["manifest"]);
    assert_eq!(manifest.code, Some(3), "{}", manifest.stderr);
    assert!(manifest.stderr.contains("indexes are damaged"), "{}", manifest.stderr);
}

/// Turns a bit of a file.
fn flip(path: &Path, offset: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
    let file = File::options().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], offset).expect("it is written");
}

#[test]
fn a_directory_of_many_entries_is_listed_in_full() {
    if !skip::unless_found(&["restic"]) {
        return;
    }
    const COUNT: usize = 20_000;
    let directory = Directory::new().expect("a directory");
    let what = directory.path().join("what");
    fs::create_dir(&what).expect("a directory");
    for number in 0..COUNT {
        File::create(what.join(format!("entry {number}"))).expect("a file");
    }
    let repository = Repository::new(&directory.path().join("repo"), 2).expect("restic makes one");
    repository.backup("alice", FIRST, &what, &[]).expect("a backup");

    let found = of(repository.path(), &["find", "--type", "f"]);

    assert_eq!(found.success().lines().count(), COUNT);
}
