//! `spelunk manifest`: one line per entry, with a hash of all it holds: what two readers of the same image
//! can be compared by.

use super::error::describe;
use super::image::{ImageArgs, Layout, NO_TABLE, View};
use super::printer::Printer;
use super::time::Seconds;
use super::{Error, Outcome, escape, json, size};
use crate::volumes::is_worth_showing;
use indicatif::ProgressBar;
use serde::Serialize;
use sha2::{Digest, Sha256};
use spelunk_mount::walk::{Order, Step, Walk};
use spelunk_tree::{
    Attr, DiskInfo, Entry, Error as TreeError, ErrorKind, Kind, Name, NodeId, Time, Tree, VolumeInfo, Xattrs,
    limits,
};
use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Bytes read at once while hashing.
const READ_BYTES: usize = 1 << 20;
/// Entries that are worked on together before they are printed in order.
const BATCH_ENTRIES: usize = 512;
/// Bytes of files after which a batch is closed early, so that output keeps flowing.
const BATCH_BYTES: u64 = 256 << 20;
/// Threads that read and hash. More would only queue at the one worker or the one disk.
const THREADS_MAX: usize = 4;

/// Print one line per entry: path, type, size, SHA-256, time, mode, owner, links
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk manifest disk.vhdz > disk.tsv
  spelunk manifest monday.vhdz | diff - <(spelunk manifest tuesday.vhdz)
  spelunk manifest disk.vhdz --hash-limit none

Columns, parted by tabs: path, type, size, SHA-256, modified (seconds.nanoseconds), mode, uid:gid,
links, extra. Types: f file, d directory, l symbolic link, p pipe, s socket, c b devices, a named
stream (path:stream), x reparse point that is not followed, P partition, ? unreadable. Of a disk with
a partition table each partition is a line, what it holds follows below pN/. Directories are sorted
by the bytes of the names. In paths and targets control bytes, '%', '\\' and what is not UTF-8 are
%XX; on a terminal also\nwhat could mislead it. What a guest does not record is 0777, 0:0, 1 link, time 0; --json leaves it out instead.")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// Leave larger files unhashed; `none` hashes all
    #[arg(long, value_name = "SIZE", value_parser = parse_limit, default_value = "512M")]
    hash_limit: u64,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn parse_limit(text: &str) -> Result<u64, String> {
    match text {
        "none" | "0" => Ok(u64::MAX),
        _ => size::parse(text),
    }
}

/// Runs the command.
///
/// # Errors
/// When the image cannot be opened or stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let (view, layout) = open(&args.image)?;
    let mut printer = Printer::new();
    let progress = printer.start_progress(None);
    let (batch, bytes, done) = (Vec::new(), 0, 0);
    let mut press = Press { tree: view.tree(), args, printer, progress, batch, bytes, done };
    match view.info() {
        Some(info) if layout == Layout::Volumes && args.image.volume.is_none() => press.volumes(info)?,
        _ => press.walk(view.tree().root(), b"")?,
    }
    press.printer.finish()
}

/// Partitions are part of what a manifest tells, so a disk that has a table is laid out by volumes.
fn open(image: &ImageArgs) -> Result<(View, Layout), Error> {
    if image.library {
        return Ok((image.open_library()?, Layout::Auto));
    }
    let disk = image.open_disk()?;
    let others = disk.info().others.iter().map(|other| &other.table);
    let has_table = others.chain([&disk.info().table]).any(|table| table != NO_TABLE);
    let layout = if has_table { Layout::Volumes } else { image.layout };
    Ok((image.show(disk, layout)?, layout))
}

/// Makes the lines and prints them in order.
struct Press<'a> {
    tree: &'a dyn Tree,
    args: &'a Args,
    printer: Printer,
    progress: ProgressBar,
    batch: Vec<Job>,
    /// Bytes of the files in the batch.
    bytes: u64,
    /// Entries printed.
    done: u64,
}

/// What is to become lines.
enum Job {
    Entry {
        path: Vec<u8>,
        entry: Box<Entry>,
    },
    Broken {
        path: Vec<u8>,
        error: TreeError,
    },
    Partition {
        path: Vec<u8>,
        volume: Box<VolumeInfo>,
    },
    /// Told on stderr only: the partition has its line.
    NoFilesystem {
        path: Vec<u8>,
        error: TreeError,
    },
}

/// What a job became.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    broken: Vec<(Vec<u8>, TreeError)>,
}

impl Press<'_> {
    /// All partitions, each with what it holds below it.
    fn volumes(&mut self, info: &DiskInfo) -> Result<(), Error> {
        for volume in &info.volumes {
            let path = volume.directory_name().into_bytes();
            // Its line is that of a partition table's entry.
            if volume.assembled.is_none() {
                self.add(Job::Partition { path: path.clone(), volume: Box::new(volume.clone()) }, 0)?;
            }
            if !is_worth_showing(volume) {
                continue;
            }
            match Name::new(&*path).and_then(|name| self.tree.lookup(self.tree.root(), &name)) {
                Ok(root) => self.walk(root.node, &path)?,
                Err(error) => self.add(Job::NoFilesystem { path, error }, 0)?,
            }
        }
        self.print()
    }

    fn walk(&mut self, root: NodeId, path: &[u8]) -> Result<(), Error> {
        let mut walk = Walk::new(self.tree, root, path, Order::Sorted, limits::DEPTH_MAX + 1);
        while let Some(step) = walk.step() {
            match step {
                Step::Broken { path, error } => self.add(Job::Broken { path: path.to_vec(), error }, 0)?,
                Step::Entry { path, entry, .. } => {
                    let job = Job::Entry { path: path.to_vec(), entry: Box::new(entry.clone()) };
                    self.add(job, entry.attr.size)?;
                }
            }
        }
        self.print()
    }

    fn add(&mut self, job: Job, bytes: u64) -> Result<(), Error> {
        self.batch.push(job);
        self.bytes = self.bytes.saturating_add(bytes.min(self.args.hash_limit));
        if self.batch.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES { self.print() } else { Ok(()) }
    }

    /// Works the batch off in several threads and prints it in its order.
    fn print(&mut self) -> Result<(), Error> {
        let jobs = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let maker = Maker {
            tree: self.tree,
            hash_limit: self.args.hash_limit,
            json: self.args.json,
            for_terminal: self.printer.is_terminal(),
            progress: &self.progress,
        };
        for lines in in_parallel(&jobs, |job| maker.lines(job)) {
            self.printer.write(&lines.text)?;
            for (path, error) in &lines.broken {
                self.printer.broken(path, error);
            }
        }
        self.done += u64::try_from(jobs.len()).unwrap_or(0);
        self.progress.set_message(self.done.to_string());
        self.printer.end_record()
    }
}

/// Applies `work` to all of `jobs` in a few threads; the results stand in the order of the jobs.
fn in_parallel<T: Sync, R: Send + Sync + Default>(jobs: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Vec<OnceLock<R>> = jobs.iter().map(|_| OnceLock::new()).collect();
    let work_off = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let (Some(job), Some(result)) = (jobs.get(index), results.get(index)) else { return };
        result.get_or_init(|| work(job));
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(jobs.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work_off);
        }
        work_off();
    });
    results.into_iter().map(|result| result.into_inner().unwrap_or_default()).collect()
}

/// Makes lines of jobs.
struct Maker<'a> {
    tree: &'a dyn Tree,
    hash_limit: u64,
    json: bool,
    for_terminal: bool,
    progress: &'a ProgressBar,
}

impl Maker<'_> {
    fn lines(&self, job: &Job) -> Lines {
        let mut lines = Lines::default();
        match job {
            Job::Entry { path, entry } => self.entry(&mut lines, path, entry),
            Job::Partition { path, volume } => self.put(&mut lines, &partition(path, volume)),
            Job::NoFilesystem { path, error } => lines.broken.push((path.clone(), error.clone())),
            Job::Broken { path, error } => {
                let sha256 = Hash::Failed(error.clone());
                self.put(&mut lines, &Row { size: Some(0), sha256, ..Row::new(path, '?') });
                lines.broken.push((path.clone(), error.clone()));
            }
        }
        lines
    }

    fn put(&self, lines: &mut Lines, row: &Row<'_>) {
        if self.json {
            // Writing to a Vec cannot fail.
            _ = json::write(&mut lines.text, &row.to_json(), false);
        } else {
            row.write(&mut lines.text, self.for_terminal);
        }
    }

    fn entry(&self, lines: &mut Lines, path: &[u8], entry: &Entry) {
        let row = self.row(path, entry);
        if let Hash::Failed(error) = &row.sha256 {
            lines.broken.push((path.to_vec(), error.clone()));
        }
        self.put(lines, &row);
        let can_have_streams = matches!(entry.attr.kind, Kind::File | Kind::Directory);
        if can_have_streams && entry.attr.xattrs != Xattrs::None {
            self.streams(lines, path, entry);
        }
    }

    fn streams(&self, lines: &mut Lines, path: &[u8], entry: &Entry) {
        let streams = self.tree.streams(entry.node);
        for stream in streams.as_deref().unwrap_or_default() {
            let mut path = path.to_vec();
            path.push(b':');
            path.extend_from_slice(stream.name.as_bytes());
            let sha256 = self.hash(entry, Some(&stream.name), stream.size);
            if let Hash::Failed(error) = &sha256 {
                lines.broken.push((path.clone(), error.clone()));
            }
            self.put(lines, &Row { size: Some(stream.size), sha256, ..Row::new(&path, 'a') });
        }
        if let Err(error) = streams {
            lines.broken.push((path.to_vec(), error));
        }
    }

    fn row<'a>(&self, path: &'a [u8], entry: &'a Entry) -> Row<'a> {
        let attr = &entry.attr;
        let mut row = Row { attr: Some(attr), size: Some(0), ..Row::new(path, letter(attr.kind)) };
        match attr.kind {
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
            Kind::File => self.file(&mut row, entry),
            Kind::Symlink => self.link(&mut row, entry),
            Kind::CharDevice | Kind::BlockDevice => {
                let device = attr.device.map(|device| format!("{}:{}", device.major, device.minor));
                row.extra = device.unwrap_or_default().into_bytes();
            }
        }
        if let Some(tag) = attr.reparse_tag {
            if !row.extra.is_empty() {
                row.extra.push(b' ');
            }
            row.extra.extend_from_slice(format!("reparse={tag:08x}").as_bytes());
        }
        row
    }

    fn file(&self, row: &mut Row<'_>, entry: &Entry) {
        row.size = Some(entry.attr.size);
        row.sha256 = self.hash(entry, None, entry.attr.size);
        let is_unreadable = matches!(&row.sha256, Hash::Failed(e) if e.kind() == ErrorKind::Unsupported);
        // With contents of its own it is a file like others, whatever else the tag says.
        let has_contents = entry.attr.size != 0 && !is_unreadable;
        if entry.attr.reparse_tag.is_some() && !has_contents {
            (row.kind, row.size) = (NOT_FOLLOWED, None);
        }
    }

    fn link(&self, row: &mut Row<'_>, entry: &Entry) {
        match self.tree.link_target(entry.node) {
            Ok(target) => {
                row.size = u64::try_from(target.len()).ok();
                row.sha256 = Hash::Of(Sha256::digest(&target).into());
                row.extra = target;
            }
            Err(error) => row.sha256 = Hash::Failed(error),
        }
    }

    fn hash(&self, entry: &Entry, stream: Option<&Name>, size: u64) -> Hash {
        if size > self.hash_limit {
            return Hash::None;
        }
        match self.digest(entry, stream, size) {
            Ok(digest) => Hash::Of(digest),
            Err(error) => Hash::Failed(error),
        }
    }

    fn digest(&self, entry: &Entry, stream: Option<&Name>, size: u64) -> Result<[u8; 32], TreeError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(READ_BYTES).min(READ_BYTES)];
        let mut offset = 0;
        while offset < size {
            let left = usize::try_from(size - offset).unwrap_or(READ_BYTES).min(buffer.len());
            let count = self.tree.read(entry.node, stream, offset, &mut buffer[..left])?.min(left);
            if count == 0 {
                return Err(TreeError::corrupt("ends before its size").at(offset));
            }
            hasher.update(&buffer[..count]);
            let count = u64::try_from(count).unwrap_or(0);
            offset += count;
            self.progress.inc(count);
        }
        Ok(hasher.finalize().into())
    }
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    }
}

/// The type of a reparse point that stands for something else and is not followed.
const NOT_FOLLOWED: char = 'x';

/// The column of the hash.
enum Hash {
    /// Nothing to hash, or too much.
    None,
    Of([u8; 32]),
    /// The bytes could not be had.
    Failed(TreeError),
}

/// A line of the manifest.
struct Row<'a> {
    path: &'a [u8],
    kind: char,
    size: Option<u64>,
    sha256: Hash,
    /// What the columns from the time to the links come from; they are empty without.
    attr: Option<&'a Attr>,
    extra: Vec<u8>,
}

impl<'a> Row<'a> {
    fn new(path: &'a [u8], kind: char) -> Row<'a> {
        Row { path, kind, size: None, sha256: Hash::None, attr: None, extra: Vec::new() }
    }

    fn write(&self, out: &mut Vec<u8>, for_terminal: bool) {
        push_escaped(out, self.path, for_terminal);
        let size = self.size.map_or("-".to_owned(), |size| size.to_string());
        let sha256 = match &self.sha256 {
            _ if self.kind == NOT_FOLLOWED => "-".to_owned(),
            Hash::None => "-".to_owned(),
            Hash::Of(digest) => json::hex_digits(digest),
            Hash::Failed(error) => format!("ERR:{}", error.kind().phrase()),
        };
        let rest = match self.attr {
            None => "\t\t\t\t".to_owned(),
            Some(attr) => format!(
                "{}\t{:04o}\t{}:{}\t{}\t",
                Seconds(attr.modified.unwrap_or(Time::from_seconds(0))),
                attr.mode.unwrap_or(0o777),
                attr.uid.unwrap_or(0),
                attr.gid.unwrap_or(0),
                attr.links.unwrap_or(1),
            ),
        };
        out.extend_from_slice(format!("\t{}\t{size}\t{sha256}\t{rest}", self.kind).as_bytes());
        push_escaped(out, &self.extra, for_terminal);
        out.push(b'\n');
    }

    fn to_json(&self) -> JsonRow<'_> {
        let attr = self.attr;
        JsonRow {
            schema: json::SCHEMA,
            path: json::text(self.path),
            path_hex: json::hex(self.path),
            r#type: self.kind,
            size: self.size,
            sha256: match &self.sha256 {
                Hash::Of(digest) if self.kind != NOT_FOLLOWED => Some(json::hex_digits(digest)),
                Hash::Of(_) | Hash::None | Hash::Failed(_) => None,
            },
            error: match &self.sha256 {
                Hash::Failed(error) => Some(describe(error)),
                Hash::None | Hash::Of(_) => None,
            },
            modified: attr.and_then(|attr| attr.modified),
            mode: attr.and_then(|attr| attr.mode).map(|mode| format!("{mode:04o}")),
            uid: attr.and_then(|attr| attr.uid),
            gid: attr.and_then(|attr| attr.gid),
            links: attr.and_then(|attr| attr.links),
            extra: json::text(&self.extra),
            extra_hex: json::hex(&self.extra),
        }
    }
}

#[derive(Serialize)]
struct JsonRow<'a> {
    schema: u32,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    r#type: char,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::as_rfc3339")]
    modified: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    extra: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_hex: Option<String>,
}

/// The line of a partition, with sfdisk's words: attributes of GPT only.
fn partition<'a>(path: &'a [u8], volume: &VolumeInfo) -> Row<'a> {
    let is_mbr = volume.partition_type.len() <= 2;
    let extra = format!(
        "start={} type={} name={} uuid={} attrs={}",
        volume.start_bytes,
        volume.partition_type,
        volume.name,
        volume.id,
        if is_mbr { "" } else { &volume.attributes },
    );
    Row { size: Some(volume.size_bytes), extra: extra.into_bytes(), ..Row::new(path, 'P') }
}

/// Appends `bytes` with control bytes, `%`, `\` and bytes that are not UTF-8 as `%XX`; for a terminal all
/// that could drive or mislead it.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8], for_terminal: bool) {
    let push_hex = |out: &mut Vec<u8>, byte: u8| {
        out.push(b'%');
        out.extend_from_slice(json::hex_digits(&[byte]).to_ascii_uppercase().as_bytes());
    };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let is_escaped = matches!(character, '\0'..' ' | '\x7F' | '%' | '\\')
                || (for_terminal && escape::is_hostile(character));
            for &byte in character.encode_utf8(&mut [0; 4]).as_bytes() {
                if is_escaped { push_hex(out, byte) } else { out.push(byte) }
            }
        }
        for &byte in chunk.invalid() {
            push_hex(out, byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_escaped(&mut out, bytes, false);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_the_corpus() {
        assert_eq!(escaped("Größe 100%\\\n".as_bytes()), "Größe 100%25%5C%0A");
        assert_eq!(escaped(b"caf\xe9\x7f \xed\xa0\x80"), "caf%E9%7F %ED%A0%80");
        assert_eq!(escaped("\u{85}\u{202e}".as_bytes()), "\u{85}\u{202e}");
    }

    #[test]
    fn terminals_are_spared_more_than_control_bytes() {
        let mut out = Vec::new();

        push_escaped(&mut out, "\u{9b}31m\u{202e}ä".as_bytes(), true);

        assert_eq!(out, "%C2%9B31m%E2%80%AEä".as_bytes());
    }

    #[test]
    fn partitions_are_told_in_sfdisks_words() {
        let mut volume = VolumeInfo {
            directory: "p2".to_owned(),
            disk: 0,
            number: 2,
            start_bytes: 512,
            size_bytes: 1024,
            partition_type: "7".to_owned(),
            name: String::new(),
            id: String::new(),
            attributes: "active".to_owned(),
            is_extended: false,
            member_of: String::new(),
            assembled: None,
            filesystem: Err(TreeError::unsupported("no known filesystem")),
        };
        let line = |volume: &VolumeInfo| {
            let mut out = Vec::new();
            partition(b"p2", volume).write(&mut out, false);
            String::from_utf8(out).unwrap()
        };

        assert_eq!(line(&volume), "p2\tP\t1024\t-\t\t\t\t\tstart=512 type=7 name= uuid= attrs=\n");
        volume.partition_type = "0FC63DAF-8483-4772-8E79-3D69D8477DE4".to_owned();
        assert_eq!(
            line(&volume),
            "p2\tP\t1024\t-\t\t\t\t\tstart=512 type=0FC63DAF-8483-4772-8E79-3D69D8477DE4 name= uuid= \
             attrs=active\n"
        );
    }

    #[test]
    fn parallel_results_keep_their_order() {
        let jobs: Vec<u32> = (0..1000).collect();

        let results = in_parallel(&jobs, |job| u64::from(*job) * 2);

        assert!(results.iter().zip(&jobs).all(|(result, job)| *result == u64::from(*job) * 2));
        assert_eq!(results.len(), jobs.len());
    }
}
