//! What is searched for, and whether an entry is that.

use super::block::Attributes;
use super::{Selection, fold};
use crate::glob::{Glob, literals};
use spelunk_tree::{Error, Kind, Result, Time};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Hits of one page, if nothing is said.
const LIMIT: usize = 100;
/// Bytes of a name or pattern that is searched for: no name of an entry is longer.
const TEXT_BYTES_MAX: usize = spelunk_tree::limits::NAME_BYTES_MAX;
/// How long a search may take, if nothing is said.
const DEADLINE: Duration = Duration::from_secs(5);

/// A search. Everything that is said must hold.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where.
    pub within: Selection,
    /// Only what is in the newest indexed backup of its volume.
    pub latest: bool,
    /// What it is called.
    pub name: NameTest,
    /// What it is; empty for anything.
    pub kinds: Vec<Kind>,
    /// How its name ends: behind a dot, in any case.
    pub extension: Option<String>,
    /// Its size in bytes. Anything but all sizes is for files alone.
    pub size: RangeInclusive<u64>,
    /// Modified after this.
    pub after: Option<Time>,
    /// Modified before this.
    pub before: Option<Time>,
    /// Hits before the page.
    pub offset: usize,
    /// Hits of the page.
    pub limit: usize,
    /// How long it may take. What was found until then is the answer.
    pub deadline: Duration,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            within: Selection::default(),
            latest: false,
            name: NameTest::Any,
            kinds: Vec::new(),
            extension: None,
            size: 0..=u64::MAX,
            after: None,
            before: None,
            offset: 0,
            limit: LIMIT,
            deadline: DEADLINE,
        }
    }
}

/// How an entry is to be called, in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameTest {
    /// Anyhow.
    Any,
    /// With this in it.
    Part(String),
    /// Like this pattern, from end to end: `*`, `?`, `[a-z]`, `\x` as `find -name`.
    Glob(String),
}

impl NameTest {
    /// What a user typed: a pattern, if it has `*` or `?` in it, else a part of a name.
    pub fn of_text(text: &str) -> NameTest {
        if text.is_empty() {
            NameTest::Any
        } else if text.contains(['*', '?']) {
            NameTest::Glob(text.to_owned())
        } else {
            NameTest::Part(text.to_owned())
        }
    }
}

/// A query, ready to be asked of each entry.
pub(super) struct Test {
    part: Option<String>,
    glob: Option<Glob>,
    /// Dot and extension.
    ending: Option<String>,
    kinds: Vec<Kind>,
    pub(super) size: RangeInclusive<u64>,
    pub(super) after: Option<Time>,
    pub(super) before: Option<Time>,
    /// What stands in the folded names of each block with a hit, edges included.
    pub(super) literals: Vec<String>,
}

impl Test {
    /// # Errors
    /// `Unsupported` for a pattern that cannot be, `Limit` for one that is too long.
    pub(super) fn new(query: &Query) -> Result<Test> {
        let (part, glob) = match &query.name {
            NameTest::Any => (None, None),
            NameTest::Part(part) => (Some(folded(part)?), None),
            NameTest::Glob(glob) => (None, Some(folded(glob)?)),
        };
        let mut needed: Vec<String> = part.iter().cloned().collect();
        needed.extend(glob.iter().flat_map(|glob| literals(glob, fold::EDGE)));
        let extension = query.extension.as_ref().map(|extension| extension.trim_start_matches('.'));
        let ending = extension.map(|extension| folded(&format!(".{extension}"))).transpose()?;
        needed.extend(ending.iter().map(|ending| format!("{ending}{}", fold::EDGE)));
        // Every block has edges.
        needed.retain(|literal| !literal.trim_matches(fold::EDGE).is_empty());
        Ok(Test {
            part,
            glob: glob.map(|glob| Glob::new(&glob, false)).transpose().map_err(Error::unsupported)?,
            ending,
            kinds: query.kinds.clone(),
            size: query.size.clone(),
            after: query.after,
            before: query.before,
            literals: needed,
        })
    }

    /// Whether an entry may be called so, folded.
    pub(super) fn takes_name(&self, name: &str) -> bool {
        self.part.as_ref().is_none_or(|part| name.contains(part.as_str()))
            && self.ending.as_ref().is_none_or(|ending| name.ends_with(ending.as_str()))
            && self.glob.as_ref().is_none_or(|glob| glob.matches(name.as_bytes()))
    }

    /// Whether an entry may be so.
    pub(super) fn takes(&self, attributes: &Attributes) -> bool {
        let Attributes { kind, size, modified } = attributes;
        (self.kinds.is_empty() || self.kinds.contains(kind))
            && (self.takes_all_sizes() || *kind == Kind::File && self.size.contains(size))
            && self.after.is_none_or(|bound| modified.is_some_and(|time| time > bound))
            && self.before.is_none_or(|bound| modified.is_some_and(|time| time < bound))
    }

    /// Whether names matter.
    pub(super) fn is_of_names(&self) -> bool {
        self.part.is_some() || self.glob.is_some() || self.ending.is_some()
    }

    fn takes_all_sizes(&self) -> bool {
        self.size == (0..=u64::MAX)
    }

    /// How well a folded name fits that is taken: 0 is all of what was searched for, 1 begins so, 2 has it somewhere.
    pub(super) fn rank(&self, name: &str) -> u8 {
        let Some(part) = &self.part else { return 0 };
        if name == part {
            0
        } else if name.starts_with(part.as_str()) {
            1
        } else {
            2
        }
    }
}

fn folded(text: &str) -> Result<String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::limit(format!("a search for {} bytes", text.len())));
    }
    Ok(fold::fold(text.as_bytes()).into_owned())
}
