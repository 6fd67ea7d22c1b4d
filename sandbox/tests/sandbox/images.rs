//! Images for the tests, made by `mke2fs` out of a directory.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Files in the directory `many`.
pub const MANY: usize = 3000;
/// Bytes of the file `large`.
pub const LARGE_BYTES: usize = 100 << 20;

/// An image in a directory of its own.
pub struct Image {
    _directory: TempDir,
    pub path: PathBuf,
}

/// A directory that is not there when the test ends.
pub fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("spelunk-sandbox-").tempdir().expect("a temporary directory")
}

/// An ext4 image with all that a tree can have; `None`, said aloud, where `mke2fs` is missing. With inline
/// data, so that some files are opaque.
pub fn ext4() -> Option<Image> {
    let directory = temporary();
    let contents = directory.path().join("contents");
    populate(&contents);
    make(directory, &contents, "256M")
}

/// A small image with a few files.
pub fn small() -> Option<Image> {
    let directory = temporary();
    let contents = directory.path().join("contents");
    fs::create_dir_all(contents.join("d")).expect("a directory");
    for index in 0..200 {
        fs::write(contents.join(format!("d/file {index}")), pattern(index, 5000)).expect("a file");
    }
    fs::write(contents.join("hello"), b"hello, cave\n").expect("a file");
    make(directory, &contents, "16M")
}

fn make(directory: TempDir, contents: &Path, size: &str) -> Option<Image> {
    let path = directory.path().join("image");
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-O", "inline_data", "-I", "256", "-d"])
        .args([contents, &path])
        .arg(size)
        .output();
    let Ok(made) = made else {
        eprintln!("skipped: mke2fs is not there");
        return None;
    };
    assert!(made.status.success(), "mke2fs failed");
    fs::remove_dir_all(contents).expect("the contents are no longer needed");
    Some(Image { _directory: directory, path })
}

fn populate(contents: &Path) {
    fs::create_dir_all(contents.join("deep/er/still")).expect("directories");
    fs::create_dir_all(contents.join("many")).expect("a directory");
    for index in 0..MANY {
        let bytes = pattern(index, index % 9000);
        fs::write(contents.join(format!("many/file number {index}")), bytes).expect("a file");
    }
    fs::write(contents.join("tiny"), b"kept in the inode").expect("a file");
    fs::write(contents.join("empty"), b"").expect("a file");
    let sparse = fs::File::create(contents.join("sparse")).expect("a file");
    for index in 0..50u64 {
        sparse.write_all_at(&pattern(9, 5000), index * 300_000).expect("a piece");
    }
    fs::write(contents.join("large"), pattern(3, LARGE_BYTES)).expect("a file");
    symlink("../somewhere/else", contents.join("deep/link")).expect("a link");
    symlink("x".repeat(300), contents.join("deep/long link")).expect("a link");
    fs::hard_link(contents.join("tiny"), contents.join("deep/tiny again")).expect("a link");
}

/// Bytes that differ from place to place and file to file.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
