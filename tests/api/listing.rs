//! `list`: directories in pages, in any order, whatever is in them.

use super::client::Client;
use super::library::{self, C, MOMENT, SHARE};
use super::server::Server;
use crate::fixture;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::fs;

/// The names in a page.
fn names(page: &Value) -> Vec<&str> {
    let entries = page["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["name"].as_str().expect("a name")).collect()
}

#[track_caller]
fn list(client: &Client, path_and_query: &str) -> Value {
    client.get(&format!("/list/{path_and_query}")).ok().json()
}

#[test]
fn directories_come_first_in_every_order() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let sorted = |query: &str| {
        let page = list(&admin, &format!("{C}?{query}"));
        names(&page).join(" ")
    };

    let files = ".hidden hello.txt link old up";
    assert_eq!(sorted(""), format!("docs lost+found {files}"));
    assert_eq!(sorted("sort=name&order=desc"), "lost+found docs up old link hello.txt .hidden");
    assert!(sorted("sort=size").starts_with("docs lost+found old .hidden "), "{}", sorted("sort=size"));
    assert!(sorted("sort=size&order=desc").ends_with(" .hidden old"));
    assert!(
        sorted("sort=modified").contains(" lost+found old ")
            || sorted("sort=modified").contains(" docs old ")
    );
    assert!(sorted("sort=type").ends_with(" .hidden hello.txt"), "{}", sorted("sort=type"));
    assert_eq!(sorted("filter=L"), "lost+found hello.txt link old");
    assert_eq!(sorted("filter=nothing+is+called+so"), "");
    server.stop();
}

#[test]
fn pages_join_to_the_whole_and_end() {
    let library = library::of_files(|share| {
        fs::create_dir(share.join("many")).expect("a directory");
        fs::write(share.join("file"), "one").expect("a file");
        for number in 0..20_000 {
            fs::hard_link(share.join("file"), share.join(format!("many/{number}"))).expect("a link");
        }
    });
    let (_server, admin) = Server::ready(library.path());

    let mut all = Vec::new();
    for offset in (0..21_000).step_by(3000) {
        let path = format!("/list/{SHARE}/many?offset={offset}&limit=3000");
        let page = admin.send_unchecked("GET", &path, None).ok().json();
        assert_eq!((page["total"].as_u64(), page["offset"].as_u64()), (Some(20_000), Some(offset)));
        all.extend(names(&page).into_iter().map(str::to_owned));
    }
    let expected: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    assert!(all == expected, "sorted by value, none twice, none missing");
    assert_eq!(names(&list(&admin, &format!("{SHARE}/many"))).len(), 1000);
    assert_eq!(
        names(&list(&admin, &format!("{SHARE}/many?limit=1000000"))).len(),
        10_000,
        "no page is larger"
    );
    assert_eq!(names(&list(&admin, &format!("{SHARE}/many?limit=0"))).len(), 1);
    let beyond = list(&admin, &format!("{SHARE}/many?offset=18446744073709551615"));
    assert_eq!((names(&beyond).len(), beyond["total"].as_u64()), (0, Some(20_000)));
    let filtered = list(&admin, &format!("{SHARE}/many?filter=1999&order=desc"));
    assert_eq!(names(&filtered)[..2], ["19999", "19998"]);
    assert_eq!(filtered["total"], 12, "1999, 11999, and 19990 to 19999");
}

#[test]
fn names_of_any_bytes_lead_to_their_content() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::hostile());
    let (_server, admin) = Server::ready(library.path());

    let page = list(&admin, C);

    let mut seen = 0;
    for entry in page["entries"].as_array().expect("entries").iter().filter(|entry| entry["type"] == "file") {
        let path = entry["path"].as_str().expect("a path");
        let content = admin.get(&format!("/file/{path}")).ok().body;
        let name: Vec<u8> = percent_decode_str(path.rsplit('/').next().expect("a name")).collect();
        assert_eq!(content, name, "each file holds its own name");
        assert_eq!(entry["name"], *String::from_utf8_lossy(&name));
        let node = admin.get(&format!("/node/{path}")).ok().json();
        assert_eq!((&node["path"], &node["size"]), (&entry["path"], &entry["size"]));
        seen += 1;
    }
    assert_eq!(seen, 5);
    assert!(names(&page).contains(&"caf\u{fffd}"));
}

#[test]
fn damaged_entries_are_told_beside_their_siblings() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::damaged());
    let (_server, admin) = Server::ready(library.path());

    let page = list(&admin, &format!("{C}/docs"));

    assert_eq!(names(&page), ["sub", "a.txt", "b.doc"]);
    let broken = &page["entries"][2];
    assert_eq!(broken["error"]["type"], "urn:spelunk:damaged");
    assert!(broken["type"].is_null() && broken["size"].is_null());
    assert!(page["entries"][1]["error"].is_null());
    admin.get(&format!("/node/{C}/docs/b.doc")).refused(422, "damaged");
    admin.get(&format!("/file/{C}/docs/b.doc")).refused(422, "damaged");
    assert_eq!(admin.get(&format!("/file/{C}/docs/a.txt")).ok().body, b"aaaa");
}

#[test]
fn latest_is_the_newest_backup_of_each_item() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (_server, admin) = Server::ready(library.path());

    let clients = admin.get("/clients").ok().json();
    assert_eq!(clients["clients"][0]["name"], "alice");
    assert_eq!(clients["clients"][0]["backups"], 2);
    assert_eq!(clients["clients"][0]["first"]["time"], "2026-01-02T03:04:00.000000000Z");
    let alice = admin.get("/clients/alice").ok().json();
    assert_eq!(alice["backups"][0]["moment"], "2026-01-03_0304", "the newest first");
    assert_eq!(alice["backups"][1]["items"][0]["path"], "alice/2026-01-02_0304/C.img");
    admin.get("/clients/carol").refused(404, "not-found");

    assert_eq!(names(&list(&admin, "")), ["alice", "bob"]);
    assert_eq!(names(&list(&admin, "alice")), [MOMENT, "2026-01-03_0304", "latest"]);
    let latest = list(&admin, "alice/latest");
    assert_eq!((names(&latest), &latest["entries"][0]["type"]), (vec!["C.img"], &Value::from("directory")));
    let item = list(&admin, "alice/latest/C.img/docs");
    assert_eq!(item["path"], "alice/2026-01-03_0304/C.img/docs", "what is named stays the same tomorrow");
    assert_eq!(admin.get("/file/alice/latest/C.img/docs/a.txt").ok().body, b"aaaa");
}

#[test]
fn what_cannot_be_listed_is_told_apart() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    fs::write(library.path().join("pc/broken.vhdx"), vec![b'x'; 100_000]).expect("a file");
    let (_server, admin) = Server::ready(library.path());
    let ask = |path: &str| admin.get(&format!("/list/{path}"));

    ask(&format!("{C}/hello.txt")).refused(409, "not-a-directory");
    ask(&format!("{C}/missing")).refused(404, "not-found");
    ask("nobody").refused(404, "not-found");
    ask("pc/1999-01-01_0000").refused(404, "not-found");
    ask(&format!("{C}/up/a.txt")).refused(409, "not-a-directory");
    for query in ["sort=colour", "order=up", "offset=-1", "limit=many", "limit=1&limit=2"] {
        ask(&format!("{C}?{query}")).refused(400, "bad-request");
    }
    for path in ["..", "pc/..", "%2e%2e", "pc/%2e%2e/pc", "a%2fb", "a%00b"] {
        admin.get(&format!("/list/{path}")).refused(400, "bad-request");
    }
    let backups = admin.get("/clients/pc").ok().json();
    let broken =
        backups["backups"][0]["items"][0]["path"].as_str().expect("the broken item, which is newest");
    assert!(broken.ends_with("broken.vhdx"), "{broken}");
    let problem = ask(broken);
    assert!(matches!(problem.status, 422 | 501), "{}", problem.text());
}
