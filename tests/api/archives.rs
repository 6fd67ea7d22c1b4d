//! `zip`: archives of any part of the library, read back by programs that are not ours.

use super::client::Client;
use super::library::{self, C};
use super::server::{READ, Server};
use crate::cli::archive::{AGAINST_MANIFEST, READERS, check_zip, names};
use crate::{fixture, program};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{skip, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn can_run() -> bool {
    fixture::can_be_made() && skip::unless_found(&READERS) && skip::unless_found(&["curl"])
}

/// Keeps an archive in a file.
#[track_caller]
fn keep(client: &Client, query: &str, directory: &Directory) -> PathBuf {
    let answer = client.get(&format!("/zip?{query}")).ok();
    assert_eq!(answer.header("content-type"), "application/zip");
    let file = directory.path().join("kept.zip");
    fs::write(&file, answer.body).expect("a file");
    file
}

#[test]
fn zip_of_an_item_is_good_and_equals_the_manifest() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let image = fixture::plain();
    let library = library::of(&image);
    let (server, admin) = Server::ready(library.path());
    let manifest = directory.path().join("manifest");
    let lines = program::run([Path::new("manifest"), image.path().as_ref()]).expect("a manifest").stdout;
    fs::write(&manifest, lines).expect("a file");

    for how in ["compression=deflate", "compression=deflate&level=9", "compression=store"] {
        let zip = keep(&admin, &format!("path={C}&{how}"), &directory);
        check_zip(&zip);
        let [zip, manifest] = [&zip, &manifest].map(|path| path.to_str().expect("a path in UTF-8"));
        tool::run("python3", ["-c", AGAINST_MANIFEST, zip, manifest, "modes"]).expect("equal");
        let again = admin.get(&format!("/zip?path={C}&{how}")).ok();
        assert!(again.body == fs::read(zip).expect("a file"), "the same request gives the same bytes");
    }
    server.stop();
}

#[test]
fn stored_zip_has_its_length_and_any_range() {
    if !can_run() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (_server, admin) = Server::ready(library.path());
    let path = format!("/zip?path={C}&compression=store");
    let head = admin.head(&path).ok();
    let whole = admin.get(&path).ok();
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    assert_eq!(head.header("etag"), whole.header("etag"));
    assert_eq!(
        head.header("content-disposition"),
        "attachment; filename=\"C.img.zip\"; filename*=UTF-8''C.img.zip"
    );

    // Ranges that begin and end anywhere, of headers and of content.
    for number in 0..60 {
        let start = number * 7919 % whole.body.len();
        let end = (start + number * 131 % 2000).min(whole.body.len() - 1);
        let part = admin.with("range", &format!("bytes={start}-{end}")).get(&path).expect(206);
        assert!(part.body == whole.body[start..=end], "{start}-{end}");
    }
    admin.with("if-none-match", whole.header("etag")).get(&path).expect(304);
    admin.with("range", "bytes=99999999-").get(&path).refused(416, "range");
    let deflated = admin.head(&format!("/zip?path={C}")).ok();
    assert_eq!((deflated.header("content-length"), deflated.header("accept-ranges")), ("", ""));
    assert_ne!(deflated.header("etag"), whole.header("etag"));
}

#[test]
fn broken_off_download_is_continued_by_curl() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let library = library::of(&fixture::beyond_4_gib());
    library::add(&library, "pc/P.img", fixture::plain().path().as_ref(), library::FIRST);
    let (_server, admin) = Server::ready(library.path());
    let url = admin.url(&format!("/zip?path={}&compression=store", C.replace("C.img", "P.img")));
    let whole = admin.get(&format!("/zip?path={}&compression=store", C.replace("C.img", "P.img"))).ok().body;
    let kept = directory.path().join("kept.zip");

    for length in [1, 100, 1000, 3000] {
        fs::write(&kept, &whole[..length]).expect("a file");
        let mut curl = Command::new("curl");
        curl.args(["-sf", "-C", "-", "-o"]).arg(&kept).args(admin.curl_options()).arg(&url);
        tool::output(&mut curl).expect("curl goes on");
        assert!(fs::read(&kept).expect("a file") == whole, "after {length}");
    }
    // Far into 5 GiB, without reading what is before.
    let large = format!("/zip?path={C}&compression=store");
    let length: u64 = admin.head(&large).ok().header("content-length").parse().expect("a length");
    assert!(length > 5 << 30);
    let start = std::time::Instant::now();
    let part =
        admin.with("range", &format!("bytes={}-{}", 3_u64 << 30, (3_u64 << 30) + 99)).get(&large).expect(206);
    assert_eq!(part.body, [0; 100]);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn several_things_are_chosen_by_query_and_by_form() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let query = format!("path={C}/hello.txt&path={C}/docs&path={C}/link");

    let zip = keep(&admin, &query, &directory);
    check_zip(&zip);
    let all = ["docs/", "docs/a.txt", "docs/b.doc", "docs/sub/", "docs/sub/deep.TXT", "hello.txt", "link"];
    assert_eq!(names(&zip), all);
    assert!(
        admin.form("/zip", &query).ok().body == fs::read(&zip).expect("a file"),
        "the form gives the same"
    );
    let followed = keep(&admin, &format!("path={C}&follow=1"), &directory);
    assert!(names(&followed).contains(&"up/a.txt".to_owned()), "{:?}", names(&followed));
    let one = keep(&admin, &format!("path={C}/docs/a.txt"), &directory);
    assert_eq!(names(&one), ["a.txt"]);
    let of_latest = admin.get("/zip?path=pc/latest/C.img/docs").ok();
    assert!(of_latest.body == admin.get(&format!("/zip?path={C}/docs")).ok().body);

    // A browser posts the form by itself, without headers of the page's.
    let plain = admin.without("x-spelunk-csrf");
    plain.with("origin", server.origin()).form("/zip", &query).ok();
    plain.with("sec-fetch-site", "same-origin").with("origin", "null").form("/zip", &query).ok();
    for (name, value) in
        [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")]
    {
        plain.with(name, value).form("/zip", &query).refused(403, "denied");
    }
    plain.form("/zip", &query).refused(403, "denied");

    for (wrong, status, kind) in [
        ("", 400, "bad-request"),
        ("path=pc/..", 400, "bad-request"),
        (&*format!("path={C}&compression=bzip2"), 400, "bad-request"),
        (&*format!("path={C}&level=many"), 400, "bad-request"),
        (&*format!("path={C}/missing"), 404, "not-found"),
        (&*format!("path={C}/docs&path={C}/missing"), 404, "not-found"),
    ] {
        admin.get(&format!("/zip?{wrong}")).refused(status, kind);
        admin.form("/zip", wrong).refused(status, kind);
    }
    let too_many = format!("path={C}&").repeat(10_001);
    admin.form("/zip", &too_many).refused(400, "bad-request");
}

#[test]
fn names_that_attack_are_harmless_in_archives() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let library = library::of(&fixture::hostile());
    let (_server, admin) = Server::ready(library.path());

    let zip = keep(&admin, &format!("path={C}"), &directory);

    check_zip(&zip);
    let expected = ["a\u{202e}cod.exe", "back%5Cslash", "caf%E9", "lost+found/", "red%1B[31m", "two%0Alines"];
    assert_eq!(names(&zip), expected);
    // In a parameter a path is encoded once more.
    let some =
        keep(&admin, &format!("path={C}/caf%25E9&path={C}/caf%25E9&path={C}/two%250Alines"), &directory);
    check_zip(&some);
    assert!(names(&some).contains(&"two%0Alines".to_owned()), "{:?}", names(&some));
}

#[test]
fn damage_is_named_in_the_archive_and_in_the_log() {
    if !can_run() {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let library = library::of(&fixture::damaged());
    let (_server, admin) = Server::ready(library.path());

    for how in ["compression=deflate", "compression=store"] {
        let zip = keep(&admin, &format!("path={C}&{how}"), &directory);
        check_zip(&zip);
        assert!(names(&zip).contains(&"docs/a.txt".to_owned()));
        let list =
            tool::run("unzip", ["-p", zip.to_str().expect("UTF-8"), "SPELUNK-ERRORS.txt"]).expect("a list");
        assert!(String::from_utf8_lossy(&list).contains("b.doc: left out: damaged: "));
        let bytes = fs::metadata(&zip).expect("a file").len();
        let event = admin.get("/audit?event=archive&limit=1").ok().json()["events"][0].clone();
        assert_eq!(event["about"], "1 entries could not be read", "{event}");
        assert_eq!((&event["outcome"], &event["bytes"]), (&"done".into(), &bytes.into()), "{event}");
        assert_eq!((&event["user"], &event["path"]), (&"admin".into(), &C.into()));
    }
}

#[test]
fn nothing_comes_along_that_one_may_not_have() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let user = server.user(&admin, "alice", &[("alice", READ)]);
    let (own, other) = ("alice/2026-01-02_0304/C.img/docs", "bob/2026-01-02_0304/D.img/d");

    for kind in ["zip", "tar"] {
        user.get(&format!("/{kind}?path={own}")).ok();
        for selection in [format!("path={other}"), format!("path={own}&path={other}"), "path=bob".to_owned()]
        {
            user.get(&format!("/{kind}?{selection}")).refused(404, "not-found");
            user.form(&format!("/{kind}"), &selection).refused(404, "not-found");
        }
        user.get(&format!("/{kind}?path=")).refused(403, "denied");
        user.get(&format!("/{kind}?path=/")).refused(403, "denied");
    }
}

#[test]
fn client_that_goes_away_ends_the_work() {
    if !can_run() {
        return;
    }
    let library = library::of(&fixture::beyond_4_gib());
    let (server, admin) = Server::ready(library.path());
    let mut curl = Command::new("curl");
    curl.args(["-s", "-m", "1", "-o", "/dev/null", "--limit-rate", "1M"]).args(admin.curl_options());
    curl.arg(admin.url(&format!("/zip?path={C}&compression=store"))).stdout(Stdio::null());
    assert_eq!(curl.status().expect("curl").code(), Some(28), "it gives up");

    let mut event = serde_json::Value::Null;
    for _ in 0..100 {
        event = admin.get("/audit?event=archive&limit=1").ok().json()["events"][0].clone();
        if !event.is_null() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(event["outcome"], "aborted", "{event}");
    assert!(event["bytes"].as_u64().is_some_and(|bytes| bytes < 100 << 20), "{event}");
    server.stop();
}
