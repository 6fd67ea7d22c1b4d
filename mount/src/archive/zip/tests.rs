//! Whole archives of trees in memory, read back by the plainest of readers.

use super::*;
use crate::fixture::{self, MemoryTree, Node, large_byte};
use libdeflater::Decompressor;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

fn archive(tree: &MemoryTree, compression: Compression, threads: usize) -> (Vec<u8>, Summary) {
    let options = Options { common: Common { threads, ..Common::default() }, compression };
    let mut out = Vec::new();
    let summary = write(tree, &everything(tree), &options, &mut out, &mut |_| {}).unwrap();
    (out, summary)
}

fn everything(tree: &MemoryTree) -> Selection {
    Selection::content_of(tree.root(), tree.attr(tree.root()).unwrap(), b"/")
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Reads an archive of less than 4 GiB by its central directory, and checks what stands in it twice.
fn unpack(zip: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let end = zip.len() - 22;
    assert_eq!(&zip[end..end + 4], b"PK\x05\x06");
    let mut at = number(zip, end + 16, 4);
    let mut files = BTreeMap::new();
    while &zip[at..at + 4] == b"PK\x01\x02" {
        let (method, crc) = (number(zip, at + 10, 2), number(zip, at + 16, 4));
        let (packed, size) = (number(zip, at + 20, 4), number(zip, at + 24, 4));
        let name_len = number(zip, at + 28, 2);
        let name = String::from_utf8(zip[at + 46..at + 46 + name_len].to_vec()).unwrap();
        let local = number(zip, at + 42, 4);
        assert_eq!(&zip[local..local + 4], b"PK\x03\x04", "{name}");
        let start = local + 30 + name_len + number(zip, local + 28, 2);
        let bytes = &zip[start..start + packed];
        let mut content = vec![0; size];
        if method == 0 {
            content.copy_from_slice(bytes);
        } else {
            assert_eq!(Decompressor::new().deflate_decompress(bytes, &mut content), Ok(size), "{name}");
        }
        assert_eq!(usize::try_from(crc32fast::hash(&content)), Ok(crc), "{name}");
        if number(zip, local + 6, 2) & 8 != 0 {
            let behind = start + packed;
            assert_eq!(&zip[behind..behind + 4], b"PK\x07\x08");
            assert_eq!(zip[behind + 4..behind + 16], zip[at + 16..at + 28]);
        }
        assert_eq!(files.insert(name, content), None);
        at += 46 + name_len + number(zip, at + 30, 2);
    }
    assert_eq!(at, end);
    assert_eq!(files.len(), number(zip, end + 10, 2));
    files
}

fn mixed() -> MemoryTree {
    let large = |size, written| Node::Large { size, written, unreadable_from: None };
    fixture::tree([
        (
            1,
            Node::Directory(vec![
                ("d", 2),
                ("empty", 3),
                ("link", 4),
                ("large", 5),
                ("hole", 6),
                ("last", 7),
            ]),
        ),
        (2, Node::Directory(vec![("a\\b", 7), ("photo.jpg", 8)])),
        (3, Node::File(b"")),
        (4, Node::Link("../../etc/passwd")),
        (5, large(MIB + 17, MIB + 17)),
        (6, large(3 * MIB, MIB / 2)),
        (7, Node::File(b"some text, some text, some text, some text")),
        (8, large(MIB + 1, MIB + 1)),
    ])
}

fn large_content(size: u64, written: u64) -> Vec<u8> {
    (0..size).map(|at| if at < written { large_byte(at) } else { 0 }).collect()
}

fn check_mixed(zip: &[u8]) {
    let files = unpack(zip);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["d/", "d/a%5Cb", "d/photo.jpg", "empty", "hole", "large", "last", "link"]);
    assert_eq!(files["large"], large_content(MIB + 17, u64::MAX));
    assert_eq!(files["hole"], large_content(3 * MIB, MIB / 2));
    assert_eq!(files["link"], b"../../etc/passwd");
    assert_eq!(files["last"], files["d/a%5Cb"]);
}

#[test]
fn everything_comes_back() {
    let tree = mixed();
    for compression in [Compression::Store, Compression::Deflate(1), Compression::Deflate(9)] {
        let (zip, summary) = archive(&tree, compression, 2);

        check_mixed(&zip);
        assert_eq!((summary.failed, summary.done.entries), (0, 8), "{compression:?}");
        assert!(summary.done.bytes > 5 * MIB);
        let is_smaller = (zip.len() as u64) < 2 * MIB;
        assert_eq!(is_smaller, compression != Compression::Store, "{} bytes", zip.len());
    }
}

#[test]
fn threads_do_not_change_the_bytes() {
    let tree = mixed();
    for compression in [Compression::Store, Compression::default()] {
        let (one, _) = archive(&tree, compression, 1);

        assert!(one == archive(&tree, compression, 5).0);
    }
}

#[test]
fn any_range_of_a_stored_archive_is_that_of_the_whole() {
    let tree = mixed();
    let (whole, _) = archive(&tree, Compression::Store, 2);
    let len = whole.len() as u64;
    // Cuts in headers, data and descriptors, at all ends of things.
    let mut cuts: Vec<u64> = (0..8).map(|step| step * len / 8).chain([0, 1, 31, len - 1, len]).collect();
    for signature in [&b"PK\x03\x04"[..], b"PK\x07\x08", b"PK\x01\x02"] {
        let found = whole.windows(4).position(|window| window == signature).unwrap() as u64;
        cuts.extend([found, found + 3, found + 20]);
    }
    for &start in &cuts {
        // A plan that is kept, and one that knows no checksum.
        let plan = Plan::new(&tree, &everything(&tree), &Common::default()).unwrap();
        assert_eq!(plan.len(), len);
        for range in [start..len, start..start + 40, 0..start] {
            let mut out = Vec::new();
            plan.write_range(&tree, range.clone(), &mut out, &mut |_| {}).unwrap();
            let [from, to] = [range.start, range.end.min(len)].map(|at| usize::try_from(at).unwrap());
            assert!(out == whole[from..to], "{range:?}");
        }
    }
}

fn with_faults() -> MemoryTree {
    let large = |size, bad| Node::Large { size, written: size, unreadable_from: Some(bad) };
    fixture::tree([
        (
            1,
            Node::Directory(vec![
                ("good", 2),
                ("half", 3),
                ("none", 4),
                ("bad", 5),
                ("pipe", 6),
                ("small", 7),
            ]),
        ),
        (2, Node::File(b"good")),
        (3, large(3 * MIB, 2 * MIB)),
        (4, large(3 * MIB, 0)),
        (5, Node::Damaged),
        (6, Node::Pipe),
        (7, large(1000, 10)),
    ])
}

#[test]
fn what_cannot_be_read_is_listed_and_the_rest_is_there() {
    let tree = with_faults();
    let (zip, summary) = archive(&tree, Compression::default(), 2);

    let files = unpack(&zip);

    assert_eq!(files.keys().collect::<Vec<_>>(), ["SPELUNK-ERRORS.txt", "good", "half"]);
    let half = &files["half"];
    assert!(half[..2 << 20] == large_content(2 * MIB, u64::MAX));
    assert!(half[2 << 20..] == vec![0; 1 << 20]);
    let list = String::from_utf8(files["SPELUNK-ERRORS.txt"].clone()).unwrap();
    for path in ["/half: zeros", "/none: left out", "/bad: left out", "/pipe: left out", "/small: left out"] {
        assert!(list.contains(path), "{path} in {list}");
    }
    assert_eq!((summary.failed, summary.failures.len()), (5, 5));
}

#[test]
fn stored_archive_keeps_its_layout_whatever_cannot_be_read() {
    let tree = with_faults();
    let plan = Plan::new(&tree, &everything(&tree), &Common::default()).unwrap();
    let mut zip = Vec::new();

    let summary = plan.write_range(&tree, 0..plan.len(), &mut zip, &mut |_| {}).unwrap();

    assert_eq!(zip.len() as u64, plan.len());
    let files = unpack(&zip);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["SPELUNK-ERRORS.txt", "good", "half", "none", "small"]);
    assert_eq!(files["none"], vec![0; 3 << 20]);
    let list = String::from_utf8(files["SPELUNK-ERRORS.txt"].clone()).unwrap();
    for path in ["/half: zeros", "/none: zeros", "/bad: left out", "/small: zeros"] {
        assert!(list.contains(path), "{path} in {list}");
    }
    assert_eq!(summary.failed, 5);
}

#[test]
fn unreadable_file_fits_where_nothing_was_known_to_be_broken() {
    let unreadable = Node::Large { size: 1000, written: 1000, unreadable_from: Some(0) };
    let tree = fixture::tree([(1, Node::Directory(vec![("x", 2)])), (2, unreadable)]);

    let (zip, _) = archive(&tree, Compression::Store, 1);

    let files = unpack(&zip);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["SPELUNK-ERRORS.txt", "x"]);
}

#[test]
fn empty_archive_is_an_archive() {
    let tree = fixture::tree([(1, Node::Directory(Vec::new()))]);
    for compression in [Compression::Store, Compression::default()] {
        assert_eq!(archive(&tree, compression, 1).0.len(), 22);
    }
}

/// Takes so many bytes and no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writer_that_gives_up_ends_an_archive_of_an_exbibyte() {
    let endless = Node::Large { size: 1 << 60, written: 0, unreadable_from: None };
    let tree = fixture::tree([(1, Node::Directory(vec![("x", 2)])), (2, endless)]);
    for compression in [Compression::Store, Compression::default()] {
        let options = Options { compression, ..Options::default() };
        let mut out = Full(3000);

        let ended = write(&tree, &everything(&tree), &options, &mut out, &mut |_| {});

        assert!(matches!(ended, Err(Error::Output(_))), "{compression:?}");
    }
}

#[test]
fn end_of_a_plan_of_terabytes_is_written_in_64_bits() {
    let huge = || Node::Large { size: 1 << 42, written: 0, unreadable_from: None };
    let tree = fixture::tree([(1, Node::Directory(vec![("x", 2), ("y", 3)])), (2, huge()), (3, huge())]);
    let plan = Plan::new(&tree, &everything(&tree), &Common::default()).unwrap();

    let mut out = Vec::new();
    plan.write_range(&tree, (1 << 42) - 5..(1 << 42) + 5, &mut out, &mut |_| {}).unwrap();

    assert!(plan.len() > 2 << 42);
    assert_eq!(out, [0; 10]);
}
