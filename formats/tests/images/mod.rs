//! What the tests of this crate share: images in files and in memory, the corpus, and the tools that make
//! images.

#![allow(dead_code)] // Each test binary uses a part.
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::panic, clippy::unwrap_used)]

use sha2::{Digest, Sha256};
use spelunk_testkit::skip;
use spelunk_tree::{Attr, Cursor, Error, Kind, Listed, NodeId, Place, ReadAt, Result, Run, Tree, push_run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An image in a file.
pub struct FileImage {
    file: File,
    size: u64,
}

impl FileImage {
    pub fn open(path: &Path) -> FileImage {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let size = file.metadata().unwrap().len();
        FileImage { file, size }
    }
}

impl ReadAt for FileImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        check_range(self.size, offset, buffer.len() as u64)?;
        self.file.read_exact_at(buffer, offset).map_err(|error| Error::from_io("reading", &error))
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        check_range(self.size, offset, len)?;
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

/// An image in memory.
pub struct MemoryImage(pub Vec<u8>);

impl ReadAt for MemoryImage {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        check_range(self.size(), offset, buffer.len() as u64)?;
        buffer.copy_from_slice(&self.0[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        check_range(self.size(), offset, len)?;
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

fn check_range(size: u64, offset: u64, len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::corrupt("reading past the end of the image").at(offset)),
    }
}

/// An image of the corpus, with the manifest that others made of it.
pub struct CorpusImage {
    pub id: String,
    pub path: PathBuf,
    /// The manifest's lines, split at tabs.
    pub manifest: Vec<Vec<String>>,
}

/// The corpus's images with these ids, unpacked. `None`, with the reason printed, where the corpus is not
/// there. Images are unpacked once, below the build directory or in `$SPELUNK_CORPUS_UNPACKED`.
pub fn corpus(wanted: &[&str]) -> Option<Vec<CorpusImage>> {
    let directory = spelunk_testkit::corpus::root()?.join("corpus");
    let index = std::fs::read_to_string(directory.join("index.tsv")).unwrap();
    let unpacked = std::env::var_os("SPELUNK_CORPUS_UNPACKED")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus"), PathBuf::from);
    let rows: Vec<Vec<&str>> = index.lines().map(|line| line.split('\t').collect()).collect();
    Some(
        wanted
            .iter()
            .map(|id| {
                let row =
                    rows.iter().find(|row| row[0] == *id).unwrap_or_else(|| panic!("no {id} in the corpus"));
                let path = unpacked.join(unpacked_name(row[1]));
                if !path.exists() {
                    unpack(&directory, &unpacked, id);
                }
                let manifest = read_manifest(&directory.join(row[11]));
                CorpusImage { id: (*id).into(), path, manifest }
            })
            .collect(),
    )
}

/// As the corpus's unpack.py names it.
fn unpacked_name(file: &str) -> String {
    let file = file.strip_prefix("images/").unwrap();
    match file.split_once("::") {
        Some((archive, member)) => format!("{}/{member}", archive.strip_suffix(".tar.zst").unwrap()),
        None => file.strip_suffix(".tar.zst").or(file.strip_suffix(".zst")).unwrap().into(),
    }
}

fn unpack(directory: &Path, unpacked: &Path, id: &str) {
    std::fs::create_dir_all(unpacked).unwrap();
    let mut command = Command::new("python3");
    command.arg(directory.join("unpack.py")).arg(directory).arg(unpacked).arg(format!("^{id}$"));
    let status = command.env("NOHASH", "1").stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "unpacking {id}");
}

fn read_manifest(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.split('\t').map(String::from).collect()).collect()
}

/// A new empty directory for the test `name`.
pub fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a shell script in `directory` that makes an image. `false`, with the reason printed, when a tool
/// of `tools` is missing.
pub fn make(directory: &Path, tools: &[&str], script: &str) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    for tool in tools {
        let found = path.split(':').any(|part| Path::new(part).join(tool).exists());
        if !found {
            skip::because(&format!("{tool} is not installed"));
            return false;
        }
    }
    let mut command = Command::new("sh");
    command
        .arg("-ec")
        .arg(script)
        .current_dir(directory)
        .env("PATH", path)
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// A node that a walk met.
pub struct Walked {
    /// Its path, as manifests escape it.
    pub path: String,
    pub attr: Attr,
    /// SHA-256 of a file's bytes in hexadecimal, `-` of others.
    pub hash: String,
}

/// Walks a whole tree that must be sound, sorted by path.
pub fn walk(tree: &dyn Tree) -> Vec<Walked> {
    let mut walked = Vec::new();
    walk_directory(tree, tree.root(), "", &mut walked);
    walked.sort_by(|a, b| a.path.cmp(&b.path));
    walked
}

/// Entries of a directory that a walk looks up: each may take a search through all.
const LOOKUPS_MAX: usize = 50;

fn walk_directory(tree: &dyn Tree, directory: NodeId, path: &str, walked: &mut Vec<Walked>) {
    let mut cursor = Cursor::START;
    let mut looked_up = 0;
    loop {
        // A small page, so that pages are joined.
        let page =
            tree.list(directory, cursor, 7).unwrap_or_else(|error| panic!("listing {path}: {error:?}"));
        for listed in page.entries {
            let Listed::Entry { entry, .. } = listed else { panic!("a broken entry in {path}") };
            let path = format!("{path}{}", escape(entry.name.as_bytes()));
            assert_eq!(tree.attr(entry.node), Ok(entry.attr.clone()), "{path}");
            if looked_up < LOOKUPS_MAX {
                looked_up += 1;
                let found = tree.lookup(directory, &entry.name).unwrap();
                assert_eq!(found.node, entry.node, "{path}");
            }
            let (kind, node) = (entry.attr.kind, entry.node);
            let hash = if kind == Kind::File { hash(tree, node, entry.attr.size) } else { "-".into() };
            walked.push(Walked { path: path.clone(), attr: entry.attr, hash });
            if kind == Kind::Directory {
                walk_directory(tree, node, &format!("{path}/"), walked);
            }
        }
        match page.next {
            Some(next) => cursor = next,
            None => return,
        }
    }
}

fn hash(tree: &dyn Tree, node: NodeId, size: u64) -> String {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 100_000];
    let mut offset = 0;
    loop {
        let len = tree.read(node, None, offset, &mut buffer).unwrap();
        if len == 0 {
            break;
        }
        hasher.update(&buffer[..len]);
        offset += len as u64;
    }
    assert_eq!(offset, size);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escape(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' | '\\' | '\0'..='\x1F' | '\x7F' => text += &format!("%{:02X}", character as u32),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            text += &format!("%{byte:02X}");
        }
    }
    text
}
