//! Images by whoever wanted to do harm, or by accident: each is opened, walked and read, within bounds, through the
//! real worker; every request must come back in time, as an answer or a typed error, and the worker's memory must
//! stay within its bounds.
//!
//! `SPELUNK_HOSTILE_SECONDS` is the time for each of the first two tests (10): what is over is left out and
//! counted, but for images that want to do harm.
//! `SPELUNK_ONLY` picks images of the corpus, a regular expression over their ids.

use crate::{crafted, measure};
use regex_lite::Regex;
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_testkit::{corpus, peer::Directory, skip, tool};
use spelunk_tree::{Cursor, Entry, Error, ErrorKind, Kind, Listed, NodeId, Result, Tree, limits};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Processor time of the worker for one request: the issue's bound. (The kernel counts it in hundredths.)
const REQUEST_TIME_MAX: Duration = Duration::from_secs(2);
/// Memory of the worker, without the pages of its program: see [`measure::memory`].
const WORKER_BYTES_MAX: u64 = 64 << 20;
/// Entries, and bytes of files, of one image.
const ENTRIES_MAX: usize = 20_000;
const BYTES_MAX: u64 = 64 << 20;
/// Bytes of one file that are read, at its beginning, in its middle and at its end.
const READ_BYTES: usize = 256 << 10;
/// Pages of one directory.
const PAGES_MAX: usize = 1000;

/// What was seen of one image, or of several.
#[derive(Default)]
struct Seen {
    images: usize,
    opened: usize,
    entries: usize,
    bytes: u64,
    errors: BTreeMap<&'static str, usize>,
    restarts: u64,
    requests: u64,
    slowest: (Duration, String),
    memory: (u64, String),
}

impl Seen {
    fn error(&mut self, error: &Error) {
        *self.errors.entry(error.kind().phrase()).or_default() += 1;
    }

    fn add(&mut self, other: Seen) {
        self.images += other.images;
        self.opened += other.opened;
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.restarts += other.restarts;
        self.requests += other.requests;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        if other.slowest.0 > self.slowest.0 {
            self.slowest = other.slowest;
        }
        if other.memory.0 > self.memory.0 {
            self.memory = other.memory;
        }
    }

    fn line(&self, name: &str) -> String {
        let errors: Vec<String> = self.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        format!(
            "{name:44} {:4}/{:<4} {:7} entries {:5} MiB {:7} requests  slowest {:4} ms  memory {:3} MiB  {} restarts  {}",
            self.opened,
            self.images,
            self.entries,
            self.bytes >> 20,
            self.requests,
            self.slowest.0.as_millis(),
            self.memory.0 >> 20,
            self.restarts,
            errors.join(", ")
        )
    }

    /// What must hold of everything.
    fn check(&self) {
        assert!(
            self.slowest.0 <= REQUEST_TIME_MAX,
            "a request took {:?}: {}",
            self.slowest.0,
            self.slowest.1
        );
        assert!(
            self.memory.0 <= WORKER_BYTES_MAX,
            "a worker took {} MiB: {}",
            self.memory.0 >> 20,
            self.memory.1
        );
        assert_eq!(self.restarts, 0, "a worker was lost");
        for kind in [ErrorKind::WorkerLost, ErrorKind::Internal, ErrorKind::Denied] {
            assert_eq!(self.errors.get(kind.phrase()), None, "{}", kind.phrase());
        }
    }
}

/// One image under way.
struct Visit<'a> {
    disk: &'a Disk,
    name: &'a str,
    seen: Seen,
    entered: HashSet<(usize, NodeId)>,
}

impl Visit<'_> {
    /// Asks, and takes the time of the worker.
    fn ask<T>(&mut self, what: &str, ask: impl FnOnce() -> Result<T>) -> Option<T> {
        let time = || self.disk.worker_pid().and_then(measure::processor_time);
        let before = time();
        let answer = ask();
        let took = time().zip(before).map_or(Duration::ZERO, |(after, before)| after.saturating_sub(before));
        if took > self.seen.slowest.0 {
            self.seen.slowest = (took, format!("{}: {what}", self.name));
        }
        answer.map_err(|error| self.seen.error(&error)).ok()
    }

    fn walk(&mut self, volume: usize, tree: &dyn Tree) {
        let mut directories = vec![(tree.root(), 0)];
        while let Some((dir, depth)) = directories.pop() {
            if !self.entered.insert((volume, dir)) || depth > limits::DEPTH_MAX {
                continue;
            }
            for entry in self.list(tree, dir) {
                self.look(tree, dir, &entry);
                if entry.attr.kind == Kind::Directory {
                    directories.push((entry.node, depth + 1));
                }
            }
        }
    }

    fn list(&mut self, tree: &dyn Tree, dir: NodeId) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut cursor = Some(Cursor::START);
        for _ in 0..PAGES_MAX {
            let Some(from) = cursor.filter(|_| self.seen.entries < ENTRIES_MAX) else { break };
            let Some(page) = self.ask("list", || tree.list(dir, from, limits::PAGE_ENTRIES_MAX)) else {
                break;
            };
            self.seen.entries += page.entries.len();
            for listed in page.entries {
                match listed {
                    Listed::Entry { entry, .. } => entries.push(entry),
                    Listed::Broken { error, .. } => self.seen.error(&error),
                }
            }
            cursor = page.next;
        }
        entries
    }

    fn look(&mut self, tree: &dyn Tree, dir: NodeId, entry: &Entry) {
        let node = entry.node;
        if node.get().is_multiple_of(8) {
            self.ask("lookup", || tree.lookup(dir, &entry.name));
        }
        self.ask("attr", || tree.attr(node));
        self.ask("xattrs", || tree.xattrs(node));
        for stream in self.ask("streams", || tree.streams(node)).unwrap_or_default() {
            self.ask("read a stream", || tree.read(node, Some(&stream.name), 0, &mut vec![0; READ_BYTES]));
        }
        match entry.attr.kind {
            Kind::Symlink => drop(self.ask("link", || tree.link_target(node))),
            Kind::File => self.read(tree, entry),
            _ => {}
        }
    }

    fn read(&mut self, tree: &dyn Tree, entry: &Entry) {
        let size = entry.attr.size;
        let mut buffer = vec![0; READ_BYTES];
        let mut places = vec![0, size / 2, size.saturating_sub(READ_BYTES as u64)];
        places.dedup();
        for offset in places {
            if self.seen.bytes < BYTES_MAX {
                let read = self.ask("read", || tree.read(entry.node, None, offset, &mut buffer));
                self.seen.bytes += read.unwrap_or(0) as u64;
            }
        }
    }
}

/// Opens, walks, reads.
fn visit(name: &str, path: &Path) -> Seen {
    let options = OpenOptions { show_metafiles: true, ..OpenOptions::default() };
    let mut seen = Seen { images: 1, ..Seen::default() };
    let disk = match Disk::open(path, &options) {
        Ok(disk) => disk,
        Err(error) => {
            seen.error(&error);
            return seen;
        }
    };
    seen.opened = 1;
    // Opening counts as one request.
    let opening = disk.worker_pid().and_then(measure::processor_time).unwrap_or_default();
    seen.slowest = (opening, format!("{name}: open"));
    let mut visit = Visit { disk: &disk, name, seen, entered: HashSet::new() };
    for (index, volume) in disk.info().volumes.iter().enumerate() {
        match (&volume.filesystem, disk.tree(index)) {
            (Ok(_), Some(tree)) => visit.walk(index, &*tree),
            (Ok(_), None) => panic!("{name}: a volume without its tree"),
            (Err(error), _) => visit.seen.error(error),
        }
    }
    let mut seen = visit.seen;
    let stats = disk.stats();
    seen.requests = stats.round_trips;
    seen.restarts = stats.restarts;
    seen.memory = (disk.worker_pid().and_then(measure::memory).unwrap_or(0), name.to_owned());
    seen
}

/// How long each test may take.
fn budget() -> Duration {
    let seconds = std::env::var("SPELUNK_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Classes of the corpus that are visited whatever time it takes.
const HARMFUL: [&str; 3] = ["hostile", "damaged", "needs-replay"];

/// An image of the corpus.
struct Image {
    id: String,
    path: PathBuf,
    is_harmful: bool,
}

/// The images of the corpus: those that want to do harm first.
fn images() -> Option<Vec<Image>> {
    let root = corpus::root()?;
    let all = corpus::index(&root).expect("the corpus has an index");
    let only =
        std::env::var("SPELUNK_ONLY").ok().map(|text| Regex::new(&text).expect("a regular expression"));
    let is_wanted = |image: &&corpus::Image| {
        image.class != "aux" && only.as_ref().is_none_or(|only| only.is_match(&image.id))
    };
    let mut wanted: Vec<&corpus::Image> = all.iter().filter(is_wanted).collect();
    let is_harmful = |image: &corpus::Image| HARMFUL.contains(&&*image.class);
    wanted.sort_by_key(|image| !is_harmful(image));
    let paths = corpus::unpack(&root, &all, &wanted).expect("the images can be unpacked");
    let image = |(image, path): (&&corpus::Image, PathBuf)| Image {
        id: image.id.clone(),
        path,
        is_harmful: is_harmful(image),
    };
    Some(wanted.iter().zip(paths).map(image).collect())
}

pub fn corpus() {
    let Some(images) = images() else { return };
    let end = Instant::now() + budget();
    let (mut total, mut left_out) = (Seen::default(), 0);
    for Image { id, path, is_harmful } in &images {
        if Instant::now() > end && !is_harmful {
            left_out += 1;
            continue;
        }
        let seen = visit(id, path);
        println!("{}", seen.line(id));
        total.add(seen);
    }
    println!("{}, {left_out} left out for time", total.line("all"));
    total.check();
}

/// Those that are made here, and their mutations until the time is over.
pub fn crafted() {
    let directory = Directory::new().expect("a directory");
    let paths = crafted::images(directory.path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let end = Instant::now() + budget();
    let mut total = Seen::default();
    for path in &paths {
        let seen = visit(&name(path), path);
        println!("{}", seen.line(&name(path)));
        // What is behind a hostile log may be anything, what others made is sound.
        assert!(
            seen.errors.is_empty() || name(path).starts_with("log-"),
            "{}: {:?}",
            name(path),
            seen.errors
        );
        total.add(seen);
    }
    total.check();
    let copy = directory.path().join("mutated");
    let rounds = (0u64..).flat_map(|round| paths.iter().map(move |path| (round, path)));
    for (seed, (_, path)) in (0..).zip(rounds).take_while(|_| Instant::now() < end) {
        fs::copy(path, &copy).expect("a copy");
        mutate(&copy, seed);
        let seen = visit(&format!("{}:{seed}", name(path)), &copy);
        seen.check();
        total.add(seen);
    }
    println!("{}", total.line("crafted"));
}

/// Bytes of the largest block that is unpacked (`vhdz::BLOCK_BYTES_MAX`), and what it may take when packed.
const BLOCK_BYTES: u64 = 16 << 20;

/// A compressed container of blocks as large as they may be, of which a few kilobytes are enough for sixteen megabytes.
/// What is unpacked at once is the named exception to the bound of memory: a block packed, unpacked, and one that is kept.
pub fn bombs() {
    if !skip::unless_found(&["mkfs.ext4", "python3"]) {
        return;
    }
    const SCRIPT: &str = r#"
import struct, sys, zlib
inner, out_path, block_bytes = open(sys.argv[1], 'rb').read(), sys.argv[2], int(sys.argv[3])
inner += bytes(6 * block_bytes - len(inner))
out, index = bytearray(50), []
for number in range(0, len(inner), block_bytes):
    index.append(len(out))
    payload = zlib.compress(inner[number:number + block_bytes])
    out += struct.pack('<II', len(payload), 1) + payload
out[:50] = b'URBACKUP COMPRESSED FILE#1.0\0' + struct.pack('<qqIB', len(out), len(inner), block_bytes, 0)
out += struct.pack('<%dq' % len(index), *index)
open(out_path, 'wb').write(out)
"#;
    let directory = Directory::new().expect("a directory");
    let (inner, bomb) = (directory.path().join("inner.img"), directory.path().join("bomb.vhdz"));
    spelunk_testkit::image::small_ext4(&inner).expect("an image can be made");
    let block = BLOCK_BYTES.to_string();
    let arguments = ["-c".as_ref(), SCRIPT.as_ref(), inner.as_os_str(), bomb.as_os_str(), block.as_ref()];
    tool::run("python3", arguments).expect("python3 writes the image");

    let seen = visit("bomb", &bomb);

    println!("{}", seen.line("bomb"));
    assert!(seen.entries > 0 && seen.errors.is_empty(), "{:?}", seen.errors);
    assert!(seen.memory.0 <= WORKER_BYTES_MAX + 3 * BLOCK_BYTES, "{} bytes", seen.memory.0);
    assert!(seen.slowest.0 <= REQUEST_TIME_MAX, "{:?}", seen.slowest);
}

/// Images of the corpus that are mutated: larger ones take too long to copy.
const MUTATED_BYTES_MAX: u64 = 20 << 20;

/// A generator whose numbers depend on its seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Turns some bytes of the sectors that are not all alike: where metadata is.
fn mutate(path: &Path, seed: u64) {
    let bytes = fs::read(path).expect("the copy");
    let file = File::options().write(true).open(path).expect("the copy");
    let is_metadata = |sector: &[u8]| sector.iter().any(|byte| Some(byte) != sector.first());
    let sectors: Vec<usize> =
        bytes.chunks(512).enumerate().filter(|(_, s)| is_metadata(s)).map(|(n, _)| n).collect();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..8 + random.next() % 64 {
        // Half of them at the beginning, where everything else depends on it.
        let among = if random.next().is_multiple_of(2) { sectors.len().min(256) } else { sectors.len() };
        let Some(sector) = sectors.get(usize::try_from(random.next()).unwrap_or(0) % among.max(1)) else {
            return;
        };
        let value = [0, 1, 0x7F, 0x80, 0xFF, random.next().to_le_bytes()[0]]
            [usize::try_from(random.next() % 6).unwrap_or(0)];
        file.write_all_at(&[value], *sector as u64 * 512 + random.next() % 512).expect("a byte is written");
    }
}

pub fn mutated() {
    let Some(images) = images() else { return };
    let directory = Directory::new().expect("a directory");
    let end = Instant::now() + budget();
    let mut total = Seen::default();
    for round in 0.. {
        for (index, Image { id, path, .. }) in images.iter().enumerate() {
            if Instant::now() > end {
                println!("{}", total.line("mutated"));
                return total.check();
            }
            let is_small = fs::metadata(path).is_ok_and(|found| found.len() <= MUTATED_BYTES_MAX);
            if !is_small {
                continue;
            }
            // A name that tells no container.
            let copy = directory.path().join("mutated");
            fs::copy(path, &copy).expect("a copy");
            let seed = round * 1000 + index as u64;
            mutate(&copy, seed);
            let seen = visit(&format!("{id}:{seed}"), &copy);
            seen.check();
            total.add(seen);
        }
    }
}
