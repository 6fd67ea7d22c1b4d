//! `node`: all that is known of one thing.

use super::library::{self, C};
use super::server::Server;
use crate::fixture;
use spelunk_testkit::tool;

#[test]
fn all_attributes_of_files_directories_and_links_are_told() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();
    let name = image.path().to_str().expect("a path in UTF-8");
    for attribute in ["user.note plain", "user.bytes \"\\377\\000\""] {
        tool::run("debugfs", ["-w", "-R", &format!("ea_set /hello.txt {attribute}"), name]).expect("debugfs");
    }
    let library = library::of(&image);
    let (server, admin) = Server::ready(library.path());
    let node = |path: &str| admin.get(&format!("/node/{C}{path}")).ok().json();

    let file = node("/hello.txt");
    assert_eq!(file["name"], "hello.txt");
    assert_eq!(file["path"], format!("{C}/hello.txt"));
    assert_eq!((&file["type"], &file["size"], &file["mode"]), (&"file".into(), &13.into(), &"4750".into()));
    assert_eq!((&file["uid"], &file["gid"], &file["links"]), (&0.into(), &0.into(), &1.into()));
    assert_eq!(file["modified"], "2026-01-02T03:04:05.000000000Z");
    for time in ["accessed", "changed"] {
        assert!(file[time].as_str().is_some_and(|time| time.ends_with('Z')), "{time}: {file}");
    }
    assert_eq!(file["allocated"].as_u64().map(|bytes| bytes % 512), Some(0));
    let xattrs = file["xattrs"].as_array().expect("extended attributes");
    let note = xattrs.iter().find(|xattr| xattr["name"] == "user.note").expect("the attribute");
    assert_eq!((&note["value"], &note["text"]), (&"cGxhaW4=".into(), &"plain".into()));
    let bytes = xattrs.iter().find(|xattr| xattr["name"] == "user.bytes").expect("the attribute");
    assert!(bytes["text"].is_null() && bytes["value"].as_str().is_some(), "{bytes}");

    let link = node("/link");
    assert_eq!((&link["type"], &link["target"]), (&"symlink".into(), &"docs/a.txt".into()));
    let directory = node("/docs");
    assert_eq!((&directory["type"], &directory["links"]), (&"directory".into(), &3.into()));
    assert_eq!(node("")["type"], "directory", "the item itself");
    assert_eq!(admin.get("/node/pc").ok().json()["type"], "directory", "a client");
    assert_eq!(node("/old")["modified"], "2001-02-03T04:05:06.000000000Z");
    admin.get(&format!("/node/{C}/missing")).refused(404, "not-found");
    admin.get(&format!("/node/{C}/hello.txt/x")).refused(409, "not-a-directory");
    server.stop();
}

#[test]
fn streams_of_ntfs_are_told_and_read() {
    let Some(image) = fixture::ntfs() else { return };
    let library = library::of(&image);
    let (_server, admin) = Server::ready(library.path());

    let node = admin.get(&format!("/node/{C}/file.txt")).ok().json();

    assert_eq!(node["streams"][0]["name"], "Zone.Identifier");
    assert_eq!(node["streams"][0]["size"], 6);
    assert!(node["dos_attributes"].is_u64() && node["created"].is_string(), "{node}");
    let stream = node["streams"][0]["stream"].as_str().expect("a stream");
    let answer = admin.get(&format!("/file/{C}/file.txt?stream={stream}")).ok();
    assert_eq!(answer.body, b"stream");
    assert!(answer.header("content-disposition").contains("\"file.txt_Zone.Identifier\""));
    assert_eq!(admin.get(&format!("/file/{C}/file.txt")).ok().body, b"data");
    let part =
        admin.with("range", "bytes=2-3").get(&format!("/file/{C}/file.txt?stream={stream}")).expect(206);
    assert_eq!(part.body, b"re");
    admin.get(&format!("/file/{C}/file.txt?stream=none")).refused(404, "not-found");
}

#[test]
fn partitions_are_directories_of_the_disk() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::partitioned());
    let (_server, admin) = Server::ready(library.path());

    let page = admin.get(&format!("/list/{C}")).ok().json();

    let names: Vec<&str> = page["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert!(names.contains(&"p1") && names.contains(&"p3"), "{names:?}");
    for volume in ["p1", "p3"] {
        assert_eq!(admin.get(&format!("/file/{C}/{volume}/docs/a.txt")).ok().body, b"aaaa");
    }
}
