//! Walks a tree and describes every entry, so that two readers can be compared.

use sha2::{Digest, Sha256};
use spelunk_tree::{Attr, Cursor, Entry, Kind, Listed, Name, NodeId, Place, ReadAt, Tree};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a reader says of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A letter as in the manifests: `f d l p s c b`, `a` for streams, `!` for what is broken.
    pub kind: char,
    pub size: u64,
    /// SHA-256 of the contents, `-` where there are none.
    pub hash: String,
    pub mtime: String,
    pub links: u32,
    /// Target, device number, or the error.
    pub extra: String,
    pub reparse_tag: Option<u32>,
    pub attr: Option<Attr>,
}

/// A tree, every path with what is said of it. Paths and texts are escaped as in the manifests.
pub fn walk(tree: &dyn Tree, image: &dyn ReadAt) -> BTreeMap<String, Line> {
    let mut lines = BTreeMap::new();
    let mut directories = vec![(tree.root(), String::new())];
    streams(tree, image, tree.root(), "", &mut lines);
    while let Some((directory, path)) = directories.pop() {
        for entry in list(tree, directory, 777) {
            match entry {
                Listed::Broken { name, error, .. } => {
                    let name = name.map_or("?".into(), |name| escape(name.as_bytes()));
                    lines.insert(format!("{path}{name}"), broken(&error));
                }
                Listed::Entry { entry, .. } => {
                    let path = format!("{path}{}", escape(entry.name.as_bytes()));
                    check_lookup(tree, directory, &entry);
                    lines.insert(path.clone(), line(tree, image, &entry));
                    streams(tree, image, entry.node, &path, &mut lines);
                    if entry.attr.kind == Kind::Directory {
                        directories.push((entry.node, format!("{path}/")));
                    }
                }
            }
        }
    }
    lines
}

/// A whole listing, in pages of `page` entries.
pub fn list(tree: &dyn Tree, directory: NodeId, page: usize) -> Vec<Listed> {
    let mut entries = Vec::new();
    let mut cursor = Some(Cursor::START);
    while let Some(from) = cursor {
        let page = tree.list(directory, from, page).unwrap();
        entries.extend(page.entries);
        assert!(page.next.is_none_or(|next| next > from), "a listing that does not go on");
        cursor = page.next;
    }
    entries
}

/// What is listed can be looked up and asked for, and is the same there.
fn check_lookup(tree: &dyn Tree, directory: NodeId, entry: &Entry) {
    assert_eq!(tree.lookup(directory, &entry.name).as_ref(), Ok(entry));
    assert_eq!(tree.attr(entry.node).as_ref(), Ok(&entry.attr));
}

fn line(tree: &dyn Tree, image: &dyn ReadAt, entry: &Entry) -> Line {
    let attr = &entry.attr;
    let modified =
        attr.modified.map_or(String::new(), |time| format!("{}.{:09}", time.seconds(), time.nanoseconds()));
    let mut line = Line {
        kind: letter(attr.kind),
        size: attr.size,
        hash: "-".into(),
        mtime: modified,
        links: attr.links.unwrap_or(0),
        extra: String::new(),
        reparse_tag: attr.reparse_tag,
        attr: Some(attr.clone()),
    };
    match attr.kind {
        Kind::File => line.hash = hash(tree, image, entry.node, None, attr.size),
        Kind::Directory => line.size = 0,
        Kind::Symlink => {
            let target = tree.link_target(entry.node).unwrap();
            assert_eq!(target.len() as u64, attr.size, "a link's size is its target's");
            line.hash = hex(&Sha256::digest(&target));
            line.extra = escape(&target);
        }
        _ => {
            line.extra =
                attr.device.map_or(String::new(), |device| format!("{}:{}", device.major, device.minor));
        }
    }
    line
}

fn streams(
    tree: &dyn Tree,
    image: &dyn ReadAt,
    node: NodeId,
    path: &str,
    lines: &mut BTreeMap<String, Line>,
) {
    for stream in tree.streams(node).unwrap() {
        let line = Line {
            kind: 'a',
            size: stream.size,
            hash: hash(tree, image, node, Some(&stream.name), stream.size),
            mtime: String::new(),
            links: 0,
            extra: String::new(),
            reparse_tag: None,
            attr: None,
        };
        lines.insert(format!("{path}:{}", escape(stream.name.as_bytes())), line);
    }
}

fn broken(error: &spelunk_tree::Error) -> Line {
    Line {
        kind: '!',
        size: 0,
        hash: "-".into(),
        mtime: String::new(),
        links: 0,
        extra: error.to_string(),
        reparse_tag: None,
        attr: None,
    }
}

/// Hashes a stream through `read`, and makes sure that its runs lead to the same bytes.
fn hash(tree: &dyn Tree, image: &dyn ReadAt, node: NodeId, stream: Option<&Name>, size: u64) -> String {
    const PIECE: usize = 700_000;
    let mut hash = Sha256::new();
    let mut buffer = vec![0xEE; PIECE];
    let mut offset = 0;
    while offset < size {
        let len = match tree.read(node, stream, offset, &mut buffer) {
            Ok(len) => len,
            Err(error) => return format!("ERR:{}", error.kind().phrase()),
        };
        assert_eq!(len as u64, (size - offset).min(PIECE as u64), "a short read");
        check_runs(tree, image, (node, stream, offset), &buffer[..len]);
        hash.update(&buffer[..len]);
        offset += len as u64;
    }
    hex(&hash.finalize())
}

pub fn check_runs(tree: &dyn Tree, image: &dyn ReadAt, from: (NodeId, Option<&Name>, u64), expected: &[u8]) {
    let mut runs = Vec::new();
    tree.runs(from.0, from.1, from.2, expected.len() as u64, &mut runs).unwrap();
    let mut position = 0;
    for run in runs {
        let part = &expected[position..position + run.len as usize];
        match run.place {
            Place::At { offset, .. } => {
                let mut bytes = vec![0; part.len()];
                image.read_at(offset, &mut bytes).unwrap();
                assert!(bytes == part, "a run that leads to other bytes");
            }
            Place::Zero => assert!(part.iter().all(|&byte| byte == 0), "a run of zeros that are none"),
            Place::Opaque => {}
        }
        position += part.len();
    }
    assert_eq!(position, expected.len(), "runs that do not cover what was asked for");
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Escapes as `manifest.py` does.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0'..='\x1f' | '\x7f' | '%' | '\\' => write!(text, "%{:02X}", character as u32).unwrap(),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "%{byte:02X}").unwrap();
        }
    }
    text
}
