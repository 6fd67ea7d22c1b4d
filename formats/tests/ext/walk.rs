//! A whole tree as sorted lines, one an entry.

use sha2::{Digest, Sha256};
use spelunk_tree::{Attr, Cursor, Entry, Kind, Listed, NodeId, Place, Time, Tree};
use std::fmt::Write;
use std::path::Path;

/// Files above this size are not hashed, as in the corpus.
pub const HASHED_BYTES_MAX: u64 = 512 << 20;

/// How a walk goes.
pub struct Walker<'a> {
    pub tree: &'a dyn Tree,
    /// All attributes and extended attributes, or the columns of the corpus' manifests.
    pub is_full: bool,
    /// Entries of a page.
    pub page: usize,
    /// The image file, to check that runs lead to the same bytes as reading.
    pub image: Option<&'a Path>,
    pub lines: Vec<String>,
    /// Entries that are broken, and other errors.
    pub errors: Vec<String>,
    /// Stop after so many lines: hostile trees may be endless.
    pub lines_max: usize,
}

impl Walker<'_> {
    pub fn new(tree: &dyn Tree) -> Walker<'_> {
        Walker {
            tree,
            is_full: false,
            page: 1000,
            image: None,
            lines: Vec::new(),
            errors: Vec::new(),
            lines_max: usize::MAX,
        }
    }

    pub fn walk(&mut self) {
        let root = self.tree.root();
        self.directory(root, b"", 0);
        self.lines.sort();
    }

    fn directory(&mut self, dir: NodeId, path: &[u8], depth: usize) {
        let mut children = Vec::new();
        let mut cursor = Some(Cursor::START);
        while let Some(at) = cursor {
            let page = match self.tree.list(dir, at, self.page) {
                Ok(page) => page,
                Err(error) => {
                    self.errors.push(format!("{}: {error:?}", escape(path)));
                    break;
                }
            };
            for listed in page.entries {
                match listed {
                    Listed::Entry { entry, .. } => children.push(entry),
                    Listed::Broken { name, error, .. } => {
                        self.errors.push(format!("{}/{name:?}: {error:?}", escape(path)));
                    }
                }
            }
            cursor = page.next;
            if children.len() > self.lines_max {
                break;
            }
        }
        for entry in children {
            if self.lines.len() >= self.lines_max {
                return;
            }
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend_from_slice(entry.name.as_bytes());
            let line = self.line(&child, &entry);
            self.lines.push(line);
            if entry.attr.kind == Kind::Directory && depth < 100 {
                self.directory(entry.node, &child, depth + 1);
            }
        }
    }

    fn line(&mut self, path: &[u8], entry: &Entry) -> String {
        let attr = &entry.attr;
        let (mut size, mut hash, mut extra) = (attr.size, "-".to_owned(), String::new());
        match attr.kind {
            Kind::File if attr.size <= HASHED_BYTES_MAX => hash = self.hash(path, entry),
            Kind::Symlink => match self.tree.link_target(entry.node) {
                Ok(target) => {
                    hash = hex(&Sha256::digest(&target));
                    extra = escape(&target);
                    size = target.len() as u64;
                }
                Err(error) => self.errors.push(format!("{}: {error:?}", escape(path))),
            },
            Kind::File | Kind::Fifo | Kind::Socket => {}
            Kind::Directory => size = 0,
            Kind::CharDevice | Kind::BlockDevice => {
                let device = attr.device.unwrap();
                extra = format!("{}:{}", device.major, device.minor);
                size = 0;
            }
        }
        let mut line = format!(
            "{}\t{}\t{size}\t{hash}\t{}\t{:04o}\t{}:{}\t{}\t{extra}",
            escape(path),
            kind_letter(attr.kind),
            time(attr.modified),
            attr.mode.unwrap(),
            attr.uid.unwrap(),
            attr.gid.unwrap(),
            attr.links.unwrap(),
        );
        if self.is_full {
            self.append_full(&mut line, path, entry);
        }
        line
    }

    fn append_full(&mut self, line: &mut String, path: &[u8], entry: &Entry) {
        let attr: &Attr = &entry.attr;
        let raw_size = if attr.kind == Kind::Directory { attr.size } else { 0 };
        let _ = write!(
            line,
            "\tino={} size={raw_size} allocated={} a={} c={} b={}",
            entry.node.get(),
            attr.allocated.unwrap(),
            time(attr.accessed),
            time(attr.changed),
            time(attr.created),
        );
        let mut xattrs: Vec<String> = match self.tree.xattrs(entry.node) {
            Ok(xattrs) => xattrs
                .iter()
                .map(|xattr| format!("{}={}", escape(xattr.name()), hex(xattr.value())))
                .collect(),
            Err(error) => {
                self.errors.push(format!("{}: {error:?}", escape(path)));
                Vec::new()
            }
        };
        if attr.xattrs == spelunk_tree::Xattrs::None {
            assert!(xattrs.is_empty(), "{}: attributes where none were announced", escape(path));
        }
        xattrs.sort();
        for xattr in xattrs {
            line.push(' ');
            line.push_str(&xattr);
        }
    }

    fn hash(&mut self, path: &[u8], entry: &Entry) -> String {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 300_007];
        let mut offset = 0;
        loop {
            match self.tree.read(entry.node, None, offset, &mut buffer) {
                Ok(0) => break,
                Ok(len) => {
                    hash.update(&buffer[..len]);
                    offset += len as u64;
                }
                Err(error) => {
                    self.errors.push(format!("{} at {offset}: {error:?}", escape(path)));
                    return "ERR".into();
                }
            }
        }
        assert_eq!(offset, entry.attr.size, "{}", escape(path));
        let hash = hex(&hash.finalize());
        if let Some(image) = self.image {
            assert_eq!(self.hash_by_runs(image, entry), hash, "runs of {}", escape(path));
        }
        hash
    }

    /// Reads as the host does: by runs, and what is opaque through the tree.
    fn hash_by_runs(&self, image: &Path, entry: &Entry) -> String {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(image).unwrap();
        let mut runs = Vec::new();
        self.tree.runs(entry.node, None, 0, u64::MAX, &mut runs).unwrap();
        let mut hash = Sha256::new();
        let mut position = 0;
        for run in runs {
            let mut bytes = vec![0; usize::try_from(run.len).unwrap()];
            match run.place {
                Place::At { offset, .. } => file.read_exact_at(&mut bytes, offset).unwrap(),
                Place::Zero => {}
                Place::Opaque => {
                    assert_eq!(self.tree.read(entry.node, None, position, &mut bytes).unwrap(), bytes.len());
                }
            }
            hash.update(&bytes);
            position += run.len;
        }
        assert_eq!(position, entry.attr.size);
        hex(&hash.finalize())
    }
}

pub fn kind_letter(kind: Kind) -> char {
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

fn time(time: Option<Time>) -> String {
    time.map_or("-".into(), |time| format!("{}.{:09}", time.seconds(), time.nanoseconds()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The corpus' escapes: control bytes, `%`, backslash and bytes that are not UTF-8 as %XX.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0'..='\x1f' | '\x7f' | '%' | '\\' => {
                    let _ = write!(text, "%{:02X}", character as u32);
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
