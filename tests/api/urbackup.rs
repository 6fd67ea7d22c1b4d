//! What UrBackup itself stored, through the API: every entry, every byte, every attribute.

use super::client::Client;
use super::server::Server;
use crate::cli::archive::AGAINST_MANIFEST;
use crate::cli::urbackup::sum;
use crate::program;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::{Digest, Sha256};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::walk::{self, Options};
use spelunk_testkit::{cache, corpus, manifest, skip, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A page of a listing: small, so that there are several.
const PAGE: usize = 100;

/// What is told of each path below `path`, in a form to be compared.
fn browse(client: &Client, path: &str, found: &mut BTreeMap<Vec<u8>, Vec<String>>) {
    let mut offset = 0;
    loop {
        let page = client.get(&format!("/list/{path}?limit={PAGE}&offset={offset}")).ok().json();
        let entries = page["entries"].as_array().expect("entries");
        for entry in entries.iter().filter(|entry| entry["name"] != "latest") {
            let path = entry["path"].as_str().expect("a path");
            let node = client.get(&format!("/node/{path}")).ok().json();
            for field in ["name", "type", "size", "mode", "modified", "target"] {
                assert_eq!(node[field], entry[field], "{field} of {path}");
            }
            found.insert(percent_decode_str(path).collect(), of_node(client, path, &node));
            if entry["type"] == "directory" {
                browse(client, path, found);
            }
        }
        offset += entries.len();
        if offset >= usize::try_from(page["total"].as_u64().expect("a total")).expect("a count") {
            return;
        }
    }
}

fn of_node(client: &Client, path: &str, node: &Value) -> Vec<String> {
    let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
    let kind = text("type");
    let hash = match &*kind {
        "file" => {
            let body = client.get(&format!("/file/{path}")).ok().body;
            assert_eq!(body.len() as u64, node["size"], "{path}");
            cache::hex(&Sha256::digest(&body))
        }
        _ => String::new(),
    };
    let owner = format!("{}:{}", node["uid"], node["gid"]);
    let target = if kind == "symlink" { text("target") } else { text("device") };
    let size = if kind == "file" { node["size"].to_string() } else { String::new() };
    vec![kind, size, hash, nanoseconds(&text("modified")).to_string(), text("mode"), owner, target]
}

/// RFC 3339 as nanoseconds since 1970.
fn nanoseconds(time: &str) -> i128 {
    time.parse::<jiff::Timestamp>().map_or(i128::MIN, jiff::Timestamp::as_nanosecond)
}

/// The same of a manifest's line.
fn of_line(line: &manifest::Line) -> Vec<String> {
    let [_, kind, size, hash, time, mode, owner, _, target] = &line.0;
    let word = match &**kind {
        "f" => "file",
        "d" => "directory",
        "l" => "symlink",
        "p" => "fifo",
        "c" => "char-device",
        other => other,
    };
    let (seconds, fraction) = time.split_once('.').expect("a time");
    let nanoseconds = seconds.parse::<i128>().expect("seconds") * 1_000_000_000
        + fraction.parse::<i128>().expect("nanoseconds");
    let (size, hash) = if kind == "f" { (size.as_str(), hash.as_str()) } else { ("", "") };
    [word, size, hash, &nanoseconds.to_string(), mode, owner, target].map(str::to_owned).to_vec()
}

#[test]
fn file_backups_are_browsed_entry_by_entry_as_both_manifests_tell() {
    let Some(root) = corpus::root() else { return };
    let storage = corpus::urbackup_file_backups(&root).expect("the sample can be unpacked");
    let (server, admin) = Server::ready(&storage);
    let arguments = [Path::new("manifest"), "--library".as_ref(), &storage];
    let told = program::run(arguments).expect("a manifest");
    assert_eq!(told.code, 0, "{}", told.stderr);
    let lines = manifest::parse(&told.stdout);

    for (moment, sums) in [("0239", "manifest_v1"), ("0246", "manifest_v2")] {
        let share = format!("testclient/2026-11-23_{moment}/data");
        let mut found = BTreeMap::new();
        browse(&admin, &share, &mut found);

        let below = |line: &&manifest::Line| line.path().starts_with(&format!("{share}/"));
        let expected: BTreeMap<Vec<u8>, Vec<String>> =
            lines.iter().filter(below).map(|line| (manifest::unescape(line.path()), of_line(line))).collect();
        for (path, expected) in &expected {
            assert_eq!(found.get(path), Some(expected), "{}", path.escape_ascii());
        }
        assert_eq!(found.len(), expected.len());
        // Those that were made on the machine that was backed up.
        let text =
            fs::read(root.join(format!("samples/urbackup/manifests/{sums}.sha256"))).expect("the sums");
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let known: BTreeSet<(Vec<u8>, String)> = lines.map(sum).collect();
        let start = share.len() + 1;
        let files = found.iter().filter(|(_, told)| told[0] == "file");
        let hashes: BTreeSet<(Vec<u8>, String)> =
            files.map(|(path, told)| (path[start..].to_vec(), told[2].clone())).collect();
        assert_eq!(known.len(), 319);
        assert_eq!(hashes, known, "{moment}");
    }
    server.stop();
}

#[test]
fn archives_of_a_whole_file_backup_are_what_it_holds() {
    let Some(root) = corpus::root() else { return };
    if !skip::unless_found(&["unzip", "python3", "zstd", "tar"]) {
        return;
    }
    let storage = corpus::urbackup_file_backups(&root).expect("the sample can be unpacked");
    let (server, admin) = Server::ready(&storage);
    let share = "testclient/2026-11-23_0239/data";
    let prefix = format!("{share}/");
    let told =
        program::run([Path::new("manifest"), "--library".as_ref(), &storage]).expect("a manifest").stdout;
    let lines: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    let directory = Directory::new().expect("a directory");
    let [zip, tar, list, to] =
        ["a.zip", "a.tar.zst", "manifest", "to"].map(|name| directory.path().join(name));
    fs::write(&list, lines.join("\n")).expect("a file");

    for how in ["deflate", "store"] {
        fs::write(&zip, admin.get(&format!("/zip?path={share}&compression={how}")).ok().body)
            .expect("a file");
        let [zip, list] = [&zip, &list].map(|path| path.to_str().expect("UTF-8"));
        tool::run("unzip", ["-tqq", zip]).expect("unzip takes it");
        tool::run("python3", ["-c", AGAINST_MANIFEST, zip, list, "modes"]).expect("equal");
    }

    fs::write(&tar, admin.get(&format!("/tar?path={share}")).ok().body).expect("a file");
    if skip::unless_root("unpacking devices") {
        fs::create_dir(&to).expect("a directory");
        let [tar, to_name] = [&tar, &to].map(|path| path.to_str().expect("UTF-8"));
        tool::run("tar", ["-xpf", tar, "--xattrs", "--numeric-owner", "-C", to_name]).expect("tar takes it");
        let entries = walk::walk(&to, Options::default()).expect("a walk");
        let unpacked: BTreeMap<Vec<u8>, Vec<String>> = manifest::of_walk(&entries)
            .iter()
            .map(|line| (manifest::unescape(line.path()), of_line(line)))
            .collect();
        let expected: BTreeMap<Vec<u8>, Vec<String>> = manifest::parse(&lines.join("\n"))
            .iter()
            .map(|line| (manifest::unescape(line.path()), of_line(line)))
            .collect();
        for (path, expected) in &expected {
            assert_eq!(unpacked.get(path), Some(expected), "{}", path.escape_ascii());
        }
        assert_eq!(unpacked.len(), expected.len());
    }
    server.stop();
}

#[test]
fn image_backups_are_browsed_by_volume() {
    let Some(root) = corpus::root() else { return };
    let storage = corpus::urbackup_storage(&root).expect("the sample can be unpacked");
    let (server, admin) = Server::ready(&storage);

    let backups = admin.get("/clients/testclient").ok().json();

    let backups = backups["backups"].as_array().expect("backups");
    assert_eq!(backups.len(), 12);
    for backup in backups {
        for item in backup["items"].as_array().expect("items") {
            let path = item["path"].as_str().expect("a path");
            assert!(item["stored_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{item}");
            assert!(admin.get(&format!("/list/{path}")).ok().json()["total"].as_u64() > Some(0), "{path}");
        }
    }
    let third = admin.get("/list/testclient/2026-11-23_0246/dev_loop40?filter=third").ok().json();
    assert_eq!(third["total"], 1, "of a chain of three: {third}");
    let path = third["entries"][0]["path"].as_str().expect("a path");
    assert_eq!(admin.get(&format!("/file/{path}")).ok().body.len() as u64, third["entries"][0]["size"]);
    server.stop();
}
