//! Listing directories.
//!
//! A listing takes the entries of the index's root and then those of its blocks in the order in which
//! they lie in the index, not in the order of the tree: no block comes twice, whatever the tree says. The
//! attributes are those of the MFT records, read in large pieces, since Windows lets those in the entries
//! get old.

use super::Ntfs;
use super::attribute::types;
use super::file_name::{FileName, Namespace};
use super::index::{self, Entries, Index, Window};
use super::node::Node;
use super::record::{self, FIRST_USER, ROOT, Record, Reference};
use spelunk_tree::{Attr, Cursor, Entry, Error, Listed, Name, Page, Result, limits};
use std::sync::Arc;

/// Bits of a cursor that hold the position in a node, which is 64 KiB at most. Above them stands the number
/// of the block plus one; 0 is the root.
const POSITION_BITS: u32 = 17;
/// Blocks that one page reads at most, so that a directory of empty blocks does not take one request's
/// whole time.
const PAGE_BLOCKS_MAX: usize = 4096;

/// An entry of a directory whose record has not been read.
struct Candidate {
    name: Result<Name>,
    file: Reference,
    namespace: Namespace,
    next: Cursor,
}

/// A page in the making.
#[derive(Default)]
struct Draft {
    candidates: Vec<Candidate>,
    /// Broken entries and nodes, and how many candidates stand before them.
    broken: Vec<(usize, Listed)>,
    next: Option<Cursor>,
}

impl Draft {
    fn len(&self) -> usize {
        self.candidates.len().saturating_add(self.broken.len())
    }

    fn push_broken(&mut self, error: Error, next: Cursor) {
        self.broken.push((self.candidates.len(), Listed::Broken { name: None, error, next }));
    }
}

impl Ntfs {
    /// A page of a listing, see [`spelunk_tree::Tree::list`].
    ///
    /// # Errors
    /// When the directory's index cannot be read.
    pub(super) fn page(&self, directory: Reference, cursor: Cursor, max: usize) -> Result<Page> {
        let index = self.index_of(directory)?;
        let mut draft = Draft::default();
        self.collect(&index, directory.number, cursor, max.clamp(1, limits::PAGE_ENTRIES_MAX), &mut draft)?;
        let listed = self.listed(directory.number, draft.candidates);
        let mut entries = Vec::with_capacity(listed.len().saturating_add(draft.broken.len()));
        let mut broken = draft.broken.into_iter().peekable();
        for (at, listed) in listed.into_iter().enumerate() {
            while let Some((_, broken)) = broken.next_if(|(before, _)| *before <= at) {
                entries.push(broken);
            }
            entries.extend(listed);
        }
        entries.extend(broken.map(|(_, broken)| broken));
        Ok(Page { entries, next: draft.next })
    }

    /// Takes entries from `cursor` on until `draft` holds `max`.
    fn collect(
        &self,
        index: &Index,
        directory: u64,
        cursor: Cursor,
        max: usize,
        draft: &mut Draft,
    ) -> Result<()> {
        let mut position = usize::try_from(cursor.0 & cursor_at(0, usize::MAX).0).unwrap_or(0);
        let mut node = cursor.0 >> POSITION_BITS;
        if node == 0 {
            let entries = index.root_entries(position);
            if !self.collect_node(entries, directory, 0, max, draft) {
                return Ok(());
            }
            (node, position) = (1, 0);
        }
        let mut window = Window::default();
        for _ in 0..PAGE_BLOCKS_MAX {
            let from = node.saturating_sub(1);
            let Some(block) = index.next_used(&self.volume, from, &mut window)? else {
                draft.next = None;
                return Ok(());
            };
            if block != from {
                position = 0;
            }
            node = block.saturating_add(1);
            let full = match index.block(&self.volume, block) {
                Ok(bytes) => {
                    !self.collect_node(Entries::of_block(&bytes, position), directory, node, max, draft)
                }
                Err(error) => {
                    draft.push_broken(error, cursor_at(node.saturating_add(1), 0));
                    draft.len() >= max
                }
            };
            (node, position) = (node.saturating_add(1), 0);
            if full {
                // Where the page filled up inside the block, its last entry says so.
                draft.next = draft.next.or(Some(cursor_at(node, 0)));
                return Ok(());
            }
        }
        draft.next = Some(cursor_at(node, 0));
        Ok(())
    }

    /// Takes the entries of one node; says whether there is room for more. If not, `draft.next` is where it
    /// goes on.
    fn collect_node(
        &self,
        entries: Result<Entries<'_>>,
        directory: u64,
        node: u64,
        max: usize,
        draft: &mut Draft,
    ) -> bool {
        let behind = cursor_at(node.saturating_add(1), 0);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                draft.push_broken(error, behind);
                return draft.len() < max;
            }
        };
        while let Some(entry) = entries.next() {
            let next = entries.position().map_or(behind, |position| cursor_at(node, position));
            match entry.and_then(|entry| self.candidate(&entry, directory, next)) {
                Ok(Some(candidate)) => draft.candidates.push(candidate),
                Ok(None) => continue,
                Err(error) => draft.push_broken(error, next),
            }
            if draft.len() >= max {
                draft.next = Some(next);
                return false;
            }
        }
        if draft.len() >= max {
            draft.next = Some(behind);
        }
        draft.len() < max
    }

    /// The candidate that an entry is; `None` for the last one of its node and those that are not shown.
    fn candidate(&self, entry: &index::Entry<'_>, directory: u64, next: Cursor) -> Result<Option<Candidate>> {
        if entry.is_last() {
            return Ok(None);
        }
        let name = FileName::parse(entry.key)?;
        let file = Reference::from_disk(entry.head);
        if self.is_hidden(directory, file.number, name.units) {
            return Ok(None);
        }
        Ok(Some(Candidate { name: name.name(), file, namespace: name.namespace, next }))
    }

    /// Whether an entry is one of the filesystem's own that are not asked for, or the root's entry for
    /// itself.
    pub(super) fn is_hidden(&self, directory: u64, file: u64, name: &[u8]) -> bool {
        let in_root = directory == ROOT;
        let is_metafile = in_root && file < FIRST_USER && name.starts_with(b"$\0");
        (in_root && file == ROOT) || (is_metafile && !self.options.show_metafiles)
    }

    /// Reads the records of `candidates`. DOS names of files that have another one in the directory are
    /// nothing.
    fn listed(&self, directory: u64, candidates: Vec<Candidate>) -> Vec<Option<Listed>> {
        let mut order: Vec<(u64, usize)> =
            candidates.iter().enumerate().map(|(at, candidate)| (candidate.file.number, at)).collect();
        order.sort_unstable();
        let mut numbers: Vec<u64> = order.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        let mut slots: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
        let mut listed: Vec<Option<Listed>> = slots.iter().map(|_| None).collect();
        let mut order = order.into_iter().peekable();
        self.volume.mft.for_each(&numbers, &mut |number, record| {
            let attr = record.as_ref().map_err(Error::clone).and_then(|record| self.attr_of_record(record));
            while let Some((_, at)) = order.next_if(|(wanted, _)| *wanted == number) {
                let candidate = slots.get_mut(at).and_then(Option::take);
                let (Some(candidate), Some(slot)) = (candidate, listed.get_mut(at)) else { continue };
                if let Ok(record) = &record
                    && candidate.namespace == Namespace::Dos
                    && self.has_long_name(record, directory).unwrap_or(false)
                {
                    continue;
                }
                let attr = match &record {
                    Ok(record) if !record.is_life_of(candidate.file) => Err(stale(candidate.file)),
                    _ => attr.clone(),
                };
                *slot = Some(candidate.listed(attr, record.as_ref().map_or(0, |record| record.sequence)));
            }
        });
        listed
    }

    /// Whether the file has a name in `directory` that is not only for DOS.
    pub(super) fn has_long_name(&self, record: &Record<&[u8]>, directory: u64) -> Result<bool> {
        let mut has_list = false;
        for attribute in record.attributes() {
            let attribute = attribute?;
            has_list |= attribute.kind == types::ATTRIBUTE_LIST;
            if attribute.kind == types::FILE_NAME && is_long_name(attribute.resident()?, directory)? {
                return Ok(true);
            }
        }
        if !has_list {
            return Ok(false);
        }
        let node = Node::new(&self.volume, Arc::new(record.to_owned()))?;
        for segment in node.segments(|kind, _| kind == types::FILE_NAME)? {
            let found = node.attribute(&self.volume.mft, &segment)?;
            if is_long_name(found.get()?.resident()?, directory)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Candidate {
    /// The line of the listing.
    fn listed(self, attr: Result<Attr>, sequence: u16) -> Listed {
        let reference = Reference { number: self.file.number, sequence };
        let entry = match (self.name, attr.and_then(|attr| Ok((attr, reference.node()?)))) {
            (Ok(name), Ok((attr, node))) => Ok(Entry { name, node, attr }),
            (Ok(name), Err(error)) => Err((Some(name), error)),
            (Err(error), _) => Err((None, error)),
        };
        match entry {
            Ok(entry) => Listed::Entry { entry, next: self.next },
            Err((name, error)) => Listed::Broken { name, error, next: self.next },
        }
    }
}

fn is_long_name(value: &[u8], directory: u64) -> Result<bool> {
    let name = FileName::parse(value)?;
    Ok(name.parent.number == directory && name.namespace != Namespace::Dos)
}

/// The error of an entry whose file is gone.
pub(super) fn stale(file: Reference) -> Error {
    Error::corrupt("an entry for a file that is no more").object(record::object(file.number))
}

/// The cursor for a position in the node with this number: 0 is the root, others are blocks plus one.
fn cursor_at(node: u64, position: usize) -> Cursor {
    let mask = (1_u64 << POSITION_BITS).saturating_sub(1);
    let position = u64::try_from(position).unwrap_or(u64::MAX).min(mask);
    Cursor((node << POSITION_BITS) | position)
}
