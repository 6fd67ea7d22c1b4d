//! GET and HEAD.

use super::Server;
use super::memory_tree::{MemoryTree, file};
use spelunk_tree::Time;

/// Bytes that tell their place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect()
}

fn server(data: &[u8]) -> Server {
    let mut tree = MemoryTree::new();
    let mut node = file(data);
    node.attr.modified = Some(Time::new(1_700_000_000, 5).unwrap());
    tree.add("file.bin", node);
    Server::new(tree)
}

const FILE: &str = "/dav/file.bin";
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

#[test]
fn whole_files_of_all_sizes_come_with_their_length() {
    for length in [0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 3] {
        let data = content(length);
        let server = server(&data);

        let (got, head) = (server.get(FILE, ""), server.ask(&format!("HEAD {FILE}"), "", ""));

        assert_eq!((got.status, got.body == data), (200, true), "{length}");
        for answer in [&got, &head] {
            assert_eq!(answer.header("content-length"), length.to_string());
            assert_eq!(answer.header("last-modified"), DATE);
            assert_eq!(answer.header("accept-ranges"), "bytes");
        }
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(server.downloads(), [("file.bin".to_owned(), length as u64)]);
    }
}

#[test]
fn nothing_is_called_what_a_browser_runs() {
    let mut tree = MemoryTree::new();
    tree.add("page.html", file(b"<script>alert(1)</script>"));
    tree.add("picture.svg", file(b"<svg onload='alert(1)'/>"));
    tree.add("script.js", file(b"alert(1)"));
    let server = Server::new(tree);

    for (path, media_type) in [
        ("page.html", "text/plain"),
        ("picture.svg", "application/octet-stream"),
        ("script.js", "text/plain"),
    ] {
        let answer = server.get(&format!("/dav/{path}"), "");
        assert_eq!(answer.header("content-type"), media_type, "{path}");
        assert_eq!(answer.header("content-security-policy"), "sandbox; default-src 'none'");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[test]
fn ranges_give_just_those_bytes() {
    let data = content(3 << 20);
    let server = server(&data);
    let last = data.len() - 1;

    for (range, start, end) in [
        ("0-0", 0, 1),
        ("5-", 5, data.len()),
        ("-7", data.len() - 7, data.len()),
        ("1000000-2500000", 1_000_000, 2_500_001),
        ("3145727-99999999999999999999", last, data.len()),
    ] {
        let answer = server.get(FILE, &format!("Range: bytes={range}"));
        assert_eq!((answer.status, answer.body == data[start..end]), (206, true), "{range}");
        let expected = format!("bytes {start}-{}/{}", end - 1, data.len());
        assert_eq!(answer.header("content-range"), expected);
        assert_eq!(answer.header("content-length"), (end - start).to_string());
    }
    let answer = server.get(FILE, "Range: bytes=3145728-");
    assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */3145728"));
    for range in ["bytes=x", "bytes=9-5", "lines=1-2"] {
        assert_eq!(server.get(FILE, &format!("Range: {range}")).status, 200, "{range}");
    }
}

#[test]
fn several_ranges_come_as_parts_of_exact_length() {
    let data = content(4000);
    let server = server(&data);

    let answer = server.get(FILE, "Range: bytes=0-9, 100-199, -5");

    assert_eq!((answer.status, answer.is_whole), (206, true));
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |start: usize, end: usize| {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{}/4000\r\n\r\n",
            end - 1
        );
        [head.as_bytes(), &data[start..end]].concat()
    };
    let end = format!("\r\n--{boundary}--\r\n").into_bytes();
    assert!(answer.body == [part(0, 10), part(100, 200), part(3995, 4000), end].concat());
    let burden = format!("Range: bytes={}", "0-,".repeat(20));
    assert_eq!(server.get(FILE, &burden).status, 200);
}

#[test]
fn conditions_are_heeded() {
    let server = server(b"content");
    let tag = server.get(FILE, "").header("etag").to_owned();
    let status = |headers: &str| server.get(FILE, headers).status;

    assert_eq!(status(&format!("If-None-Match: {tag}")), 304);
    assert_eq!(status(&format!("If-None-Match: \"other\", W/{tag}")), 304);
    assert_eq!(status("If-None-Match: *"), 304);
    assert_eq!(status("If-None-Match: \"other\""), 200);
    assert_eq!(status(&format!("If-Modified-Since: {DATE}")), 304);
    assert_eq!(status("If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT"), 200);
    assert_eq!(status(&format!("If-None-Match: \"other\"\nIf-Modified-Since: {DATE}")), 200);
    assert_eq!(status(&format!("If-Match: {tag}")), 200);
    assert_eq!(status(&format!("If-Match: W/{tag}")), 412);
    assert_eq!(status("If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT"), 412);
    assert_eq!(status(&format!("Range: bytes=0-1\nIf-Range: {tag}")), 206);
    assert_eq!(status("Range: bytes=0-1\nIf-Range: \"other\""), 200);
    assert_eq!(status(&format!("Range: bytes=0-1\nIf-Range: {DATE}")), 206);
    assert_eq!(status("Range: bytes=0-1\nIf-Range: Tue, 14 Nov 2023 22:13:19 GMT"), 200);
    assert!(server.get(FILE, "If-None-Match: *").body.is_empty());
}

#[test]
fn damage_at_the_start_is_a_status_and_later_on_ends_the_connection() {
    let mut tree = MemoryTree::new();
    let mut node = file(&content(4 << 20));
    node.unreadable_from = Some(0);
    tree.add("at-once", node);
    let mut node = file(&content(4 << 20));
    node.unreadable_from = Some(3 << 20);
    tree.add("later", node);
    let server = Server::new(tree);

    let at_once = server.get("/dav/at-once", "");
    let later = server.get("/dav/later", "");

    assert_eq!((at_once.status, at_once.text()), (500, "damaged\n"));
    assert_eq!((later.status, later.is_whole), (200, false));
    assert!(later.body.len() <= 3 << 20 && later.body == content(later.body.len()));
    assert_eq!(server.get("/dav/later", "Range: bytes=0-1048575").status, 206);
}

#[test]
fn directory_answers_without_its_content() {
    let server = Server::new(MemoryTree::new());

    let answer = server.get("/dav/", "");

    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain"));
    assert_eq!(server.get("/dav/none", "").status, 404);
    assert_eq!(server.get("/", "").status, 404);
}
