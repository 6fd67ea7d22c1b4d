//! Spelunk's own store as a library: images and file backups of one place.

use super::{Ended, command, fixture};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::restic::{PASSWORD, Repository};
use spelunk_testkit::skip;
use std::fs;
use std::os::unix::fs::symlink;

/// A store: two images of `pc`, one of them not complete, and a file backup of it and of `mail`.
pub fn store() -> Option<Directory> {
    if !fixture::can_be_made() || !skip::unless_found(&["restic"]) {
        return None;
    }
    let store = Directory::new().expect("a directory");
    fs::write(store.path().join("spelunk.toml"), "version = 1\nid = \"0b6c2a1e\"\n\n[settings]\nkeep = 7\n")
        .expect("settings");
    for (path, image) in [
        ("pc/2026-01-02T030405Z/C.raw", fixture::plain()),
        ("pc/2026-01-04T030405Z/C.raw", fixture::plain()),
        ("pc/2026-01-05T030405Z.partial/C.raw", fixture::plain()),
    ] {
        let path = store.path().join("images").join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path.with_file_name("manifest.json"), "{}").expect("a manifest");
        fs::copy(image.path(), path).expect("an image");
    }
    symlink("/etc", store.path().join("images/etc")).expect("a link");
    let files = store.path().join("files");
    let what = store.path().join("tmp/share");
    fs::create_dir_all(&what).expect("a directory");
    fs::write(what.join("letter.txt"), "dear all").expect("a file");
    let repository = Repository::new(&files, 2).expect("restic makes one");
    repository.backup("pc", "2026-01-03 03:04:05", &what, &[]).expect("a backup");
    fs::write(what.join("letter.txt"), "dear all, again").expect("a file");
    repository.backup("pc", "2026-01-05 03:04:05", &what, &[]).expect("a backup");
    repository.backup("mail", "2026-01-05 03:04:05", &what, &[]).expect("a backup");
    fs::remove_dir_all(store.path().join("tmp")).expect("what was backed up goes");
    Some(store)
}

/// What the file backups of a store are called, after the path that was backed up.
pub fn share(store: &Directory) -> String {
    let path = store.path().join("tmp/share");
    path.to_str().expect("a path in UTF-8").trim_start_matches('/').replace('/', "_")
}

fn of(store: &Directory, arguments: &[&str], password: Option<&str>) -> Ended {
    let (first, rest) = arguments.split_first().expect("a command");
    let path = store.path().to_str().expect("a path in UTF-8");
    let mut command = command([&[*first, "--library", path], rest].concat());
    command.env_remove("SPELUNK_STORE_PASSWORD").envs(password.map(|text| ("SPELUNK_STORE_PASSWORD", text)));
    let output = command.output().expect("the program");
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("words in UTF-8"),
    }
}

#[test]
fn images_and_files_of_a_client_stand_side_by_side() {
    let Some(store) = store() else { return };
    let (share, ls) = (share(&store), |path: &str| of(&store, &["ls", path], Some(PASSWORD)));

    assert_eq!(ls("/").success(), "mail\npc\n");
    let moments = "2026-01-02_0304\n2026-01-03_0304\n2026-01-04_0304\n2026-01-05_0304\nlatest\n";
    assert_eq!(ls("pc").success(), moments);
    assert_eq!(ls("pc/2026-01-02_0304").success(), "C\n");
    assert_eq!(ls("pc/latest").success(), format!("C\n{share}\n"));
    let cat = |path: &str| of(&store, &["cat", path], Some(PASSWORD)).success().to_owned();
    assert_eq!(cat("pc/latest/C/docs/a.txt"), "aaaa");
    assert_eq!(cat(&format!("pc/latest/{share}/share/letter.txt")), "dear all, again");
    assert_eq!(cat(&format!("pc/2026-01-03_0304/{share}/share/letter.txt")), "dear all");
}

#[test]
fn without_the_password_the_images_are_shown_and_the_reason_is_told() {
    let Some(store) = store() else { return };

    for password in [None, Some("wrong")] {
        let ls = of(&store, &["ls", "pc"], password);

        assert_eq!(
            (ls.code, ls.text()),
            (Some(0), "2026-01-02_0304\n2026-01-04_0304\nlatest\n"),
            "{}",
            ls.stderr
        );
        assert!(
            ls.stderr.contains("file backups") && ls.stderr.contains("--store-password-file"),
            "{}",
            ls.stderr
        );
    }
}

#[test]
fn a_store_without_file_backups_is_one_of_images() {
    let Some(store) = store() else { return };
    fs::remove_dir_all(store.path().join("files")).expect("the repository goes");

    assert_eq!(of(&store, &["ls", "pc/latest"], None).success(), "C\n");
    fs::remove_dir_all(store.path().join("images")).expect("the images go");
    assert_eq!(of(&store, &["ls"], None).success(), "");
}

#[test]
fn a_store_of_another_version_is_refused_as_such() {
    let Some(store) = store() else { return };
    fs::write(store.path().join("spelunk.toml"), "version = 2\nid = \"0b6c2a1e\"\n").expect("settings");
    let newer = of(&store, &["ls"], Some(PASSWORD));
    fs::write(store.path().join("spelunk.toml"), "version: 1").expect("settings");
    let broken = of(&store, &["ls"], Some(PASSWORD));

    assert_eq!((newer.code, broken.code), (Some(1), Some(1)));
    assert!(newer.stderr.contains("not supported") && newer.stderr.contains("version 2"), "{}", newer.stderr);
    assert!(broken.stderr.contains("damaged") && broken.stderr.contains("spelunk.toml"), "{}", broken.stderr);
}
