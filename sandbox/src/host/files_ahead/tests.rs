//! Which files are mapped ahead of whom.

use super::*;
use spelunk_tree::Run;

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn nodes(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(node).collect()
}

/// Directories with files of ids from the first to before the second, listed in this order.
fn listed(directories: &[(u64, u64)]) -> ListedFiles {
    let mut listed = ListedFiles::default();
    for (first, end) in directories {
        listed.note(nodes(*first..*end).into());
    }
    listed
}

#[test]
fn one_file_is_mapped_alone_and_a_second_one_brings_those_that_follow() {
    let mut listed = listed(&[(1, 1000)]);

    assert_eq!(listed.read(node(5)), []);
    assert_eq!(listed.read(node(6)), nodes(7..15));
    assert_eq!(listed.read(node(15)), nodes(16..32));
}

#[test]
fn far_away_in_a_large_directory_is_no_sequence() {
    let mut listed = listed(&[(1, 1000)]);

    listed.read(node(5));

    assert_eq!(listed.read(node(500)), []);
    assert_eq!(listed.read(node(400)), []);
}

#[test]
fn files_of_a_small_directory_may_be_read_in_any_order() {
    let mut listed = listed(&[(1, 8)]);

    listed.read(node(5));

    assert_eq!(listed.read(node(3)), nodes([4, 5, 6, 7, 1, 2]));
}

#[test]
fn the_next_directory_goes_on_where_the_last_one_ended() {
    let mut listed = listed(&[(1, 1000), (2000, 3000)]);

    listed.read(node(998));
    listed.read(node(999));

    assert_eq!(listed.read(node(2000)), nodes(2001..2017));
}

#[test]
fn a_file_that_was_never_listed_ends_it() {
    let mut listed = listed(&[(1, 1000)]);
    listed.read(node(1));
    listed.read(node(2));

    assert_eq!(listed.read(node(5000)), []);
    assert_eq!(listed.read(node(11)), []);
}

#[test]
fn few_pages_and_files_are_remembered() {
    let mut listed = ListedFiles::default();

    for page in 0..200 {
        listed.note(nodes(page * 1000 + 1..page * 1000 + 500).into());
        listed.note(nodes(page * 1000 + 1..page * 1000 + 500).into());
    }

    assert!(listed.pages.len() <= PAGES_MAX && listed.files <= FILES_MAX);
    assert_eq!(listed.files, listed.pages.iter().map(|page| page.len()).sum::<usize>());
    assert_eq!(listed.pages.front().map(|page| page[0]), Some(node(199_001)));
}

#[test]
fn only_the_plain_beginning_of_a_file_is_fetched() {
    let at = |offset, len| Run { len, place: Place::At { source: 1, offset } };
    let hole = Run { len: 4096, place: Place::Zero };
    let piece = Piece::new(0, vec![at(100, 10), hole, at(5000, 1 << 30)], false);

    let ranges: Vec<_> = plain_ranges(&piece).collect();

    assert_eq!(ranges, [(1, 100, 10), (1, 5000, FETCHED_FILE_BYTES_MAX - 10 - 4096)]);
}
