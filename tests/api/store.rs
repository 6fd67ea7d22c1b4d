//! A store of Spelunk's own over HTTP: images and snapshots of restic alike.

use super::client::Client;
use super::search::{hits, wait_for_index};
use super::server::Server;
use crate::cli::store::{share, store};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use spelunk_testkit::peer::Directory;
use spelunk_testkit::restic::PASSWORD;
use std::fs;
use std::path::Path;

/// A server that knows the password of its store.
fn serve(store: &Directory) -> (Server, Client) {
    let password = store.path().join("password");
    fs::write(&password, PASSWORD).expect("a file");
    let server = Server::start(store.path(), [Path::new("--store-password-file"), &password]);
    let admin = server.set_up();
    (server, admin)
}

fn names(client: &Client, path: &str) -> Vec<String> {
    let listed = client.get(&format!("/list/{path}")).ok().json();
    let entries = listed["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

/// A file backup's share as it stands in a path of the API.
fn encoded_share(store: &Directory) -> String {
    utf8_percent_encode(&share(store), NON_ALPHANUMERIC).to_string()
}

#[test]
fn a_stores_images_and_snapshots_are_listed_read_and_shown_over_webdav() {
    let Some(store) = store() else { return };
    let (server, admin) = serve(&store);
    let letter = format!("pc/2026-01-05_0304/{}/share/letter.txt", encoded_share(&store));

    let clients = admin.get("/clients").ok().json();
    assert_eq!(clients["clients"].as_array().map(Vec::len), Some(2));
    assert_eq!(names(&admin, "pc/2026-01-02_0304"), ["C"]);
    assert_eq!(names(&admin, "pc/2026-01-05_0304"), [share(&store)]);
    assert_eq!(admin.get(&format!("/file/{letter}")).ok().body, b"dear all, again");
    let part = admin.with("range", "bytes=5-7").get(&format!("/file/{letter}"));
    assert_eq!((part.status, part.body.as_slice()), (206, &b"all"[..]));
    let node = admin.get(&format!("/node/{letter}")).ok().json();
    assert_eq!((&node["type"], &node["size"]), (&Value::from("file"), &Value::from(15)));
    let dav = admin.below("/dav").get(&format!("/{letter}"));
    assert_eq!((dav.status, dav.body.as_slice()), (200, &b"dear all, again"[..]));
    let zip = admin.get(&format!("/zip?path=pc/2026-01-05_0304/{}", encoded_share(&store))).ok();
    assert!(zip.body.starts_with(b"PK"));
    server.stop();
}

#[test]
fn a_stores_snapshots_are_searched_and_compared() {
    let Some(store) = store() else { return };
    let (server, admin) = serve(&store);
    let status = wait_for_index(&admin);
    assert_eq!((&status["items"], &status["damaged"]), (&5.into(), &0.into()));

    let found = hits(&admin, "q=letter");
    assert!(found.iter().any(|path| path.starts_with("mail/")), "{found:?}");
    assert!(found.iter().any(|path| path.starts_with("pc/")), "{found:?}");
    let letter = format!("pc/latest/{}/share/letter.txt", encoded_share(&store));
    let versions = admin.get(&format!("/versions/{letter}?contents=1")).ok().json();
    let states: Vec<&str> = versions["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .filter_map(|version| version["state"].as_str())
        .collect();
    assert_eq!(states, ["changed", "new"]);
    server.stop();
}
