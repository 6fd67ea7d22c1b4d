//! The kernel as the other reader: filesystems with all features, filled through a mount, then walked through a
//! mount and by Spelunk. Needs root, loop devices and e2fsprogs; says so and does nothing elsewhere.

use crate::populate::{Abilities, populate};
use crate::volume::open_tree;
use crate::walk::{HASHED_BYTES_MAX, Walker, escape, hex};
use rustix::fs::{lgetxattr, llistxattr};
use sha2::{Digest, Sha256};
use spelunk_testkit::skip;
use spelunk_tree::{Name, Tree};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// A filesystem mounted for as long as this lives.
pub struct Mount(PathBuf);

impl Mount {
    pub fn new(image: &Path, at: &Path, options: &str) -> Option<Mount> {
        fs::create_dir_all(at).unwrap();
        // Mounts at the same time may choose the same loop device, and a mount namespace that others made
        // meanwhile keeps a copy of the last mount of this image for as long as it lives.
        for _ in 0..60 {
            let output = Command::new("mount").args(["-o", options]).arg(image).arg(at).output().ok()?;
            if output.status.success() {
                return Some(Mount(at.to_owned()));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Ok(root) = fs::File::open(&self.0) {
            let _ = rustix::fs::syncfs(root);
        }
        for _ in 0..60 {
            if Command::new("umount").arg(&self.0).output().is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        eprintln!("cannot unmount {}", self.0.display());
    }
}

pub fn is_possible() -> bool {
    let possible = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !possible {
        skip::because("not root, or no loop devices");
    }
    possible
}

pub fn run(program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn make(image: &Path, mebibytes: u64, mkfs: &str) {
    fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
    let mut arguments: Vec<&str> = mkfs.split_whitespace().collect();
    arguments.extend(["-q", "-F"]);
    arguments.push(image.to_str().unwrap());
    run("mke2fs", &arguments);
}

const FOUR_K: Abilities = Abilities {
    link_bytes_max: 4000,
    xattr_bytes_max: 3000,
    file_bytes_max: (16 << 40) - (1 << 16),
    many: 3000,
    fragments: (2000, 8192),
};
const ONE_K: Abilities = Abilities {
    link_bytes_max: 1000,
    xattr_bytes_max: 700,
    file_bytes_max: (4 << 40) - (1 << 16),
    many: 3000,
    fragments: (2000, 8192),
};
/// With more fragments than one answer has runs.
const ONE_K_MAP: Abilities = Abilities { file_bytes_max: 16 << 30, fragments: (17_000, 2048), ..ONE_K };

fn compare(name: &str, mebibytes: u64, mkfs: &str, tune: Option<&str>, abilities: Abilities) {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    make(&image, mebibytes, mkfs);
    if let Some(tune) = tune {
        run("tune2fs", &["-E", tune, image.to_str().unwrap()]);
    }
    let mounted = Mount::new(&image, &dir.path().join("mnt"), "loop").expect(name);
    populate(&mounted.0, abilities);
    drop(mounted);
    compare_image(name, &image, dir.path());
    let tree = open_tree(&image).unwrap();
    check_huge_file(&*tree, abilities.file_bytes_max);
    assert_eq!(check_lookups(&*tree, "many"), abilities.many - abilities.many.div_ceil(3));
    check_lookups(&*tree, "names");
}

/// The huge file is a hole with a few bytes at its end, and costs as much.
fn check_huge_file(tree: &dyn Tree, size: u64) {
    let holes = tree.lookup(tree.root(), &Name::new(&b"holes"[..]).unwrap()).unwrap().node;
    let huge = tree.lookup(holes, &Name::new(&b"huge"[..]).unwrap()).unwrap();
    assert_eq!(huge.attr.size, size);
    let mut buffer = [0; 100];
    assert_eq!(tree.read(huge.node, None, size - 7, &mut buffer).unwrap(), 7);
    assert_eq!(&buffer[..7], b"the end");
    let mut runs = Vec::new();
    tree.runs(huge.node, None, 5, u64::MAX, &mut runs).unwrap();
    assert!(runs.len() == 2, "{runs:?}");
    assert_eq!(runs.iter().map(|run| run.len).sum::<u64>(), size - 5);
}

/// Compares the whole trees that the kernel and Spelunk see. The kernel gets a copy: mount namespaces that others
/// made meanwhile may keep the first mount of the image.
pub fn compare_image(name: &str, image: &Path, dir: &Path) {
    let copied = dir.join("kernel's");
    copy(image, &copied);
    compare_images(name, &copied, image, dir);
}

pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--sparse=always").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Compares the whole trees that the kernel sees in one image and Spelunk in another.
pub fn compare_images(name: &str, kernels: &Path, image: &Path, dir: &Path) {
    let mounted = Mount::new(kernels, &dir.join("mnt"), "loop,noatime").expect(name);
    let mut expected = Vec::new();
    kernel_walk(&mounted.0, b"", &mut expected);
    expected.sort();
    drop(mounted);
    let tree = open_tree(image).unwrap();
    let mut walker = Walker::new(&*tree);
    walker.is_full = true;
    walker.image = Some(image);
    walker.walk();
    assert_eq!(walker.errors, Vec::<String>::new(), "{name}");
    let differences: Vec<_> = expected
        .iter()
        .zip(&walker.lines)
        .filter(|(expected, found)| expected != found)
        .take(5)
        .map(|(expected, found)| format!("expected {}\nfound    {}", short(expected), short(found)))
        .collect();
    assert!(differences.is_empty(), "{name}:\n{}", differences.join("\n"));
    assert_eq!(expected.len(), walker.lines.len(), "{name}");
}

fn short(line: &str) -> String {
    line.chars().take(700).collect()
}

pub fn kernel_walk(dir: &Path, path: &[u8], lines: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let mut child = path.to_vec();
        if !child.is_empty() {
            child.push(b'/');
        }
        child.extend_from_slice(entry.file_name().as_bytes());
        lines.push(kernel_line(&entry.path(), &child));
        if entry.file_type().unwrap().is_dir() {
            kernel_walk(&entry.path(), &child, lines);
        }
    }
}

fn kernel_line(path: &Path, shown: &[u8]) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let (mut size, mut hash, mut extra, mut letter) = (0, "-".to_owned(), String::new(), '?');
    if kind.is_file() {
        letter = 'f';
        size = meta.len();
        if size <= HASHED_BYTES_MAX {
            hash = hex(&Sha256::digest(fs::read(path).unwrap()));
        }
    } else if kind.is_symlink() {
        letter = 'l';
        let target = fs::read_link(path).unwrap();
        size = target.as_os_str().len() as u64;
        hash = hex(&Sha256::digest(target.as_os_str().as_bytes()));
        extra = escape(target.as_os_str().as_bytes());
    } else if kind.is_char_device() || kind.is_block_device() {
        letter = if kind.is_char_device() { 'c' } else { 'b' };
        extra = format!("{}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    } else if kind.is_dir() {
        letter = 'd';
    } else if kind.is_fifo() {
        letter = 'p';
    } else if kind.is_socket() {
        letter = 's';
    }
    let mut line = format!(
        "{}\t{letter}\t{size}\t{hash}\t{}.{:09}\t{:04o}\t{}:{}\t{}\t{extra}",
        escape(shown),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.mode() & 0o7777,
        meta.uid(),
        meta.gid(),
        meta.nlink(),
    );
    let created = meta.created().map_or("-".into(), |time| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => format!("{}.{:09}", after.as_secs(), after.subsec_nanos()),
        Err(_) => "before".into(),
    });
    let raw_size = if kind.is_dir() { meta.len() } else { 0 };
    let _ = write!(
        line,
        "\tino={} size={raw_size} allocated={} a={}.{:09} c={}.{:09} b={created}",
        meta.ino(),
        meta.blocks() * 512,
        meta.atime(),
        meta.atime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    );
    for xattr in kernel_xattrs(path) {
        line.push(' ');
        line.push_str(&xattr);
    }
    line
}

fn kernel_xattrs(path: &Path) -> Vec<String> {
    let mut names = vec![0; 65_536];
    let len = llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs: Vec<String> = names[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value[..]).unwrap();
            format!("{}={}", escape(name), hex(&value[..len]))
        })
        .collect();
    xattrs.sort();
    xattrs
}

#[test]
fn ext2_with_1k_blocks_and_128_byte_inodes() {
    compare("ext2", 64, "-t ext2 -b 1024 -I 128 -N 8000", None, ONE_K_MAP);
}

#[test]
fn ext3_with_2k_blocks() {
    compare(
        "ext3",
        64,
        "-t ext3 -b 2048 -I 256 -N 8000",
        None,
        Abilities { file_bytes_max: 100 << 30, ..ONE_K },
    );
}

#[test]
fn ext4_by_default() {
    compare(
        "ext4",
        128,
        "-t ext4 -b 4096 -N 40000",
        None,
        Abilities { many: 30_000, fragments: (6000, 8192), ..FOUR_K },
    );
}

#[test]
fn ext4_with_1k_blocks_inline_data_and_attributes_in_inodes() {
    let features = "64bit,metadata_csum,metadata_csum_seed,inline_data,ea_inode,large_dir";
    let mkfs = format!("-t ext4 -b 1024 -I 256 -N 40000 -O {features}");
    compare("inline", 128, &mkfs, None, Abilities { many: 30_000, xattr_bytes_max: 65_536, ..ONE_K });
}

#[test]
fn ext4_with_512_byte_inodes_and_inline_data() {
    compare("512", 96, "-t ext4 -b 4096 -I 512 -N 8000 -O inline_data", None, FOUR_K);
}

#[test]
fn ext4_with_bigalloc() {
    compare(
        "bigalloc",
        256,
        "-t ext4 -b 4096 -O bigalloc -C 65536 -N 8000",
        None,
        Abilities { fragments: (500, 8192), ..FOUR_K },
    );
}

#[test]
fn ext4_with_meta_bg_and_more_groups_than_a_block_of_descriptors() {
    compare("meta_bg", 300, "-t ext4 -b 1024 -O meta_bg,^resize_inode -N 9000", None, ONE_K);
}

#[test]
fn ext4_with_sparse_super2_and_128_byte_inodes() {
    compare("sparse_super2", 300, "-t ext4 -b 1024 -I 128 -O sparse_super2,^flex_bg -N 9000", None, ONE_K);
}

#[test]
fn ext4_with_block_maps_and_crc16() {
    let mkfs = "-t ext4 -b 4096 -N 8000 -O ^extent,^64bit,^metadata_csum,uninit_bg";
    compare("maps", 128, mkfs, None, Abilities { file_bytes_max: 4 << 40, ..FOUR_K });
}

#[test]
fn ext4_with_other_hashes() {
    compare("tea", 96, "-t ext4 -b 1024 -N 9000", Some("hash_alg=tea"), Abilities { many: 5000, ..ONE_K });
    compare(
        "legacy",
        96,
        "-t ext4 -b 1024 -N 9000",
        Some("hash_alg=legacy"),
        Abilities { many: 5000, ..ONE_K },
    );
}

#[test]
fn ext4_with_an_index_of_three_levels() {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    make(&image, 64, "-t ext4 -b 1024 -N 500 -O large_dir");
    let mounted = Mount::new(&image, &dir.path().join("mnt"), "loop").unwrap();
    let many = mounted.0.join("many");
    fs::create_dir(&many).unwrap();
    fs::write(mounted.0.join("file"), "one file with many names").unwrap();
    for number in 0..55_000 {
        fs::hard_link(mounted.0.join("file"), many.join(format!("{number}-{}", "n".repeat(240)))).unwrap();
    }
    drop(mounted);
    let tree = open_tree(&image).unwrap();
    assert_eq!(check_lookups(&*tree, "many"), 55_000);
}

#[test]
#[ignore = "slow"]
fn directories_with_more_subdirectories_than_links() {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    make(&image, 128, "-t ext4 -b 1024 -N 70000 -O inline_data");
    let mounted = Mount::new(&image, &dir.path().join("mnt"), "loop").unwrap();
    for number in 0..65_100 {
        fs::create_dir_all(mounted.0.join(format!("many/{number}"))).unwrap();
    }
    drop(mounted);
    compare_image("dir_nlink", &image, dir.path());
}

/// Each name listed is found, and leads to the same inode.
pub fn check_lookups(tree: &dyn Tree, directory: &str) -> usize {
    let mut node = tree.root();
    for part in directory.split('/') {
        node = tree.lookup(node, &Name::new(part.as_bytes()).unwrap()).unwrap().node;
    }
    let mut count = 0;
    let mut cursor = Some(spelunk_tree::Cursor::START);
    while let Some(at) = cursor {
        let page = tree.list(node, at, 1000).unwrap();
        for listed in page.entries {
            let spelunk_tree::Listed::Entry { entry, .. } = listed else { panic!("broken") };
            assert_eq!(tree.lookup(node, &entry.name).unwrap(), entry);
            count += 1;
        }
        cursor = page.next;
    }
    let absent = Name::new(&b"no such name"[..]).unwrap();
    assert_eq!(tree.lookup(node, &absent).unwrap_err().kind(), spelunk_tree::ErrorKind::NotFound);
    count
}
