//! `search`, `versions`, `index`: names in all backups, and what became of a path.

use super::client::Client;
use super::library::{self, C, DAY, FIRST};
use super::server::{BROWSE, READ, Server};
use crate::{fixture, program};
use serde_json::Value;
use spelunk_testkit::peer::Directory;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long it may take until small backups are indexed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until everything is in the index.
#[track_caller]
pub fn wait_for_index(client: &Client) -> Value {
    let start = Instant::now();
    loop {
        let status = client.get("/index").ok().json();
        if status["done"] == status["items"] && status["items"] != 0 {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "{status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
pub fn hits(client: &Client, query: &str) -> Vec<String> {
    let found = client.get(&format!("/search?{query}")).ok().json();
    let hits = found["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["path"].as_str().expect("a path").to_owned()).collect()
}

#[test]
fn search_finds_what_a_walk_finds() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let status = wait_for_index(&admin);
    assert_eq!((&status["items"], &status["damaged"]), (&1.into(), &0.into()));

    for (pattern, query) in [
        ("*", "q="),
        ("*.txt", "ext=txt"),
        ("*l*", "q=l"),
        ("*.TXT", "q=*.txt"),
        ("docs", "q=docs"),
        ("d*p*", "q=d*p*"),
    ] {
        let walk = program::run([
            Path::new("find"),
            &library.path().join("pc/C.img"),
            "--iname".as_ref(),
            pattern.as_ref(),
        ]);
        let walk = walk.expect("a walk");
        assert_eq!(walk.code, 0, "{}", walk.stderr);
        let is_below = |path: &&str| !path.trim_matches('/').is_empty();
        let mut expected: Vec<String> = walk
            .stdout
            .lines()
            .filter(is_below)
            .map(|path| format!("{C}/{}", path.trim_matches('/').replace('+', "%2B")))
            .collect();
        let mut found = hits(&admin, &format!("{query}&limit=1000"));
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{pattern}");
    }
    assert_eq!(hits(&admin, "q=a.txt&type=directory"), [""; 0]);
    assert_eq!(hits(&admin, "min_size=3000&type=file"), [format!("{C}/docs/b.doc")]);
    assert_eq!(hits(&admin, "before=2002-01-01"), [format!("{C}/old")]);
    assert_eq!(hits(&admin, &format!("q=a.txt&in={C}")).len(), 1);
    let page = admin.get("/search?q=&limit=2&offset=1").ok().json();
    assert_eq!(page["hits"].as_array().map(Vec::len), Some(2));
    for wrong in ["type=thing", "after=soon", "limit=x", "in=pc/monday", "in=pc/2026-01-02_0304/C.img/docs"] {
        admin.get(&format!("/search?{wrong}")).refused(400, "bad-request");
    }
    server.stop();
}

#[test]
fn search_tells_which_backups_have_it_so() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (_server, admin) = Server::ready(library.path());
    wait_for_index(&admin);

    let found = admin.get("/search?q=a.txt&in=alice").ok().json();

    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{found}");
    let hit = &found["hits"][0];
    assert_eq!(hit["path"], "alice/2026-01-03_0304/C.img/docs/a.txt", "the newest");
    assert_eq!(hit["directory"], "alice/2026-01-03_0304/C.img/docs");
    assert_eq!((&hit["client"], &hit["item"]), (&"alice".into(), &"C.img".into()));
    assert_eq!((&hit["moments"]["count"], &hit["moments"]["from"]), (&2.into(), &"2026-01-02_0304".into()));
    assert_eq!((&found["indexed"]["done"], &found["indexed"]["items"]), (&2.into(), &2.into()));
    admin.get(&format!("/file/{}", hit["path"].as_str().expect("a path"))).ok();
}

#[test]
fn users_find_what_is_theirs_alone() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let all = wait_for_index(&admin);
    let (alice, bob) =
        (server.user(&admin, "alice", &[("alice", READ)]), server.user(&admin, "bob", &[("bob", BROWSE)]));

    for (user, own, other, items) in [(&alice, "alice/", "bob", 2), (&bob, "bob/", "alice", 1)] {
        let found = hits(user, "q=&limit=1000");
        assert!(!found.is_empty() && found.iter().all(|path| path.starts_with(own)), "{found:?}");
        user.get(&format!("/search?q=&in={other}")).refused(404, "not-found");
        user.get(&format!("/index?in={other}")).refused(404, "not-found");
        let status = user.get("/index").ok().json();
        assert_eq!(status["items"], items);
        assert!(status["entries"].as_u64() < all["entries"].as_u64() && status["running"].is_null());
        user.get(&format!("/versions/{other}/x/C.img/docs")).refused(404, "not-found");
        user.send("POST", "/index", None).refused(403, "denied");
    }
    bob.get("/versions/bob/2026-01-02_0304/D.img/d/1").ok();
    bob.get("/versions/bob/2026-01-02_0304/D.img/d/1?contents=1").refused(403, "denied");
    admin.send("POST", "/index", None).expect(202);
}

/// A library of four backups of one image, in which `note` is not there, then new, then the same, then changed.
fn of_four() -> Directory {
    let library = Directory::new().expect("a directory");
    for (number, note) in [None, Some("one"), Some("one"), Some("two")].into_iter().enumerate() {
        let image = fixture::image(|root| {
            fixture::write(root, "always", b"always");
            if let Some(note) = note {
                fixture::write(root, "note", note.as_bytes());
            }
        });
        let day = u64::try_from(number).expect("a day");
        library::add(&library, &format!("pc/{number}/C.img"), image.path().as_ref(), FIRST + day * DAY);
    }
    library
}

#[test]
fn versions_tell_what_became_of_a_path() {
    if !fixture::can_be_made() {
        return;
    }
    let library = of_four();
    let (_server, admin) = Server::ready(library.path());
    let states = |path: &str| -> Vec<String> {
        let found = admin.get(&format!("/versions/{path}")).ok().json();
        let versions = found["versions"].as_array().expect("versions");
        versions.iter().map(|version| version["state"].as_str().expect("a state").to_owned()).collect()
    };

    // By size and times alone, `two` is as `one`, and only by contents another.
    assert_eq!(states(&format!("{C}/note?contents=1")), ["changed", "same", "new", "absent"]);
    assert_eq!(states(&format!("{C}/always?contents=1")), ["same", "same", "same", "new"]);
    assert_eq!(states("pc/latest/C.img/note?contents=1"), ["changed", "same", "new", "absent"]);
    let found = admin.get(&format!("/versions/{C}/note?contents=1")).ok().json();
    let newest = &found["versions"][0];
    assert_eq!(newest["moment"], "2026-01-05_0304");
    assert_eq!(
        newest["sha256"], "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
        "of `two`"
    );
    let path = newest["path"].as_str().expect("a path");
    assert_eq!(admin.get(&format!("/file/{path}")).ok().body, b"two");
    admin.get("/versions/pc").refused(400, "bad-request");
    assert!(matches!(admin.get("/versions/nobody/x/C.img/note").status, 404));
}
