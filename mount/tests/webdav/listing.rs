//! PROPFIND.

use super::dir_tree::DirTree;
use super::memory_tree::{MemoryTree, directory, file};
use super::watched::{Call, Watched};
use super::{Server, User};
use spelunk_mount::path::Links;
use spelunk_mount::webdav::Options;
use spelunk_tree::{Attr, Cursor, Error, ErrorKind, Kind, Time};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

fn link(target: &str) -> super::memory_tree::Node {
    super::memory_tree::Node { attr: Attr::new(Kind::Symlink), ..file(target.as_bytes()) }
}

#[test]
fn names_of_all_kinds_stand_in_a_listing_and_lead_to_their_content() {
    let sample = tempfile::tempdir().unwrap();
    let names: &[&[u8]] = &[
        b"\"><script>alert(1)<&'",
        b"100%",
        b"%2e%2e",
        b"a#b?c=d;e",
        b"..\\..\\windows",
        b"new\nline\r\x01\x1b[31m\x7f",
        b"not utf-8 \xff\xfe",
        b"\xed\xa0\x80 a lone surrogate",
        "bidi \u{202E}txt.exe".as_bytes(),
        " spaces ".as_bytes(),
        b"+&=",
        b"\xef\xbf\xbe",
    ];
    for name in names {
        std::fs::write(sample.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let server = Server::new(DirTree::new(sample.path()));

    let answer = server.propfind("/dav/", 1);

    assert_eq!(answer.status, 207);
    let hrefs = answer.hrefs();
    assert_eq!((hrefs.len(), hrefs[0]), (names.len() + 1, "/dav/"));
    let mut contents: Vec<Vec<u8>> = hrefs[1..].iter().map(|href| server.get(href, "").body).collect();
    contents.sort();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(contents, expected);
    // Any reader of XML takes it.
    let events = xml::EventReader::new(answer.body.as_slice()).into_iter();
    assert!(events.into_iter().all(|event| event.is_ok()), "{}", answer.text());
    assert!(answer.text().contains("<D:displayname>&quot;&gt;&lt;script&gt;"));
    assert_eq!(answer.between("<D:displayname>", "<").len(), names.len() - 4);
}

#[test]
fn properties_are_those_of_the_node() {
    let mut tree = MemoryTree::new();
    let mut page = file(b"<html>");
    page.attr.modified = Some(Time::from_seconds(1_700_000_000));
    page.attr.created = Some(Time::from_seconds(1_600_000_000));
    page.attr.mode = Some(0o755);
    tree.add("page.html", page);
    tree.add("dir", directory());
    let server = Server::new(tree);
    let body = r#"<?xml version="1.0"?><D:propfind xmlns:D="DAV:" xmlns:A="http://apache.org/dav/props/"><D:prop>
        <D:creationdate/><D:getlastmodified/><D:getcontentlength/><D:getcontenttype/><D:resourcetype/><D:getetag/>
        <A:executable/><D:quota-used-bytes/><x:mine xmlns:x="urn:&quot;&lt;"/></D:prop></D:propfind>"#;

    let page = server.ask("PROPFIND /dav/page.html", "Depth: 0", body);
    let dir = server.ask("PROPFIND /dav/dir", "Depth: 0", body);

    assert!(page.is_whole && page.header("content-type").starts_with("application/xml"));
    let found = page.text().split("HTTP/1.1 200 OK").next().unwrap();
    for part in [
        "<D:creationdate>2020-09-13T12:26:40Z</D:creationdate>",
        "<D:getlastmodified>Tue, 14 Nov 2023 22:13:20 GMT</D:getlastmodified>",
        "<D:getcontentlength>6</D:getcontentlength>",
        "<D:getcontenttype>text/plain</D:getcontenttype>",
        "<D:resourcetype/>",
        "<A:executable>T</A:executable>",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let missing = page.text().split("HTTP/1.1 200 OK").nth(1).unwrap();
    assert!(missing.contains("<D:quota-used-bytes/><mine xmlns=\"urn:&quot;&lt;\"/>"), "{missing}");
    assert!(missing.contains("HTTP/1.1 404 Not Found"));
    assert_eq!(dir.hrefs(), ["/dav/dir/"]);
    assert!(dir.text().contains("<D:resourcetype><D:collection/></D:resourcetype>"));
    assert!(dir.text().contains("<D:quota-used-bytes>2867200</D:quota-used-bytes>"));
}

#[test]
fn etags_are_the_same_after_a_restart_and_in_both_methods() {
    let sample = tempfile::tempdir().unwrap();
    std::fs::write(sample.path().join("a"), "one").unwrap();
    let tags = || {
        let server = Server::new(DirTree::new(sample.path()));
        let listed = server.propfind("/dav/a", 0);
        let listed = listed.between("<D:getetag>", "</D:getetag>")[0].replace("&quot;", "\"");
        (listed, server.get("/dav/a", "").header("etag").to_owned())
    };

    let (first, second) = (tags(), tags());

    assert_eq!(first.0, first.1);
    assert_eq!(first, second);
    assert!(first.0.starts_with('"') && first.0.len() > 10);
    std::fs::write(sample.path().join("a"), "two").unwrap();
    assert_ne!(tags(), first);
}

#[test]
fn broken_entry_is_listed_with_its_error_beside_its_siblings() {
    let mut tree = MemoryTree::new();
    tree.add("before", file(b"1"));
    tree.add_broken(Some("broken"), ErrorKind::Corrupt);
    tree.add_broken(None, ErrorKind::Corrupt);
    tree.add("after", file(b"2"));
    let server = Server::new(tree);

    let answer = server.propfind("/dav/", 1);

    assert!(answer.is_whole);
    assert_eq!(answer.hrefs(), ["/dav/", "/dav/before", "/dav/broken", "/dav/after"]);
    let broken = answer.text().split("/dav/broken").nth(1).unwrap().split("</D:response>").next().unwrap();
    assert!(broken.contains("HTTP/1.1 500") && !broken.contains("200 OK"), "{broken}");
    let answer = server.get("/dav/broken", "");
    assert_eq!((answer.status, answer.text()), (500, "damaged\n"));
}

#[test]
fn errors_keep_their_kinds_apart() {
    let kinds = [
        (ErrorKind::Corrupt, 500, "damaged\n"),
        (ErrorKind::Unsupported, 501, "not supported\n"),
        (ErrorKind::Storage, 502, "storage failed\n"),
        (ErrorKind::WorkerLost, 503, "worker lost\n"),
        (ErrorKind::Denied, 403, "not permitted\n"),
        (ErrorKind::Limit, 500, "over a limit\n"),
        (ErrorKind::NotFound, 404, ""),
        (ErrorKind::NotADirectory, 404, ""),
    ];
    for (kind, status, text) in kinds {
        let mut tree = MemoryTree::new();
        tree.add_broken(Some("x"), kind);
        let server = Server::new(tree);

        for answer in [server.propfind("/dav/x", 0), server.propfind("/dav/x/y", 1), server.get("/dav/x", "")]
        {
            assert_eq!((answer.status, answer.text()), (status, text), "{kind:?}");
        }
        assert_eq!(server.get("/dav/x", "").header("retry-after"), if status == 503 { "1" } else { "" });
    }
}

#[test]
fn endless_depth_is_refused_and_said_so() {
    let server = Server::new(MemoryTree::new());

    for headers in ["Depth: infinity", ""] {
        let answer = server.ask("PROPFIND /dav/", headers, "");
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("<D:propfind-finite-depth/>"));
    }
    assert_eq!(server.ask("PROPFIND /dav/", "Depth: 7", "").status, 400);
}

fn tree_of_links() -> MemoryTree {
    let mut tree = MemoryTree::new();
    let dir = tree.add("dir", directory());
    tree.add_to(dir, "file", file(b"content"));
    tree.add("to-file", link("dir/file"));
    tree.add("to-dir", link("/dir"));
    tree.add("dangling", link("nowhere"));
    tree.add("leaving", link("../../../../etc/passwd"));
    tree.add("loop", link("loop"));
    tree.add("through-file", link("dir/file/x"));
    tree.add("pipe", super::memory_tree::Node { attr: Attr::new(Kind::Fifo), ..file(b"") });
    tree
}

#[test]
fn links_inside_are_shown_as_what_they_lead_to_and_others_left_out() {
    let server = Server::new(tree_of_links());

    assert_eq!(server.propfind("/dav/", 1).hrefs(), ["/dav/", "/dav/dir/", "/dav/to-file", "/dav/to-dir/"]);
    assert_eq!(server.get("/dav/to-file", "").text(), "content");
    assert_eq!(server.propfind("/dav/to-dir", 1).hrefs(), ["/dav/to-dir/", "/dav/to-dir/file"]);
    assert_eq!(server.get("/dav/to-dir/file", "").text(), "content");
    for path in ["dangling", "leaving", "through-file", "pipe"] {
        assert_eq!(server.get(&format!("/dav/{path}"), "").status, 404, "{path}");
    }
    assert_eq!(server.get("/dav/loop", "").status, 500);
}

#[test]
fn walk_of_all_that_is_listed_ends_whatever_leads_in_circles() {
    let mut tree = MemoryTree::new();
    let (left, right) = (tree.add("left", directory()), tree.add("right", directory()));
    tree.add_to(left, "self", link("."));
    tree.add_to(left, "up", link("/"));
    tree.add_to(left, "across", link("../right"));
    tree.add_to(right, "across", link("../left"));
    let damaged = tree.add_to(right, "damaged", directory());
    tree.link(damaged, "again", right);
    let server = Server::new(tree);

    let mut all = vec!["/dav/".to_owned()];
    for next in 0.. {
        let Some(path) = all.get(next).cloned() else { break };
        let answer = server.propfind(&path, 1);
        assert!(answer.status == 207 || path.ends_with("/again"), "{path}");
        all.extend(answer.hrefs_of_entries().map(str::to_owned));
        assert!(all.len() < 20, "{all:?}");
    }

    all.sort();
    let expected = [
        "/dav/",
        "/dav/left/",
        "/dav/left/across/",
        "/dav/left/across/damaged/",
        "/dav/left/across/damaged/again",
        "/dav/right/",
        "/dav/right/across/",
        "/dav/right/damaged/",
        "/dav/right/damaged/again",
    ];
    assert_eq!(all, expected);
    assert_eq!(server.propfind("/dav/left/self/", 1).status, 404);
}

#[test]
fn links_are_left_out_where_they_are_not_to_be_followed_but_for_those_of_a_library() {
    let mut tree = tree_of_links();
    let mut latest = directory();
    latest.is_live = true;
    let latest = tree.add("latest", latest);
    tree.add_to(latest, "C", link("../dir"));
    let options = Options { links: Links::Keep, ..Options::default() };
    let server = Server::with(tree, options, User::default());

    assert_eq!(server.propfind("/dav/", 1).hrefs(), ["/dav/", "/dav/dir/", "/dav/latest/"]);
    assert_eq!(server.get("/dav/to-file", "").status, 404);
    assert_eq!(server.get("/dav/to-dir/file", "").status, 404);
    assert_eq!(server.propfind("/dav/latest/", 1).hrefs(), ["/dav/latest/", "/dav/latest/C/"]);
    assert_eq!(server.get("/dav/latest/C/file", "").text(), "content");
}

#[test]
fn listing_that_fails_on_its_way_is_never_taken_for_a_whole_one() {
    let mut tree = MemoryTree::new();
    for number in 0..2000 {
        tree.add(&format!("file {number}"), file(b""));
    }
    let server = Server::new(Watched::new(tree, |call| match call {
        Call::List(cursor) if cursor != Cursor::START => Err(Error::corrupt("the second page")),
        _ => Ok(()),
    }));

    let answer = server.propfind("/dav/", 1);

    assert!(!answer.is_whole && !answer.text().contains("</D:multistatus>"));
}
