//! Tar archives in the PAX form, which keep all that a guest tells: times to the nanosecond, extended
//! attributes and ACLs, hard links, sparse files, devices and pipes, names of any length and any bytes.
//!
//! The records are those that GNU tar and bsdtar read: `SCHILY.xattr.*`, `SCHILY.acl.access` and
//! `SCHILY.acl.default`, `GNU.sparse.*` 1.0. When a file was made has no record that both know; it is left
//! out. Sockets are left out and listed. With zstd the archive is one frame with a checksum, compressed by
//! several threads.

mod acl;
mod header;
mod sparse;
#[cfg(test)]
mod tests;

use super::failures::{Failure, Failures, Outcome};
use super::members::{Member, Members};
use super::piece::Piece;
use super::{Common, Observer, Progress, Selection, Summary, ordered};
use header::Header;
use spelunk_tree::{Attr, Error, Kind, NodeId, Tree, Xattr, Xattrs};
use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;

/// How a tar archive is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What holds for all formats.
    pub common: Common,
    /// Compress it with zstd, at a level from 1 to 19.
    pub zstd: Option<i32>,
}

/// The level of zstd that is used when none is asked for: the library's own choice.
pub const DEFAULT_LEVEL: i32 = 3;

/// Bytes of names that are remembered for hard links: those of some millions. What comes later is stored
/// again, in full.
const LINK_NAMES_BYTES_MAX: usize = 256 << 20;

/// Writes an archive of what was selected.
///
/// # Errors
/// What `out` reports, at once. Whatever else fails is in the summary and in the archive.
pub fn write(
    tree: &dyn Tree,
    selection: &Selection,
    options: &Options,
    out: &mut dyn Write,
    observer: &mut Observer<'_>,
) -> io::Result<Summary> {
    let Some(level) = options.zstd else {
        let summary = write_plain(tree, selection, &options.common, out, observer)?;
        out.flush()?;
        return Ok(summary);
    };
    let mut encoder = zstd::stream::write::Encoder::new(out, level.clamp(1, 19))?;
    encoder.include_checksum(true)?;
    // Never 0: the bytes are the same for every count from 1 on.
    encoder.multithread(u32::try_from(options.common.threads()).unwrap_or(1))?;
    let summary = write_plain(tree, selection, &options.common, &mut encoder, observer)?;
    encoder.finish()?.flush()?;
    Ok(summary)
}

fn write_plain(
    tree: &dyn Tree,
    selection: &Selection,
    common: &Common,
    out: &mut dyn Write,
    observer: &mut Observer<'_>,
) -> io::Result<Summary> {
    let jobs = Jobs {
        tree,
        members: Members::new(tree, selection, common.follow),
        pieces: None,
        links: HashMap::new(),
        links_bytes: 0,
    };
    let mut writer = Writer {
        out,
        observer,
        current: Vec::new(),
        left: 0,
        padding: 0,
        error: None,
        done: Progress::default(),
        failures: Failures::default(),
    };
    let work = |(): &mut (), job| work(tree, job);
    ordered::for_each(common.threads(), jobs, || (), work, |done| writer.take(done))?;
    writer.finish()
}

/// What is to be done for the archive.
enum Job {
    /// The headers of a member; its data follows.
    Member(Box<Described>),
    Piece(Piece),
    Failed(Failure),
}

/// A member, and what stands for its data.
struct Described {
    member: Member,
    /// The name of an earlier member that is the same node.
    link: Option<Vec<u8>>,
    /// Where a file has data, when it has holes.
    segments: Option<Vec<Range<u64>>>,
}

/// What a job became.
enum Done {
    Member { path: Vec<u8>, name: Vec<u8>, headers: Vec<u8>, data: u64, error: Option<Error> },
    Piece { bytes: Vec<u8>, error: Option<Error> },
    Failed(Failure),
}

/// Makes the jobs, a member after the other.
struct Jobs<'a> {
    tree: &'a dyn Tree,
    members: Members<'a>,
    pieces: Option<Box<dyn Iterator<Item = Piece> + Send>>,
    /// By node, the name of the first member that is it.
    links: HashMap<NodeId, Vec<u8>>,
    links_bytes: usize,
}

impl Iterator for Jobs<'_> {
    type Item = (usize, Job);

    fn next(&mut self) -> Option<(usize, Job)> {
        if let Some(pieces) = &mut self.pieces {
            match pieces.next() {
                Some(piece) => return Some((piece.len, Job::Piece(piece))),
                None => self.pieces = None,
            }
        }
        let member = match self.members.next()? {
            Ok(member) => member,
            Err(failure) => return Some((0, Job::Failed(failure))),
        };
        if let Err(error) = refuse(&member.attr) {
            return Some((0, Job::Failed(Failure { path: member.path, outcome: Outcome::LeftOut, error })));
        }
        let link = self.earlier(&member);
        let mut segments = None;
        if member.attr.kind == Kind::File && link.is_none() {
            let (node, size) = (member.node, member.attr.size);
            segments = sparse::segments(self.tree, node, &member.attr);
            self.pieces = Some(match segments.clone() {
                None => Box::new(Piece::of_file(node, 0, size)),
                Some(all) => {
                    Box::new(all.into_iter().flat_map(move |part| Piece::of_file(node, part.start, part.end)))
                }
            });
        }
        Some((0, Job::Member(Box::new(Described { member, link, segments }))))
    }
}

impl Jobs<'_> {
    /// The name of an earlier member that is the same node; else this one's is remembered.
    fn earlier(&mut self, member: &Member) -> Option<Vec<u8>> {
        let is_linked =
            member.attr.kind != Kind::Directory && member.attr.links.is_some_and(|links| links > 1);
        if !is_linked {
            return None;
        }
        if let Some(name) = self.links.get(&member.node) {
            return Some(name.clone());
        }
        self.links_bytes += member.name.len() + size_of::<(NodeId, Vec<u8>)>();
        if self.links_bytes <= LINK_NAMES_BYTES_MAX {
            self.links.insert(member.node, member.name.clone());
        }
        None
    }
}

/// Why something has no place in a tar archive, if so.
fn refuse(attr: &Attr) -> spelunk_tree::Result<()> {
    match attr.kind {
        Kind::Socket => Err(Error::unsupported("a socket, which no archive can hold")),
        Kind::CharDevice | Kind::BlockDevice if attr.device.is_none() => {
            Err(Error::unsupported("a device without a number"))
        }
        _ => Ok(()),
    }
}

fn work(tree: &dyn Tree, job: Job) -> Done {
    match job {
        Job::Failed(failure) => Done::Failed(failure),
        Job::Piece(piece) => {
            let content = piece.read(tree);
            Done::Piece { bytes: content.bytes, error: content.error }
        }
        Job::Member(described) => describe(tree, *described),
    }
}

/// Makes the headers of a member.
fn describe(tree: &dyn Tree, described: Described) -> Done {
    let Described { member, link, segments } = described;
    let mut error = None;
    let mut xattrs: Vec<Xattr> = Vec::new();
    if link.is_none() && member.attr.xattrs == Xattrs::Maybe {
        match tree.xattrs(member.node) {
            Ok(found) => xattrs = found,
            Err(failed) => error = Some(failed.context("its extended attributes could not be read")),
        }
    }
    let mut header = Header::new(&member, link.as_deref());
    header.xattrs(&xattrs);
    let mut map = Vec::new();
    if let Some(segments) = &segments {
        map = sparse::map(segments, member.attr.size);
        let stored: u64 = segments.iter().map(|part| part.end - part.start).sum();
        header.sparse(member.attr.size, stored + u64::try_from(map.len()).unwrap_or(0));
    }
    let data: u64 = match &segments {
        _ if link.is_some() || member.attr.kind != Kind::File => 0,
        Some(segments) => segments.iter().map(|part| part.end - part.start).sum(),
        None => member.attr.size,
    };
    let mut headers = header.into_bytes();
    headers.extend_from_slice(&map);
    Done::Member { path: member.path, name: member.name, headers, data, error }
}

/// Puts the archive together.
struct Writer<'a, 'b> {
    out: &'a mut dyn Write,
    observer: &'a mut Observer<'b>,
    /// Where the member is whose data is being written, bytes of it to come, and zeros behind it.
    current: Vec<u8>,
    left: u64,
    padding: usize,
    /// What was wrong with its data.
    error: Option<Error>,
    done: Progress,
    failures: Failures,
}

impl Writer<'_, '_> {
    fn take(&mut self, done: Done) -> io::Result<()> {
        match done {
            Done::Failed(failure) => self.failures.add(failure),
            Done::Member { path, name, headers, data, error } => {
                self.failures.note_name(&name);
                self.out.write_all(&headers)?;
                if let Some(error) = error {
                    let outcome = Outcome::Incomplete;
                    self.failures.add(Failure { path: path.clone(), outcome, error });
                }
                (self.current, self.left) = (path, data);
                self.padding = header::padding(data);
                self.done.entries += 1;
            }
            Done::Piece { bytes, error } => {
                self.out.write_all(&bytes)?;
                let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.done.bytes += len;
                self.left = self.left.saturating_sub(len);
                self.error = self.error.take().or(error);
                if self.left == 0 {
                    self.end_of_data()?;
                }
            }
        }
        (self.observer)(self.done);
        Ok(())
    }

    fn end_of_data(&mut self) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            let path = std::mem::take(&mut self.current);
            self.failures.add(Failure { path, outcome: Outcome::Zeros, error });
        }
        self.out.write_all(header::ZEROS.get(..self.padding).unwrap_or_default())
    }

    fn finish(self) -> io::Result<Summary> {
        if self.failures.count > 0 {
            let text = self.failures.text().into_bytes();
            let len = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let member = Member {
                name: self.failures.file_name().into_bytes(),
                path: Vec::new(),
                node: NodeId::new(0).map_err(io::Error::other)?,
                attr: Attr { size: len, ..Attr::new(Kind::File) },
                target: Vec::new(),
            };
            self.out.write_all(&Header::new(&member, None).into_bytes())?;
            self.out.write_all(&text)?;
            self.out.write_all(header::ZEROS.get(..header::padding(len)).unwrap_or_default())?;
        }
        self.out.write_all(&header::ZEROS)?;
        self.out.write_all(&header::ZEROS)?;
        let Failures { kept, count, .. } = self.failures;
        Ok(Summary { done: self.done, failures: kept, failed: count })
    }
}
