//! The stored archive: its layout is known from attributes alone, and any range of it can be written.

use super::record::{self, Data, Record, STORED};
use crate::archive::failures::{self, Failure, Failures, Outcome};
use crate::archive::members::{Member, Members};
use crate::archive::piece::{self, Piece};
use crate::archive::{Common, Observer, Progress, Selection, Summary, ordered};
use crc32fast::Hasher;
use spelunk_tree::{Cursor, Error, Kind, NodeId, Result, Tree, limits};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries of a plan, and bytes of their names, paths and link targets: together about 1 GiB of memory.
const ENTRIES_MAX: usize = 2 << 20;
const NAMES_BYTES_MAX: usize = 512 << 20;
/// Bytes in the list of errors for what was broken when the plan was made.
const PLANNED_ERRORS_BYTES_MAX: usize = 256 << 10;
/// Bytes in the list of errors that are kept for files that turn out to be unreadable. Until then they fill an
/// extra field, which can have 65,535.
const READ_ERRORS_BYTES: usize = 8 << 10;
/// Files that turned out to be unreadable and are remembered with the reason.
const READ_ERRORS_MAX: usize = 10_000;

/// The bit that tells that a checksum is known.
const KNOWN: u64 = 1 << 32;

/// A stored archive, laid out. It belongs to the tree it was made of, whose content does not change; it may be
/// kept and used by several threads at once, and learns the checksums as they come by.
pub struct Plan {
    entries: Vec<Entry>,
    /// Where the list of errors, or else the central directory, begins.
    tail: u64,
    len: u64,
    planned: Failures,
    /// Bytes of the list of errors, once there is one.
    list_len: usize,
    errors_name: String,
    is_large: bool,
    /// By entry, what could not be read.
    unreadable: Mutex<BTreeMap<usize, Error>>,
    threads: usize,
}

struct Entry {
    record: Record,
    path: Box<[u8]>,
    node: NodeId,
    offset: u64,
    /// Bytes of its header.
    header_len: u64,
    /// Bytes in the archive: of a file its own, of a link its target.
    size: u64,
    /// The target of a link.
    target: Box<[u8]>,
    is_file: bool,
    is_directory: bool,
    /// With [`KNOWN`] once it is.
    crc: AtomicU64,
}

impl Entry {
    /// Whether there are bytes to be read for it, with a checksum behind them.
    fn has_pieces(&self) -> bool {
        self.is_file && self.size > 0
    }

    /// Lists a directory whose files come next. That was long ago, and trees read ahead of whoever reads the files of
    /// a directory that was listed lately. What comes of it does not matter here.
    fn expect_files(&self, tree: &dyn Tree) {
        if self.is_directory {
            let _ = tree.list(self.node, Cursor::START, limits::PAGE_ENTRIES_MAX);
        }
    }

    fn crc(&self) -> Option<u32> {
        let crc = self.crc.load(Ordering::Relaxed);
        (crc & KNOWN != 0).then(|| u32::try_from(crc ^ KNOWN).unwrap_or(0))
    }

    fn data(&self) -> Data {
        let crc = self.crc().unwrap_or(0);
        let has_descriptor = self.has_pieces();
        Data { method: STORED, crc, packed: self.size, size: self.size, has_descriptor }
    }

    /// Where the bytes begin.
    fn start(&self) -> u64 {
        self.offset + self.header_len
    }

    /// Where the entry ends.
    fn end(&self) -> u64 {
        let behind = if self.has_pieces() { self.data().descriptor_len() } else { 0 };
        self.start().saturating_add(self.size).saturating_add(behind)
    }
}

impl Plan {
    /// Lays an archive out. No file is read.
    ///
    /// # Errors
    /// `Limit` for more entries, or longer names, than a plan can hold, or more bytes than can be counted.
    pub fn new(tree: &dyn Tree, selection: &Selection, common: &Common) -> Result<Plan> {
        let mut plan = Plan {
            entries: Vec::new(),
            tail: 0,
            len: 0,
            planned: Failures::default(),
            list_len: 0,
            errors_name: String::new(),
            is_large: false,
            unreadable: Mutex::default(),
            threads: common.threads(),
        };
        let mut names_bytes = 0;
        for found in Members::new(tree, selection, common.follow) {
            match found.and_then(|member| plan.add(member)) {
                Ok(bytes) => names_bytes += bytes,
                Err(failure) => plan.planned.add(failure),
            }
            if plan.entries.len() > ENTRIES_MAX || names_bytes > NAMES_BYTES_MAX {
                let what = format!("a stored archive of more than {ENTRIES_MAX} entries, or longer names");
                return Err(Error::limit(what));
            }
            if plan.tail > u64::MAX / 2 {
                return Err(Error::limit("an archive of more bytes than can be counted"));
            }
        }
        plan.lay_out_tail();
        Ok(plan)
    }

    /// Adds a member; returns how long its names are.
    fn add(&mut self, member: Member) -> Result<usize, Failure> {
        let record = match super::refuse(&member).and_then(|()| Record::new(&member)) {
            Ok(record) => record,
            Err(error) => return Err(Failure { path: member.path, outcome: Outcome::LeftOut, error }),
        };
        self.planned.note_name(&member.name);
        let is_file = member.attr.kind == Kind::File;
        let size = if is_file { member.attr.size } else { len_of(&member.target) };
        let bytes = record.name.len() + member.path.len() + member.target.len();
        let crc = match is_file && size > 0 {
            true => 0,
            false => KNOWN | u64::from(crc32fast::hash(&member.target)),
        };
        let mut entry = Entry {
            record,
            path: member.path.into(),
            node: member.node,
            offset: self.tail,
            header_len: 0,
            size,
            target: member.target.into(),
            is_file,
            is_directory: member.attr.kind == Kind::Directory,
            crc: crc.into(),
        };
        entry.header_len = len_of(&entry.record.local(&entry.data()));
        self.tail = entry.end();
        self.entries.push(entry);
        Ok(bytes)
    }

    fn lay_out_tail(&mut self) {
        self.errors_name = self.planned.file_name();
        let can_fail = self.planned.count > 0 || self.entries.iter().any(Entry::has_pieces);
        if can_fail {
            let text = self.planned.text().len();
            self.list_len = text.min(PLANNED_ERRORS_BYTES_MAX) + READ_ERRORS_BYTES;
        }
        let central: u64 = self
            .entries
            .iter()
            .map(|entry| len_of(&entry.record.central(&entry.data(), entry.offset, 0)))
            .sum();
        let body = self.tail + u64::try_from(self.list_entry_len()).unwrap_or(0) + central;
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX).saturating_add(1);
        self.is_large = record::is_large(count, body);
        self.len = body + len_of(&record::end(0, 0, 0, self.is_large));
    }

    /// Bytes that the list of errors takes in the archive, its records included.
    fn list_entry_len(&self) -> usize {
        if self.list_len == 0 {
            return 0;
        }
        let (record, data) = (Record::own(&self.errors_name), Data::default());
        record.local(&data).len() + self.list_len + record.central(&data, self.tail, 0).len()
    }

    /// Bytes of the whole archive.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the archive has no byte: never, since even an empty one has an end.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the bytes `range` of the archive, as far as there are so many. Only files in the range are read,
    /// and those whose checksum stands in it and is not known yet.
    ///
    /// # Errors
    /// What `out` reports, at once.
    pub fn write_range(
        &self,
        tree: &dyn Tree,
        range: Range<u64>,
        out: &mut dyn Write,
        observer: &mut Observer<'_>,
    ) -> io::Result<Summary> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        if range.is_empty() {
            return Ok(Summary::default());
        }
        let mut writer = Writer {
            plan: self,
            clip: Clip { out, range: range.clone() },
            crc: Hasher::new(),
            observer,
            done: Progress::default(),
        };
        let work = |(): &mut (), job| self.work(tree, &range, job);
        ordered::for_each(self.threads, self.jobs(tree, &range), || (), work, |done| writer.take(done))?;
        writer.clip.out.flush()?;
        let done = writer.done;
        let unreadable = self.unreadable();
        let failed = self.planned.count.saturating_add(u64::try_from(unreadable.len()).unwrap_or(0));
        let read = unreadable.iter().filter_map(|(&index, error)| self.failure(index, error));
        let failures = self.planned.kept.iter().cloned().chain(read).collect();
        Ok(Summary { done, failures, failed })
    }

    fn unreadable(&self) -> MutexGuard<'_, BTreeMap<usize, Error>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, index: usize, error: &Error) -> Option<Failure> {
        let path = self.entries.get(index)?.path.to_vec();
        Some(Failure { path, outcome: Outcome::Zeros, error: error.clone() })
    }

    /// What is to be done for a range, in the order of the archive.
    fn jobs<'a>(
        &'a self,
        tree: &'a dyn Tree,
        range: &Range<u64>,
    ) -> impl Iterator<Item = (usize, Job)> + Send + use<'a> {
        let range = range.clone();
        let has_tail = range.end > self.tail;
        // The end tells of all files; a range in the middle of its own alone.
        let first =
            if has_tail { 0 } else { self.entries.partition_point(|entry| entry.end() <= range.start) };
        let entries = self.entries.iter().enumerate().skip(first);
        let ends = range.end;
        let is_near = move |entry: &Entry| has_tail || entry.offset < ends;
        let jobs = entries
            .take_while(move |(_, entry)| is_near(entry))
            .inspect(move |(_, entry)| entry.expect_files(tree))
            .flat_map(move |(index, entry)| entry_jobs(index, entry, &range, has_tail));
        jobs.chain(has_tail.then_some((0, Job::Tail)))
    }

    fn work(&self, tree: &dyn Tree, range: &Range<u64>, job: Job) -> Done {
        let Job::Piece { index, piece, at, has_crc } = job else { return Done::Mark(job) };
        let content = piece.read(tree);
        let crc = has_crc.then(|| crc32fast::hash(&content.bytes));
        let len = len_of(&content.bytes);
        let is_wanted = at < range.end && at + len > range.start;
        let bytes = if is_wanted { content.bytes } else { Vec::new() };
        Done::Piece { index, bytes, at, crc, len, error: content.error }
    }

    /// The list of errors, as long as it was planned to be.
    fn list(&self) -> Vec<u8> {
        let mut text = self.planned.text();
        if text.len() > PLANNED_ERRORS_BYTES_MAX {
            let cut = text.get(..PLANNED_ERRORS_BYTES_MAX - 16).map_or(0, str::len);
            text.truncate(text.get(..cut).and_then(|kept| kept.rfind('\n')).map_or(0, |end| end + 1));
            text.push_str("... and more\n");
        }
        let mut left = self.list_len.saturating_sub(text.len());
        let unreadable = self.unreadable();
        let lines = unreadable.iter().filter_map(|(&index, error)| self.failure(index, error));
        for failure in lines {
            let line = failures::line(&failure);
            let Some(rest) = left.checked_sub(line.len()).filter(|&rest| rest >= 16) else {
                text.push_str("... and more\n");
                break;
            };
            text.push_str(&line);
            left = rest;
        }
        let mut list = text.into_bytes();
        list.resize(self.list_len, b'\n');
        list
    }
}

/// What is to be done.
enum Job {
    /// The header of an entry, and the target of a link.
    Header(usize),
    /// A piece of its file, which stands at `at` in the archive. Perhaps it counts for the checksum.
    Piece { index: usize, piece: Piece, at: u64, has_crc: bool },
    /// What stands behind the data. Perhaps the checksum is complete now.
    Descriptor { index: usize, has_crc: bool },
    /// The end of the archive.
    Tail,
}

enum Done {
    Mark(Job),
    Piece { index: usize, bytes: Vec<u8>, at: u64, crc: Option<u32>, len: u64, error: Option<Error> },
}

/// What an entry needs for a range.
fn entry_jobs(
    index: usize,
    entry: &Entry,
    range: &Range<u64>,
    has_tail: bool,
) -> impl Iterator<Item = (usize, Job)> + Send + use<> {
    let (start, size, node) = (entry.start(), entry.size, entry.node);
    let is_touched = entry.offset < range.end && entry.end() > range.start;
    let shows_crc = has_tail || (is_touched && entry.end() <= range.end.saturating_add(24));
    let has_crc = entry.has_pieces() && entry.crc().is_none() && shows_crc;
    let wanted = if has_crc {
        0..size
    } else if is_touched && entry.has_pieces() {
        let from = range.start.saturating_sub(start).min(size) / piece::LEN * piece::LEN;
        from..range.end.saturating_sub(start).min(size)
    } else {
        0..0
    };
    let header = is_touched.then_some((entry.target.len(), Job::Header(index)));
    let pieces = Piece::of_file(node, wanted.start, size)
        .take_while(move |piece| piece.offset < wanted.end)
        .map(move |piece| (piece.len, Job::Piece { index, piece, at: start + piece.offset, has_crc }));
    let descriptor =
        (entry.has_pieces() && (is_touched || has_crc)).then_some((0, Job::Descriptor { index, has_crc }));
    header.into_iter().chain(pieces).chain(descriptor)
}

/// Writes of what it is given what lies in the range.
struct Clip<'a> {
    out: &'a mut dyn Write,
    range: Range<u64>,
}

impl Clip<'_> {
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let len = len_of(bytes);
        let from = self.range.start.saturating_sub(at).min(len);
        let to = self.range.end.saturating_sub(at).min(len);
        let [from, to] = [from, to].map(|index| usize::try_from(index).unwrap_or(usize::MAX));
        match bytes.get(from..to) {
            Some(bytes) if !bytes.is_empty() => self.out.write_all(bytes),
            _ => Ok(()),
        }
    }
}

/// Puts a range together.
struct Writer<'a, 'b> {
    plan: &'a Plan,
    clip: Clip<'a>,
    /// Of the file whose pieces come by.
    crc: Hasher,
    observer: &'a mut Observer<'b>,
    done: Progress,
}

impl Writer<'_, '_> {
    fn take(&mut self, done: Done) -> io::Result<()> {
        match done {
            Done::Mark(Job::Tail) => self.tail()?,
            Done::Mark(Job::Header(index)) => {
                let Some(entry) = self.plan.entries.get(index) else { return Ok(()) };
                // The checksum of a file stands behind it: this is the same whether it is known or not.
                let mut header = entry.record.local(&entry.data());
                header.extend_from_slice(&entry.target);
                self.clip.put(entry.offset, &header)?;
                self.done.entries += 1;
            }
            Done::Mark(Job::Descriptor { index, has_crc }) => {
                let Some(entry) = self.plan.entries.get(index) else { return Ok(()) };
                if has_crc {
                    let crc = std::mem::take(&mut self.crc).finalize();
                    entry.crc.store(KNOWN | u64::from(crc), Ordering::Relaxed);
                }
                self.clip.put(entry.start() + entry.size, &entry.data().descriptor())?;
            }
            Done::Mark(Job::Piece { .. }) => {}
            Done::Piece { index, bytes, at, crc, len, error } => {
                if let Some(crc) = crc {
                    self.crc.combine(&Hasher::new_with_initial_len(crc, len));
                }
                if let Some(error) = error {
                    let mut unreadable = self.plan.unreadable();
                    if unreadable.len() < READ_ERRORS_MAX {
                        unreadable.entry(index).or_insert(error);
                    }
                }
                self.done.bytes += len_of(&bytes);
                self.clip.put(at, &bytes)?;
            }
        }
        (self.observer)(self.done);
        Ok(())
    }

    /// The list of errors, the central directory and the end. All checksums are known now.
    fn tail(&mut self) -> io::Result<()> {
        let plan = self.plan;
        let is_list_needed = plan.planned.count > 0 || !plan.unreadable().is_empty();
        let mut at = plan.tail;
        let mut list_record = Vec::new();
        let mut filler = plan.list_entry_len();
        if is_list_needed && filler > 0 {
            let list = plan.list();
            let (crc, size) = (crc32fast::hash(&list), len_of(&list));
            let data = Data { method: STORED, crc, packed: size, size, has_descriptor: false };
            let record = Record::own(&plan.errors_name);
            list_record = record.central(&data, at, 0);
            filler = 0;
            at = self.put(at, &record.local(&data))?;
            at = self.put(at, &list)?;
        }
        let offset = at;
        let last = plan.entries.len().saturating_sub(1);
        for (index, entry) in plan.entries.iter().enumerate() {
            let filler = if index == last { filler } else { 0 };
            at = self.put(at, &entry.record.central(&entry.data(), entry.offset, filler))?;
        }
        at = self.put(at, &list_record)?;
        let count = plan.entries.len() + usize::from(!list_record.is_empty());
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.put(at, &record::end(count, offset, at - offset, plan.is_large))?;
        Ok(())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<u64> {
        self.clip.put(at, bytes)?;
        Ok(at + len_of(bytes))
    }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
