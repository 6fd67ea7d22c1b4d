//! `spelunk index`, `search` and `versions`: a library of real images, over several backups.

use super::fixture::{self, MODIFIED};
use super::{Ended, spelunk};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::tool;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// A library and its index.
struct Library {
    directory: Directory,
}

impl Library {
    fn new() -> Library {
        let directory = Directory::new().expect("a directory");
        fs::create_dir(directory.path().join("backups")).expect("a directory");
        Library { directory }
    }

    fn image(&self, path: &str) -> PathBuf {
        self.directory.path().join("backups").join(path)
    }

    /// Adds a backup: an image that was changed `days` after the first one.
    fn add(&self, path: &str, image: &Path, days: u64) {
        let path = self.image(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::copy(image, &path).expect("an image");
        let file = File::options().write(true).open(&path).expect("the image");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(MODIFIED + days * DAY)).expect("a time");
    }

    /// Runs a command of the library with its index.
    fn run(&self, arguments: &[&str]) -> Ended {
        let (places, index) = (self.image(""), self.directory.path().join("index.sqlite"));
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        all.extend([OsStr::new("--library"), places.as_os_str()]);
        if arguments[0] != "versions" {
            all.extend([OsStr::new("--index"), index.as_os_str()]);
        }
        spelunk(all)
    }

    /// What a search prints, when there is nothing to say of it.
    #[track_caller]
    fn found(&self, arguments: &[&str]) -> Vec<String> {
        let ended = self.run(&[&["search"], arguments].concat());
        ended.success().lines().map(str::to_owned).collect()
    }
}

/// An ext4 filesystem of these files, all of them as old as the fixtures'; a name that ends with a slash is a directory.
fn image(files: &[(&[u8], &str)]) -> (Directory, PathBuf) {
    let directory = Directory::new().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a directory");
    let time = UNIX_EPOCH + Duration::from_secs(MODIFIED);
    let mut paths = vec![root.clone()];
    for (name, bytes) in files {
        let path = root.join(OsStr::from_bytes(name));
        if name.ends_with(b"/") {
            fs::create_dir_all(&path).expect("a directory");
        } else {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(&path, bytes).expect("a file");
        }
        paths.extend(path.ancestors().take_while(|above| *above != root).map(Path::to_owned));
    }
    for path in paths {
        File::open(path).and_then(|file| file.set_modified(time)).expect("a time");
    }
    let file = directory.path().join("test.img");
    let options = ["-q", "-F", "-O", "^has_journal", "-b", "1024", "-N", "256", "-d"].map(OsStr::new);
    let more = [root.as_os_str(), file.as_os_str(), OsStr::new("4M")];
    tool::run("mkfs.ext4", options.iter().chain(&more)).expect("mkfs.ext4");
    (directory, file)
}

/// Three backups of a volume: a file grows, one goes and comes again, a directory is renamed, names are hostile.
fn three_days() -> Library {
    let library = Library::new();
    let hostile: (&[u8], &str) = (b"etc/\"><script>\r\n\x1b[31m\xff.txt", "x");
    let days: [&[(&[u8], &str)]; 3] = [
        &[(b"a.log", "1"), (b"gone.txt", "here"), (b"old/Thesis.doc", "text"), (b"old/deep/x", ""), hostile],
        &[(b"a.log", "12"), (b"old/Thesis.doc", "text"), (b"old/deep/x", ""), hostile],
        &[
            (b"a.log", "123"),
            (b"gone.txt", "here"),
            (b"new/Thesis.doc", "text"),
            (b"new/deep/x", ""),
            hostile,
        ],
    ];
    for (day, files) in (0..).zip(days) {
        library.add(&format!("alice/{day}/C.img"), &image(files).1, day);
    }
    library
}

/// The paths that `find` sees in the library, without the library's own directories.
fn walked(library: &Library, name: &str) -> BTreeSet<String> {
    let backups = library.image("");
    let ended = spelunk([
        OsStr::new("find"),
        backups.as_os_str(),
        OsStr::new("--library"),
        OsStr::new("--iname"),
        OsStr::new(name),
    ]);
    let below_item = |line: &&str| line.trim_start_matches('/').split('/').count() > 3;
    let lines = ended.success().lines().filter(below_item);
    lines.map(|line| line.trim_start_matches('/').to_owned()).collect()
}

#[test]
fn searches_find_in_all_backups_what_a_walk_finds() {
    if !fixture::can_be_made() {
        return;
    }
    let library = three_days();
    library.add("alice/0/D.img", fixture::plain().path().as_ref(), 0);
    library.add("bob/0/hostile.raw", fixture::hostile().path().as_ref(), 1);
    let indexed = library.run(&["index"]);
    assert!(indexed.success().starts_with("5 indexed ("), "{}", indexed.text());

    for (name, glob) in [
        ("", "*"),
        ("thesis", "*thesis*"),
        ("e", "*e*"),
        ("tx", "*tx*"),
        ("*.TXT", "*.txt"),
        ("zzz", "*zzz*"),
    ] {
        let moments = [("alice", 2), ("alice", 3), ("alice", 4), ("bob", 3)];
        let of_moment = |(client, day): (&str, u32)| {
            library.found(&[name, "--in", &format!("{client}/2026-01-0{day}_0304")])
        };
        let searched: BTreeSet<String> = moments.into_iter().flat_map(of_moment).collect();

        let walked = walked(&library, glob);
        assert_eq!(
            searched.symmetric_difference(&walked).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{name}"
        );
    }
}

#[test]
fn a_file_is_found_once_for_each_way_that_it_was() {
    if !fixture::can_be_made() {
        return;
    }
    let library = three_days();
    library.run(&["index"]).success();

    let log = library.run(&["search", "a.log", "--json"]).objects();
    let of = |field: &str| log.iter().map(|hit| hit[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("size"), [3, 2, 1]);
    assert_eq!(of("backups"), [1, 1, 1]);
    let hostile = library.run(&["search", "script", "--json"]).objects();
    assert_eq!((hostile.len(), &hostile[0]["backups"]), (1, &3.into()));
    assert_eq!(
        (&hostile[0]["first"], &hostile[0]["last"]),
        (&"2026-01-02_0304".into(), &"2026-01-04_0304".into())
    );
    assert!(hostile[0]["path_hex"].is_string());
    let shown = library.found(&["script"]);
    assert_eq!(shown, ["alice/2026-01-04_0304/C.img/etc/\"><script>\\r\\n\\033[31m\\377.txt"]);
    assert_eq!(library.found(&["thesis", "--latest"]), ["alice/2026-01-04_0304/C.img/new/Thesis.doc"]);
    assert_eq!(library.found(&["gone", "--in", "alice/2026-01-03_0304/C.img"]), Vec::<String>::new());
    assert_eq!(library.found(&["--size", "2", "--type", "f"]), ["alice/2026-01-03_0304/C.img/a.log"]);
}

#[test]
fn what_was_found_can_be_got_out() {
    if !fixture::can_be_made() {
        return;
    }
    let library = three_days();
    library.run(&["index"]).success();

    for path in library.found(&["a.log"]) {
        let bytes = library.image("");
        let content =
            spelunk([OsStr::new("cat"), OsStr::new("--library"), bytes.as_os_str(), OsStr::new(&path)]);
        assert!("123".starts_with(content.success()), "{path}");
    }
}

#[test]
fn backups_are_indexed_once_and_leave_the_index_with_the_library() {
    if !fixture::can_be_made() {
        return;
    }
    let library = three_days();
    let update = || library.run(&["index", "--json"]).objects_of_one();

    // The second day comes last.
    let second = fs::read(library.image("alice/1/C.img")).expect("an image");
    fs::remove_file(library.image("alice/1/C.img")).expect("a file");
    assert_eq!(counts(&update()), (2, 0, 0));
    assert_eq!(counts(&update()), (0, 2, 0));
    let saved = library.directory.path().join("second.img");
    fs::write(&saved, second).expect("a file");
    library.add("alice/1/C.img", &saved, 1);
    let note = library.run(&["search", "gone.txt"]);
    assert!(note.stderr.contains("1 of 3 backups are not indexed"), "{}", note.stderr);
    assert_eq!(counts(&update()), (1, 2, 0));
    assert_eq!(library.found(&["gone.txt"]).len(), 2);

    fs::remove_file(library.image("alice/0/C.img")).expect("a file");
    assert_eq!(counts(&update()), (0, 2, 1));
    assert_eq!(library.found(&["gone.txt"]), ["alice/2026-01-04_0304/C.img/gone.txt"]);
    assert_eq!(library.found(&["--ext", "log"]).len(), 2);
    // A place without anything in it is one that is not there just now.
    fs::rename(library.image("alice"), library.directory.path().join("elsewhere")).expect("a move");
    assert_eq!(counts(&update()), (0, 0, 0));
    fs::rename(library.directory.path().join("elsewhere"), library.image("alice")).expect("a move");
    assert_eq!(counts(&update()), (0, 2, 0));
}

/// Indexed, known, removed.
fn counts(summary: &serde_json::Value) -> (u64, u64, u64) {
    let count = |field: &str| summary[field].as_u64().expect("a number");
    (count("indexed"), count("known"), count("removed"))
}

impl Ended {
    /// The one object it printed.
    #[track_caller]
    fn objects_of_one(&self) -> serde_json::Value {
        serde_json::from_str(self.success()).expect("an object")
    }
}

#[test]
fn an_image_that_cannot_be_read_is_named_and_the_others_are_indexed() {
    if !fixture::can_be_made() {
        return;
    }
    let library = three_days();
    fs::write(library.image("alice/broken.vhdx"), vec![b'x'; 100_000]).expect("a file");
    library.add("alice/0/E.img", fixture::damaged().path().as_ref(), 0);

    let indexed = library.run(&["index"]);
    let status = library.run(&["index", "--status", "--json"]).objects();

    assert_eq!(indexed.code, Some(3), "{}", indexed.stderr);
    assert!(indexed.text().starts_with("4 indexed ("), "{}", indexed.text());
    assert!(
        indexed.stderr.contains("broken.vhdx: not supported: ")
            && indexed.stderr.contains("damaged places in them"),
        "{}",
        indexed.stderr
    );
    let missing: Vec<_> = status.iter().filter(|item| item["indexed"] == false).collect();
    assert_eq!((status.len(), missing.len()), (5, 1));
    let damaged = status.iter().filter(|item| item["damaged"] == 1).count();
    assert_eq!(damaged, 1);
}

#[test]
fn an_interrupted_index_goes_on_where_it_was() {
    if !fixture::can_be_made() {
        return;
    }
    let library = Library::new();
    let plain = fixture::plain();
    for day in 0..30 {
        library.add(&format!("alice/{day}/C.img"), plain.path().as_ref(), day);
    }
    let index = library.directory.path().join("index.sqlite");
    let (backups, index) = (library.image(""), index.as_os_str());
    let mut child = super::command([
        OsStr::new("index"),
        OsStr::new("--library"),
        backups.as_os_str(),
        OsStr::new("--index"),
        index,
    ])
    .stdout(std::process::Stdio::null())
    .spawn()
    .expect("it starts");
    // Some are complete by then, and hardly all of them.
    while library.run(&["index", "--status"]).text().lines().filter(|line| line.ends_with("entries")).count()
        < 3
    {
        assert!(child.try_wait().expect("a child").is_none_or(|status| status.success()));
    }
    child.kill().expect("it is killed");
    child.wait().expect("it ends");

    let before = library.run(&["search", "hello.txt", "--json"]).objects()[0]["backups"].as_u64();
    let rest = library.run(&["index", "--json"]).objects_of_one();
    let after = library.run(&["search", "hello.txt", "--json"]).objects();

    assert!(before >= Some(3), "{before:?}");
    assert_eq!(counts(&rest).0 + counts(&rest).1, 30);
    assert_eq!((after.len(), &after[0]["backups"]), (1, &30.into()));
}

#[test]
fn versions_tell_where_a_path_changed() {
    if !fixture::can_be_made() {
        return;
    }
    let library = three_days();
    fs::write(library.image("alice/C.img"), vec![b'x'; 100_000]).expect("a file");
    let states = |arguments: &[&str]| -> Vec<(String, String)> {
        let ended = library.run(&[&["versions", "--json"], arguments].concat());
        let word =
            |version: &serde_json::Value, field: &str| version[field].as_str().unwrap_or_default().to_owned();
        ended.objects().iter().map(|version| (word(version, "moment"), word(version, "state"))).collect()
    };
    let by_day = |arguments: &[&str]| -> Vec<String> {
        states(arguments)
            .into_iter()
            .filter(|(moment, _)| moment.starts_with("2026-01"))
            .map(|(_, state)| state)
            .collect()
    };

    assert_eq!(by_day(&["alice/C.img/a.log"]), ["changed", "changed", "new"]);
    assert_eq!(by_day(&["alice/C.img/gone.txt"]), ["new", "absent", "new"]);
    assert_eq!(by_day(&["alice/C.img/nothing"]), ["absent", "absent", "absent"]);
    // mkfs gives each image times of its own: that the attributes were changed says nothing of the contents.
    assert_eq!(by_day(&["alice/C.img/old/Thesis.doc", "--contents"]), ["absent", "same", "new"]);
    assert_eq!(by_day(&["alice/C.img/a.log", "--contents"]), ["changed", "changed", "new"]);
    assert_eq!(states(&["alice/C.img/a.log"])[0].1, "unknown", "the newest is no image");
    let ended = library.run(&["versions", "alice/C.img/a.log"]);
    assert_eq!((ended.code, ended.text().lines().count()), (Some(3), 4), "{}", ended.stderr);
    assert_eq!(library.run(&["versions", "alice/D.img/x"]).code, Some(1));
    assert_eq!(library.run(&["versions", "alice"]).code, Some(2));
}

#[test]
fn wrong_searches_are_told() {
    let library = Library::new();
    for arguments in [["--in", "alice/yesterday"], ["--size", "many"], ["--newer", "soon"], ["--in", ""]] {
        let ended = library.run(&["search", arguments[0], arguments[1]]);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
    }
    let pattern = library.run(&["search", "[z-a]*"]);
    assert_eq!(pattern.code, Some(1), "{}", pattern.stderr);
    let index = library.directory.path().join("index.sqlite");
    fs::write(&index, [b'x'; 5000]).expect("a file");
    let other = library.run(&["search", "x"]);
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("index.sqlite") && other.stderr.contains("damaged"), "{}", other.stderr);
}
