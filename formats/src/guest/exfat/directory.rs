//! Directories: their entries in order, those of a file taken together.

use super::Volume;
use super::entry::{Bytes, ENTRY_BYTES, ENTRY_LEN, Kind};
use super::extent::Extent;
use super::file::{Broken, File, secondaries};
use crate::bytes::{add, array, count, index, mul, u8_at};
use spelunk_tree::{Error, NodeId, Place, Result, Run};

/// Bytes of a directory, by the specification.
pub const DIRECTORY_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are read at a time.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// Where a directory's entries lie.
pub struct Directory {
    /// Its clusters, up to [`DIRECTORY_BYTES_MAX`].
    pub extent: Extent,
    /// Its bytes; of the root, which has no entry that would say them, `None`.
    pub bytes: Option<u64>,
}

/// A file or directory that was found.
pub struct Found {
    /// Where its first entry is.
    pub node: NodeId,
    /// What its entries say.
    pub file: Result<File, Broken>,
}

/// Reads a directory entry by entry.
pub struct Reader<'a> {
    volume: &'a Volume,
    directory: Directory,
    /// The next entry, counted from the directory's beginning.
    position: u64,
    /// What was read last, from the next entry on, and where it lies in the volume.
    buffer: Vec<u8>,
    consumed: usize,
    buffer_offset: u64,
    /// The entries of the file that was met last.
    set: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Begins at the entry `position`.
    pub fn new(volume: &'a Volume, directory: Directory, position: u64) -> Reader<'a> {
        let (buffer, set) = (Vec::new(), Vec::new());
        Reader { volume, directory, position, buffer, consumed: 0, buffer_offset: 0, set }
    }

    /// The next entry to be read, counted from the directory's beginning.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next file or directory whose entries `is_wanted` takes, or what is there in place of one; `None` at the
    /// end.
    ///
    /// # Errors
    /// When the directory cannot be read on; [`Reader::position`] is where.
    pub fn next_file(&mut self, is_wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Found>> {
        while let Some((node, entry)) = self.next_entry()? {
            let file = match Kind::of(u8_at(&entry, 0)?) {
                Kind::End => return Ok(None),
                Kind::File => match self.take_set(entry) {
                    Ok(()) if !is_wanted(&self.set) => continue,
                    Ok(()) => File::parse(&self.set, &self.volume.time_zone),
                    Err(error) => Err(error.into()),
                },
                Kind::CriticalPrimary(entry_type) => {
                    let message = format!("a critical directory entry of unknown type {entry_type:#04X}");
                    Err(Error::unsupported(message).into())
                }
                Kind::CriticalSecondary(_) => {
                    Err(Error::corrupt("secondary directory entries without their first one").into())
                }
                Kind::Free | Kind::BenignSecondary => continue,
                Kind::Bitmap | Kind::Upcase | Kind::Label | Kind::BenignPrimary => {
                    self.skip_secondaries();
                    continue;
                }
            };
            if file.is_err() {
                self.skip_secondaries();
            }
            return Ok(Some(Found { node, file }));
        }
        Ok(None)
    }

    /// The next entry of any kind and where it lies, `None` behind the last.
    ///
    /// # Errors
    /// As [`Reader::next_file`].
    pub fn next_entry(&mut self) -> Result<Option<(NodeId, Bytes)>> {
        let entry = self.peek()?;
        if entry.is_some() {
            self.advance();
        }
        Ok(entry)
    }

    fn peek(&mut self) -> Result<Option<(NodeId, Bytes)>> {
        if self.consumed >= self.buffer.len() && !self.fill()? {
            return Ok(None);
        }
        let node = super::node_at(add(self.buffer_offset, count(self.consumed))?)?;
        Ok(Some((node, array(&self.buffer, self.consumed)?)))
    }

    fn advance(&mut self) {
        self.consumed = self.consumed.saturating_add(ENTRY_LEN);
        self.position = self.position.saturating_add(1);
    }

    /// The rest of the set that begins with `first`. An entry that cannot belong to it is left to be read.
    fn take_set(&mut self, first: Bytes) -> Result<()> {
        let wanted = secondaries(&first)?;
        self.set.clear();
        self.set.extend(first);
        for _ in 0..wanted {
            match self.peek()? {
                Some((_, entry)) if Kind::of(u8_at(&entry, 0)?).is_secondary() => self.set.extend(entry),
                _ => return Err(Error::corrupt("a set of directory entries that ends early")),
            }
            self.advance();
        }
        Ok(())
    }

    /// Goes on behind what belongs to the entry that was read last. An error is left to be met again.
    fn skip_secondaries(&mut self) {
        while let Ok(Some((_, entry))) = self.peek()
            && u8_at(&entry, 0).is_ok_and(|entry_type| Kind::of(entry_type).is_secondary())
        {
            self.advance();
        }
    }

    /// Reads the next stretch that lies in one piece.
    fn fill(&mut self) -> Result<bool> {
        let offset = mul(self.position, ENTRY_BYTES)?;
        let Some((at, len)) = self.stretch(offset)? else { return Ok(false) };
        let mut buffer = vec![0; index(len)?];
        self.volume.bytes.read_at(at, &mut buffer)?;
        (self.buffer, self.consumed, self.buffer_offset) = (buffer, 0, at);
        Ok(true)
    }

    /// What lies in one piece from `offset` of the directory on: offset in the volume and length.
    fn stretch(&self, offset: u64) -> Result<Option<(u64, u64)>> {
        let Directory { extent, bytes } = &self.directory;
        let rest = bytes.unwrap_or(u64::MAX).saturating_sub(offset);
        if rest < ENTRY_BYTES {
            return Ok(None);
        }
        // Whole entries: clusters begin at multiples of their length.
        let wanted = rest.min(READ_BYTES_MAX) & !(ENTRY_BYTES.saturating_sub(1));
        let mut runs = Vec::new();
        extent.runs(&self.volume.clusters, offset, wanted, &mut runs)?;
        match runs.first() {
            Some(Run { len, place: Place::At { offset, .. } }) => Ok(Some((*offset, *len))),
            Some(_) => Err(Error::internal("a cluster that lies nowhere")),
            None if offset >= DIRECTORY_BYTES_MAX => Err(Error::limit("a directory of more than 256 MiB")),
            None => match (extent.end(), bytes) {
                (Ok(()), Some(_)) => Err(Error::corrupt("a chain of clusters shorter than its directory")),
                (end, _) => end.map(|()| None),
            },
        }
    }
}
