//! What comes out of the jail is what the parsers say.

use crate::images::{self, LARGE_BYTES, pattern};
use spelunk_formats::container::ParentSource;
use spelunk_formats::guest::Options;
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_tree::{Cursor, Entry, Kind, Listed, Name, NodeId, ParentRef, Place, ReadAt, Result, Run, Tree};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens with the options that all tests share.
pub fn open(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::default()).expect("the image opens")
}

/// The first tree of a disk.
pub fn first_tree(disk: &Disk) -> Arc<dyn Tree> {
    disk.tree(0).expect("a volume with a tree")
}

pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// All entries of a directory, whatever the pages.
pub fn list_all(tree: &dyn Tree, dir: NodeId, page: usize) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    let mut cursor = Some(Cursor::START);
    while let Some(from) = cursor {
        let page = tree.list(dir, from, page)?;
        all.extend(page.entries);
        cursor = page.next;
    }
    Ok(all)
}

/// The whole of a stream, by reads of `step` bytes.
pub fn read_all(tree: &dyn Tree, node: NodeId, stream: Option<&Name>, step: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; step];
    loop {
        let read = tree.read(node, stream, all.len() as u64, &mut buffer)?;
        all.extend_from_slice(&buffer[..read]);
        if read < step {
            return Ok(all);
        }
    }
}

pub fn made_images() {
    let Some(image) = images::ext4() else { return };
    let compared = compare(&image.path);
    assert!(compared > images::MANY, "{compared} entries");
}

pub fn given_images() {
    let Ok(given) = std::env::var("SPELUNK_TEST_IMAGES") else {
        eprintln!("skipped: SPELUNK_TEST_IMAGES names no images");
        return;
    };
    for path in given.split(':').flat_map(|path| files_below(Path::new(path))) {
        let compared = compare(&path);
        eprintln!("{}: {compared} entries", path.display());
    }
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = path.read_dir().expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.flat_map(|entry| files_below(&entry)).collect();
    files.sort();
    files
}

/// Opens the image inside and outside of the jail, compares everything, and returns how many entries.
fn compare(path: &Path) -> usize {
    let direct =
        spelunk_formats::disk::open(Arc::new(Plain::open(path)), &mut NoParents, &Options::default());
    let jailed = Disk::open(path, &OpenOptions::default());
    let (direct, jailed) = match (direct, jailed) {
        (Ok(direct), Ok(jailed)) => (direct, jailed),
        (Err(direct), Err(jailed)) => {
            assert_eq!(direct, jailed, "{}", path.display());
            return 0;
        }
        (Err(_), Ok(jailed)) if jailed.info().layers.len() > 1 => return walk_only(&jailed),
        (direct, jailed) => panic!("{}: {:?} {:?}", path.display(), direct.err(), jailed.err()),
    };
    assert_eq!(&direct.info, jailed.info(), "{}", path.display());
    let mut compared = 0;
    for (index, tree) in direct.trees.iter().enumerate() {
        let other = jailed.tree(index);
        assert_eq!(tree.is_some(), other.is_some());
        if let (Some(tree), Some(other)) = (tree, other) {
            compared += compare_trees(&**tree, &*other);
        }
    }
    compared
}

/// A chain of images: the plain way outside the jail has no search for parents to compare with.
fn walk_only(disk: &Disk) -> usize {
    let trees = (0..disk.info().volumes.len()).filter_map(|index| disk.tree(index));
    trees.map(|tree| compare_trees(&*tree, &*tree)).sum()
}

fn compare_trees(direct: &dyn Tree, jailed: &dyn Tree) -> usize {
    assert_eq!(direct.info(), jailed.info());
    assert_eq!(direct.root(), jailed.root());
    let (mut compared, mut seen) = (0, HashSet::new());
    let mut directories = vec![direct.root()];
    while let Some(dir) = directories.pop() {
        if !seen.insert(dir) {
            continue;
        }
        let entries = list_all(direct, dir, 1000);
        assert_eq!(entries, list_all(jailed, dir, 700));
        let Ok(entries) = entries else { continue };
        for listed in entries {
            compared += 1;
            if let Listed::Entry { entry, .. } = listed {
                compare_nodes(direct, jailed, dir, &entry);
                if entry.attr.kind == Kind::Directory {
                    directories.push(entry.node);
                }
            }
        }
    }
    compared
}

fn compare_nodes(direct: &dyn Tree, jailed: &dyn Tree, dir: NodeId, entry: &Entry) {
    let node = entry.node;
    assert_eq!(direct.lookup(dir, &entry.name), jailed.lookup(dir, &entry.name));
    assert_eq!(direct.attr(node), jailed.attr(node));
    assert_eq!(direct.xattrs(node), jailed.xattrs(node));
    let streams = direct.streams(node);
    assert_eq!(streams, jailed.streams(node));
    assert_eq!(direct.link_target(node), jailed.link_target(node));
    if entry.attr.kind != Kind::File {
        return;
    }
    for stream in std::iter::once(None).chain(streams.iter().flatten().map(|stream| Some(&stream.name))) {
        if entry.attr.size > COMPARED_BYTES_MAX {
            compare_ends(direct, jailed, entry);
            continue;
        }
        let whole = read_all(direct, node, stream, 1 << 20);
        // Both a large buffer and one that is no multiple of anything.
        assert!(whole == read_all(jailed, node, stream, 3 << 20), "{:?}", entry.name);
        if whole.as_ref().is_ok_and(|bytes| bytes.len() < 100_000) {
            assert!(whole == read_all(jailed, node, stream, 1237), "{:?}", entry.name);
        }
    }
}

pub fn round_trips() {
    let Some(image) = images::ext4() else { return };
    let disk = open(&image.path);
    let tree = first_tree(&disk);
    let large = tree.lookup(tree.root(), &name("large")).expect("the file").node;
    let before = disk.stats();

    let bytes = read_all(&*tree, large, None, 128 << 10).expect("the bytes");

    assert!(bytes == pattern(3, LARGE_BYTES));
    let after = disk.stats();
    let trips = after.round_trips - before.round_trips;
    assert!(trips <= 5, "{trips} round trips");
    assert_eq!(after.bytes_decoded, before.bytes_decoded, "plain bytes went through the worker");
    assert_eq!(after.bytes_read - before.bytes_read, LARGE_BYTES as u64);
}

pub fn threads() {
    let Some(image) = images::ext4() else { return };
    let disk = open(&image.path);
    let tree = first_tree(&disk);
    let many = tree.lookup(tree.root(), &name("many")).expect("the directory").node;

    std::thread::scope(|scope| {
        for thread in 0..16 {
            let tree = &tree;
            scope.spawn(move || {
                for index in (thread..images::MANY).step_by(16) {
                    let entry = tree.lookup(many, &name(&format!("file number {index}"))).expect("an entry");
                    let bytes = read_all(&**tree, entry.node, None, 4096).expect("the bytes");
                    assert!(bytes == pattern(index, index % 9000), "file {index}");
                }
            });
        }
    });
}

/// A file too long to be read is compared where it begins, ends, and here and there.
const COMPARED_BYTES_MAX: u64 = 300 << 20;

fn compare_ends(direct: &dyn Tree, jailed: &dyn Tree, entry: &Entry) {
    let (mut one, mut other) = (vec![0; 1 << 20], vec![1; 1 << 20]);
    for step in 0..=64 {
        let offset = (entry.attr.size / 64).saturating_mul(step).saturating_sub(4000);
        let read = direct.read(entry.node, None, offset, &mut one);
        assert_eq!(read, jailed.read(entry.node, None, offset, &mut other), "{:?} at {offset}", entry.name);
        let len = read.unwrap_or(0);
        assert!(one[..len] == other[..len], "{:?} at {offset}", entry.name);
    }
}

/// A file, read without a jail: what comes out of the jail is compared with it.
struct Plain {
    file: File,
    size: u64,
}

impl Plain {
    fn open(path: &Path) -> Plain {
        let file = File::open(path).expect("the image");
        let size = file.metadata().expect("its size").len();
        Plain { file, size }
    }
}

impl ReadAt for Plain {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            let text = format!("{} bytes that lie past the end of the image file", buffer.len());
            return Err(spelunk_tree::Error::corrupt(text).at(offset));
        }
        self.file.read_exact_at(buffer, offset).map_err(|cause| spelunk_tree::Error::from_io("", &cause))
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            let text = format!("{len} bytes that lie past the end of the image file");
            return Err(spelunk_tree::Error::corrupt(text).at(offset));
        }
        spelunk_tree::push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

struct NoParents;

impl ParentSource for NoParents {
    fn next_candidate(&mut self, _: u32, _: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }
}
