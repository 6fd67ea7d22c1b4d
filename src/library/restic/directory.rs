//! A directory of a snapshot: a tree's blob, a JSON object with a list of nodes.

use super::node::{Details, Meta};
use super::quoted::unquote;
use serde::Deserialize;
use serde_json::value::RawValue;
use spelunk_tree::{Error, Name, Result};
use std::borrow::Cow;

/// Entries of one directory.
const ENTRIES_MAX: usize = 1 << 22;

#[derive(Deserialize)]
struct TreeBlob<'a> {
    #[serde(borrow, default)]
    nodes: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// An entry as it is kept: its name, and where its JSON stands. What else it says is parsed when somebody asks, so a
/// directory takes up little more than its blob.
struct Entry {
    name: Result<Name>,
    start: usize,
    end: usize,
}

/// See the module.
pub(super) struct Directory {
    json: Vec<u8>,
    /// In the blob's order.
    entries: Vec<Entry>,
    /// Those with good names, by name.
    by_name: Vec<u32>,
}

impl Directory {
    /// Parses a tree's blob.
    ///
    /// # Errors
    /// `Corrupt` when it is no list of nodes at all; `Limit` for too many. A node that is damaged is an entry still.
    pub(super) fn parse(json: Vec<u8>) -> Result<Directory> {
        let blob: TreeBlob = serde_json::from_slice(&json)
            .map_err(|_| Error::corrupt("a directory that is no JSON of one"))?;
        let nodes = blob.nodes.unwrap_or_default();
        if nodes.len() > ENTRIES_MAX {
            return Err(Error::limit(format!("a directory of more than {ENTRIES_MAX} entries")));
        }
        let begin = json.as_ptr().addr();
        let entry = |node: &&RawValue| {
            let start = node.get().as_ptr().addr().wrapping_sub(begin);
            Entry { name: name_of(node.get()), start, end: start.saturating_add(node.get().len()) }
        };
        let mut entries: Vec<Entry> = nodes.iter().map(entry).collect();
        let mut by_name: Vec<u32> = (0..).take(entries.len()).collect();
        by_name.retain(|&index| at(&entries, index).is_some());
        by_name.sort_by_key(|&index| (at(&entries, index).cloned(), index));
        let mut twice = Vec::new();
        by_name.dedup_by(|later, first| {
            let is_same = at(&entries, *later) == at(&entries, *first);
            twice.extend(is_same.then_some(*later));
            is_same
        });
        for index in twice {
            if let Some(entry) = usize::try_from(index).ok().and_then(|index| entries.get_mut(index)) {
                entry.name = Err(Error::corrupt("a second entry of one name"));
            }
        }
        Ok(Directory { json, entries, by_name })
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        const NAME_BYTES: usize = 32;
        let entry = size_of::<Entry>() + size_of::<u32>() + NAME_BYTES;
        self.json.len().saturating_add(self.entries.len().saturating_mul(entry))
    }

    /// The index of the entry with this name.
    pub(super) fn find(&self, name: &Name) -> Option<usize> {
        let found = self.by_name.binary_search_by(|&index| at(&self.entries, index).cmp(&Some(name))).ok()?;
        usize::try_from(*self.by_name.get(found)?).ok()
    }

    /// The name of an entry.
    ///
    /// # Errors
    /// `Corrupt` or `Limit` when it cannot have that name.
    pub(super) fn name(&self, index: usize) -> Result<Name> {
        self.entry(index)?.name.clone()
    }

    /// What an entry is.
    ///
    /// # Errors
    /// `Corrupt` when that cannot be read.
    pub(super) fn meta(&self, index: usize) -> Result<Meta> {
        Meta::parse(self.node(index)?)
    }

    /// What an entry holds.
    ///
    /// # Errors
    /// `Corrupt` when that cannot be read.
    pub(super) fn details(&self, index: usize) -> Result<Details> {
        Details::parse(self.node(index)?)
    }

    fn entry(&self, index: usize) -> Result<&Entry> {
        self.entries.get(index).ok_or_else(|| Error::not_found("no such entry"))
    }

    fn node(&self, index: usize) -> Result<&[u8]> {
        let entry = self.entry(index)?;
        let node = self.json.get(entry.start..entry.end);
        node.ok_or_else(|| Error::internal("a node outside its directory"))
    }
}

fn at(entries: &[Entry], index: u32) -> Option<&Name> {
    entries.get(usize::try_from(index).ok()?)?.name.as_ref().ok()
}

fn name_of(node: &str) -> Result<Name> {
    let named: Named =
        serde_json::from_str(node).map_err(|_| Error::corrupt("an entry of a directory without a name"))?;
    let name = unquote(&named.name).ok_or_else(|| Error::corrupt("a name that is quoted in no known way"))?;
    Name::new(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(nodes: &str) -> Directory {
        Directory::parse(format!(r#"{{"nodes": [{nodes}]}}"#).into_bytes()).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn entries_are_found_by_name_whatever_their_order() {
        let directory = directory(r#"{"name":"z"}, {"name":"a\\nb"},{"name":"m"}"#);

        let found = ["z", "a\nb", "m", "n"].map(|text| directory.find(&name(text)));

        assert_eq!(found, [Some(0), Some(1), Some(2), None]);
        assert_eq!(directory.name(1).unwrap(), name("a\nb"));
    }

    #[test]
    fn a_bad_entry_hides_no_other() {
        let directory =
            directory(r#"{"name":"a"},{"name":"../x"},7,{"name":"a"},{"name":"\\q"},{"no":1},{"name":"b"}"#);

        let good: Vec<bool> = (0..directory.len()).map(|index| directory.name(index).is_ok()).collect();

        assert_eq!(good, [true, false, false, false, false, false, true]);
        assert_eq!((directory.find(&name("a")), directory.find(&name("b"))), (Some(0), Some(6)));
    }

    #[test]
    fn whatever_byte_is_changed_nothing_panics_and_good_names_are_found() {
        let id = "a".repeat(64);
        let json = format!(
            r#"{{"nodes":[{{"name":"a\\xff","type":"file","mode":420,"mtime":"2026-11-27T14:17:17.6Z","uid":0,
            "size":3,"links":2,"inode":7,"extended_attributes":[{{"name":"user.x","value":"eXk="}}],"content":["{id}"]}},
            {{"name":"d","type":"dir","subtree":"{id}"}},{{"name":"l","type":"symlink","linktarget":"a"}}]}}"#
        );
        for at in 0..json.len() {
            for change in [1, 0x10, 0x20, 0x80, 0xff] {
                let mut bytes = json.clone().into_bytes();
                bytes[at] ^= change;
                let Ok(directory) = Directory::parse(bytes) else { continue };
                for index in 0..directory.len() {
                    let _ = (directory.meta(index).is_ok(), directory.details(index).is_ok());
                    if let Ok(name) = directory.name(index) {
                        assert_eq!(directory.find(&name), Some(index), "byte {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_directory_may_have_no_list() {
        for empty in ["{}", r#"{"nodes":null}"#, r#"{"nodes":[]}"#] {
            assert_eq!(Directory::parse(empty.into()).unwrap().len(), 0, "{empty}");
        }
        assert!(Directory::parse(b"[]x".to_vec()).is_err());
    }
}
