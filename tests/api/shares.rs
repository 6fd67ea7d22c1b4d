//! Share links: one place, and nothing beside it.

use super::client::Client;
use super::library;
use super::server::{READ, Server};
use crate::fixture;
use serde_json::json;
use std::time::Duration;

const IMAGE: &str = "bob/2026-01-02_0304/D.img";

/// Shares a path, and gives the number of the share and whoever has the link.
#[track_caller]
fn share(server: &Server, user: &Client, path: &str, seconds: i64) -> (i64, Client) {
    let made = user.post("/shares", &json!({ "path": path, "expires_in": seconds })).expect(201).json();
    let secret = made["secret"].as_str().expect("a secret");
    assert_eq!(made["link"], format!("/s/{secret}/"));
    (made["id"].as_i64().expect("a number"), server.share(secret))
}

#[test]
fn link_shows_its_directory_to_whoever_has_it() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let (_, link) = share(&server, &admin, &format!("{IMAGE}/d"), 60);

    let about = link.get("").ok().json();
    assert_eq!((&about["kind"], &about["is_admin"]), (&"share".into(), &false.into()));
    assert_eq!(about["root"], format!("{IMAGE}/d"));
    assert_eq!(link.get(&format!("/list/{IMAGE}/d")).ok().json()["total"], 281);
    assert_eq!(link.get(&format!("/file/{IMAGE}/d/7")).ok().body, b"file 7");
    assert_eq!(
        link.get("/file/bob/latest/D.img/d/7").ok().body,
        b"file 7",
        "as long as it is the same backup"
    );
    assert!(link.get(&format!("/zip?path={IMAGE}/d")).ok().body.starts_with(b"PK"));
    assert!(
        link.form("/tar", &format!("path={IMAGE}/d/1&path={IMAGE}/d/2")).ok().is_whole,
        "no header is needed"
    );
    let log = admin.get("/audit?event=download&limit=1").ok().json();
    assert_eq!(log["events"][0]["path"], format!("{IMAGE}/d/7"));
    server.stop();
}

#[test]
fn link_to_a_file_opens_this_file() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let (_, link) = share(&server, &admin, &format!("{IMAGE}/d/7"), 60);

    assert_eq!(link.get(&format!("/file/{IMAGE}/d/7")).ok().body, b"file 7");
    link.get(&format!("/file/{IMAGE}/d/77")).refused(404, "not-found");
    link.get(&format!("/file/{IMAGE}/d/8")).refused(404, "not-found");
    link.get(&format!("/list/{IMAGE}/d")).refused(403, "denied");
}

#[test]
fn nothing_leads_out_of_what_is_shared() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let (_, link) = share(&server, &admin, &format!("{IMAGE}/links"), 60);
    let outside = [
        format!("{IMAGE}/d/1"),
        format!("{IMAGE}/absolute"),
        format!("{IMAGE}/links2"),
        "alice/2026-01-02_0304/C.img/docs/a.txt".to_owned(),
        "alice/latest/C.img/docs/a.txt".to_owned(),
        "bob/latest/D.img/d/1".to_owned(),
        "carol/latest/E.img".to_owned(),
    ];

    for path in &outside {
        for what in ["/list/", "/node/", "/file/", "/zip?path=", "/tar?path="] {
            link.get(&format!("{what}{path}")).refused(404, "not-found");
        }
        link.form("/zip", &format!("path={IMAGE}/links/1&path={path}")).refused(404, "not-found");
    }
    for above in [IMAGE, "bob/2026-01-02_0304", "bob", "bob/latest/D.img", ""] {
        for what in ["/list/", "/zip?path=", "/tar?path="] {
            let refused = link.get(&format!("{what}{above}"));
            assert!(matches!(refused.status, 403 | 404), "{what}{above}: {}", refused.text());
        }
    }
    for path in ["/clients", "/clients/bob", "/search?q=1", "/index", "/list"] {
        link.get(path).refused(403, "denied");
    }
    link.get(&format!("/versions/{IMAGE}/links/1")).refused(403, "denied");
    link.send("POST", "/index", None).refused(403, "denied");
    // What a link in the guest leads to is outside.
    link.get(&format!("/file/{IMAGE}/links/1?follow=1")).refused(403, "denied");
    link.get(&format!("/file/{IMAGE}/links/1/7?follow=1")).refused(403, "denied");
    link.get(&format!("/zip?path={IMAGE}/links&follow=1")).refused(403, "denied");
    link.get(&format!("/file/{IMAGE}/links/1/7")).refused(409, "not-a-directory");
    for climbing in ["..", "%2e%2e", "../d/1", "%2e%2e/d/1", "..%2fd%2f1", "%2e%2e%2fd", "1/../../d/1"] {
        for what in ["list", "node", "file"] {
            let refused = link.send_unchecked("GET", &format!("/{what}/{IMAGE}/links/{climbing}"), None);
            assert_eq!(refused.status, 400, "{what} {climbing}: {}", refused.text());
        }
        link.get(&format!("/zip?path={IMAGE}/links/{climbing}")).refused(400, "bad-request");
    }
}

#[test]
fn link_is_no_way_to_anything_else() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let (_, link) = share(&server, &admin, &format!("{IMAGE}/d"), 60);
    let secret = link.url("").split('/').nth(4).expect("the secret").to_owned();

    for path in ["/me", "/users", "/tokens", "/shares", "/audit"] {
        let refused = link.send_unchecked("GET", path, None);
        assert_eq!(refused.status, 404, "{path}: {}", refused.text());
    }
    // Nor is its secret good for anything else.
    let bearer = server.anybody().with("authorization", &format!("Bearer {secret}"));
    bearer.get("/list").refused(401, "unauthenticated");
    server
        .anybody()
        .with("cookie", &format!("spelunk_session={secret}"))
        .get("/list")
        .refused(401, "unauthenticated");
    // What else whoever asks may do does not count.
    let secret_of_admin = admin.header("cookie").to_owned();
    link.with("cookie", &secret_of_admin).get("/clients").refused(403, "denied");
    for wrong in [&secret[1..], "", "..", "%2e%2e"] {
        let refused = server.share(wrong).send_unchecked("GET", "/list", None);
        assert_eq!(refused.status, 404, "{wrong}");
    }
}

#[test]
fn links_end() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let user = server.session(&admin, "bob", &[("bob", READ)]);
    let path = format!("/list/{IMAGE}/d");
    let place = format!("{IMAGE}/d");
    let (_, short) = share(&server, &user, &place, 3);
    let (number, revoked) = share(&server, &user, &place, 60);
    let (_, other) = share(&server, &user, &place, 60);
    for link in [&short, &revoked, &other] {
        link.get(&path).ok();
    }

    user.delete(&format!("/shares/{number}")).expect(204);
    revoked.get(&path).refused(404, "not-found");
    std::thread::sleep(Duration::from_millis(3100));
    short.get(&path).refused(404, "not-found");
    other.get(&path).ok();
    // Whoever may no longer see it has shared it no longer.
    admin.patch("/users/bob", &json!({ "rights": [{ "client": "bob", "actions": ["browse"] }] })).ok();
    other.get(&path).refused(404, "not-found");

    let bad = [
        ("", 60, 400),
        ("bob/latest/D.img", 60, 400),
        (&*place, 0, 400),
        (&*place, 1_i64 << 40, 400),
        ("alice", 60, 404),
    ];
    admin.patch("/users/bob", &json!({ "rights": [{ "client": "bob", "actions": READ }] })).ok();
    for (path, seconds, status) in bad {
        let refused = user.post("/shares", &json!({ "path": path, "expires_in": seconds }));
        assert_eq!(refused.status, status, "{path} {seconds}: {}", refused.text());
    }
}
