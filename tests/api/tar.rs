//! `tar`: archives that keep all that there is to keep.

use super::library::{self, C};
use super::server::Server;
use crate::{fixture, program};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::walk::{self, Options};
use spelunk_testkit::{manifest, skip, tool};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

#[test]
fn tar_unpacked_is_what_was_in_the_image() {
    if !fixture::can_be_made() || !skip::unless_found(&["zstd", "bsdtar", "getfattr"]) {
        return;
    }
    let image = fixture::plain();
    let name = image.path().to_str().expect("a path in UTF-8");
    tool::run("debugfs", ["-w", "-R", "ea_set /hello.txt user.note plain", name]).expect("debugfs");
    let library = library::of(&image);
    let (server, admin) = Server::ready(library.path());
    let answer = admin.get(&format!("/tar?path={C}")).ok();
    assert_eq!(answer.header("content-type"), "application/zstd");
    assert!(answer.header("content-disposition").contains("\"C.img.tar.zst\""));
    assert!(answer.body == admin.form("/tar", &format!("path={C}")).ok().body, "the same by form");
    let head = admin.head(&format!("/tar?path={C}")).ok();
    assert_eq!((head.header("etag"), head.body.len()), (answer.header("etag"), 0));
    admin.with("if-none-match", answer.header("etag")).get(&format!("/tar?path={C}")).expect(304);

    let directory = Directory::new().expect("a directory");
    let file = directory.path().join("a.tar.zst");
    fs::write(&file, &answer.body).expect("a file");
    let told = program::run([Path::new("manifest"), image.path().as_ref()]).expect("a manifest").stdout;
    let mut expected: Vec<Vec<String>> = manifest::parse(&told).iter().map(comparable).collect();
    expected.sort();
    for unpacker in ["tar", "bsdtar"] {
        let to = directory.path().join(unpacker);
        fs::create_dir(&to).expect("a directory");
        let options: &[&str] =
            if unpacker == "tar" { &["--xattrs", "--xattrs-include=*"] } else { &["--xattrs"] };
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        arguments.extend([
            "-x".as_ref(),
            "-p".as_ref(),
            "-f".as_ref(),
            file.as_os_str(),
            "-C".as_ref(),
            to.as_os_str(),
        ]);
        tool::run(unpacker, arguments).expect("it takes the archive");
        let entries = walk::walk(&to, Options::default()).expect("a walk");
        let mut found: Vec<Vec<String>> = manifest::of_walk(&entries).iter().map(comparable).collect();
        found.sort();
        assert_eq!(found, expected, "{unpacker}");
        let hello = to.join("hello.txt");
        let arguments = ["--only-values", "-n", "user.note", hello.to_str().expect("UTF-8")];
        assert_eq!(tool::run("getfattr", arguments).expect("an attribute"), b"plain", "{unpacker}");
    }
    server.stop();
}

/// Path, type, hash and mode of an entry: what an unpacker that is not root can set, and time of a file.
fn comparable(line: &manifest::Line) -> Vec<String> {
    let [path, kind, size, hash, time, mode, ..] = &line.0;
    let (size, time) = if kind == "f" { (size.as_str(), time.as_str()) } else { ("", "") };
    [path, kind, size, hash, time, mode].map(ToString::to_string).to_vec()
}

#[test]
fn links_are_followed_where_it_is_asked_for() {
    if !fixture::can_be_made() || !skip::unless_found(&["zstd", "bsdtar"]) {
        return;
    }
    let library = library::of(&fixture::many_by_links());
    let (_server, admin) = Server::ready(library.path());
    let directory = Directory::new().expect("a directory");
    let file = directory.path().join("a.tar.zst");

    fs::write(&file, admin.get(&format!("/tar?path={C}&follow=1&level=1")).ok().body).expect("a file");

    let listed = tool::run("bsdtar", ["-tvf", file.to_str().expect("UTF-8")]).expect("bsdtar takes it");
    let listed = String::from_utf8_lossy(&listed);
    assert!(listed.lines().count() > 70_000, "{}", listed.lines().count());
    for out in ["absolute -> /etc/passwd", "climbing -> ../../../../../etc/passwd"] {
        assert!(listed.contains(out), "what leads out stays a link: {out}");
    }
    let event = admin.get("/audit?event=archive&limit=1").ok().json()["events"][0].clone();
    assert!(event["about"].as_str().is_some_and(|about| about.contains("could not be read")), "{event}");
}

#[test]
fn damage_is_named_in_the_archive() {
    if !fixture::can_be_made() || !skip::unless_found(&["zstd", "bsdtar"]) {
        return;
    }
    let library = library::of(&fixture::damaged());
    let (_server, admin) = Server::ready(library.path());
    let directory = Directory::new().expect("a directory");
    let file = directory.path().join("a.tar.zst");

    fs::write(&file, admin.get(&format!("/tar?path={C}")).ok().body).expect("a file");

    let name = file.to_str().expect("UTF-8");
    let errors = tool::run("bsdtar", ["-xOf", name, "SPELUNK-ERRORS.txt"]).expect("a list");
    assert!(String::from_utf8_lossy(&errors).contains("b.doc"), "{}", String::from_utf8_lossy(&errors));
    assert_eq!(tool::run("bsdtar", ["-xOf", name, "docs/a.txt"]).expect("a file"), b"aaaa");
}
