//! Guests that mean harm to whoever looks, through every command: links that point at the host's files, names that
//! drive terminals.

use super::fixture::{self, Image};
use super::{Ended, spelunk};
use spelunk_testkit::peer::Directory;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// What stands in the host's file, and nowhere else.
const SECRET: &[u8] = b"the host's own secret: 7f3a9c51";

/// Every command that gives out bytes or looks at nodes, with and without following links.
const COMMANDS: &[&[&str]] = &[
    &["ls", "-lR"],
    &["ls", "-lRL"],
    &["ls", "-RL", "--json"],
    &["find"],
    &["find", "--json"],
    &["manifest"],
    &["manifest", "--json"],
    &["zip", "--store", "-o", "-"],
    &["zip", "--store", "-L", "-o", "-"],
    &["tar", "-o", "-"],
    &["tar", "-L", "-o", "-"],
    &["info"],
    &["info", "--json"],
];

fn run(command: &[&str], image: &Image, paths: &[&str]) -> Ended {
    let mut arguments: Vec<OsString> = command.iter().map(OsString::from).collect();
    // Not the last: options of zip and tar take a value.
    arguments.insert(1, image.path().to_owned());
    arguments.extend(paths.iter().map(OsString::from));
    spelunk(arguments)
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

#[test]
fn links_to_the_hosts_files_give_no_byte_of_them_to_any_command() {
    if !fixture::can_be_made() {
        return;
    }
    let host = Directory::new().expect("a directory");
    let secret = host.path().join("secret");
    fs::write(&secret, SECRET).expect("a file");
    let (image, links) = fixture::links_to(&secret);
    let passwd = fs::read("/etc/passwd").expect("the host's file");

    for command in COMMANDS {
        let ended = run(command, &image, &[]);
        assert!(!ended.stdout.is_empty(), "{command:?}: {}", ended.stderr);
        for bytes in [&ended.stdout[..], ended.stderr.as_bytes()] {
            assert!(!holds(bytes, SECRET) && !holds(bytes, &passwd), "{command:?}");
        }
    }
    for link in &links {
        for follow in [&["cat"][..], &["cat", "-L"]] {
            let ended = run(follow, &image, &[link]);
            assert_eq!(
                (ended.code, &ended.stdout[..]),
                (Some(1), &b""[..]),
                "{follow:?} {link}: {}",
                ended.stderr
            );
        }
    }
    // The guest's own file of that name is another matter.
    assert_eq!(run(&["cat", "-L"], &image, &["own"]).success(), "the guest's passwd");
}

#[test]
fn links_are_followed_forty_times_and_no_more() {
    if !fixture::can_be_made() {
        return;
    }
    let host = Directory::new().expect("a directory");
    let (image, _) = fixture::links_to(&host.path().join("secret"));

    assert_eq!(run(&["cat", "-L"], &image, &["chain40"]).success(), "the guest's passwd");
    for link in ["chain41", "loop"] {
        let ended = run(&["cat", "-L"], &image, &[link]);
        assert_eq!((ended.code, ended.text()), (Some(1), ""), "{link}");
        assert!(ended.stderr.contains("over a limit"), "{}", ended.stderr);
    }
}

/// Whether text may go to a terminal: one form, no control characters but line ends and tabs, nothing that turns or
/// hides text.
fn assert_tame(text: &[u8], what: &str) {
    let text = std::str::from_utf8(text).unwrap_or_else(|_| panic!("{what}: not UTF-8"));
    let is_wild = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
    };
    assert!(!text.contains(is_wild), "{what}: {}", text.escape_debug());
}

/// The bytes that an object's field stands for.
fn field_bytes(object: &serde_json::Value, field: &str) -> Vec<u8> {
    let Some(hex) = object[format!("{field}_hex")].as_str() else {
        return object[field].as_str().expect("a text").as_bytes().to_vec();
    };
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

#[test]
fn names_are_tame_in_every_form_of_output_and_whole_in_json() {
    if !fixture::can_be_made() {
        return;
    }
    let (image, names) = fixture::every_byte();
    let paths: BTreeSet<Vec<u8>> = names.iter().map(|name| [b"/", &name[..]].concat()).collect();

    // What is meant for people. (A manifest that goes to no terminal keeps what only disguises.)
    for command in
        [&["ls"][..], &["ls", "-l"], &["ls", "-la"], &["ls", "-lR"], &["ls", "-U"], &["find"], &["info"]]
    {
        let ended = run(command, &image, &[]);
        assert_tame(&ended.stdout, &format!("{command:?}"));
        assert_tame(ended.stderr.as_bytes(), &format!("{command:?}"));
    }
    // What is meant for programs has all the bytes, and can be looked at.
    for (command, field) in [
        (&["ls", "-a", "--json"][..], "path"),
        (&["find", "--json"], "path"),
        (&["manifest", "--json"], "path"),
    ] {
        let ended = run(command, &image, &[]);
        assert_tame(&ended.stdout, &format!("{command:?}"));
        let found: BTreeSet<Vec<u8>> = ended
            .objects()
            .iter()
            .map(|object| field_bytes(object, field))
            .map(|path| if path.starts_with(b"/") { path } else { [b"/", &path[..]].concat() })
            .collect();
        let missing: Vec<String> =
            paths.difference(&found).map(|path| path.escape_ascii().to_string()).collect();
        assert_eq!(missing, Vec::<String>::new(), "{command:?}");
    }
    let info = run(&["info", "--json"], &image, &[]);
    assert_tame(&info.stdout, "info --json");
    serde_json::from_slice::<serde_json::Value>(&info.stdout).expect("an object");
}

#[test]
fn names_of_folders_and_in_searches_are_tame_and_whole_in_json() {
    if !fixture::can_be_made() {
        return;
    }
    // An escape sequence, a line end, and an override of the direction of text. (What is not UTF-8 is no client.)
    let client = OsStr::from_bytes(b"client\x1B[2J\xE2\x80\xAE");
    let item = OsStr::from_bytes(b"disk\n\xE2\x80\xAE.img");
    let place = Directory::new().expect("a directory");
    let (library, index) = (place.path().join("library"), place.path().join("index"));
    fs::create_dir_all(library.join(client)).expect("a directory");
    let (image, names) = fixture::every_byte();
    fs::copy(image.path(), library.join(client).join(item)).expect("an image");
    let of = |words: &[&str], rest: &[&OsStr]| -> Ended {
        spelunk(words.iter().map(OsStr::new).chain(rest.iter().copied()).map(OsString::from))
    };
    let (library, index) = (library.as_os_str(), index.as_os_str());
    let indexed = [OsStr::new("--library"), library, OsStr::new("--index"), index];
    assert_eq!(of(&["index"], &indexed).code, Some(0));

    for command in [&["info", "--library"][..], &["index", "--status"], &["search", "*"]] {
        let rest = if command[0] == "info" { &indexed[1..2] } else { &indexed[..] };
        let plain = of(command, rest);
        let as_json = of(&[command, &["--json"]].concat(), rest);
        for ended in [&plain, &as_json] {
            assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
            assert!(!ended.stdout.is_empty(), "{command:?}");
            assert_tame(&ended.stdout, &format!("{command:?}"));
            assert_tame(ended.stderr.as_bytes(), &format!("{command:?}"));
        }
        for object in as_json.objects() {
            let path = match object.get("path") {
                Some(_) => field_bytes(&object, "path"),
                None => {
                    [field_bytes(&object, "client"), b"/".to_vec(), field_bytes(&object, "item")].concat()
                }
            };
            assert!(path.starts_with(client.as_bytes()), "{command:?}: {}", path.escape_ascii());
            assert!(holds(&path, item.as_bytes()), "{command:?}: {}", path.escape_ascii());
        }
        if command[0] == "search" {
            let found: BTreeSet<Vec<u8>> = as_json
                .objects()
                .iter()
                .map(|object| {
                    field_bytes(object, "path")
                        .rsplit(|byte| *byte == b'/')
                        .next()
                        .unwrap_or_default()
                        .to_vec()
                })
                .collect();
            assert!(names.iter().all(|name| found.contains(name)), "names are missing");
        }
    }
}

#[test]
fn errors_about_names_are_tame_and_on_one_line() {
    if !fixture::can_be_made() {
        return;
    }
    let (image, names) = fixture::every_byte();
    // Every control character, and what is longer than one.
    for name in names.iter().filter(|name| name.len() != 3 || name[1] < b' ') {
        let missing = [&name[..], b"/missing"].concat();
        for command in ["cat", "ls", "find", "zip", "tar"] {
            let words = [OsStr::new(command), image.path(), OsStr::from_bytes(&missing)];
            let ended = spelunk(words);
            assert_ne!(ended.code, Some(0), "{command}");
            assert_tame(ended.stderr.as_bytes(), command);
            // A hint may follow, and how the command is used.
            assert!(
                ended.stderr.lines().next().is_some_and(|line| line.starts_with("error: ")),
                "{}",
                ended.stderr
            );
        }
    }
}
