//! What fast commits changed: inodes, the blocks of files, and entries of directories, in memory and in front of what
//! the volume stores. The kernel writes the same to the volume (`fs/ext4/fast_commit.c`), where it must find room for
//! it; here nothing is allocated, so a directory neither grows nor changes its times.
//!
//! An inode in a fast commit lacks its map of blocks, which the other changes hold, and its extended attributes, which
//! cannot change in one: both are taken from the inode that the volume stores, when it is the same file: the same
//! generation.

use super::Filesystem;
use super::casefold::Folded;
use super::extents;
use super::inode::{self, BLOCK_FIELD_BYTES, Flags, Inode};
use super::journal::FastCommits;
use crate::bytes::{le_u16, le_u32, range};
use spelunk_tree::{Error, ErrorKind, Kind, Name, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Changes of entries in directories that ignore case: each is compared with all others.
const FOLDED_MAX: usize = 1024;
/// Inodes that change: more new files than the largest area has room for.
const INODES_MAX: usize = 48 * 1024;
/// Bytes of added entries that are shown as one block: fewer than the 64 KiB from which lengths are stored in another
/// way.
const SECTION_BYTES_MAX: usize = 32 * 1024;
/// Bytes of an entry before its name.
const ENTRY_HEADER_BYTES: usize = 8;

/// Where fields lie in an inode.
const SIZE_AT: usize = 0x04;
const FLAGS_AT: usize = 0x20;
const BLOCK_AT: usize = 0x28;
const GENERATION_AT: usize = 0x64;

/// One change.
#[derive(Debug)]
pub(super) enum Change {
    /// Blocks of a file that lie elsewhere now; `None` for those that hold nothing.
    Blocks { inode: u32, range: Range<u64>, stored: Option<u64> },
    /// An entry of a directory.
    Entry { dir: u32, name: Name, inode: u32, is_added: bool },
    /// The fields of an inode.
    Inode { number: u32, raw: Box<[u8]> },
}

/// All that changed.
#[derive(Default)]
pub(super) struct Changes {
    inodes: BTreeMap<u32, Result<Inode>>,
    directories: HashMap<u32, EntryChanges>,
    /// How many changes of entries had to be compared without case.
    folded: usize,
}

/// What changed in a directory.
#[derive(Default)]
pub(super) struct EntryChanges {
    /// Bytes of its blocks that hold entries, where its inode says something else: none of a new one.
    pub(super) stored_bytes: Option<u64>,
    /// Entries that are gone, or replaced.
    hidden: HashSet<Name>,
    hidden_folded: Vec<Folded>,
    added: BTreeMap<Name, u32>,
    /// The added ones as blocks of a directory hold them.
    pub(super) sections: Vec<Vec<u8>>,
}

impl Changes {
    pub(super) fn inode(&self, number: u32) -> Option<&Result<Inode>> {
        self.inodes.get(&number)
    }

    pub(super) fn entries(&self, dir: u32) -> Option<&EntryChanges> {
        self.directories.get(&dir)
    }
}

impl EntryChanges {
    /// Whether an entry that is stored under `name` is no more.
    pub(super) fn hides(&self, name: &[u8]) -> bool {
        let is_hidden =
            !self.hidden.is_empty() && Name::new(name).is_ok_and(|name| self.hidden.contains(&name));
        is_hidden || self.hidden_folded.iter().any(|folded| folded.matches(name))
    }

    /// The inode of an added entry.
    pub(super) fn added(&self, name: &Name) -> Option<u32> {
        self.added.get(name).copied()
    }

    fn hide(&mut self, name: Name, ignores_case: bool) {
        if ignores_case {
            self.hidden_folded.push(Folded::new(name.as_bytes()));
        }
        self.hidden.insert(name);
    }

    /// Writes the added entries as blocks hold them, without types.
    fn write_sections(&mut self) {
        let mut section = Vec::new();
        for (name, inode) in &self.added {
            let len = ENTRY_HEADER_BYTES.saturating_add(name.as_bytes().len()).next_multiple_of(4);
            if section.len().saturating_add(len) > SECTION_BYTES_MAX {
                self.sections.push(std::mem::take(&mut section));
            }
            let end = section.len().saturating_add(len);
            section.extend_from_slice(&inode.to_le_bytes());
            section.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
            section.extend_from_slice(&[u8::try_from(name.as_bytes().len()).unwrap_or(u8::MAX), 0]);
            section.extend_from_slice(name.as_bytes());
            section.resize(end, 0);
        }
        if !section.is_empty() {
            self.sections.push(section);
        }
    }
}

impl Filesystem {
    /// Applies fast commits, and notes what came of it.
    pub(super) fn apply_fast_commits(&mut self, commits: Result<FastCommits>) {
        let missing = |error: Error| {
            format!(
                "journal needs recovery: fast commits were not replayed, the newest changes are missing ({error})"
            )
        };
        let note = match commits {
            Ok(commits) if commits.commits == 0 => commits.damage.map(missing),
            Ok(commits) => Some(match self.apply(&commits) {
                Ok(()) => format!(
                    "journal needed recovery: {} fast commits were replayed in memory",
                    commits.commits
                ),
                Err(error) => missing(error),
            }),
            Err(error) => Some(missing(error)),
        };
        self.info.notes.extend(note);
    }

    /// Applies `commits`, all or none of them.
    ///
    /// # Errors
    /// When a change is an impossible one, or one that cannot be followed. Nothing was applied then.
    fn apply(&mut self, commits: &FastCommits) -> Result<()> {
        let applied = commits.changes().try_for_each(|change| {
            if self.changes.inodes.len() > INODES_MAX {
                return Err(Error::limit(format!("fast commits that change more than {INODES_MAX} inodes")));
            }
            match change? {
                Change::Blocks { inode, range, stored } => self.change_blocks(inode, range, stored),
                Change::Entry { dir, name, inode, is_added } => self.change_entry(dir, name, inode, is_added),
                Change::Inode { number, raw } => self.change_inode(number, &raw),
            }
        });
        if applied.is_err() {
            self.changes = Changes::default();
        }
        self.changes.directories.values_mut().for_each(EntryChanges::write_sections);
        applied
    }

    fn change_blocks(&mut self, number: u32, range: Range<u64>, stored: Option<u64>) -> Result<()> {
        self.check_changeable(number)?;
        if let Some(block) = stored {
            self.superblock.data_offset(block, range.end.saturating_sub(range.start))?;
        }
        if range.is_empty() || range.end > extents::BLOCKS_MAX {
            return Err(
                Error::corrupt("a change of blocks that no file has").object(format!("inode {number}"))
            );
        }
        let inode = match self.inode(number) {
            Ok(inode) => inode,
            // A file that was removed before it was closed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => return Ok(()),
            Err(error) => return Err(error),
        };
        let inode = self.changes.inodes.entry(number).or_insert(Ok(inode));
        if let Ok(inode) = inode {
            let changes = inode.block_changes.get_or_insert_default();
            Arc::make_mut(changes).set(range, stored);
        }
        Ok(())
    }

    /// The newest change of a name counts, whatever it was before: so the same result comes out where the kernel began
    /// to write its own replay to the volume, and was interrupted.
    fn change_entry(&mut self, dir: u32, name: Name, number: u32, is_added: bool) -> Result<()> {
        let about = |error: Error| error.object(format!("directory inode {dir}"));
        self.check_changeable(dir)?;
        self.check_changeable(number)?;
        let inode = match self.inode(dir) {
            Ok(inode) => inode,
            // A directory that was removed later, or is damaged and says so.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => return Ok(()),
            Err(error) => return Err(error),
        };
        if inode.kind != Kind::Directory {
            return Err(about(Error::corrupt("a change of an entry of what is no directory")));
        }
        if inode.flags.has(Flags::ENCRYPT) {
            return Err(about(Error::unsupported("a change of an entry of an encrypted directory")));
        }
        // Nothing else says so: no fast commit holds the inode of a directory that is not new.
        if self.inode(number).is_ok_and(|child| child.kind == Kind::Directory) {
            self.changes.inodes.insert(dir, Ok(inode.with_subdirectory(is_added)));
        }
        let ignores_case = inode.flags.has(Flags::CASEFOLD);
        self.changes.folded = self.changes.folded.saturating_add(ignores_case.into());
        if self.changes.folded > FOLDED_MAX {
            return Err(about(Error::limit(format!("more than {FOLDED_MAX} changes where case is ignored"))));
        }
        let entries = self.changes.directories.entry(dir).or_default();
        if is_added {
            if ignores_case {
                let folded = Folded::new(name.as_bytes());
                entries.added.retain(|added, _| !folded.matches(added.as_bytes()));
            }
            entries.added.insert(name.clone(), number);
        } else if entries.added.get(&name) == Some(&number) {
            entries.added.remove(&name);
        }
        entries.hide(name, ignores_case);
        Ok(())
    }

    fn change_inode(&mut self, number: u32, raw: &[u8]) -> Result<()> {
        self.check_changeable(number)?;
        let mut stored = self.raw_inode(number)?;
        if raw.len() > stored.len() {
            return Err(Error::corrupt("an inode larger than its place").object(format!("inode {number}")));
        }
        let generation = le_u32(raw, GENERATION_AT)?;
        let is_same = le_u32(&stored, GENERATION_AT)? == generation;
        if is_same && let Err(error) = inode::verify(&self.superblock, number, &stored) {
            self.changes.inodes.insert(number, Err(error));
            return Ok(());
        }
        if !is_same {
            stored.fill(0);
        }
        let known = self.changes.inodes.remove(&number).and_then(Result::ok);
        let known = known.filter(|known| known.generation == generation);
        let decoded = Inode::decode_changed(&self.superblock, number, &merge(&stored, raw)?);
        if decoded.as_ref().is_ok_and(|inode| inode.kind == Kind::Directory) {
            if known.is_none() {
                self.changes.directories.remove(&number);
            }
            let entries = self.changes.directories.entry(number).or_default();
            entries.stored_bytes = Some(u64::from(le_u32(&stored, SIZE_AT)?));
        }
        let block_changes = known.and_then(|known| known.block_changes);
        let inode = decoded.map(|mut inode| {
            inode.block_changes = block_changes;
            inode
        });
        self.changes.inodes.insert(number, inode);
        Ok(())
    }

    /// Refuses changes of inodes that the filesystem keeps for itself.
    fn check_changeable(&self, number: u32) -> Result<()> {
        if number == 0 || number > self.superblock.inodes_count || self.superblock.is_hidden(number) {
            return Err(Error::corrupt("a change of a reserved inode").object(format!("inode {number}")));
        }
        Ok(())
    }
}

/// The fields of `changed` over those of `stored`, but for the map of blocks: of files and directories the stored one
/// stays, which the other changes are relative to.
fn merge(stored: &[u8], changed: &[u8]) -> Result<Vec<u8>> {
    let mut merged = stored.to_vec();
    overwrite(&mut merged, 0, changed)?;
    let flags = Flags(le_u32(changed, FLAGS_AT)?);
    let kind = inode::kind(le_u16(changed, 0)?)?;
    let has_map = matches!(kind, Kind::File | Kind::Directory);
    let is_inline_file = flags.has(Flags::INLINE_DATA) && kind != Kind::Directory;
    if flags.has(Flags::EXTENTS) || (has_map && !is_inline_file) {
        let map = range(stored, BLOCK_AT, BLOCK_FIELD_BYTES)?;
        let is_tree = map.starts_with(&extents::EMPTY_ROOT[..2]);
        let map = if flags.has(Flags::EXTENTS) && !is_tree { &extents::EMPTY_ROOT } else { map };
        overwrite(&mut merged, BLOCK_AT, map)?;
    }
    Ok(merged)
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) -> Result<()> {
    let place = at.checked_add(with.len()).and_then(|end| bytes.get_mut(at..end));
    place.ok_or_else(|| Error::corrupt("an inode larger than its place"))?.copy_from_slice(with);
    Ok(())
}
