//! Directories: their entries in order, each file with its name.

use super::Fat;
use super::boot::ENTRY_BYTES;
use super::entry::{FileEntry, Slot};
use super::long_name::LongName;
use crate::bytes::{add, count, index, mul, range};
use crate::guest::clusters::Chain;
use spelunk_tree::{Error, Name, NodeId, Place, Result, Run};
use std::sync::Arc;

/// Bytes of a directory, by the specification.
pub const DIRECTORY_BYTES_MAX: u64 = 2 << 20;
/// Bytes that are read at a time.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// Where a directory's entries lie.
pub enum Extent {
    /// In one piece, that many bytes from there on.
    Area(u64, u64),
    /// In a chain of clusters.
    Chain(Arc<Chain>),
}

/// A file or directory that was found.
pub struct Found {
    /// Where its entry is.
    pub node: NodeId,
    /// Its name, or why it has none.
    pub name: Result<Name>,
    /// Its entry.
    pub entry: FileEntry,
}

/// Reads a directory entry by entry.
pub struct Reader<'a> {
    fat: &'a Fat,
    extent: Extent,
    /// The next entry, counted from the directory's beginning.
    position: u64,
    /// What was read last, from the next entry on, and where it lies in the volume.
    buffer: Vec<u8>,
    consumed: usize,
    buffer_offset: u64,
}

impl<'a> Reader<'a> {
    /// Begins at the entry `position`.
    pub fn new(fat: &'a Fat, extent: Extent, position: u64) -> Reader<'a> {
        Reader { fat, extent, position, buffer: Vec::new(), consumed: 0, buffer_offset: 0 }
    }

    /// The next entry to be read, counted from the directory's beginning.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next file or directory, `None` at the end.
    ///
    /// # Errors
    /// When the directory cannot be read on; [`Reader::position`] is where.
    pub fn next_file(&mut self) -> Result<Option<Found>> {
        let mut long_name = LongName::default();
        while let Some((node, slot)) = self.next_slot()? {
            match slot {
                Slot::End => return Ok(None),
                Slot::LongName(part) => long_name.push(&part),
                Slot::Free | Slot::Dot | Slot::Label(_) => long_name.clear(),
                Slot::File(entry) => {
                    let short_name = || entry.short_name(self.fat.options.code_page);
                    let name = long_name.take(&entry).map_or_else(short_name, Ok);
                    return Ok(Some(Found { node, name, entry }));
                }
            }
        }
        Ok(None)
    }

    /// The next entry of any kind, `None` behind the last.
    ///
    /// # Errors
    /// As [`Reader::next_file`].
    pub fn next_slot(&mut self) -> Result<Option<(NodeId, Slot)>> {
        let entry_bytes = index(ENTRY_BYTES)?;
        if self.consumed >= self.buffer.len() && !self.fill()? {
            return Ok(None);
        }
        let slot = Slot::parse(range(&self.buffer, self.consumed, entry_bytes)?)?;
        let node = super::node_at(add(self.buffer_offset, count(self.consumed))?)?;
        self.consumed = self.consumed.saturating_add(entry_bytes);
        self.position = self.position.saturating_add(1);
        Ok(Some((node, slot)))
    }

    /// Reads the next stretch that lies in one piece.
    fn fill(&mut self) -> Result<bool> {
        let offset = mul(self.position, u64::from(ENTRY_BYTES))?;
        let Some((at, len)) = self.stretch(offset)? else { return Ok(false) };
        self.buffer.resize(index(len)?, 0);
        self.consumed = 0;
        self.buffer_offset = at;
        self.fat.volume.read_at(at, &mut self.buffer)?;
        Ok(true)
    }

    /// What lies in one piece from `offset` of the directory on: offset in the volume and length.
    fn stretch(&self, offset: u64) -> Result<Option<(u64, u64)>> {
        match &self.extent {
            Extent::Area(start, len) => {
                let rest = len.saturating_sub(offset).min(READ_BYTES_MAX);
                Ok((rest > 0).then_some((add(*start, offset)?, rest)))
            }
            Extent::Chain(chain) => {
                let mut runs = Vec::new();
                self.fat.clusters.runs(chain, offset, READ_BYTES_MAX, &mut runs)?;
                match runs.first() {
                    Some(Run { len, place: Place::At { offset, .. } }) => Ok(Some((*offset, *len))),
                    Some(_) => Err(Error::internal("a cluster that lies nowhere")),
                    None => chain.end().map(|()| None),
                }
            }
        }
    }
}
