//! `spelunk ls`.

use super::{fixture, spelunk};
use std::ffi::OsStr;

#[test]
fn names_are_sorted_and_dotted_ones_hidden() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let plain = spelunk([OsStr::new("ls"), image.path()]);
    let all = spelunk([OsStr::new("ls"), OsStr::new("-a"), image.path()]);

    assert_eq!(plain.success(), "docs\nhello.txt\nlink\nlost+found\nold\nup\n");
    assert_eq!(all.success(), ".hidden\ndocs\nhello.txt\nlink\nlost+found\nold\nup\n");
}

#[test]
fn long_listing_shows_attributes() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();
    // Nobody but root can give files away, so the owner is whoever runs this.
    let me = rustix::process::geteuid().as_raw();

    let ended = spelunk(["ls", "-l", "--json", &image.path().to_string_lossy(), "hello.txt"]);
    let listed = spelunk(["ls", "-l", &image.path().to_string_lossy(), "hello.txt", "link", "old"]);

    let object = &ended.objects()[0];
    assert_eq!(object["mode"], "4750");
    assert_eq!(object["modified"], "2026-01-02T03:04:05.000000000Z");
    assert!(listed.success().contains(" 13 2026-01-02 03:04 hello.txt\n"), "{}", listed.text());
    assert!(listed.text().starts_with(&format!("-rwsr-x--- 1 {me} ")), "{}", listed.text());
    assert!(listed.text().contains(" link -> docs/a.txt\n"), "{}", listed.text());
    assert!(listed.text().contains("  3 2001-02-03 04:05 old\n"), "{}", listed.text());
}

#[test]
fn recursion_lists_each_directory_under_its_path() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = spelunk(["ls", "-R", &image.path().to_string_lossy(), "docs"]);

    let bare = spelunk(["ls", "-R", "-0", &image.path().to_string_lossy(), "docs"]);

    assert_eq!(ended.success(), "docs:\na.txt\nb.doc\nsub\n\ndocs/sub:\ndeep.TXT\n");
    assert_eq!(bare.success(), "docs/a.txt\0docs/b.doc\0docs/sub\0docs/sub/deep.TXT\0");
}

#[test]
fn hostile_names_reach_nobody_raw_unless_asked() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::hostile();

    let listed = spelunk([OsStr::new("ls"), image.path()]);
    let raw = spelunk([OsStr::new("ls"), OsStr::new("-0"), image.path()]);
    let json = spelunk([OsStr::new("ls"), OsStr::new("--json"), image.path()]);

    assert_eq!(
        listed.success(),
        "a\\342\\200\\256cod.exe\nback\\\\slash\ncaf\\351\nlost+found\nred\\033[31m\ntwo\\nlines\n"
    );
    let names: Vec<&[u8]> = raw.stdout.split(|&byte| byte == 0).collect();
    assert_eq!(names[2..], [&b"caf\xe9"[..], b"lost+found", b"red\x1b[31m", b"two\nlines", b""]);
    assert!(!json.text().contains(['\x1b', '\u{202e}']));
    let objects = json.objects();
    assert_eq!(objects[0]["path"], "/a\u{202e}cod.exe");
    assert_eq!(objects[2]["path_hex"], "2f636166e9");
    assert!(objects.iter().all(|object| object["schema"] == 1));
}

#[test]
fn damaged_entry_is_listed_as_such_beside_its_siblings() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::damaged();

    let ended = spelunk(["ls", "-l", &image.path().to_string_lossy(), "docs"]);
    let json = spelunk(["ls", "--json", &image.path().to_string_lossy(), "docs"]);

    assert_eq!((ended.code, json.code), (Some(3), Some(3)), "{}", ended.stderr);
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.text());
    assert!(lines[1].starts_with("?????????? ?") && lines[1].ends_with(" b.doc"), "{}", lines[1]);
    assert!(ended.stderr.starts_with("warning: docs/b.doc: damaged: "), "{}", ended.stderr);
    assert_eq!(json.objects()[1]["type"], "broken");
    assert_eq!(json.objects()[1]["error_kind"], "damaged");
}

#[test]
fn paths_that_are_not_there_are_told_and_the_rest_is_listed() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = spelunk(["ls", &image.path().to_string_lossy(), "no\u{1b}ne", "docs/sub"]);

    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.text(), "docs/sub:\ndeep.TXT\n");
    assert!(ended.stderr.starts_with("error: no\\033ne: "), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn volumes_are_directories_and_one_can_be_picked() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::partitioned();
    let image = image.path().to_string_lossy();

    let top = spelunk(["ls", &image]);
    let inside = spelunk(["ls", &image, "p3/docs"]);
    let picked = spelunk(["ls", "--volume", "p3", &image, "/docs"]);
    let wrong = spelunk(["ls", "--volume", "p9", &image]);

    // The swap partition is not for users; what should be a filesystem and is none is told.
    assert_eq!((top.text(), top.code), ("p1\np3\np4\n", Some(3)));
    assert_eq!(top.stderr, "warning: /p4: not supported: no known filesystem\n");
    assert_eq!(inside.success(), "a.txt\nb.doc\nsub\n");
    assert_eq!(picked.success(), "a.txt\nb.doc\nsub\n");
    let lost = spelunk(["ls", &image, "/docs"]);
    assert_eq!((lost.code, lost.stderr.lines().count()), (Some(1), 2), "{}", lost.stderr);
    assert!(lost.stderr.contains("\nhint: paths on this disk begin with a volume"), "{}", lost.stderr);
    assert_eq!(wrong.stderr, "error: no volume p9 to show\nhint: this disk has p1, p3, p4\n");
    assert_eq!(wrong.code, Some(1));
}

#[test]
fn one_volume_can_be_forced_into_a_directory() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = spelunk(["ls", "--layout", "volumes", &image.path().to_string_lossy(), "/"]);

    assert_eq!(ended.success(), "p0\n");
}
