//! Volumes over the limits of the reader: a field of a sound one says more than there may be.

use crate::file::{Image, Memory, open_at};
use spelunk_testkit::{peer::Directory, skip, tool};
use spelunk_tree::{Cursor, Error, ErrorKind, Listed, Name, Result, Tree};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// The type codes of attributes.
const DATA: u32 = 0x80;
const INDEX_ROOT: u32 = 0x90;
const INDEX_ALLOCATION: u32 = 0xA0;
/// Records of files that every volume has.
const ROOT: usize = 5;
const UPCASE: usize = 10;

/// A small volume; `None` without the tools.
fn volume() -> Option<Vec<u8>> {
    if !skip::unless_found(&["mkntfs", "ntfscp"]) {
        return None;
    }
    let directory = Directory::new().unwrap();
    let (path, source) = (directory.path().join("volume"), directory.path().join("source"));
    File::create(&path).unwrap().set_len(3 << 20).unwrap();
    fs::write(&source, vec![b'x'; 20_000]).unwrap();
    mkntfs(&path);
    tool::run("ntfscp", ["-q", "-f", text(&path), text(&source), "file"]).unwrap();
    Some(fs::read(path).unwrap())
}

fn mkntfs(path: &Path) {
    tool::run("mkntfs", ["-q", "-F", "-Q", "-s", "512", "-c", "4096", "-p", "0", text(path)]).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn number(image: &[u8], at: usize, bytes: usize) -> usize {
    image[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Where an attribute of a record stands.
fn attribute(image: &[u8], record: usize, wanted: u32) -> usize {
    let at = number(image, 0x30, 8) * 4096 + record * 1024;
    assert!(image[at..].starts_with(b"FILE"));
    let mut attribute = at + number(image, at + 0x14, 2);
    while number(image, attribute, 4) != wanted as usize {
        attribute += number(image, attribute + 4, 4);
    }
    attribute
}

/// The record of `file`: the last one in use.
fn file_record(image: &[u8]) -> usize {
    let table = number(image, 0x30, 8) * 4096;
    (24..)
        .take_while(|record| image[table + record * 1024..].starts_with(b"FILE"))
        .filter(|record| number(image, table + record * 1024 + 22, 2) & 1 == 1)
        .last()
        .unwrap()
}

fn open(image: Vec<u8>) -> Result<Arc<dyn Tree>> {
    let size = image.len() as u64;
    open_at(Arc::new(Memory(image)), 0, size)
}

/// The volume with a number of 32 or 64 bits at this place.
fn with(image: &[u8], at: usize, value: &[u8]) -> Result<Arc<dyn Tree>> {
    let mut image = image.to_vec();
    image[at..at + value.len()].copy_from_slice(value);
    open(image)
}

fn list(tree: Result<Arc<dyn Tree>>) -> Error {
    let tree = match tree {
        Ok(tree) => tree,
        Err(error) => return error,
    };
    tree.list(tree.root(), Cursor::START, 100).expect_err("the directory can be listed")
}

fn assert_kind(error: &Error, kind: ErrorKind, words: &str) {
    let text: Vec<String> = error.chain().map(ToString::to_string).collect();
    assert_eq!(error.kind(), kind, "{text:?}");
    assert!(text.join(": ").contains(words), "{text:?} is not {words}");
}

#[test]
fn index_blocks_over_the_largest_are_corrupt_and_too_many_over_the_limit() {
    let Some(image) = volume() else { return };
    let root = attribute(&image, ROOT, INDEX_ROOT);
    let value = root + number(&image, root + 0x14, 2);
    let allocation = attribute(&image, ROOT, INDEX_ALLOCATION);
    let size = ((1_u64 << 28) + 1) * 4096;

    assert!(open(image.clone()).is_ok_and(|tree| tree.list(tree.root(), Cursor::START, 10).is_ok()));
    let large = list(with(&image, value + 8, &(128_u32 << 10).to_le_bytes()));
    let many = list(with(&image, allocation + 0x30, &size.to_le_bytes()));

    assert_kind(&large, ErrorKind::Corrupt, "index blocks of 131072 bytes");
    assert_kind(&many, ErrorKind::Limit, "an index of 268435457 blocks");
}

#[test]
fn file_of_more_bytes_than_sizes_can_count_is_corrupt() {
    let Some(image) = volume() else { return };
    let data = attribute(&image, file_record(&image), DATA);
    let tree = with(&image, data + 0x30, &(1_u64 << 63).to_le_bytes()).unwrap();

    let found = tree.lookup(tree.root(), &Name::new(*b"file").unwrap());
    let read = found.and_then(|entry| tree.read(entry.node, None, 0, &mut [0; 100]));

    assert_kind(&read.unwrap_err(), ErrorKind::Corrupt, "a value of 9223372036854775808 bytes");
}

#[test]
fn values_of_more_bytes_than_they_may_have_are_over_the_limit() {
    let Some(image) = volume() else { return };
    let record = file_record(&image);
    let data = attribute(&image, record, DATA);
    // What is the file's data becomes its list of attributes, its reparse point, its extended attributes.
    for attribute_type in [0x20_u32, 0xC0, 0xE0] {
        let mut image = image.clone();
        image[data..data + 4].copy_from_slice(&attribute_type.to_le_bytes());
        for at in [0x28, 0x30, 0x38] {
            image[data + at..data + at + 8].copy_from_slice(&(300_u64 << 10).to_le_bytes());
        }
        // Attributes stand in the order of their types, and all these before the first sector's end.
        let first = attribute(&image, record, 0x30);
        let len = number(&image, data + 4, 4);
        if attribute_type < 0x30 {
            image[first..data + len].rotate_right(len);
        }
        let tree = open(image).unwrap();
        let page = tree.list(tree.root(), Cursor::START, 100).unwrap();
        let kinds = page.entries.iter().flat_map(|listed| match listed {
            Listed::Broken { error, .. } => vec![error.kind()],
            Listed::Entry { entry, .. } => {
                let xattrs = tree.xattrs(entry.node).map(drop);
                let target = tree.link_target(entry.node).map(drop);
                let (attr, read) =
                    (tree.attr(entry.node).map(drop), tree.read(entry.node, None, 0, &mut [0]));
                let streams = tree.streams(entry.node).map(drop);
                [xattrs, target, attr, read.map(drop), streams]
                    .into_iter()
                    .filter_map(|result| Some(result.err()?.kind()))
                    .collect()
            }
        });

        assert!(
            kinds.clone().any(|kind| kind == ErrorKind::Limit),
            "{attribute_type:x}: {:?}",
            kinds.collect::<Vec<_>>()
        );
    }
}

#[test]
fn file_compressed_in_units_over_the_largest_is_not_read() {
    let Some(mut image) = volume() else { return };
    let data = attribute(&image, file_record(&image), DATA);
    image[data + 0x0C] = 1;
    // 4 KiB times 2^12.
    image[data + 0x22] = 12;
    let tree = open(image).unwrap();

    let found = tree.lookup(tree.root(), &Name::new(*b"file").unwrap()).unwrap();
    let read = tree.read(found.node, None, 0, &mut [0; 100]);

    assert_kind(&read.unwrap_err(), ErrorKind::Unsupported, "units of an unknown size");
}

#[test]
fn table_of_upper_case_over_its_size_is_replaced_by_unicodes() {
    let Some(image) = volume() else { return };
    let data = attribute(&image, UPCASE, DATA);
    let tree = with(&image, data + 0x30, &(131_074_u64).to_le_bytes()).unwrap();

    assert!(tree.info().notes.iter().any(|note| note.contains("$UpCase")), "{:?}", tree.info().notes);
    assert!(tree.lookup(tree.root(), &Name::new(*b"FILE").unwrap()).is_ok());
}

#[test]
fn free_space_is_counted_of_volumes_whose_bitmap_is_small_alone() {
    if !skip::unless_found(&["mkntfs"]) {
        return;
    }
    let directory = Directory::new().unwrap();
    let path = directory.path().join("volume");
    let free_of = |size: u64| {
        File::create(&path).unwrap().set_len(size).unwrap();
        mkntfs(&path);
        open_at(Image::open(&path), 0, size).unwrap().info().free_bytes
    };

    assert!(free_of(1 << 30).is_some());
    assert_eq!(free_of(70 << 30), None);
}

/// The volume with a catalog of shadow copies of one block, which goes on at `next`.
fn with_catalog(image: &[u8], next: u64) -> Arc<dyn Tree> {
    const SIGNATURE: [u8; 16] =
        [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];
    let mut image = image.to_vec();
    for (at, kind, link_at, link) in [(0x1E00, 1_u32, 0x30, CATALOG as u64), (CATALOG, 2, 0x28, next)] {
        image[at..at + 16].copy_from_slice(&SIGNATURE);
        image[at + 0x14..at + 0x18].copy_from_slice(&kind.to_le_bytes());
        image[at + link_at..at + link_at + 8].copy_from_slice(&link.to_le_bytes());
    }
    for entry in 1..101 {
        image[CATALOG + entry * 128] = 2;
    }
    open(image).unwrap()
}

/// Where nothing else is.
const CATALOG: usize = 5 << 19;

#[test]
fn shadow_copies_are_named_up_to_a_count_and_a_catalog_without_end_is_noted() {
    let Some(image) = volume() else { return };
    let copies = |tree: Arc<dyn Tree>| -> Vec<String> {
        let notes = tree.info().notes.iter();
        notes.filter(|note| note.contains("shadow cop")).cloned().collect()
    };

    assert_eq!(copies(with_catalog(&image, 0)).len(), 64);
    let endless = copies(with_catalog(&image, CATALOG as u64));
    assert_eq!(endless.len(), 1);
    assert!(endless[0].contains("more than 16 blocks"), "{endless:?}");
}
