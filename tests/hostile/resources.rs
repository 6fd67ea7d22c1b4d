//! Many disks at once, disks that hang, mounts made again and again: nothing piles up, and nobody waits for others.

use crate::attacker::{CONTENT, HONEST};
use crate::attacks::{image, open, run_host};
use crate::measure;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use spelunk_mount::Composition;
use spelunk_mount::fuse::{Mount, MountPoint, Options};
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_testkit::image::vhdz::{self, Codec};
use spelunk_testkit::peer::{Directory, is_mounted};
use spelunk_testkit::{process, skip, tool};
use spelunk_tree::{Cursor, ErrorKind, Listed, Name, Tree};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Disks that one process has open at once, and memory of it and all their workers together.
const DISKS: usize = 200;
const ALL_BYTES_MAX: u64 = 2 << 30;
/// Descriptors that a shell lets a program have, unless it asks for more.
const SHELL_DESCRIPTORS: u64 = 1024;

/// Mounts that are made and ended one after the other, unless `SPELUNK_MOUNT_CYCLES` says otherwise.
const CYCLES: usize = 1000;

/// After so many mounts, everything that is made once is made; what the following ones may leave of memory.
const CYCLES_WARM: usize = 100;
const GROWTH_MAX: u64 = 64 << 20;

/// A small ext4 image.
fn ext4(directory: &Path) -> Option<PathBuf> {
    if !skip::unless_found(&["mkfs.ext4"]) {
        return None;
    }
    let path = directory.join("small.img");
    spelunk_testkit::image::small_ext4(&path).expect("an image can be made");
    Some(path)
}

/// A small image of each guest that can be filled without a mount, and one of them in each container.
fn images(directory: &Path) -> Option<Vec<PathBuf>> {
    const TOOLS: [&str; 6] = ["mkfs.ext4", "mkfs.fat", "mcopy", "mkntfs", "ntfscp", "qemu-img"];
    if !skip::unless_found(&TOOLS) {
        return None;
    }
    const SCRIPT: &str = "cd \"$0\" && echo hello > hello.txt &&
        mkfs.fat -C fat.img 8192 && mcopy -i fat.img hello.txt ::/ &&
        truncate -s 8M ntfs.img && mkntfs -q -F ntfs.img && ntfscp -q ntfs.img hello.txt hello.txt &&
        for format in qcow2 vmdk vdi vhdx vpc; do
            qemu-img convert -f raw -O $format small.img small.$format || exit 1
        done";
    let small = ext4(directory)?;
    tool::run("sh", ["-c".as_ref(), SCRIPT.as_ref(), directory.as_os_str()]).expect("images can be made");
    vhdz::write(&directory.join("small.vpc"), &directory.join("small.vhdz"), Codec::Zlib)
        .expect("an image can be made");
    let names = ["fat.img", "ntfs.img", "small.qcow2", "small.vmdk", "small.vdi", "small.vhdx", "small.vpc"];
    let names = names.into_iter().chain(["small.vhdz"]).map(|name| directory.join(name));
    Some(std::iter::once(small).chain(names).collect())
}

/// With the real worker.
pub fn many_disks() {
    let directory = Directory::new().expect("a directory");
    let Some(images) = images(directory.path()) else { return };
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(SHELL_DESCRIPTORS), ..limit }).expect("a lower limit");
    spelunk_sandbox::raise_descriptor_limit();
    let descriptors = measure::own_descriptors();

    let disks: Vec<_> = images.iter().cycle().take(DISKS).map(|path| open_patiently(path)).collect();
    let workers: Vec<u32> = disks.iter().map(|disk| disk.worker_pid().expect("a worker")).collect();
    for disk in &disks {
        let tree = disk.tree(0).expect("a tree");
        let entry = tree.lookup(tree.root(), &name("hello.txt")).expect("an entry");
        let mut buffer = [0; 5];
        assert_eq!(tree.read(entry.node, None, 0, &mut buffer), Ok(5));
        assert!(buffer.eq_ignore_ascii_case(b"hello"));
    }
    let of_workers: u64 = workers.iter().filter_map(|pid| measure::memory(*pid)).sum();
    let all = of_workers + measure::own_memory();
    println!(
        "{DISKS} disks of {} formats: {} MiB, {} of them of the workers; {} descriptors",
        images.len(),
        all >> 20,
        of_workers >> 20,
        measure::own_descriptors() - descriptors
    );
    assert!(all < ALL_BYTES_MAX, "{all} bytes");
    drop(disks);

    assert!(workers.iter().all(|worker| !process::is_running(*worker)), "workers are left");
    assert_eq!(measure::own_descriptors(), descriptors, "descriptors are left open");
}

fn open_patiently(path: &Path) -> Disk {
    Disk::open(path, &OpenOptions::default())
        .unwrap_or_else(|error| panic!("{} does not open: {error:?}", path.display()))
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// Two disks side by side, and the worker of one does nothing any more.
pub fn hung_disk() {
    let directory = Directory::new().expect("a directory");
    let Some(path) = ext4(directory.path()) else { return };
    let deadline = Duration::from_secs(4);
    let options = OpenOptions { deadline, ..OpenOptions::default() };
    let [hung, good] = [(); 2].map(|()| Disk::open(&path, &options).expect("the image opens"));
    let part = |text: &str, disk: &Disk| (name(text), Ok(disk.tree(0).expect("a tree")));
    let tree = Composition::new(vec![part("hung", &hung), part("good", &good)]).expect("a tree");
    let worker = hung.worker_pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    kill_process(worker.expect("a worker"), Signal::STOP).expect("it is stopped");

    std::thread::scope(|scope| {
        let asker =
            scope.spawn(|| tree.list(tree.lookup(tree.root(), &name("hung"))?.node, Cursor::START, 10));
        let started = Instant::now();
        let page = tree.list(tree.root(), Cursor::START, 10).expect("a listing of both");
        assert!(page.entries.iter().all(|listed| matches!(listed, Listed::Entry { .. })), "{page:?}");
        for part in ["hung", "good"] {
            let entry = tree.lookup(tree.root(), &name(part)).expect("an entry");
            assert_eq!(tree.attr(entry.node), Ok(entry.attr));
        }
        let good = tree.lookup(tree.root(), &name("good")).expect("an entry").node;
        assert!(tree.lookup(good, &name("hello.txt")).is_ok());
        assert!(started.elapsed() < deadline / 4, "{:?}", started.elapsed());
        assert!(!asker.is_finished(), "the stopped worker answered");

        let asked = asker.join().expect("whoever asked the disk that hangs");
        assert_eq!(asked.map_err(|error| error.kind()), Err(ErrorKind::WorkerLost));
    });
    let again = tree.lookup(tree.root(), &name("hung")).expect("an entry").node;
    assert!(tree.lookup(again, &name("hello.txt")).is_ok(), "no other worker has come");
}

/// A disk that hangs when it is asked for its root stands there as broken until it answers.
pub fn late_root() {
    let directory = Directory::new().expect("a directory");
    let Some(path) = ext4(directory.path()) else { return };
    let options = OpenOptions { deadline: Duration::from_secs(1), ..OpenOptions::default() };
    let disk = Disk::open(&path, &options).expect("the image opens");
    let part = (name("late"), Ok(disk.tree(0).expect("a tree")));
    let worker = disk.worker_pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    kill_process(worker.expect("a worker"), Signal::STOP).expect("it is stopped");

    let tree = Composition::new(vec![part]).expect("a tree");
    let [before, after] = [(); 2].map(|()| {
        let listed = tree.list(tree.root(), Cursor::START, 10).expect("a listing").entries;
        let is_broken = matches!(listed[..], [Listed::Broken { .. }]);
        (is_broken, tree.lookup(tree.root(), &name("late")).map(drop))
    });

    assert_eq!((before, after), ((true, Ok(())), (false, Ok(()))));
}

/// The supervisor does nothing any more: it is killed, and its worker with it.
pub fn stopped_supervisor() {
    let directory = Directory::new().expect("a directory");
    let Some(path) = ext4(directory.path()) else { return };
    let disk = open_patiently(&path);
    let processes = process::descendants(std::process::id());
    let worker = disk.worker_pid().expect("a worker");
    let supervisor = processes.iter().find(|pid| **pid != worker).copied();
    let supervisor =
        supervisor.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("a supervisor");
    kill_process(supervisor, Signal::STOP).expect("it is stopped");

    let started = Instant::now();
    drop(disk);

    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let end = Instant::now() + Duration::from_secs(10);
    while processes.iter().any(|pid| process::is_running(*pid)) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(processes.iter().all(|pid| !process::is_running(*pid)), "processes are left");
}

/// Of a snapshot that cannot be.
pub fn snapshot_name() {
    let directory = Directory::new().expect("a directory");
    let Some(path) = ext4(directory.path()) else { return };
    let options = OpenOptions { snapshot: Some("x".repeat(2000)), ..OpenOptions::default() };

    let error = Disk::open(&path, &options).map(drop).expect_err("there is no such snapshot");

    assert_eq!(error.kind(), ErrorKind::Limit);
}

/// No descriptor is left for the channels to a worker, at any of the places where they are made.
pub fn no_descriptors() {
    let directory = Directory::new().expect("a directory");
    let Some(path) = ext4(directory.path()) else { return };
    let limit = getrlimit(Resource::Nofile);
    let descriptors = measure::own_descriptors();
    let open_with = |spare: usize| {
        let current = Some((descriptors + spare) as u64);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("a lower limit");
        let opened = Disk::open(&path, &OpenOptions::default()).map(drop);
        setrlimit(Resource::Nofile, limit).expect("the limit as it was");
        opened
    };

    let mut spare = 0;
    while let Err(error) = open_with(spare) {
        let is_told = matches!(error.kind(), ErrorKind::Storage | ErrorKind::WorkerLost | ErrorKind::Limit);
        assert!(is_told, "{spare} descriptors: {error:?}");
        assert_eq!(measure::own_descriptors(), descriptors, "{spare} descriptors: some are left open");
        spare += 1;
        assert!(spare < 100, "it never opens: {error:?}");
    }
    assert!(spare > 4, "the limit was not met");
}

/// What a host of [`mount_cycles`] does.
pub fn cycle(images: &[PathBuf]) {
    let count =
        std::env::var("SPELUNK_MOUNT_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(CYCLES);
    let directory = Directory::new().expect("a directory");
    let (mut after_first, mut warm) = (None, u64::MAX);
    for number in 0..count {
        let disk = open(&images[0]).expect("the disk opens");
        let tree = disk.tree(0).expect("a tree");
        let point = MountPoint::new(directory.path()).expect("a mount point");
        let options = Options::parse(["ro"]).expect("options");
        let mount = Mount::start(tree, &point, Path::new("forged"), &options).expect("a mount");
        assert_eq!(fs::read(directory.path().join("good")).expect("a file"), CONTENT);
        let stopper = mount.stopper();
        stopper.stop();
        mount.wait().expect("the mount ends");
        drop(disk);
        assert!(!is_mounted(directory.path()));
        let now = Held::now();
        // The first one may leave what is there once for all.
        let first = *after_first.get_or_insert(now);
        assert!(now.descriptors <= first.descriptors, "{now:?}, {first:?} after the first mount");
        if number == CYCLES_WARM {
            warm = now.bytes;
        }
        // Threads end when they see that they are not needed.
        assert!(now.threads <= first.threads + 8, "{now:?}, {first:?} after the first mount");
    }
    let children = process::descendants(std::process::id());
    assert_eq!(children, [0; 0], "processes are left");
    println!("{count} mounts, {:?}, {warm} bytes after some", Held::now());
    assert!(Held::now().bytes < warm.saturating_add(GROWTH_MAX), "memory is left");
}

/// What this process holds of the system.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    bytes: u64,
}

impl Held {
    fn now() -> Held {
        let threads = fs::read_dir("/proc/self/task").expect("a list of threads").count();
        Held { descriptors: measure::own_descriptors(), threads, bytes: measure::own_anonymous() }
    }
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
