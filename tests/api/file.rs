//! `file`: the content of files, whole and in part, for saving and for looking at.

use super::client::Client;
use super::library::{self, C};
use super::server::Server;
use crate::fixture;
use spelunk_testkit::{skip, tool};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

const HELLO: &[u8] = b"hello, world\n";

#[track_caller]
fn hello(client: &Client, header: (&str, &str)) -> super::client::Answer {
    client.with(header.0, header.1).get(&format!("/file/{C}/hello.txt"))
}

#[test]
fn every_range_is_a_slice_of_the_whole() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let whole = admin.get(&format!("/file/{C}/hello.txt")).ok();
    assert_eq!((whole.body.as_slice(), whole.header("content-length")), (HELLO, "13"));
    assert_eq!(whole.header("accept-ranges"), "bytes");

    for start in 0..HELLO.len() {
        for end in start..HELLO.len() + 2 {
            let answer = hello(&admin, ("range", &format!("bytes={start}-{end}"))).expect(206);
            let last = end.min(HELLO.len() - 1);
            assert_eq!(answer.body, &HELLO[start..=last]);
            assert_eq!(answer.header("content-range"), format!("bytes {start}-{last}/13"));
        }
        let rest = hello(&admin, ("range", &format!("bytes={start}-"))).expect(206);
        assert_eq!(rest.body, &HELLO[start..]);
        let suffix = hello(&admin, ("range", &format!("bytes=-{}", start + 1))).expect(206);
        assert_eq!(suffix.body, &HELLO[HELLO.len() - start - 1..]);
    }
    assert_eq!(hello(&admin, ("range", "bytes=-99999999999999999999999")).expect(206).body, HELLO);
    for none in ["bytes=13-", "bytes=-0", "bytes=99999999999999999999999-"] {
        let refused = hello(&admin, ("range", none)).refused(416, "range");
        assert_eq!(refused.header("content-range"), "bytes */13", "{none}");
    }
    for no_range in ["bytes=0-1,4-5", "bytes=5-2", "lines=1-2", "bytes=", "bytes=a-b", "bytes=0x1-2"] {
        assert_eq!(hello(&admin, ("range", no_range)).ok().body, HELLO, "{no_range}");
    }
    server.stop();
}

#[test]
fn conditions_are_kept() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (_server, admin) = Server::ready(library.path());
    let path = format!("/file/{C}/hello.txt");
    let whole = admin.get(&path).ok();
    let (tag, date) = (whole.header("etag"), whole.header("last-modified"));
    assert_eq!(date, "Fri, 02 Jan 2026 03:04:05 GMT");

    let part = admin.with("range", "bytes=0-4");
    for same in [tag, date] {
        assert_eq!(part.with("if-range", same).get(&path).expect(206).body, b"hello", "{same}");
    }
    for other in ["\"other\"", "Fri, 02 Jan 2026 03:04:06 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", "W/\"x\""] {
        assert_eq!(part.with("if-range", other).get(&path).ok().body, HELLO, "{other}");
    }
    let unchanged = admin.with("if-none-match", tag).get(&path).expect(304);
    assert_eq!((unchanged.header("etag"), unchanged.body.len()), (tag, 0));
    assert_eq!(unchanged.header("cache-control"), "private, no-cache");
    admin.with("if-modified-since", date).get(&path).expect(304);
    admin.with("if-match", "\"other\"").get(&path).refused(412, "precondition");
    admin
        .with("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT")
        .get(&path)
        .refused(412, "precondition");
    admin.with("if-match", tag).with("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT").get(&path).ok();

    let head = admin.head(&path).ok();
    assert_eq!((head.header("content-length"), head.body.len()), ("13", 0));
    for name in ["etag", "last-modified", "content-type", "content-disposition", "accept-ranges"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
    admin.head(&format!("/file/{C}/missing")).expect(404);
}

#[test]
fn links_are_followed_only_when_asked_and_only_inside_their_volume() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    library::add(&library, "pc/L.img", fixture::many_by_links().path().as_ref(), library::FIRST);
    let (_server, admin) = Server::ready(library.path());
    let links = C.replace("C.img", "L.img");

    admin.get(&format!("/file/{C}/link")).refused(501, "unsupported");
    assert_eq!(admin.get(&format!("/file/{C}/link?follow=1")).ok().body, b"aaaa");
    assert_eq!(admin.get(&format!("/file/{C}/up/a.txt?follow=1")).ok().body, b"aaaa");
    admin.get(&format!("/file/{C}/docs")).refused(409, "is-a-directory");
    for out in ["absolute", "climbing"] {
        admin.get(&format!("/file/{links}/{out}?follow=1")).refused(404, "not-found");
        admin.get(&format!("/file/{links}/{out}")).refused(501, "unsupported");
    }
    assert_eq!(admin.get(&format!("/file/{links}/links/7/9?follow=1")).ok().body, b"file 9");
}

#[test]
fn content_is_never_more_than_content() {
    if !fixture::can_be_made() {
        return;
    }
    let names =
        ["a.html", "a.HTM", "a.xhtml", "a.svg", "a.js", "a.mjs", "a.css", "a.xml", "a.png", "a.pdf", "a"];
    let image = fixture::image(|root| {
        for name in names {
            fixture::write(root, name, b"<script>alert(1)</script>");
        }
    });
    let library = library::of(&image);
    let (_server, admin) = Server::ready(library.path());

    for name in names {
        let saved = admin.get(&format!("/file/{C}/{name}")).ok();
        assert!(saved.header("content-disposition").starts_with("attachment; "), "{name}");
        let shown = admin.get(&format!("/file/{C}/{name}?inline=1")).ok();
        let kind = shown.header("content-type");
        assert!(shown.header("content-disposition").starts_with("inline; "), "{name}");
        match name {
            "a.png" => assert_eq!(kind, "image/png"),
            "a.pdf" => assert_eq!(kind, "application/pdf"),
            // As a picture it runs nothing, and as a page it is in a sandbox.
            "a.svg" => assert_eq!(kind, "image/svg+xml"),
            _ => assert!(matches!(kind, "text/plain" | "application/octet-stream"), "{name}: {kind}"),
        }
        for answer in [&saved, &shown] {
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
            let policy = answer.header("content-security-policy");
            assert!(
                policy.contains("default-src 'none'") && !policy.contains("script-src"),
                "{name}: {policy}"
            );
            assert!(policy.starts_with("sandbox;") || kind == "application/pdf", "{name}: {policy}");
            assert!(!policy.contains("allow-scripts"), "{name}: {policy}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
            assert!(answer.header("cache-control").contains("private"));
        }
    }
}

#[test]
fn names_stay_in_their_header() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::hostile());
    let (_server, admin) = Server::ready(library.path());

    for (path, expected) in [
        ("two%0Alines", "filename=\"two_lines\"; filename*=UTF-8''two_lines"),
        ("red%1B%5B31m", "filename=\"red_[31m\"; filename*=UTF-8''red_%5B31m"),
        ("back%5Cslash", "filename=\"back_slash\"; filename*=UTF-8''back_slash"),
        ("caf%E9", "filename=\"caf_\"; filename*=UTF-8''caf%EF%BF%BD"),
        ("a%E2%80%AEcod.exe", "filename=\"a_cod.exe\"; filename*=UTF-8''a_cod.exe"),
    ] {
        let answer = admin.get(&format!("/file/{C}/{path}")).ok();
        assert_eq!(answer.header("content-disposition"), format!("attachment; {expected}"));
    }
}

#[test]
fn any_part_of_a_file_of_a_tebibyte_comes_at_once() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::endless());
    let (_server, admin) = Server::ready(library.path());
    let path = format!("/file/{C}/endless");

    assert_eq!(admin.head(&path).ok().header("content-length"), (1_u64 << 40).to_string());
    for range in ["bytes=0-999", "bytes=1099511626776-", "bytes=-1000", "bytes=549755813888-549755814887"] {
        let answer = admin.with("range", range).get(&path).expect(206);
        assert_eq!(answer.body, [0; 1000], "{range}");
        assert!(answer.header("content-range").ends_with("/1099511627776"));
    }
    admin.with("range", "bytes=1099511627776-").get(&path).refused(416, "range");
}

/// An image with a file `holes` of 200 blocks with a hole behind each. Its map has three parts, of which this one is
/// damaged.
fn with_a_damaged_map(part: usize) -> fixture::Image {
    let image = fixture::image(|root| {
        let file = File::create(root.join("holes")).expect("a file");
        for number in 0..200_u64 {
            file.write_all_at(&[b'x'; 1024], number * 2048).expect("a block");
        }
    });
    let arguments = [OsStr::new("-R"), OsStr::new("ex /holes"), image.path()];
    let extents = String::from_utf8(tool::run("debugfs", arguments).expect("debugfs")).expect("UTF-8");
    // Level 0 of 1: the blocks of the map. The columns end with a block's number and a count.
    let maps: Vec<u64> = extents
        .lines()
        .filter(|line| line.trim_start().starts_with("0/"))
        .filter_map(|line| line.split_whitespace().rev().nth(1)?.parse().ok())
        .collect();
    assert_eq!(maps.len(), 3, "{extents}");
    let file = File::options().write(true).open(image.path()).expect("an image");
    file.write_all_at(&[0xFF; 512], maps[part] * 1024 + 12).expect("a write");
    image
}

#[test]
fn file_that_is_damaged_in_its_midst_is_broken_off_there() {
    if !fixture::can_be_made() || !skip::unless_found(&["curl"]) {
        return;
    }
    let library = library::of(&with_a_damaged_map(2));
    let (server, admin) = Server::ready(library.path());
    let path = format!("/file/{C}/holes");

    let answer = admin.get(&path);
    assert_eq!((answer.status, answer.header("content-length")), (200, "408576"), "the damage comes later");
    assert!(!answer.is_whole && answer.body.len() < 408_576, "a client cannot take it for the whole");
    let good = admin.with("range", "bytes=0-99999").get(&path).expect(206);
    assert!(good.body.starts_with(&[b'x'; 1024]) && good.body.len() == 100_000, "what is good can be had");

    let mut curl = Command::new("curl");
    curl.args(["-s", "-o"])
        .arg(server.data.path().join("out"))
        .args(admin.curl_options())
        .arg(admin.url(&path));
    let status = curl.status().expect("curl");
    assert_eq!(status.code(), Some(18), "curl knows that it is a part");
    assert!(fs::metadata(server.data.path().join("out")).map_or(0, |file| file.len()) < 408_576);
    assert!(fs::metadata(server.data.path().join("out")).is_ok_and(|file| file.len() > 100_000));

    let log = admin.get("/audit?event=download&limit=1").ok().json();
    assert_eq!(log["events"][0]["outcome"], "failed", "{log}");
    assert_eq!(log["events"][0]["path"], format!("{C}/holes"));
}

#[test]
fn file_that_is_damaged_at_its_start_is_a_problem() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&with_a_damaged_map(0));
    let (_server, admin) = Server::ready(library.path());
    let path = format!("/file/{C}/holes");

    admin.get(&path).refused(422, "damaged");
    let rest = admin.with("range", "bytes=-1024").get(&path).expect(206);
    assert_eq!(rest.body, [b'x'; 1024], "what is good can be had");
    let log = admin.get("/audit?event=download&limit=2").ok().json();
    assert_eq!((&log["events"][0]["outcome"], &log["events"][0]["bytes"]), (&"done".into(), &1024.into()));
    assert_eq!((&log["events"][1]["outcome"], &log["events"][1]["bytes"]), (&"failed".into(), &0.into()));
}
