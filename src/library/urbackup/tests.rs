//! Storages without metadata, which need no worker: what is found, how it is opened, what its ids are.

use super::files::FileBackup;
use super::metadata::stored_name;
use super::storage::{Key, Storage};
use crate::library::Place;
use spelunk_sandbox::{MetadataWorker, OpenOptions};
use spelunk_testkit::peer::Directory;
use spelunk_tree::{Cursor, ErrorKind, Listed, Name, NodeId, Tree};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

const FINISHED: &str = ".hashes/.sync_f3a50226-f49a-4195-afef-c75b21781ae1";

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

/// A storage with one finished backup of one share.
fn storage() -> Directory {
    let storage = Directory::new().unwrap();
    let backup = storage.path().join("pc/260102-0304");
    fs::create_dir_all(backup.join("share/inner/deep")).unwrap();
    fs::create_dir_all(backup.join(".hashes")).unwrap();
    fs::write(backup.join(FINISHED), "").unwrap();
    fs::write(backup.join("share/inner/deep/file"), "contents").unwrap();
    storage
}

fn share(storage: &Directory) -> FileBackup {
    let worker = Arc::new(MetadataWorker::new(&OpenOptions::default()));
    let storage = Storage::open(storage.path()).unwrap();
    let names = [&name("pc"), &name("260102-0304"), &name("share")];
    FileBackup::open(storage.directory(), names, worker).unwrap()
}

fn find(tree: &FileBackup, path: &[&str]) -> NodeId {
    path.iter().fold(tree.root(), |node, each| tree.lookup(node, &name(each)).unwrap().node)
}

#[test]
fn only_finished_backups_of_clients_are_found() {
    let storage = storage();
    let root = storage.path();
    for other in ["pc/260103-0304/share", "pc/current/share", "clients/x/260102-0304", "pc/notes/share"] {
        fs::create_dir_all(root.join(other)).unwrap();
    }
    let image = root.join("pc/260102-0305_Image__dev_sda1");
    fs::create_dir_all(&image).unwrap();
    fs::write(image.join("Image_x.vhdz"), "").unwrap();
    let open = Storage::open(root).unwrap();
    let before = open.clients(None).unwrap();

    fs::write(image.join("Image_x.vhdz.sync"), "").unwrap();
    let after = open.clients(None).unwrap();

    let found = |clients: &[crate::library::Client]| -> Vec<(String, Vec<String>)> {
        assert_eq!(clients.len(), 1);
        let text = |item: &crate::library::Item| String::from_utf8(item.name.as_bytes().to_vec()).unwrap();
        let items = |backup: &crate::library::Backup| backup.items.iter().map(text).collect();
        clients[0].backups.iter().map(|backup| (backup.moment.name(), items(backup))).collect()
    };
    let files = ("2026-01-02_0304".to_owned(), vec!["share".to_owned()]);
    assert_eq!(found(&before), std::slice::from_ref(&files));
    assert_eq!(found(&after), [files, ("2026-01-02_0305".to_owned(), vec!["dev_sda1".to_owned()])]);
    let probe = |path: &Path| super::probe(&Place::new(path));
    assert!(probe(root) && !probe(&root.join("pc")));
}

#[test]
fn keys_name_what_they_were_made_of() {
    let share = Key::Share { client: name("a"), backup: name("260102-0304"), share: name("C") };

    assert_eq!(Key::parse("share:a/260102-0304/C"), Some(share));
    assert_eq!(Key::parse("image:a/b/c.vhd"), Some(Key::Image("a/b/c.vhd".into())));
    for bad in ["share:a/b", "share:a/b/c/d", "share:../b/c", "a/b/c", ""] {
        assert_eq!(Key::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn metadata_of_names_like_a_directorys_are_called_otherwise() {
    let cases = [
        (".dir_metadata", ".dir_metadata0"),
        (".dir_metadata0", ".dir_metadata1"),
        (".dir_metadata9", ".dir_metadata10"),
        (".dir_metadatax", ".dir_metadatax"),
        ("file", "file"),
    ];
    for (name, stored) in cases {
        assert_eq!(stored_name(name.as_bytes()), stored.as_bytes(), "{name}");
    }
}

#[test]
fn ids_are_the_same_in_another_process_and_found_again_when_forgotten() {
    let storage = storage();
    let first = share(&storage);
    let node = find(&first, &["inner", "deep", "file"]);

    // A tree of its own remembers nothing of the other's, as in another process.
    let second = share(&storage);
    let mut buffer = [0; 16];
    let read = second.read(node, None, 0, &mut buffer).unwrap();

    assert_eq!(&buffer[..read], b"contents");
    assert_eq!(second.attr(node).unwrap().size, 8);
    let unknown = NodeId::new(12345).unwrap();
    assert_eq!(second.attr(unknown).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
}

#[test]
fn pages_list_every_name_once_also_when_another_process_goes_on() {
    let storage = storage();
    let inner = storage.path().join("pc/260102-0304/share/inner");
    (0..1000).for_each(|number| fs::write(inner.join(format!("f{number}")), "").unwrap());
    let mut names = Vec::new();
    let mut cursor = Cursor::START;

    loop {
        let tree = share(&storage);
        let page = tree.list(find(&tree, &["inner"]), cursor, 300).unwrap();
        for listed in page.entries {
            let Listed::Entry { entry, .. } = listed else { panic!("{listed:?}") };
            names.push(entry.name);
        }
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }

    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!((count, names.len()), (1001, 1001));
}

#[test]
fn links_into_the_directory_pool_are_directories_and_others_are_links() {
    let storage = storage();
    let share_path = storage.path().join("pc/260102-0304/share");
    let pool = storage.path().join("pc/.directory_pool/ab");
    fs::create_dir_all(pool.join("abc")).unwrap();
    fs::write(pool.join("abc/shared"), "from the pool").unwrap();
    symlink("/etc", pool.join("evil")).unwrap();
    for (link, target) in [
        ("pooled", "/elsewhere/pc/.directory_pool/ab/abc"),
        ("evil", "/elsewhere/pc/.directory_pool/ab/evil"),
        ("up", "/elsewhere/pc/.directory_pool/ab/.."),
        ("relative", ".directory_pool/ab/abc"),
        ("etc", "/etc"),
    ] {
        symlink(target, share_path.join(link)).unwrap();
    }

    let tree = share(&storage);

    let mut buffer = [0; 16];
    let read = tree.read(find(&tree, &["pooled", "shared"]), None, 0, &mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"from the pool");
    let list = |path| tree.list(find(&tree, &[path]), Cursor::START, 10).map_err(|error| error.kind());
    for path in ["evil", "up", "relative", "etc"] {
        assert_eq!(list(path), Err(ErrorKind::NotADirectory), "{path}");
        let within = tree.lookup(find(&tree, &[path]), &name("passwd"));
        assert!(within.is_err(), "{path}");
    }
    assert_eq!(tree.link_target(find(&tree, &["etc"])), Ok(b"/etc".to_vec()));
}
