//! Fast commits: filesystems copied while they are mounted, at random moments of random changes, each replayed by the
//! kernel in one copy and by Spelunk in another.

use crate::damage::Random;
use crate::kernel::{Mount, copy, is_possible, kernel_walk, make};
use crate::populate::pattern;
use crate::volume::{open_bytes, open_tree};
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
    directories: Vec<PathBuf>,
    /// Whether inodes are free that a whole transaction has not freed yet. Linux 6.18 gives them to new files, in which
    /// it finds the blocks of the old ones when it replays.
    has_removed: bool,
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
        Changes {
            root: root.to_owned(),
            random: Random(seed),
            files,
            directories: Vec::new(),
            has_removed: false,
            made: 0,
        }
    }

    fn new_path(&mut self) -> PathBuf {
        if std::mem::take(&mut self.has_removed) {
            rustix::fs::syncfs(File::open(&self.root).unwrap()).unwrap();
        }
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

    /// A change of directories and links, and a file near it.
    fn step_of_directories(&mut self) -> PathBuf {
        let new = self.new_path();
        match self.random.below(6) {
            0 => symlink("a target", &new).unwrap(),
            1 if !self.directories.is_empty() => {
                let at = self.random.below(self.directories.len());
                let path = self.directories.swap_remove(at);
                self.has_removed = true;
                fs::remove_dir_all(&path).unwrap();
                self.files.retain(|file| !file.starts_with(&path));
            }
            _ => {
                fs::create_dir(&new).unwrap();
                let inner = new.join("inner");
                self.write(&inner, 0, 3000);
                self.directories.push(new);
                self.files.push(inner.clone());
                return inner;
            }
        }
        self.any()
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
                    self.has_removed = true;
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
                self.has_removed = true;
                fs::remove_file(&path).unwrap();
                self.files.retain(|file| *file != path);
                return self.any();
            }
            10 => return self.step_of_directories(),
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
    assert!(replayed >= copies / 5, "{name}: only {replayed} of {copies} copies had fast commits");
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
    check_links(&walker.lines);
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

/// Directories have two links, and one of each subdirectory. The kernel does not count the new ones in its replay.
fn check_links(lines: &[String]) {
    let directories: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('\t').collect())
        .filter(|fields: &Vec<&str>| fields[1] == "d")
        .collect();
    for fields in &directories {
        let inside = |path: &str| path.rsplit_once('/').is_some_and(|(parent, _)| parent == fields[0]);
        let links = 2 + directories.iter().filter(|other| inside(other[0])).count();
        assert_eq!(fields[7], links.to_string(), "{fields:?}");
    }
}

/// The lines by their paths, without what the kernel itself invents in its replay: the times of directories are those
/// of the replay, they grow where it finds no room, and it does not count their links.
fn by_path(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let line = |line: &String| {
        let mut fields: Vec<String> = line.split(['\t', ' ']).map(str::to_owned).collect();
        if fields[1] == "d" {
            fields[4].clear();
            fields[7].clear();
            fields
                .retain(|field| !["size=", "allocated=", "c="].iter().any(|start| field.starts_with(start)));
        }
        (fields.remove(0), fields)
    };
    lines.iter().map(line).collect()
}

/// Contents of the image where the area of fast commits begins, and where they end.
fn area(image: &[u8], block_bytes: usize) -> std::ops::Range<usize> {
    let head = [9, 0, 8, 0, 0, 0, 0, 0];
    let mut starts = (0..image.len()).step_by(block_bytes).filter(|&at| image[at..].starts_with(&head));
    let start = starts.next().expect("fast commits");
    start..start + 16 * block_bytes
}

/// A filesystem with fast commits in its journal.
fn dirty_image(mkfs: &str, seed: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let [image, dirty, mnt] = ["image", "dirty", "mnt"].map(|name| dir.path().join(name));
    make(&image, 16, &format!("-t ext4 -O fast_commit {mkfs}"));
    let mounted = Mount::new(&image, &mnt, "loop").expect(mkfs);
    let mut changes = Changes::new(&mnt, seed);
    rustix::fs::syncfs(File::open(&mnt).unwrap()).unwrap();
    let first = mnt.join("few/first");
    changes.write(&first, 0, 10);
    File::open(&first).unwrap().sync_all().unwrap();
    for number in 0..6 {
        let path = mnt.join("few").join(format!("new-{number}"));
        changes.write(&path, 0, 5000);
        File::open(&path).unwrap().sync_all().unwrap();
        fs::rename(&path, mnt.join("many").join(format!("moved-{number}"))).unwrap();
    }
    changes.write(&first, 50_000, 10);
    File::open(&first).unwrap().sync_all().unwrap();
    copy(&image, &dirty);
    drop(mounted);
    fs::read(dirty).unwrap()
}

fn names(image: Vec<u8>) -> (Vec<String>, Vec<String>, String) {
    let tree = open_bytes(image).unwrap();
    let mut walker = Walker::new(&*tree);
    walker.walk();
    let paths = walker.lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    (paths, walker.errors, tree.info().notes.join("; "))
}

#[test]
fn a_damaged_fast_commit_ends_the_replay_and_spoils_nothing() {
    if !is_possible() {
        return;
    }
    let image = dirty_image("-b 4096", 3);
    let area = area(&image, 4096);
    let (all, errors, notes) = names(image.clone());
    assert!(errors.is_empty() && notes.contains("8 fast commits were replayed"), "{notes}: {errors:?}");
    for block in 0..8 {
        let mut damaged = image.clone();
        damaged[area.start + block * 4096 + 20] ^= 4;

        let (some, errors, notes) = names(damaged);

        assert!(errors.is_empty(), "{errors:?}");
        let expected =
            if block == 0 { "changes are missing".into() } else { format!("{block} fast commits were") };
        assert!(notes.contains(&expected), "block {block}: {notes}");
        // Each commit but the last makes one file.
        assert_eq!(all.len() - some.len(), 7usize.saturating_sub(block), "block {block}");
    }
}

#[test]
fn forged_fast_commits_end_in_entries_or_typed_errors() {
    if !is_possible() {
        return;
    }
    let image = dirty_image("-b 4096", 4);
    let area = area(&image, 4096);
    let mut random = Random(11);
    let mut applied = 0;
    for _ in 0..300 {
        let mut forged = image.clone();
        let block = area.start + random.below(8) * 4096;
        let block = &mut forged[block..block + 4096];
        for _ in 0..=random.below(3) {
            let at = random.below(300);
            block[at] = [0, 1, 2, 5, 8, 0xFF, block[at].wrapping_add(1)][random.below(7)];
        }
        repair(block);
        let (_, _, notes) = names(forged);
        applied += usize::from(notes.contains("8 fast commits were replayed"));
    }
    assert!(applied > 20, "only {applied} forgeries had all of their checksums right");
}

/// Writes the checksum of the commit that `block` holds.
fn repair(block: &mut [u8]) {
    let mut at = 0;
    while at + 12 <= block.len() {
        let [tag, len] = [at, at + 2].map(|at| u16::from_le_bytes([block[at], block[at + 1]]));
        if tag == 8 {
            let crc = !crc32c::crc32c_append(!0, &block[..at + 8]);
            block[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
            return;
        }
        at += 4 + usize::from(len);
    }
}

#[test]
fn fast_commits_are_replayed_as_by_the_kernel() {
    crash("1 KiB blocks", "-b 1024", 1, 12);
    crash("small inodes", "-b 2048 -I 128 -J size=8,fast_commit_size=1024", 2, 12);
    crash("inline data", "-b 4096 -O inline_data,^dir_index -J size=8,fast_commit_size=1024", 3, 12);
}
