//! Whoever shows trees to users, with trees that a hostile worker makes up: walks, archives, a mount.

use crate::attacker::{ATTACKS, Attack, CONTENT, HONEST};
use crate::attacks::{HOST_COMMAND, assert_honest, image, open, run_host};
use crate::measure;
use spelunk_mount::archive::{Common, Selection, tar, zip};
use spelunk_mount::fuse::{self, MountPoint};
use spelunk_mount::walk::{self, Step, Walk};
use spelunk_mount::{Composition, Part};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{process, skip};
use spelunk_tree::{Name, Tree, limits};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a walk or an archive that may not end is let go on.
const PATIENCE: Duration = Duration::from_millis(700);
/// Bytes of a listing that is sorted here.
const SORTED_BYTES: usize = 16 << 20;
/// Memory of a host.
const HOST_BYTES_MAX: u64 = 192 << 20;

/// What is made of a tree.
const USES: [&str; 4] = ["walk-sorted", "walk-as-stored", "zip", "tar"];

/// What this program does as a host of presenters.
pub fn host(what: &str, images: &[PathBuf]) {
    match what {
        "mount" => return mount(images),
        "cycle" => return crate::resources::cycle(images),
        _ => {}
    }
    let disk = open(&images[0]).expect("the disk opens");
    let tree = disk.tree(0).expect("a tree");
    match what {
        // What is sorted is collected first, and a gibibyte takes too long to collect here: the same with less.
        "walk-sorted" if images[0].to_string_lossy().ends_with("without-end") => sort(&*tree),
        "walk-sorted" => walk(&*tree, walk::Order::Sorted),
        "walk-as-stored" => walk(&*tree, walk::Order::AsStored),
        _ => archive(&*tree, what),
    }
}

fn sort(tree: &dyn Tree) {
    let (entries, failure) = walk::sorted(tree, tree.root(), SORTED_BYTES);
    println!("{} entries, {}", entries.len(), failure.map_or("whole", |error| error.kind().phrase()));
}

fn walk(tree: &dyn Tree, order: walk::Order) {
    let end = Instant::now() + PATIENCE;
    let (mut steps, mut broken) = (0u64, 0u64);
    let mut walk = Walk::new(tree, tree.root(), b"/", order, limits::DEPTH_MAX + 1);
    while let Some(step) = walk.step() {
        steps += 1;
        match step {
            Step::Entry { path, .. } => assert_harmless(path),
            Step::Broken { .. } => broken += 1,
        }
        if Instant::now() > end {
            println!("went on");
            break;
        }
    }
    println!("{steps} steps, {broken} broken");
}

/// No path leads anywhere but down.
fn assert_harmless(path: &[u8]) {
    let below = path.strip_prefix(b"/").expect("a path from the root");
    for name in below.split(|byte| *byte == b'/') {
        assert!(!matches!(name, b"" | b"." | b".."), "{}", path.escape_ascii());
        assert!(!name.contains(&0), "{}", path.escape_ascii());
    }
}

/// Takes an archive, until it has had enough.
struct Sink {
    end: Instant,
    bytes: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if Instant::now() > self.end {
            return Err(io::Error::other("enough"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn archive(tree: &dyn Tree, what: &str) {
    let attr = spelunk_tree::Attr::new(spelunk_tree::Kind::Directory);
    let selection = Selection::content_of(tree.root(), attr, b"/");
    let mut out = Sink { end: Instant::now() + PATIENCE, bytes: 0 };
    // Nothing is written for what is broken, so nobody can say that it is enough.
    std::thread::spawn(|| {
        std::thread::sleep(2 * PATIENCE);
        println!("went on\nmemory {}", measure::own_memory());
        std::process::exit(0);
    });
    let common = Common { follow: true, threads: 2 };
    let ended = match what {
        "zip" => {
            let options = zip::Options { common, ..zip::Options::default() };
            zip::write(tree, &selection, &options, &mut out, &mut |_| {})
                .map_err(|error| format!("{error:?}"))
        }
        _ => {
            let options = tar::Options { common, zstd: None };
            tar::write(tree, &selection, &options, &mut out, &mut |_| {}).map_err(|error| error.to_string())
        }
    };
    println!("{} bytes, {:?}", out.bytes, ended.map(|summary| (summary.done.entries, summary.failed)));
}

/// Attacks that concern whoever goes through a tree.
fn concerns_walks(attack: &str) -> bool {
    ["name", "listing", "directories", "empty-pages", "directory-in", "broken", "link-target", "error"]
        .iter()
        .any(|beginning| attack.starts_with(beginning))
}

pub fn walks_and_archives() {
    let directory = Directory::new().expect("a directory");
    let attacks: Vec<&Attack> = ATTACKS.iter().filter(|attack| concerns_walks(attack.name)).collect();
    // Most of the time is spent waiting.
    std::thread::scope(|scope| {
        for some in attacks.chunks(attacks.len().div_ceil(USERS)) {
            let directory = directory.path();
            scope.spawn(move || some.iter().for_each(|attack| walk_and_pack(directory, attack)));
        }
    });
}

fn walk_and_pack(directory: &Path, attack: &Attack) {
    let attacked = image(directory, attack.name);
    for what in USES {
        let (lines, memory) = run_host(what, &[&attacked]);
        println!("{:34} {what:15} {:4} MiB  {}", attack.name, memory >> 20, lines.join(", "));
        assert!(memory < HOST_BYTES_MAX, "{} {what}: {memory} bytes", attack.name);
    }
}

/// Mounts all images as directories of one mount, says where, and goes on until its input ends.
fn mount(images: &[PathBuf]) {
    let directory = Directory::new().expect("a directory");
    let disks: Vec<_> = images.iter().map(|path| (path, open(path))).collect();
    let part = |(path, disk): &(&PathBuf, _)| -> Part {
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        let tree = |disk: &spelunk_sandbox::Disk| disk.tree(0).expect("a tree");
        let disk: &spelunk_tree::Result<spelunk_sandbox::Disk> = disk;
        (Name::new(name.as_bytes()).expect("a name"), disk.as_ref().map(tree).map_err(Clone::clone))
    };
    let tree: Arc<dyn Tree> = Arc::new(Composition::new(disks.iter().map(part).collect()).expect("a tree"));
    let point = MountPoint::new(directory.path()).expect("a mount point");
    let options = fuse::Options::parse(["ro"]).expect("options");
    let mount = fuse::Mount::start(tree, &point, Path::new("forged"), &options).expect("a mount");
    let stopper = mount.stopper();
    let waiter = std::thread::spawn(move || mount.wait());
    println!("{}", directory.path().display());
    io::stdin().lines().for_each(drop);
    for (_, disk) in disks.iter().filter(|(path, _)| path.ends_with(HONEST)) {
        assert_honest(disk.as_ref().expect("the honest disk is open"));
    }
    stopper.stop();
    waiter.join().expect("the mount's thread").expect("the mount ends");
}

/// What users do in a directory, and how long all of it may take: some requests, each up to the deadline.
const SCRIPT: &str =
    "ls -la; cat good; find . | head -n 2000; readlink link; stat sub; getfattr -d good; true";
const SCRIPT_SECONDS: &str = "30";

/// Ends the reader also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The honest directory is read all the time, at once each time.
fn read_honest(root: &Path, is_over: &AtomicBool) -> (usize, Duration) {
    let (mut reads, mut slowest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        // Not from the kernel's memory: names that are not there are asked for once.
        let _ = fs::metadata(root.join(HONEST).join(format!("missing-{reads}")));
        assert_eq!(fs::read(root.join(HONEST).join("good")).expect("the honest file"), CONTENT);
        slowest = slowest.max(started.elapsed());
        reads += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    (reads, slowest)
}

/// Users at once.
const USERS: usize = 8;

/// One user looks at everything in the directory of an attack, and gets away.
fn look(root: &Path, attack: &Attack) {
    // Whoever lists what has no end can only be stopped, which must be possible.
    let is_endless = attack.name.ends_with("without-end");
    let seconds = if is_endless { "2" } else { SCRIPT_SECONDS };
    let script = format!("cd {} && {{ {SCRIPT}; }}", root.join(attack.name).display());
    let mut shell = Command::new("timeout");
    shell.args(["--kill-after=1", seconds, "sh", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = shell.output().expect("a shell");
    let is_stopped = matches!(output.status.code(), Some(124 | 137));
    assert!(is_endless || !is_stopped, "{} hangs whoever looks", attack.name);
    let passwd = fs::read("/etc/passwd").expect("the host's file");
    assert!(!output.stdout.windows(passwd.len()).any(|part| part == passwd), "{}", attack.name);
}

pub fn mounted() {
    if !skip::unless_fuse() || !skip::unless_root("mounting without a helper") {
        return;
    }
    let images = Directory::new().expect("a directory");
    let mut paths: Vec<PathBuf> = ATTACKS.iter().map(|attack| image(images.path(), attack.name)).collect();
    paths.push(image(images.path(), HONEST));
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg(HOST_COMMAND).arg("mount").args(&paths).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut host = command.spawn().expect("a host");
    let mut said = BufReader::new(host.stdout.take().expect("its output")).lines();
    let root = PathBuf::from(said.next().expect("a line").expect("where it is mounted"));

    let is_over = AtomicBool::new(false);
    let (reads, slowest) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_honest(&root, &is_over));
        let over = Over(&is_over);
        // Most of the time is spent waiting for deadlines.
        std::thread::scope(|scope| {
            for some in ATTACKS.chunks(ATTACKS.len().div_ceil(USERS)) {
                let root = &root;
                scope.spawn(move || some.iter().for_each(|attack| look(root, attack)));
            }
        });
        drop(over);
        reader.join().expect("the honest disk is read throughout")
    });
    drop(host.stdin.take());
    let memory: Vec<String> = said.map_while(Result::ok).collect();
    let status = host.wait().expect("the host ends");
    println!("mount: {reads} reads of the honest disk, the slowest {slowest:?}; {}", memory.join(" "));
    assert!(status.success(), "the host fell: {status}");
    assert!(process::left_behind(host.id()).is_empty());
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let bytes: u64 =
        memory.last().and_then(|line| line.strip_prefix("memory ")?.parse().ok()).expect("its memory");
    assert!(bytes < HOST_BYTES_MAX, "{bytes} bytes");
}
