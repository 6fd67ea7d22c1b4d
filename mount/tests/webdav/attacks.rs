//! Requests that no decent client sends.

use super::Server;
use super::dir_tree::DirTree;
use super::memory_tree::{MemoryTree, directory, file};

#[test]
fn no_path_leads_out_of_the_tree() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(outside.path().join("served/sub")).unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    std::fs::write(outside.path().join("served/open"), "open").unwrap();
    let server = Server::new(DirTree::new(&outside.path().join("served")));
    let status = |method: &str, path: &str| server.ask(&format!("{method} {path}"), "Depth: 1", "").status;

    assert_eq!(status("GET", "/dav/open"), 200);
    for path in [
        "/dav/../secret",
        "/dav/sub/../../secret",
        "/dav/%2e%2e/secret",
        "/dav/.%2E/secret",
        "/dav/%2e%2e%2fsecret",
        "/dav/..%2fsecret",
        "/dav/..%5csecret",
        "/dav/..\\secret",
        "/dav/sub/..%00/secret",
        "/dav/%00",
        "/dav/%252e%252e/secret",
        "/dav/..;/secret",
        "/dav/./open/../open",
        "/dav//../secret",
        "/dav/%c0%ae%c0%ae/secret",
        "/etc/passwd",
        "/dav2/open",
        "/../dav/open",
        "/%2fdav/open",
    ] {
        for method in ["GET", "HEAD", "PROPFIND"] {
            let status = status(method, path);
            assert!(matches!(status, 400 | 404), "{method} {path}: {status}");
        }
    }
    let absolute = std::fs::canonicalize(outside.path().join("secret")).unwrap();
    assert_eq!(status("GET", &format!("/dav/{}", absolute.display())), 404);
}

#[test]
fn everything_that_would_write_is_refused_and_nothing_changes() {
    let sample = tempfile::tempdir().unwrap();
    std::fs::write(sample.path().join("a"), "as it was").unwrap();
    let server = Server::new(DirTree::new(sample.path()));
    let destination = format!("Destination: {}", server.url("/dav/b"));
    let patch = r#"<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>
        <Z:Win32LastModifiedTime>Mon, 01 Jan 2024 00:00:00 GMT</Z:Win32LastModifiedTime></D:prop></D:set></D:propertyupdate>"#;

    for method in ["PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "POST", "PATCH"] {
        for path in ["/dav/a", "/dav/new", "/dav/", "/"] {
            let answer = server.ask(&format!("{method} {path}"), &destination, patch);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").contains("PROPFIND") && !answer.header("allow").contains(method));
        }
    }
    assert_eq!(server.ask("BREW /dav/a", "", "").status, 501);
    assert_eq!(std::fs::read_to_string(sample.path().join("a")).unwrap(), "as it was");
    assert_eq!(std::fs::read_dir(sample.path()).unwrap().count(), 1);
}

#[test]
fn malformed_requests_get_an_error_and_the_next_an_answer() {
    let mut tree = MemoryTree::new();
    tree.add("file", file(b"content"));
    let server = Server::new(tree);
    let propfind = |body: &str| server.ask("PROPFIND /dav/", "Depth: 1", body).status;

    assert_eq!(propfind("<"), 400);
    assert_eq!(propfind("<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'><propfind/>"), 400);
    assert_eq!(propfind(&"<a>".repeat(10_000)), 400);
    assert_eq!(propfind(&"x".repeat(1 << 20)), 413);
    let bomb = "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><a>&b;</a>";
    assert_eq!(propfind(bomb), 400);
    assert_eq!(propfind("<propfind xmlns='DAV:'><prop>\u{1}</prop></propfind>"), 400);
    let namespace = "&quot;".repeat(200);
    let many: String = (0..60).map(|number| format!("<x:p{number}/>")).collect();
    let long = format!("<propfind xmlns='DAV:' xmlns:x='{namespace}'><prop>{many}</prop></propfind>");
    assert_eq!(propfind(&long), 400);
    assert_eq!(server.ask("PROPFIND /dav/%zz", "Depth: 1", "").status, 400);
    assert_eq!(server.get(&format!("/dav/{}", "a".repeat(2000)), "").status, 404);
    assert_eq!(server.ask("UNLOCK /dav/file", "", "").status, 400);
    assert_eq!(server.ask("LOCK /dav/file", "", "").status, 412);
    assert_eq!(server.ask("LOCK /dav/file", "", "<a/>").status, 400);
    assert_eq!(server.send(b"GET /dav/file HTTP/1.1\r\n\xff\xfe: x\r\n\r\n").status, 400);
    assert_eq!(server.get("/dav/file", "Range: bytes=\u{fc}-\nIf-None-Match: \u{fc}").text(), "content");
    assert_eq!(server.ask("OPTIONS *", "", "").status, 200);
}

#[test]
fn deep_paths_are_bounded() {
    let mut tree = MemoryTree::new();
    let mut dir = 0;
    for _ in 0..50 {
        dir = tree.add_to(dir, "d", directory());
    }
    let server = Server::new(tree);

    assert_eq!(server.propfind(&format!("/dav{}", "/d".repeat(50)), 1).status, 207);
    assert_eq!(server.propfind(&format!("/dav{}", "/d".repeat(51)), 1).status, 404);
    assert_eq!(server.propfind(&format!("/dav{}", "/d".repeat(20_000)), 1).status, 404);
    assert_eq!(server.propfind(&format!("/dav{}", "/d".repeat(32_770)), 1).status, 414);
}
