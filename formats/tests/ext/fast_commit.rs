//! Fast commits: filesystems copied while they are mounted, at random moments of random changes, each replayed by the
//! kernel in one copy and by Spelunk in another.

use crate::damage::Random;
use crate::kernel::{Mount, copy, is_possible, kernel_walk, make};
use crate::populate::pattern;
use crate::volume::open_tree;
use crate::walk::Walker;
use rustix::fs::{FallocateFlags, fallocate};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

const DIRECTORIES: [&str; 3] = ["few", "many", "deep/down"];

/// What happens to a filesystem, and where.
struct Changes {
    root: PathBuf,
    random: Random,
    files: Vec<PathBuf>,
    made: usize,
}

impl Changes {
    fn new(root: &Path, seed: u64) -> Changes {
        let mut files = Vec::new();
        for dir in DIRECTORIES {
            fs::create_dir_all(root.join(dir)).unwrap();
            for number in 0..12 {
                let path = root.join(dir).join(format!("old-{number}"));
                fs::write(&path, pattern(seed + number, 1000 * number as usize)).unwrap();
                files.push(path);
            }
        }
        for number in 0..150 {
            fs::write(root.join("many").join(format!("filler-with-a-longer-name-{number}")), []).unwrap();
        }
        Changes { root: root.to_owned(), random: Random(seed), files, made: 0 }
    }

    fn new_path(&mut self) -> PathBuf {
        self.made += 1;
        let dir = DIRECTORIES[self.random.below(DIRECTORIES.len())];
        let length = self.random.below(40);
        self.root.join(dir).join(format!("new-{}-{}", self.made, "x".repeat(length)))
    }

    fn any(&mut self) -> PathBuf {
        let at = self.random.below(self.files.len());
        self.files[at].clone()
    }

    fn write(&mut self, path: &Path, offset: usize, bytes: usize) {
        let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
        let seed = self.random.below(1000) as u64;
        file.write_all_at(&pattern(seed, bytes), offset as u64).unwrap();
    }

    /// One change, and the file that it was made to.
    fn step(&mut self) -> PathBuf {
        let path = self.any();
        match self.random.below(12) {
            0 | 1 => {
                let new = self.new_path();
                let bytes = self.random.below(50_000);
                self.write(&new, 0, bytes);
                self.files.push(new.clone());
                return new;
            }
            2 => {
                let (offset, bytes) = (self.random.below(200_000), self.random.below(20_000));
                self.write(&path, offset, bytes);
            }
            3 => {
                let size = self.random.below(60_000) as u64;
                File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
            }
            4 | 5 => {
                let (offset, len) = (self.random.below(60_000) as u64, 1 + self.random.below(30_000) as u64);
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let flags =
                    [punch, FallocateFlags::KEEP_SIZE, FallocateFlags::empty(), FallocateFlags::ZERO_RANGE];
                let file = File::options().write(true).open(&path).unwrap();
                fallocate(&file, flags[self.random.below(4)], offset, len).unwrap();
            }
            6 => {
                let new = self.new_path();
                fs::rename(&path, &new).unwrap();
                self.files.retain(|file| *file != path);
                self.files.push(new.clone());
                return new;
            }
            7 => {
                let over = self.any();
                if over != path {
                    fs::rename(&path, &over).unwrap();
                    // Of two links to one inode, both stay.
                    self.files.retain(|file| file.symlink_metadata().is_ok());
                    return over;
                }
            }
            8 => {
                let new = self.new_path();
                fs::hard_link(&path, &new).unwrap();
                self.files.push(new);
            }
            9 if self.files.len() > 20 => {
                fs::remove_file(&path).unwrap();
                self.files.retain(|file| *file != path);
                return self.any();
            }
            10 if self.made.is_multiple_of(7) => {
                let new = self.new_path();
                symlink("a target", &new).unwrap();
            }
            _ => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + self.made as u32 % 0o70))
                    .unwrap();
                let time = UNIX_EPOCH + Duration::new(self.made as u64 * 12_345, 6789);
                File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            }
        }
        path
    }
}

/// Makes changes to a filesystem, and copies it `copies` times, each time after a file was synced.
fn crash(name: &str, mkfs: &str, seed: u64, copies: usize) {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [image, dirty, mnt] = ["image", "dirty", "mnt"].map(|name| dir.path().join(name));
    make(&image, 48, &format!("-t ext4 -O fast_commit {mkfs}"));
    let mounted = Mount::new(&image, &mnt, "loop").expect(name);
    let mut changes = Changes::new(&mnt, seed);
    rustix::fs::syncfs(File::open(&mnt).unwrap()).unwrap();
    let mut replayed = 0;
    for number in 0..copies {
        for _ in 0..=changes.random.below(12) {
            let path = changes.step();
            if changes.random.below(3) == 0 {
                File::open(path).unwrap().sync_all().unwrap();
            }
        }
        changes.step();
        File::open(changes.any()).unwrap().sync_all().unwrap();
        let copied = dir.path().join(format!("dirty-{number}"));
        copy(&image, &copied);
        replayed += compare(&format!("{name}, copy {number}"), &copied, &dirty, &dir.path().join("replayed"));
        fs::remove_file(copied).unwrap();
    }
    drop(mounted);
    assert!(replayed >= copies / 2, "{name}: only {replayed} of {copies} copies had fast commits");
}

/// Compares what the kernel sees of a copy after its replay with what Spelunk sees of the image itself. Whether fast
/// commits were replayed.
fn compare(name: &str, image: &Path, copied: &Path, at: &Path) -> usize {
    copy(image, copied);
    let mounted = Mount::new(copied, at, "loop,noatime").expect(name);
    let mut expected = Vec::new();
    kernel_walk(at, b"", &mut expected);
    drop(mounted);
    let tree = open_tree(image).unwrap();
    let notes = tree.info().notes.join("; ");
    assert!(!notes.contains("missing"), "{name}: {notes}");
    let mut walker = Walker::new(&*tree);
    walker.is_full = true;
    walker.image = Some(image);
    walker.page = 7;
    walker.walk();
    assert_eq!(walker.errors, Vec::<String>::new(), "{name}");
    let [expected, found] = [&expected, &walker.lines].map(|lines| by_path(lines));
    let differences: Vec<_> = expected
        .keys()
        .chain(found.keys())
        .filter(|path| expected.get(*path) != found.get(*path))
        .take(5)
        .map(|path| format!("{path}\nexpected {:?}\nfound    {:?}", expected.get(path), found.get(path)))
        .collect();
    assert!(differences.is_empty(), "{name} ({notes}):\n{}", differences.join("\n"));
    usize::from(notes.contains("fast commits were replayed"))
}

/// The lines by their paths, without what the kernel itself invents in its replay: the times of directories are those
/// of the replay, and they grow where it finds no room.
fn by_path(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let line = |line: &String| {
        let mut fields: Vec<String> = line.split(['\t', ' ']).map(str::to_owned).collect();
        if fields[1] == "d" {
            fields[4].clear();
            fields
                .retain(|field| !["size=", "allocated=", "c="].iter().any(|start| field.starts_with(start)));
        }
        (fields.remove(0), fields)
    };
    lines.iter().map(line).collect()
}

#[test]
fn fast_commits_are_replayed_as_by_the_kernel() {
    crash("1 KiB blocks", "-b 1024", 1, 20);
    crash("4 KiB blocks", "-b 4096 -J size=8,fast_commit_size=1024", 2, 20);
}
