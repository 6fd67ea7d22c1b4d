//! What a walk of a mount costs, in counts, which are the same on every machine: when one grows, something has
//! become slower, whatever the clock says. The bounds are what was counted, and a tenth more. Who makes one
//! smaller shall write the new one here.

use super::{ext4_image, mount_foreground};
use spelunk_testkit::image::container::{self, Container};
use spelunk_testkit::image::plan::Guest;
use spelunk_testkit::image::vhdz::Codec;
use spelunk_testkit::image::volume::{Contents, Volume};
use spelunk_testkit::peer::Mount;
use spelunk_testkit::process::{self, Reads};
use spelunk_testkit::{Result, image, skip, tool};
use std::path::Path;

/// Bytes of a block of a dynamic VHD, as qemu-img makes it.
const VHD_BLOCK_BYTES: u64 = 2 << 20;

/// What reading through a mount may cost.
struct Bound {
    /// Requests of the kernel to the host, and reads of plain bytes by the host.
    host_calls: u64,
    /// Reads of the image by the worker.
    worker_calls: u64,
    /// Bytes that they bring.
    worker_bytes: u64,
}

#[test]
fn walk_of_50_000_files_on_ext4_costs_no_more_than_it_did() {
    let Some(image) = ext4_image() else { return };

    let bound = Bound { host_calls: 5_250, worker_calls: 1_320, worker_bytes: 68_500_000 };
    check(&image, walk, &bound);
}

#[test]
fn walk_of_50_000_files_on_ntfs_costs_no_more_than_it_did() {
    let can = skip::unless_fuse()
        && skip::unless_root("making the image")
        && skip::unless_found(&["ntfs-3g", "mkntfs"]);
    if !can {
        return;
    }
    let image = image::ntfs_of_50_000_files().expect("the image can be made");

    let bound = Bound { host_calls: 5_250, worker_calls: 4_300, worker_bytes: 172_000_000 };
    check(&image, walk, &bound);
}

#[test]
fn reading_all_files_of_a_vhdz_decodes_each_block_about_once() {
    let can = skip::unless_fuse()
        && skip::unless_root("making the image")
        && skip::unless_found(&["mkfs.ext4", "qemu-img", "sgdisk"]);
    if !can {
        return;
    }
    let volume = Volume { guest: Guest::Ext4, contents: Contents::Small(10_000) };
    let vhd = container::of(volume, Container::Vhd).expect("the image can be made");
    let image = container::of(volume, Container::Vhdz(Codec::Zstd)).expect("the image can be made");
    let bytes = |path: &Path| std::fs::metadata(path).expect("the image is there").len();

    // The kernel that made the volume chose where its files lie, each time in another way. What no choice changes:
    // a call for each block of the VHD, some for what tells where they are, and no byte of the image twice.
    let bound = Bound {
        host_calls: 12_800,
        worker_calls: bytes(&vhd) / VHD_BLOCK_BYTES + 4,
        worker_bytes: bytes(&image),
    };
    check(&image, read_all, &bound);
}

/// Names and attributes of everything.
fn walk(mounted: &Path) -> Result<()> {
    tool::run("find", [mounted.as_os_str(), "-printf".as_ref(), "%p %y %s %T@ %m\\n".as_ref()]).map(drop)
}

/// All bytes, in the order of the listings.
fn read_all(mounted: &Path) -> Result<()> {
    // Given /dev/null itself, tar reads nothing.
    let archive = r#"tar -cf - -C "$0" . | wc -c"#;
    tool::run("sh", ["-c".as_ref(), archive.as_ref(), mounted.as_os_str()]).map(drop)
}

fn check(image: &Path, what: fn(&Path) -> Result<()>, bound: &Bound) {
    let mount = mount_foreground(image, &[]).expect("the image can be mounted");
    what(mount.path()).expect("the mount can be read");
    let (host, worker) = counts(&mount);
    mount.unmount().expect("the mount ends");

    println!("host: {host:?}, worker: {worker:?}");
    assert!(host.calls <= bound.host_calls, "the host read {} times", host.calls);
    assert!(worker.calls <= bound.worker_calls, "the worker read {} times", worker.calls);
    assert!(worker.bytes <= bound.worker_bytes, "the worker read {} bytes", worker.bytes);
}

/// What the host and its worker have read so far. The worker is the one of its processes that reads most: its
/// supervisor reads next to nothing.
fn counts(mount: &Mount) -> (Reads, Reads) {
    let server = mount.server().expect("a server in the foreground");
    let host = process::reads(server).expect("/proc tells what the host read");
    let workers = process::descendants(server).into_iter().filter_map(process::reads);
    let worker = workers.max_by_key(|reads| reads.bytes).expect("/proc tells what the worker read");
    (host, worker)
}
