//! Finding a name in a directory: down the tree, or, where that is damaged, through all of it.

use super::Ntfs;
use super::attribute::{I30, types};
use super::directory::stale;
use super::file_name::{FileName, Namespace, name_from_utf16};
use super::index::{self, Entries, Index, Window};
use super::node::Node;
use super::record::Reference;
use super::reparse::Reparse;
use crate::guest::utf16::{utf16_from_name, utf16_units};
use spelunk_tree::{Entry, Error, ErrorKind, Kind, Name, Result};
use std::sync::Arc;

/// Blocks that a search through a damaged directory reads: some million entries.
const SCAN_BLOCKS_MAX: usize = 1 << 16;
/// Entries of one directory that may differ from a name only in case.
const MATCHES_MAX: usize = 256;

/// An entry whose name is what is searched, but for case.
struct Match {
    name: Box<[u8]>,
    namespace: Namespace,
    file: Reference,
}

impl Ntfs {
    /// See [`spelunk_tree::Tree::lookup`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn lookup_name(&self, directory: Reference, name: &Name) -> Result<Entry> {
        let units = utf16_from_name(name.as_bytes());
        let found = units.map(|units| self.find_name(directory, &units, false)).transpose()?.flatten();
        let (name, file) = found.ok_or_else(|| Error::not_found("no such entry"))?;
        let record = self.volume.mft.base(file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => stale(file).because(error),
            _ => error,
        })?;
        let node = Node::new(&self.volume, record)?;
        Ok(Entry { name, node: node.reference().node()?, attr: self.attr_of_node(&node)? })
    }

    /// The name as stored, and the file, of the entry called `wanted`: an exact match before any other, and none but it
    /// in a directory that heeds case. Names for DOS of files that have another one count only with `take_dos`.
    ///
    /// # Errors
    /// `NotADirectory`; `Corrupt` when the entry may stand in a part that is damaged.
    pub(super) fn find_name(
        &self,
        directory: Reference,
        wanted: &[u16],
        take_dos: bool,
    ) -> Result<Option<(Name, Reference)>> {
        let index = self.index_of(directory)?;
        let mut matches = Vec::new();
        let found = self.descend(&index, directory.number, wanted, &mut matches);
        if let Err(error) = found {
            matches.clear();
            self.scan(&index, directory.number, wanted, &mut matches)?;
            if matches.is_empty() {
                return Err(error.context("looking up a name in a damaged directory"));
            }
        }
        let is_exact = |found: &Match| utf16_units(&found.name).eq(wanted.iter().copied());
        if matches.iter().any(|found| !is_exact(found)) && self.is_case_sensitive(directory)? {
            matches.retain(is_exact);
        }
        matches.sort_by_key(|found| !is_exact(found));
        for found in matches {
            if take_dos || found.namespace != Namespace::Dos || !self.is_alias(&found, directory.number) {
                return Ok(Some((name_from_utf16(&found.name)?, found.file)));
            }
        }
        Ok(None)
    }

    fn is_case_sensitive(&self, directory: Reference) -> Result<bool> {
        let standard = self.standard_information(&Node::open(&self.volume, directory)?)?;
        Ok(standard.is_some_and(|standard| standard.is_case_sensitive))
    }

    fn descend(&self, index: &Index, directory: u64, wanted: &[u16], matches: &mut Vec<Match>) -> Result<()> {
        let mut order = |key: &[u8]| {
            let name = FileName::parse(key)?;
            Ok(self.upcase.compare(utf16_units(name.units), wanted.iter().copied()))
        };
        index.find(&self.volume, &mut order, &mut |entry| {
            self.take_match(entry, directory, matches)?;
            Ok(matches.len() >= MATCHES_MAX)
        })
    }

    /// Looks at all entries, whatever the tree says.
    fn scan(&self, index: &Index, directory: u64, wanted: &[u16], matches: &mut Vec<Match>) -> Result<()> {
        if let Ok(entries) = index.root_entries(0) {
            self.scan_node(entries, directory, wanted, matches);
        }
        let (mut window, mut from) = (Window::default(), 0);
        for _ in 0..SCAN_BLOCKS_MAX {
            let Some(block) = index.next_used(&self.volume, from, &mut window)? else { return Ok(()) };
            if let Ok(bytes) = index.block(&self.volume, block)
                && let Ok(entries) = Entries::of_block(&bytes, 0)
            {
                self.scan_node(entries, directory, wanted, matches);
            }
            from = block.saturating_add(1);
        }
        Err(Error::limit("a damaged directory that is too large to search"))
    }

    fn scan_node(&self, entries: Entries<'_>, directory: u64, wanted: &[u16], matches: &mut Vec<Match>) {
        for entry in entries.filter_map(Result::ok).filter(|entry| !entry.is_last()) {
            let Ok(name) = FileName::parse(entry.key) else { continue };
            let ordering = self.upcase.compare(utf16_units(name.units), wanted.iter().copied());
            if ordering.is_eq() && matches.len() < MATCHES_MAX {
                // Its key was read just now.
                let _ = self.take_match(&entry, directory, matches);
            }
        }
    }

    fn take_match(&self, entry: &index::Entry<'_>, directory: u64, matches: &mut Vec<Match>) -> Result<()> {
        let name = FileName::parse(entry.key)?;
        let file = Reference::from_disk(entry.head);
        if !self.is_hidden(directory, file.number, name.units) {
            matches.push(Match { name: name.units.into(), namespace: name.namespace, file });
        }
        Ok(())
    }

    /// Whether a name for DOS is of a file that has another one in the directory.
    fn is_alias(&self, found: &Match, directory: u64) -> bool {
        let record = self.volume.mft.base(found.file);
        record.is_ok_and(|record| self.has_long_name(&record.as_slice(), directory).unwrap_or(false))
    }

    /// The index of names of a directory.
    ///
    /// # Errors
    /// `NotADirectory`, also for a directory that is shown as a symbolic link; `Corrupt`.
    pub(super) fn index_of(&self, directory: Reference) -> Result<Arc<Index>> {
        if let Some(index) = self.indexes.get(&(directory.number, directory.sequence)) {
            return Ok(index);
        }
        let node = Node::open(&self.volume, directory)?;
        let has_reparse_point = !node.segments(|kind, _| kind == types::REPARSE_POINT)?.is_empty();
        let shown = match has_reparse_point.then(|| Reparse::read(&self.volume, &node)).transpose()?.flatten()
        {
            Some(reparse) => reparse.kind(Kind::Directory),
            None => Kind::Directory,
        };
        if !node.record.is_directory() || shown != Kind::Directory {
            return Err(Error::new(ErrorKind::NotADirectory, "not a directory"));
        }
        let index = Arc::new(Index::open(&self.volume, &node, I30)?);
        self.indexes.insert((directory.number, directory.sequence), index.clone(), index.weight());
        Ok(index)
    }
}
