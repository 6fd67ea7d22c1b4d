//! Whole archives of trees in memory, read back by the plainest of readers.

use super::*;
use crate::fixture::{self, MemoryTree, Node};

fn archive(tree: &MemoryTree, options: &Options) -> (Vec<u8>, Summary) {
    let selection = Selection::content_of(tree.root(), tree.attr(tree.root()).unwrap(), b"/");
    let mut out = Vec::new();
    let summary = write(tree, &selection, options, &mut out, &mut |_| {}).unwrap();
    (out, summary)
}

/// Kind, name and data of each entry; records are entries of kind `x`.
fn entries(tar: &[u8]) -> Vec<(char, String, Vec<u8>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let (mut at, mut entries) = (0, Vec::new());
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        let size = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        let data = tar[at + 512..at + 512 + size].to_vec();
        entries.push((char::from(header[156]), text(&header[..100]), data));
        at += 512 + size.next_multiple_of(512);
    }
    assert_eq!(tar.len() - at, 1024);
    assert!(tar[at..].iter().all(|&byte| byte == 0));
    entries
}

#[test]
fn everything_has_an_entry_and_holes_a_map() {
    let large = |size, written| Node::Large { size, written, unreadable_from: None };
    let tree = fixture::tree([
        (1, Node::Directory(vec![("d", 2), ("link", 4), ("sparse", 5), ("pipe", 6), ("bad", 9)])),
        (2, Node::Directory(vec![("file", 3)])),
        (3, Node::File(b"data")),
        (4, Node::Link("../x")),
        (5, large(1 << 40, 5000)),
        (6, Node::Pipe),
        (9, Node::Damaged),
    ]);
    let (tar, summary) = archive(&tree, &Options::default());

    let all = entries(&tar);

    let found: Vec<(char, &str)> = all.iter().map(|(kind, name, _)| (*kind, name.as_str())).collect();
    let expected = [
        ('5', "d/"),
        ('0', "d/file"),
        ('2', "link"),
        ('x', "PaxHeaders/sparse"),
        ('0', "GNUSparseFile.0/sparse"),
        ('6', "pipe"),
        ('0', "SPELUNK-ERRORS.txt"),
    ];
    assert_eq!(found, expected);
    assert!(String::from_utf8_lossy(&all[3].2).contains(" GNU.sparse.realsize=1099511627776\n"));
    assert!(all[4].2.starts_with(b"2\n0\n5000\n1099511627776\n0\n\0"));
    assert_eq!(all[4].2.len(), 512 + 5000);
    assert_eq!(summary.failed, 1);
}

#[test]
fn file_that_cannot_be_read_keeps_its_size() {
    let bad = Node::Large { size: 3000, written: 3000, unreadable_from: Some(0) };
    let tree =
        fixture::tree([(1, Node::Directory(vec![("bad", 2), ("x", 3)])), (2, bad), (3, Node::File(b"x"))]);
    let (tar, summary) = archive(&tree, &Options::default());

    let all = entries(&tar);

    assert_eq!((all[0].2.as_slice(), all[1].2.as_slice()), (&[0; 3000][..], &b"x"[..]));
    assert!(String::from_utf8_lossy(&all[2].2).contains("/bad: zeros in place"));
    assert_eq!(summary.failures[0].outcome, Outcome::Zeros);
}

#[test]
fn threads_change_neither_the_bytes_nor_the_compressed_bytes() {
    let large = |size, written| Node::Large { size, written, unreadable_from: None };
    let tree = fixture::tree([
        (1, Node::Directory(vec![("a", 2), ("b", 3)])),
        (2, large(20 << 20, 20 << 20)),
        (3, large(5 << 20, 1 << 20)),
    ]);
    for zstd in [None, Some(1)] {
        let with = |threads| Options { common: Common { threads, ..Common::default() }, zstd };
        let (one, _) = archive(&tree, &with(1));

        assert!(one == archive(&tree, &with(4)).0);
        if zstd.is_some() {
            let plain = zstd::decode_all(&one[..]).unwrap();
            assert!(plain == archive(&tree, &Options::default()).0);
        }
    }
}
