//! The compressed archive, written from front to back.

use super::deflate::{Packer, SAMPLE_BYTES, is_compressed_by_name};
use super::record::{self, DEFLATED, Data, Record, STORED};
use crate::archive::failures::{Failure, Failures, Outcome};
use crate::archive::members::{Member, Members};
use crate::archive::piece::{self, Piece};
use crate::archive::{Common, Observer, Progress, Selection, Summary, ordered};
use crc32fast::Hasher;
use spelunk_tree::{Error, Kind, Tree};
use std::io::{self, Write};

/// Bytes of the central directory, which is kept until the end: room for some ten million names.
const CENTRAL_BYTES_MAX: usize = 1 << 30;

/// Samples of a large file, one after the other: it is stored when none of them gets smaller.
const SAMPLES: usize = 4;

/// What is to be done for the archive.
enum Job {
    /// Something without data to read.
    Ready(Member),
    /// A file that is one piece.
    Whole(Member),
    /// A file of many pieces, which follow.
    Begin { member: Member, method: u16 },
    /// One of them.
    Piece { piece: Piece, method: u16, is_last: bool },
    /// Something that is not there.
    Failed(Failure),
}

/// What a job became.
enum Packed {
    Entry { member: Member, data: Data, bytes: Vec<u8> },
    Begin { member: Member, method: u16 },
    Piece { bytes: Vec<u8>, crc: u32, len: u64, error: Option<Error>, is_last: bool },
    Failed(Failure),
}

/// Writes an archive; with the common options comes the level.
pub fn write(
    tree: &dyn Tree,
    selection: &Selection,
    (common, level): (&Common, u32),
    out: &mut dyn Write,
    observer: &mut Observer<'_>,
) -> io::Result<Summary> {
    let members = Members::new(tree, selection, common.follow);
    let jobs = Jobs { tree, members, pieces: None, packer: Packer::new(1) };
    let mut writer = Writer {
        out,
        observer,
        position: 0,
        central: Vec::new(),
        open: None,
        count: 0,
        done: Progress::default(),
        failures: Failures::default(),
    };
    let work = |packer: &mut Packer, job| pack(tree, packer, job);
    ordered::for_each(common.threads(), jobs, || Packer::new(level), work, |packed| writer.take(packed))?;
    writer.finish()
}

/// Makes the jobs, a member after the other.
struct Jobs<'a> {
    tree: &'a dyn Tree,
    members: Members<'a>,
    pieces: Option<Box<dyn Iterator<Item = Job> + Send + 'a>>,
    /// For samples.
    packer: Packer,
}

impl Iterator for Jobs<'_> {
    type Item = (usize, Job);

    fn next(&mut self) -> Option<(usize, Job)> {
        if let Some(pieces) = &mut self.pieces {
            match pieces.next() {
                Some(job) => return Some((piece::BYTES, job)),
                None => self.pieces = None,
            }
        }
        let member = match self.members.next()? {
            Ok(member) => member,
            Err(failure) => return Some((0, Job::Failed(failure))),
        };
        if let Err(error) = super::refuse(&member).and_then(|()| Record::new(&member).map(drop)) {
            let failure = Failure { path: member.path, outcome: Outcome::LeftOut, error };
            return Some((0, Job::Failed(failure)));
        }
        let size = member.attr.size;
        if member.attr.kind != Kind::File || size == 0 {
            let weight = member.target.len();
            return Some((weight, Job::Ready(member)));
        }
        if size <= piece::LEN {
            return Some((usize::try_from(size).unwrap_or(piece::BYTES), Job::Whole(member)));
        }
        Some((0, self.begin(member)))
    }
}

impl Jobs<'_> {
    /// Looks at the beginning of a large file, and cuts it into pieces.
    fn begin(&mut self, member: Member) -> Job {
        let (node, size) = (member.node, member.attr.size);
        let sample = Piece { node, offset: 0, len: SAMPLES * SAMPLE_BYTES }.read(self.tree);
        if let Some(error) = sample.error {
            return Job::Failed(Failure { path: member.path, outcome: Outcome::LeftOut, error });
        }
        let is_worth = !is_compressed_by_name(&member.name)
            && sample.bytes.chunks(SAMPLE_BYTES).any(|chunk| self.packer.is_worth(chunk));
        let method = if is_worth { DEFLATED } else { STORED };
        let pieces = Piece::of_file(node, 0, size).map(move |piece| {
            let is_last = size - piece.offset <= piece::LEN;
            Job::Piece { piece, method, is_last }
        });
        self.pieces = Some(Box::new(pieces));
        Job::Begin { member, method }
    }
}

/// Reads and compresses.
fn pack(tree: &dyn Tree, packer: &mut Packer, job: Job) -> Packed {
    match job {
        Job::Failed(failure) => Packed::Failed(failure),
        Job::Begin { member, method } => Packed::Begin { member, method },
        Job::Ready(mut member) => {
            let bytes = std::mem::take(&mut member.target);
            let data = stored(&bytes);
            Packed::Entry { member, data, bytes }
        }
        Job::Whole(member) => {
            let len = usize::try_from(member.attr.size).unwrap_or(piece::BYTES);
            let content = Piece { node: member.node, offset: 0, len }.read(tree);
            if let Some(error) = content.error {
                return Packed::Failed(Failure { path: member.path, outcome: Outcome::LeftOut, error });
            }
            let mut data = stored(&content.bytes);
            let packed =
                if is_compressed_by_name(&member.name) { None } else { packer.whole(&content.bytes) };
            let bytes = match packed {
                Some(packed) => {
                    data.method = DEFLATED;
                    data.packed = len_of(&packed);
                    packed
                }
                None => content.bytes,
            };
            Packed::Entry { member, data, bytes }
        }
        Job::Piece { piece, method, is_last } => {
            let content = piece.read(tree);
            let (crc, len) = (crc32fast::hash(&content.bytes), len_of(&content.bytes));
            let bytes =
                if method == DEFLATED { packer.piece(&content.bytes, is_last) } else { content.bytes };
            Packed::Piece { bytes, crc, len, error: content.error, is_last }
        }
    }
}

fn stored(bytes: &[u8]) -> Data {
    let (crc, size) = (crc32fast::hash(bytes), len_of(bytes));
    Data { method: STORED, crc, packed: size, size, has_descriptor: false }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Puts the archive together.
struct Writer<'a, 'b> {
    out: &'a mut dyn Write,
    observer: &'a mut Observer<'b>,
    position: u64,
    central: Vec<u8>,
    open: Option<Open>,
    count: u64,
    done: Progress,
    failures: Failures,
}

/// The file whose pieces are being written.
struct Open {
    path: Vec<u8>,
    record: Record,
    data: Data,
    offset: u64,
    crc: Hasher,
    error: Option<Error>,
}

impl Writer<'_, '_> {
    fn take(&mut self, packed: Packed) -> io::Result<()> {
        match packed {
            Packed::Failed(failure) => self.failures.add(failure),
            Packed::Entry { member, data, bytes } => {
                let Some((record, offset)) = self.header(&member, &data)? else { return Ok(()) };
                self.put(&bytes)?;
                self.done.bytes += data.size;
                self.entry(&record, &data, offset);
            }
            Packed::Begin { member, method } => {
                let data = Data { method, size: member.attr.size, has_descriptor: true, ..Data::default() };
                self.open = self.header(&member, &data)?.map(|(record, offset)| Open {
                    path: member.path,
                    record,
                    data,
                    offset,
                    crc: Hasher::new(),
                    error: None,
                });
            }
            Packed::Piece { bytes, crc, len, error, is_last } => {
                // Without an open file the directory is full, and this is told.
                let Some(open) = &mut self.open else { return Ok(()) };
                open.crc.combine(&Hasher::new_with_initial_len(crc, len));
                open.data.packed += len_of(&bytes);
                open.error = open.error.take().or(error);
                self.put(&bytes)?;
                self.done.bytes += len;
                if is_last {
                    self.close()?;
                }
            }
        }
        (self.observer)(self.done);
        Ok(())
    }

    /// Writes the header of an entry, and tells its record and where it is. `None` when the directory is
    /// full.
    fn header(&mut self, member: &Member, data: &Data) -> io::Result<Option<(Record, u64)>> {
        // Names that are too long were told before.
        let Ok(record) = Record::new(member) else { return Ok(None) };
        if self.central.len() > CENTRAL_BYTES_MAX {
            let error = Error::limit(format!("a list of contents of more than {CENTRAL_BYTES_MAX} bytes"));
            self.failures.add(Failure { path: member.path.clone(), outcome: Outcome::LeftOut, error });
            return Ok(None);
        }
        self.failures.note_name(&member.name);
        let offset = self.position;
        self.put(&record.local(data))?;
        Ok(Some((record, offset)))
    }

    fn entry(&mut self, record: &Record, data: &Data, offset: u64) {
        self.central.extend_from_slice(&record.central(data, offset, 0));
        self.count += 1;
        self.done.entries += 1;
    }

    /// Ends the open file.
    fn close(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.data.crc = open.crc.finalize();
        self.put(&open.data.descriptor())?;
        self.entry(&open.record, &open.data, open.offset);
        if let Some(error) = open.error {
            self.failures.add(Failure { path: open.path, outcome: Outcome::Zeros, error });
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Summary> {
        if self.failures.count > 0 {
            let text = self.failures.text();
            let record = Record::own(&self.failures.file_name());
            let (data, offset) = (stored(text.as_bytes()), self.position);
            self.put(&record.local(&data))?;
            self.put(text.as_bytes())?;
            self.central.extend_from_slice(&record.central(&data, offset, 0));
            self.count += 1;
        }
        let (offset, central) = (self.position, std::mem::take(&mut self.central));
        self.put(&central)?;
        let is_large = record::is_large(self.count, self.position);
        self.put(&record::end(self.count, offset, len_of(&central), is_large))?;
        self.out.flush()?;
        let Failures { kept, count, .. } = self.failures;
        Ok(Summary { done: self.done, failures: kept, failed: count })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += len_of(bytes);
        self.out.write_all(bytes)
    }
}
