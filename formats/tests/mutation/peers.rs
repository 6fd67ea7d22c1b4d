//! Mutated images as independent readers see them: e2fsprogs' debugfs reads ext, Sleuth Kit the others. They run in
//! processes of their own, without the kernel's drivers, which such images could bring down.
//!
//! What is shown as good here must be what the peer shows, where the peer shows it as good, too. Neither has to read
//! what the other refuses: the rules for that stand where they are applied.

use crate::differential::{BYTES_MAX, Known, Walked};
use crate::images::scratch;
use crate::mutate::{self, FILL, Mutated, metadata_sectors};
use crate::seeds::SEEDS;
use spelunk_testkit::skip;
use spelunk_tree::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a peer may take for one question, in seconds: then it has hung, which says nothing about us.
const PEER_SECONDS: &str = "10";
/// Files of one image whose bytes are asked of Sleuth Kit, with a process for each.
const FILES_MAX: usize = 6;

/// Bytes that a peer may print.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// A seed, and who else reads it.
struct Pair {
    seed: &'static str,
    peer: Peer,
}

#[derive(Clone, Copy)]
enum Peer {
    Debugfs,
    /// With Sleuth Kit's name of the filesystem.
    SleuthKit(&'static str),
}

const PAIRS: &[Pair] = &[
    Pair { seed: "ext2", peer: Peer::Debugfs },
    Pair { seed: "ext3", peer: Peer::Debugfs },
    Pair { seed: "ext4", peer: Peer::Debugfs },
    Pair { seed: "ext4-sealed", peer: Peer::Debugfs },
    Pair { seed: "ext4-links", peer: Peer::Debugfs },
    Pair { seed: "fat12", peer: Peer::SleuthKit("fat12") },
    Pair { seed: "fat16", peer: Peer::SleuthKit("fat16") },
    Pair { seed: "fat32", peer: Peer::SleuthKit("fat32") },
    Pair { seed: "exfat", peer: Peer::SleuthKit("exfat") },
    Pair { seed: "exfat-pieces", peer: Peer::SleuthKit("exfat") },
    Pair { seed: "ntfs", peer: Peer::SleuthKit("ntfs") },
    Pair { seed: "ntfs-512", peer: Peer::SleuthKit("ntfs") },
];

/// What a comparison came to.
#[derive(Default)]
struct Compared {
    /// Files and directories that both show.
    same: u64,
    differences: Vec<String>,
}

impl Compared {
    fn compare(&mut self, path: &[u8], what: &str, ours: &[u8], theirs: &[u8]) {
        if ours == theirs {
            self.same += 1;
            return;
        }
        let at = ours.iter().zip(theirs).take_while(|(one, other)| one == other).count();
        let path = path.escape_ascii();
        self.differences.push(format!(
            "{path}: {what}: {} bytes here, {} there, from byte {at} on",
            ours.len(),
            theirs.len()
        ));
    }
}

/// An image in a file, some bytes of which are replaced for a while.
struct Place {
    path: PathBuf,
    file: File,
    bytes: Arc<Vec<u8>>,
}

impl Place {
    fn new(directory: &Path, bytes: &Arc<Vec<u8>>) -> Place {
        let path = directory.join("mutated.img");
        fs::write(&path, &**bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        Place { path, file, bytes: bytes.clone() }
    }

    fn set(&self, patches: &[(usize, u8)]) {
        patches.iter().for_each(|(at, value)| self.file.write_all_at(&[*value], *at as u64).unwrap());
    }

    fn restore(&self, patches: &[(usize, u8)]) {
        patches.iter().for_each(|(at, _)| self.file.write_all_at(&[self.bytes[*at]], *at as u64).unwrap());
    }
}

/// Runs a peer. One that says more than [`OUTPUT_BYTES_MAX`], such as the zeros of a file of terabytes, fails.
fn run(program: &str, arguments: &[&str], image: &Path, after: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args([PEER_SECONDS, program]).args(arguments).arg(image).args(after);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stderr = std::thread::spawn(|| bounded(err));
    let stdout = bounded(out);
    Output { status: child.wait().unwrap(), stdout, stderr: stderr.join().unwrap() }
}

/// The beginning of what a pipe brings, which is closed then.
fn bounded(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_shown_of_mutated_images_is_what_independent_readers_show() {
    if !skip::unless_found(&["debugfs", "fls", "icat"]) {
        return;
    }
    let seconds = std::env::var("SPELUNK_FUZZ_SECONDS").map_or(10.0, |text| text.parse().unwrap());
    let case = std::env::var("SPELUNK_FUZZ_CASE").ok();
    let mut wrong = Vec::new();
    for pair in PAIRS {
        let seed = SEEDS.iter().find(|seed| seed.name == pair.seed).expect("a seed");
        let only = case.as_ref().map(|case| case.split_once(':').unwrap());
        if only.is_some_and(|(name, _)| name != pair.seed) {
            continue;
        }
        let Some(bytes) = seed.make() else { continue };
        let budget = Duration::from_secs_f64(seconds / PAIRS.len() as f64);
        wrong.extend(run_pair(
            pair,
            &Arc::new(bytes),
            only.map(|(_, number)| number.parse().unwrap()),
            budget,
        ));
    }
    assert!(wrong.is_empty(), "{} differences: {wrong:#?}", wrong.len());
}

/// Compares mutations of one seed until the time is over; returns the differences.
fn run_pair(pair: &Pair, bytes: &Arc<Vec<u8>>, only: Option<u64>, budget: Duration) -> Vec<String> {
    let directory = scratch(&format!("peers-{}", pair.seed));
    let sectors = metadata_sectors(bytes);
    let bytes = &Arc::new(distinct(bytes));
    let place = Place::new(&directory, bytes);
    let truth = Walked::of(Arc::new(Mutated::new(bytes.clone(), Vec::new())));
    let whole = compare(pair.peer, &place, &[], &Walked::default());
    assert!(whole.differences.is_empty() && whole.same > 5, "{}: {:#?}", pair.seed, whole.differences);
    let end = Instant::now() + budget;
    let (mut cases, mut same, mut wrong) = (0, 0, Vec::new());
    for number in only.map_or(0..=u64::MAX, |only| only..=only) {
        let patches = mutate::patches(pair.seed, number, &sectors, bytes.len());
        let compared = compare(pair.peer, &place, &patches, &truth);
        same += compared.same;
        cases += 1;
        let told = compared.differences.into_iter().map(|text| format!("{}:{number} {text}", pair.seed));
        wrong.extend(told);
        if Instant::now() > end {
            break;
        }
    }
    fs::remove_dir_all(directory).unwrap();
    eprintln!("{}: {cases} cases, {same} files and directories alike", pair.seed);
    wrong
}

/// The image with other bytes in each sector of files' contents, so that those of a wrong place are seen.
fn distinct(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (number, sector) in bytes.chunks_mut(512).enumerate() {
        if sector.iter().filter(|byte| **byte == FILL).count() > 256 {
            let fill = sector.iter_mut().enumerate().filter(|(_, byte)| **byte == FILL);
            fill.for_each(|(at, byte)| *byte = b'a' + ((number * 7 + number / 25 + at) % 25) as u8);
        }
    }
    bytes
}

fn compare(peer: Peer, place: &Place, patches: &[(usize, u8)], truth: &Walked) -> Compared {
    place.set(patches);
    let walked = Walked::of(Arc::new(Mutated::new(place.bytes.clone(), patches.to_vec())));
    let compared = match peer {
        Peer::Debugfs => debugfs(&walked, &place.path),
        Peer::SleuthKit(filesystem) => sleuth_kit(&walked, truth, filesystem, &place.path),
    };
    place.restore(patches);
    compared
}

/// Inodes by their numbers: the bytes of files, and what stands in directories.
fn debugfs(walked: &Walked, image: &Path) -> Compared {
    let directory = image.parent().unwrap().join("dumped");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    let mut script = String::new();
    let asked =
        || walked.known.iter().filter(|(_, known)| matches!(known.attr.kind, Kind::File | Kind::Directory));
    for (index, (_, known)) in asked().enumerate() {
        let inode = known.node.own().get();
        script += &match known.attr.kind {
            Kind::File => format!("dump <{inode}> {}/{index}\n", directory.display()),
            _ => format!("ls -p <{inode}>\n"),
        };
    }
    let commands = directory.join("commands");
    fs::write(&commands, script).unwrap();
    let output = run("debugfs", &["-f", commands.to_str().unwrap()], image, &[]);
    let is_all_well = output.stderr.iter().filter(|byte| **byte == b'\n').count() <= 1;
    let listings = listings(&output.stdout);
    let mut compared = Compared::default();
    for (index, (path, known)) in asked().enumerate() {
        if known.names.is_some() {
            // Where it complains of anything, a listing may be cut.
            let theirs = listings.get(&known.node.own().get()).filter(|_| is_all_well);
            if let Some(theirs) = theirs {
                compare_names(&mut compared, path, known, theirs);
            }
        } else if let Some(ours) = &known.bytes
            && let Ok(dumped) = File::open(directory.join(index.to_string()))
        {
            // It leaves what it cannot read out, and says so. Of data in the inode it shows also what is behind the end.
            let is_whole = is_all_well || dumped.metadata().unwrap().len() == known.attr.size;
            let mut theirs = bounded(dumped);
            theirs.truncate(BYTES_MAX.min(known.attr.size as usize));
            if is_whole {
                compared.compare(path, "bytes", ours, &theirs);
            }
        }
    }
    compared
}

/// The names of each directory that was listed, by its inode.
fn listings(output: &[u8]) -> BTreeMap<u64, BTreeSet<Vec<u8>>> {
    let mut listings: BTreeMap<u64, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut names = None;
    for line in output.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        if let Some(inode) = text.strip_prefix("debugfs: ls -p <").and_then(|rest| rest.strip_suffix('>')) {
            names = inode.parse().ok().map(|inode| listings.entry(inode).or_default());
        } else if text.starts_with("debugfs: ") {
            names = None;
        } else if let Some(names) = &mut names {
            // /inode/mode/owner/group/name/size/
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b'/').collect();
            if let [_, inode, _, _, _, name @ .., _, _] = &fields[..]
                && *inode != b"0"
            {
                names.insert(name.join(&b'/'));
            }
        }
    }
    listings
}

fn compare_names(compared: &mut Compared, path: &[u8], known: &Known, theirs: &BTreeSet<Vec<u8>>) {
    let ours = known.names.iter().flatten();
    let missing: Vec<String> = ours
        .filter(|name| !theirs.contains(*name) && !name.contains(&b'\n'))
        .map(|name| name.escape_ascii().to_string())
        .collect();
    if missing.is_empty() {
        compared.same += 1;
    } else {
        compared.differences.push(format!("{}: {missing:?} are here alone", path.escape_ascii()));
    }
}

/// Files by their paths: the bytes of some, first of those that are not as they were before the mutation.
fn sleuth_kit(walked: &Walked, truth: &Walked, filesystem: &str, image: &Path) -> Compared {
    let mut compared = Compared::default();
    let listing = run("fls", &["-f", filesystem, "-r", "-p", "-u"], image, &[]);
    if !listing.status.success() {
        return compared;
    }
    let theirs = files(&listing.stdout);
    let mut known: Vec<(&Vec<u8>, &Known)> = walked.known.iter().collect();
    known.sort_by_key(|(path, known)| truth.known.get(*path) == Some(*known));
    let both = known.into_iter().filter_map(|(path, known)| {
        // It puts no slash before.
        let addresses = theirs.get(path.strip_prefix(b"/")?)?;
        // Which of several with one name is meant cannot be said.
        let [address] = &addresses[..] else { return None };
        Some((path, known, address)).filter(|_| known.attr.kind == Kind::File)
    });
    for (path, known, address) in both.take(FILES_MAX) {
        let output = run("icat", &["-f", filesystem], image, &[address]);
        let is_well = output.status.success() && output.stderr.is_empty();
        if let Some(ours) = known.bytes.as_ref().filter(|_| is_well) {
            let theirs = &output.stdout[..output.stdout.len().min(BYTES_MAX)];
            compared.compare(path, "bytes", ours, theirs);
        }
    }
    compared
}

/// The addresses of files by their paths, of a listing: `r/r 4-128-1:\tpath`.
fn files(listing: &[u8]) -> BTreeMap<Vec<u8>, Vec<String>> {
    let mut files: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for line in listing.split(|byte| *byte == b'\n') {
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
        let head = String::from_utf8_lossy(&line[..tab]);
        if let Some(address) = head.strip_prefix("r/r ").and_then(|rest| rest.strip_suffix(':')) {
            files.entry(line[tab + 1..].to_vec()).or_default().push(address.to_owned());
        }
    }
    files
}
