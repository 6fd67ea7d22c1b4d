//! Many disks at once, and mounts made again and again: nothing piles up.

use crate::attacker::HONEST;
use crate::attacks::{assert_honest, image, open, run_host};
use crate::measure;
use spelunk_mount::fuse::{Mount, MountPoint, Options};
use spelunk_testkit::peer::{Directory, is_mounted};
use spelunk_testkit::{process, skip};
use std::path::{Path, PathBuf};

/// Disks that one process has open at once, and memory of it and all their workers together.
const DISKS: usize = 200;
const ALL_BYTES_MAX: u64 = 2 << 30;

/// Mounts that are made and ended one after the other, unless `SPELUNK_MOUNT_CYCLES` says otherwise.
const CYCLES: usize = 40;

/// A small ext4 image.
fn ext4(directory: &Path) -> Option<PathBuf> {
    if !skip::unless_found(&["mkfs.ext4"]) {
        return None;
    }
    let path = directory.join("small.img");
    spelunk_testkit::image::small_ext4(&path).expect("an image can be made");
    Some(path)
}

/// With the real worker.
pub fn many_disks() {
    let directory = Directory::new().expect("a directory");
    let Some(path) = ext4(directory.path()) else { return };
    let descriptors = measure::own_descriptors();

    let disks: Vec<_> = (0..DISKS).map(|_| open_patiently(&path)).collect();
    let workers: Vec<u32> = disks.iter().map(|disk| disk.worker_pid().expect("a worker")).collect();
    for disk in &disks {
        let tree = disk.tree(0).expect("a tree");
        let page = tree.list(tree.root(), spelunk_tree::Cursor::START, 100).expect("a listing");
        assert!(!page.entries.is_empty());
    }
    let of_workers: u64 = workers.iter().filter_map(|pid| measure::memory(*pid)).sum();
    let all = of_workers + measure::own_memory();
    println!("{DISKS} disks: {} MiB, {} of them of the workers", all >> 20, of_workers >> 20);
    assert!(all < ALL_BYTES_MAX, "{all} bytes");
    drop(disks);

    assert!(workers.iter().all(|worker| !process::is_running(*worker)), "workers are left");
    assert_eq!(measure::own_descriptors(), descriptors, "descriptors are left open");
}

fn open_patiently(path: &Path) -> spelunk_sandbox::Disk {
    spelunk_sandbox::Disk::open(path, &spelunk_sandbox::OpenOptions::default()).expect("the image opens")
}

/// What a host of [`mount_cycles`] does.
pub fn cycle(images: &[PathBuf]) {
    let count =
        std::env::var("SPELUNK_MOUNT_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(CYCLES);
    let directory = Directory::new().expect("a directory");
    let mut after_first = None;
    for _ in 0..count {
        let disk = open(&images[0]).expect("the disk opens");
        assert_honest(&disk);
        let tree = disk.tree(0).expect("a tree");
        let point = MountPoint::new(directory.path()).expect("a mount point");
        let options = Options::parse(["ro"]).expect("options");
        let mount = Mount::start(tree, &point, Path::new("forged"), &options).expect("a mount");
        let stopper = mount.stopper();
        stopper.stop();
        mount.wait().expect("the mount ends");
        drop(disk);
        assert!(!is_mounted(directory.path()));
        let now = measure::own_descriptors();
        // The first one may leave what is there once for all.
        let first = *after_first.get_or_insert(now);
        assert!(now <= first, "{now} descriptors, {first} after the first mount");
    }
    println!("{count} mounts");
}

pub fn mount_cycles() {
    if !skip::unless_fuse() || !skip::unless_root("mounting without a helper") {
        return;
    }
    let directory = Directory::new().expect("a directory");
    let honest = image(directory.path(), HONEST);

    let (lines, memory) = run_host("cycle", &[&honest]);

    println!("{}: {} MiB", lines.join(" "), memory >> 20);
    assert!(memory < 128 << 20, "{memory} bytes");
}
