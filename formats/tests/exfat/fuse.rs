//! exfat-fuse as the other reader: volumes that mkfs.exfat made are filled through it, then walked through it and by
//! Spelunk. Needs root, loop devices and FUSE; says so and does nothing elsewhere.

use crate::images::{FileImage, walk};
use sha2::{Digest, Sha256};
use spelunk_formats::guest::{self, Options};
use spelunk_testkit::loop_device::LoopDevice;
use spelunk_testkit::skip;
use spelunk_tree::{Kind, Name, NodeId, Place, Run, Tree};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// How a volume is made.
struct Made {
    sector_bytes: u32,
    cluster: &'static str,
    cluster_bytes: u32,
    mebibytes: u64,
    /// Files in its largest directory.
    many: u32,
    /// Pieces of its fragmented file.
    fragments: u64,
}

const MADE: &[Made] = &[
    Made {
        sector_bytes: 512,
        cluster: "512",
        cluster_bytes: 512,
        mebibytes: 40,
        many: 20_000,
        fragments: 3000,
    },
    Made { sector_bytes: 512, cluster: "4K", cluster_bytes: 4096, mebibytes: 64, many: 300, fragments: 500 },
    Made { sector_bytes: 4096, cluster: "4K", cluster_bytes: 4096, mebibytes: 64, many: 300, fragments: 500 },
    Made {
        sector_bytes: 2048,
        cluster: "128K",
        cluster_bytes: 128 << 10,
        mebibytes: 512,
        many: 100,
        fragments: 40,
    },
    Made {
        sector_bytes: 1024,
        cluster: "32M",
        cluster_bytes: 32 << 20,
        mebibytes: 2048,
        many: 3,
        fragments: 3,
    },
];

/// A volume mounted for as long as this lives.
struct Mount {
    at: PathBuf,
    device: Option<LoopDevice>,
}

impl Mount {
    fn new(device: LoopDevice, at: &Path) -> Mount {
        fs::create_dir_all(at).unwrap();
        run("mount.exfat-fuse", &[device.path(), at]);
        Mount { at: at.to_owned(), device: Some(device) }
    }

    fn finish(mut self) {
        run("umount", &[&self.at]);
        self.device.take().unwrap().detach().unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.device.is_some() {
            let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
    }
}

fn run(program: &str, arguments: &[&Path]) {
    spelunk_testkit::tool::run(program, arguments).unwrap();
}

fn make(made: &Made, image: &Path) -> LoopDevice {
    let bytes = made.mebibytes << 20;
    fs::File::create(image).unwrap().set_len(bytes).unwrap();
    let device = LoopDevice::attach_with_sectors(image, made.sector_bytes).unwrap();
    spelunk_testkit::tool::run(
        "mkfs.exfat",
        ["-c".as_ref(), made.cluster.as_ref(), "-L".as_ref(), "Größe 😀".as_ref(), device.path().as_os_str()],
    )
    .unwrap();
    device
}

/// Names at the edges of what exFAT can hold: 255 UTF-16 units, surrogate pairs and what needs three bytes.
fn names() -> Vec<String> {
    vec![
        "a".repeat(255),
        format!("{}x", "😀".repeat(127)),
        format!("x{}", "😀".repeat(127)),
        "語".repeat(255),
        "fifteen units..".into(),
        "sixteen units ..".into(),
        " leading".into(),
        "MiXeD ÄÖÜ ЖЯ".into(),
        ".hidden".into(),
        "[{;,=+&%$#@!^~`'}]".into(),
    ]
}

/// No times from 2100 on: exfat-fuse takes that for a leap year.
fn fill(root: &Path, made: &Made) {
    let cluster = u64::from(made.cluster_bytes);
    fs::create_dir_all(root.join("deep/a/b/c/d/e")).unwrap();
    fs::write(root.join("deep/a/b/c/d/e/leaf"), "leaf").unwrap();
    fs::create_dir(root.join("names")).unwrap();
    for (number, name) in names().iter().enumerate() {
        fs::write(root.join("names").join(name), format!("name {number}")).unwrap();
    }
    fs::create_dir(root.join("sizes")).unwrap();
    for size in [0, 1, 511, 512, 513, 4095, 4096, 4097, 100_001] {
        fs::write(root.join(format!("sizes/{size}")), pattern(size, size as u64)).unwrap();
    }
    // Files that grow in turns lie in pieces of a cluster.
    fs::create_dir(root.join("pieces")).unwrap();
    let piece = (cluster as usize).min(8192);
    for number in 0..made.fragments {
        for file in ["one", "two"] {
            append(&root.join("pieces").join(file), &pattern(piece, number));
        }
        for file in ["one", "two"] {
            let len = (number + 1) * cluster;
            fs::File::options()
                .write(true)
                .open(root.join("pieces").join(file))
                .unwrap()
                .set_len(len)
                .unwrap();
        }
    }
    // Deleted entries lie among others.
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..made.many {
        fs::write(root.join(format!("many/entry number {number}")), "").unwrap();
    }
    for number in (0..made.many).step_by(3) {
        fs::remove_file(root.join(format!("many/entry number {number}"))).unwrap();
    }
    fs::write(root.join("many/a longer name in the place of some that were deleted"), "").unwrap();
    for (name, time) in [
        ("deep", "1980-01-02 03:04:06"),
        ("names", "2099-12-31 23:59:58"),
        ("sizes/1", "2024-02-29 12:00:00"),
    ] {
        let status = Command::new("touch").args(["-d", &format!("{time} UTC")]).arg(root.join(name)).status();
        assert!(status.unwrap().success());
    }
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(seed + 7) >> 3) as u8).collect()
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    fs::File::options().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Path, kind, time of change and, of files, size and hash. exfat-fuse tells whole seconds.
fn mounted_lines(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let (metadata, shown) =
                (path.metadata().unwrap(), path.strip_prefix(root).unwrap().to_str().unwrap());
            // As the walk of our own escapes it.
            let shown = shown.replace('%', "%25");
            if metadata.is_dir() {
                lines.push(format!("{shown} d {} {}", metadata.mtime(), metadata.size()));
                directories.push(path);
            } else {
                let digest = Sha256::digest(fs::read(&path).unwrap());
                let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                lines.push(format!("{shown} f {} {} {hash}", metadata.mtime(), metadata.size()));
            }
        }
    }
    lines.sort();
    lines
}

fn our_lines(tree: &dyn Tree) -> Vec<String> {
    let mut lines: Vec<String> = walk(tree)
        .into_iter()
        .map(|walked| {
            let (seconds, size) = (walked.attr.modified.unwrap().seconds(), walked.attr.size);
            match walked.attr.kind {
                Kind::Directory => format!("{} d {seconds} {size}", walked.path),
                _ => format!("{} f {seconds} {size} {}", walked.path, walked.hash),
            }
        })
        .collect();
    lines.sort();
    lines
}

fn find(tree: &dyn Tree, path: &str) -> NodeId {
    path.split('/').fold(tree.root(), |directory, name| {
        tree.lookup(directory, &Name::new(name.as_bytes()).unwrap()).unwrap().node
    })
}

/// Blocks that the other reader finds free.
fn free_bytes(at: &Path) -> u64 {
    let statfs = rustix::fs::statvfs(at).unwrap();
    statfs.f_bfree * statfs.f_frsize
}

fn can_run() -> bool {
    skip::unless_found(&["mkfs.exfat", "mount.exfat-fuse", "losetup"])
        && skip::unless_root("a loop device")
        && skip::unless_fuse()
}

#[test]
fn volumes_that_exfat_fuse_filled_are_the_same_to_it() {
    if !can_run() {
        return;
    }
    for made in MADE {
        let label = format!("sectors of {}, clusters of {}", made.sector_bytes, made.cluster);
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        let mount = Mount::new(make(made, &image), &directory.path().join("mnt"));
        fill(&mount.at, made);
        // Mounted anew, so that it shows what it wrote.
        let at = mount.at.clone();
        mount.finish();
        let mount = Mount::new(LoopDevice::attach_with_sectors(&image, made.sector_bytes).unwrap(), &at);
        let (theirs, free) = (mounted_lines(&at), free_bytes(&at));
        mount.finish();
        let tree = guest::open(Arc::new(FileImage::open(&image)), &Options::default()).unwrap();

        let ours = our_lines(&*tree);

        for (our, their) in ours.iter().zip(&theirs) {
            assert_eq!(our, their, "{label}");
        }
        assert_eq!(ours.len(), theirs.len(), "{label}");
        let info = tree.info();
        println!("{label}: {} entries, {free} bytes free", ours.len());
        assert_eq!((info.filesystem.as_str(), info.block_bytes), ("exfat", made.cluster_bytes), "{label}");
        assert_eq!((info.label.as_slice(), info.free_bytes), ("Größe 😀".as_bytes(), Some(free)), "{label}");
        assert_eq!(info.notes, Vec::<String>::new(), "{label}");
        check_pieces(&*tree, made);
        check_cases(&*tree);
    }
}

/// The fragmented file is in pieces, one for each cluster, that cover it.
fn check_pieces(tree: &dyn Tree, made: &Made) {
    let mut runs: Vec<Run> = Vec::new();
    tree.runs(find(tree, "pieces/one"), None, 0, u64::MAX, &mut runs).unwrap();
    assert!(runs.iter().all(|run| matches!(run.place, Place::At { .. })), "{runs:?}");
    assert!(runs.len() as u64 > made.fragments / 2, "{} pieces", runs.len());
    assert_eq!(runs.iter().map(|run| run.len).sum::<u64>(), made.fragments * u64::from(made.cluster_bytes));
}

/// mkfs.exfat's table of upper case knows more than ASCII.
fn check_cases(tree: &dyn Tree) {
    let names = tree.lookup(tree.root(), &Name::new(&b"NAMES"[..]).unwrap()).unwrap();
    assert_eq!(names.name, Name::new(&b"names"[..]).unwrap());
    let found = tree.lookup(names.node, &Name::new("mixed äöü жя".as_bytes()).unwrap()).unwrap();
    assert_eq!(found.name, Name::new("MiXeD ÄÖÜ ЖЯ".as_bytes()).unwrap());
}
