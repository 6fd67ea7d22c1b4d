//! Directories: damaged sets do not hide their siblings, unknown ones are refused or ignored as they ask for.

use crate::volume::{
    CHAINED, END, ONE_PIECE, ROOT_ENTRIES, Set, Volume, cluster_at, name, names, names_in, node, seal_set,
};
use spelunk_tree::{Cursor, ErrorKind, Listed, Tree};

/// A volume whose root has a good set, these bytes, and another good one.
fn between(bytes: &[u8]) -> Volume {
    Volume::new().root(&[Set::new("before").bytes(), bytes.to_vec(), Set::new("after").bytes()])
}

/// The errors of the root's broken entries.
fn errors(tree: &dyn Tree) -> Vec<ErrorKind> {
    let page = tree.list(tree.root(), Cursor::START, 100).unwrap();
    let broken = page.entries.iter().filter_map(|listed| match listed {
        Listed::Broken { error, .. } => Some(error.kind()),
        Listed::Entry { .. } => None,
    });
    broken.collect()
}

fn entry(entry_type: u8) -> [u8; 32] {
    let mut entry = [0x11; 32];
    entry[..4].copy_from_slice(&[entry_type, 0, 0, 0]);
    entry
}

/// A set of which some bytes were changed, and its checksum put right.
fn sealed(name: &str, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = Set::new(name).bytes();
    changes.iter().for_each(|(at, value)| bytes[*at] = *value);
    seal_set(&mut bytes);
    bytes
}

#[test]
fn damaged_sets_stand_broken_in_their_place() {
    let mut wrong_sum = Set::new("wrong").bytes();
    wrong_sum[40] ^= 1;
    let cases: [(Vec<u8>, &str); 8] = [
        (wrong_sum, "wrong!"),
        (sealed("few", &[(1, 0)]), "!"),
        (sealed("few", &[(1, 1)]), "!"),
        // More than there are: what follows is not taken.
        (sealed("many", &[(1, 3)]), "!"),
        (sealed("many", &[(1, 255)]), "!"),
        (sealed("short", &[(35, 16)]), "!"),
        (sealed("no stream", &[(32, 0xC1)]), "no stream!"),
        (sealed("a/b", &[]), "!"),
    ];
    for (bytes, shown) in cases {
        let tree = between(&bytes).open();

        assert_eq!(names(&*tree), ["before", shown, "after"]);
        assert_eq!(errors(&*tree), [ErrorKind::Corrupt], "{shown}");
        assert_eq!(tree.attr(node(ROOT_ENTRIES + 96)).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(tree.lookup(tree.root(), &name("after")).unwrap().name, name("after"));
    }
}

#[test]
fn broken_entry_that_is_looked_up_is_damaged_and_not_missing() {
    let mut bytes = Set::new("wrong").bytes();
    bytes[40] ^= 1;
    let tree = between(&bytes).open();
    let error = |text| tree.lookup(tree.root(), &name(text)).unwrap_err().kind();

    assert_eq!((error("wrong"), error("other")), (ErrorKind::Corrupt, ErrorKind::NotFound));
}

#[test]
fn deleted_entries_are_hidden() {
    let mut deleted = Set::new("deleted").bytes();
    deleted.iter_mut().step_by(32).for_each(|entry_type| *entry_type &= 0x7F);
    let tree = between(&deleted).open();

    assert_eq!(names(&*tree), ["before", "after"]);
    assert_eq!(tree.attr(node(ROOT_ENTRIES + 96)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn unknown_entries_are_ignored_or_refused_as_they_ask_for() {
    let vendor = Set { more: vec![entry(0xE0), entry(0xE1)], ..Set::new("vendor") }.bytes();
    let critical = Set { more: vec![entry(0xC7)], ..Set::new("critical") }.bytes();
    let guid_with_more = [entry(0xA0), entry(0xE0), entry(0xC4)].concat();
    for (bytes, shown, error) in [
        (vendor, Some("vendor"), None),
        (critical, Some("critical!"), Some(ErrorKind::Unsupported)),
        (guid_with_more, None, None),
        (entry(0xE0).to_vec(), None, None),
        (entry(0x84).to_vec(), Some("!"), Some(ErrorKind::Unsupported)),
        ([entry(0x84), entry(0xC4), entry(0xC5)].concat(), Some("!"), Some(ErrorKind::Unsupported)),
        ([entry(0xC0), entry(0xC1), entry(0xC1)].concat(), Some("!"), Some(ErrorKind::Corrupt)),
    ] {
        let tree = between(&bytes).open();

        let expected: Vec<&str> = ["before"].into_iter().chain(shown).chain(["after"]).collect();
        assert_eq!(names(&*tree), expected);
        assert_eq!(errors(&*tree), error.into_iter().collect::<Vec<_>>(), "{shown:?}");
    }
}

#[test]
fn nothing_is_read_behind_the_end_of_a_directory() {
    assert_eq!(names(&*between(&[0; 32]).open()), ["before"]);
}

#[test]
fn sets_across_clusters_are_found_by_their_ids_in_chains_and_in_one_piece() {
    // The name's entries take two whole clusters, from the last entry of the first on.
    let long = "n".repeat(255);
    let set = Set::new(&long).bytes();
    for (flags, clusters) in [(CHAINED, [300, 50, 200]), (ONE_PIECE, [100, 101, 102])] {
        let mut directory = vec![5; 15 * 32];
        directory.extend(&set);
        directory.resize(3 * 512, 0);
        let mut volume = Volume::new().root(&[Set::directory("d", flags, clusters[0], 3 * 512).bytes()]);
        if flags == CHAINED {
            volume = volume.link(&[(300, 50), (50, 200), (200, END)]);
        }
        for (part, cluster) in directory.chunks(512).zip(clusters) {
            volume = volume.put(cluster_at(cluster), part);
        }
        let tree = volume.open();

        let directory = tree.lookup(tree.root(), &name("d")).unwrap().node;
        let found = tree.lookup(directory, &name(&long)).unwrap();

        assert_eq!(found.node, node(cluster_at(clusters[0]) + 15 * 32));
        assert_eq!(tree.attr(found.node), Ok(found.attr));
        assert_eq!(names_in(&*tree, directory), [long.as_str()]);
    }
}

#[test]
fn directory_without_an_end_ends_with_its_bytes() {
    let sets: Vec<u8> = (0..5).flat_map(|number| Set::new(&format!("f{number}")).bytes()).collect();
    let volume = Volume::new().root(&[Set::directory("d", ONE_PIECE, 100, 512).bytes()]);
    let tree = volume.put(cluster_at(100), &sets).put(cluster_at(100) + 480, &[5; 32]).open();
    let directory = tree.lookup(tree.root(), &name("d")).unwrap().node;

    assert_eq!(names_in(&*tree, directory), ["f0", "f1", "f2", "f3", "f4"]);
}

#[test]
fn directories_that_loop_or_leave_the_volume_are_listed_once_and_then_an_error() {
    let full = |first: char| -> Vec<u8> {
        let sets = (0..5).flat_map(|number| Set::new(&format!("{first}{number}")).bytes());
        sets.chain([5; 32]).collect()
    };
    for (flags, first, links) in [
        (CHAINED, 100, vec![(100, 101), (101, 100)]),
        (CHAINED, 100, vec![(100, 101), (101, END)]),
        (CHAINED, 100, vec![(100, 101), (101, 0)]),
        (ONE_PIECE, 600, vec![]),
    ] {
        let volume = Volume::new().root(&[Set::directory("d", flags, first, 8 * 512).bytes()]);
        let volume = volume.link(&links).put(cluster_at(first), &full('a'));
        let tree = volume.put(cluster_at(first + 1), &full('b')).open();
        let directory = tree.lookup(tree.root(), &name("d")).unwrap().node;

        let page = tree.list(directory, Cursor::START, 100).unwrap();

        assert_eq!(page.entries.len(), 10, "{links:?}");
        let error = tree.list(directory, page.next.unwrap(), 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{links:?}");
        assert!(tree.lookup(directory, &name("b4")).is_ok());
        assert_eq!(tree.lookup(directory, &name("c")).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn ids_that_name_no_set_are_errors() {
    let tree = between(&[]).open();
    for at in [64, ROOT_ENTRIES + 32, ROOT_ENTRIES - 32, cluster_at(601), cluster_at(601) + 512, 1 << 40] {
        assert_eq!(tree.attr(node(at)).unwrap_err().kind(), ErrorKind::NotFound, "{at}");
    }
    assert_eq!(tree.list(node(ROOT_ENTRIES), Cursor::START, 1).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(tree.read(tree.root(), None, 0, &mut []).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(tree.link_target(node(ROOT_ENTRIES)).unwrap_err().kind(), ErrorKind::NotALink);
}
