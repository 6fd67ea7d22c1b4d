//! What a library makes of its places, without opening anything in them.

use super::*;
use spelunk_testkit::peer::Directory;
use spelunk_tree::{Cursor, Entry, Kind, Listed, NodeId, Time};
use std::fs::{self, File};
use std::time::{SystemTime, UNIX_EPOCH};

/// 2026-01-02 03:04 UTC, and an hour later.
const FIRST: u64 = 1_767_323_040;
const SECOND: u64 = FIRST + 3600;

fn place(files: &[(&str, u64)]) -> Directory {
    let directory = Directory::new().unwrap();
    for (path, modified) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(*modified);
        File::create(path).unwrap().set_modified(time).unwrap();
    }
    directory
}

fn library(places: &[&Directory]) -> Arc<Library> {
    let places: Vec<Place> = places.iter().map(|place| Place::new(place.path())).collect();
    Library::open(&places, OpenOptions::default()).unwrap()
}

/// All entries of a directory, listed in pages of `max`.
fn entries(tree: &dyn Tree, dir: NodeId, max: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut next = Some(Cursor::START);
    while let Some(cursor) = next {
        let page = tree.list(dir, cursor, max).unwrap();
        assert!(page.entries.len() <= max);
        entries.extend(page.entries.into_iter().map(|listed| match listed {
            Listed::Entry { entry, .. } => entry,
            Listed::Broken { error, .. } => panic!("{error}"),
        }));
        next = page.next;
    }
    entries
}

/// The paths of all that the library itself shows, sorted; of items, with their times.
fn shown(tree: &dyn Tree) -> Vec<String> {
    let mut paths = Vec::new();
    let mut pending = vec![(String::new(), tree.root())];
    while let Some((path, dir)) = pending.pop() {
        for entry in entries(tree, dir, 2) {
            let name = String::from_utf8_lossy(entry.name.as_bytes());
            let path = format!("{path}/{name}");
            if entry.attr.kind == Kind::Directory && tree.is_live(entry.node) {
                pending.push((path, entry.node));
            } else {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
}

#[test]
fn folders_called_after_times_tell_when_their_images_were_made() {
    let place = place(&[
        ("alice/2026-03-04_0506/C.img", FIRST),
        ("alice/2026-03-04/D.img", FIRST),
        ("alice/2026-13-04_0506/E.img", SECOND),
    ]);

    let catalogue = library(&[&place]).catalogue().unwrap();

    let moments: Vec<String> =
        catalogue.clients[0].backups.iter().map(|backup| backup.moment.name()).collect();
    let changed = |time| Moment::of(Time::from_seconds(time)).name();
    assert_eq!(
        moments,
        [changed(FIRST.cast_signed()), changed(SECOND.cast_signed()), "2026-03-04_0506".to_owned()]
    );
}

#[test]
fn places_are_seen_as_one_and_names_are_told_apart() {
    let one = place(&[("alice/C.img", FIRST), ("alice/D.img", SECOND), ("alice/notes.txt", FIRST)]);
    let other = place(&[("alice/C.img", FIRST), ("alice/old/C.img", FIRST), ("bob/E.vhdx", SECOND)]);
    let library = library(&[&one, &other]);

    let catalogue = &library.seen().unwrap().catalogue;

    let said = |client: &Client| {
        let names = |backup: &Backup| -> Vec<String> {
            backup
                .items
                .iter()
                .map(|item| String::from_utf8_lossy(item.name.as_bytes()).into_owned())
                .collect()
        };
        client.backups.iter().map(names).collect::<Vec<_>>()
    };
    let names: Vec<&[u8]> = catalogue.clients.iter().map(|client| client.name.as_bytes()).collect();
    assert_eq!(names, [&b"alice"[..], b"bob"]);
    assert_eq!(said(&catalogue.clients[0]), [vec!["C.img", "C.img (2)", "C.img (3)"], vec!["D.img"]]);
    assert_eq!(said(&catalogue.clients[1]), [["E.vhdx"]]);
}

#[test]
fn pages_of_any_size_show_everything_once_and_nodes_keep_their_ids() {
    let one = place(&[("a/C.img", FIRST), ("a/D.img", FIRST), ("a/C2.img", SECOND), ("b/E.img", FIRST)]);
    let (first, second) = (library(&[&one]).tree(), library(&[&one]).tree());

    let paths = shown(first.as_ref());

    assert_eq!(paths.iter().filter(|path| path.contains("/latest/")).count(), 4);
    assert_eq!(paths.len(), 8, "{paths:?}");
    assert_eq!(shown(second.as_ref()), paths);
    let ids =
        |tree: &dyn Tree| entries(tree, tree.root(), 1).iter().map(|entry| entry.node).collect::<Vec<_>>();
    assert_eq!(ids(first.as_ref()), ids(second.as_ref()));
}

#[test]
fn nothing_is_opened_to_look_at_the_library_itself() {
    // None of the files is an image.
    let one = place(&[("a/C.img", FIRST), ("b/D.vhdz", SECOND)]);
    let tree = library(&[&one]).tree();

    for client in entries(tree.as_ref(), tree.root(), 9) {
        for moment in entries(tree.as_ref(), client.node, 9) {
            for item in entries(tree.as_ref(), moment.node, 9) {
                assert_eq!(tree.attr(item.node), Ok(item.attr));
            }
        }
    }
}

#[test]
fn a_place_that_cannot_be_read_hides_no_other() {
    let one = place(&[("a/C.img", FIRST)]);
    let gone = place(&[("b/D.img", FIRST)]);
    let library = library(&[&one, &gone]);
    drop(gone);

    assert_eq!(library.seen().unwrap().catalogue.clients.len(), 1);
}
