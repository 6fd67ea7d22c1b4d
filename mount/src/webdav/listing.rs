//! A listing as a body: a page of the directory at a time.

use super::calls::Source;
use super::properties::{self, Asked, MULTISTATUS, MULTISTATUS_END, Resource};
use super::target;
use super::view::{Found, Seen, View};
use super::xml;
use bytes::Bytes;
use spelunk_tree::{Cursor, Error, Name, Result};

/// Entries that are read and written at a time: some hundred kilobytes of XML, ten megabytes with the longest names.
const PAGE_ENTRIES: usize = 512;
/// Pages of one listing: far more entries than any directory has, but not without end.
const PAGES_MAX: u32 = 1 << 20;

/// See the module.
pub(super) struct Listing {
    pub(super) view: View,
    pub(super) asked: Asked,
    /// The directory, or what alone is asked for.
    pub(super) found: Found,
    /// The path of its URL.
    pub(super) href: String,
    /// Its name, unless it is the root.
    pub(super) name: Option<Name>,
    /// What comes next.
    pub(super) place: Place,
}

/// How far a listing has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Itself, then perhaps what is in it.
    Itself {
        is_listed: bool,
    },
    /// Its entries.
    Entries {
        cursor: Cursor,
        page: u32,
    },
    End,
}

impl Source for Listing {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let mut out = String::new();
        if let Place::Itself { is_listed } = self.place {
            out.push_str(xml::HEAD);
            out.push_str(MULTISTATUS);
            let seen = self.found.seen();
            let resource = Resource { href: &self.href, name: self.name.as_ref(), seen: &seen };
            properties::push_response(&mut out, &resource, &self.asked);
            if !is_listed {
                out.push_str(MULTISTATUS_END);
                self.place = Place::End;
                return Ok(Some(out.into()));
            }
            self.place = Place::Entries { cursor: Cursor::START, page: 0 };
        }
        let Place::Entries { cursor, page } = self.place else { return Ok(None) };
        if page == PAGES_MAX {
            return Err(Error::limit("a directory of too many entries"));
        }
        let listed = self.view.tree.list(self.found.way.end().node, cursor, PAGE_ENTRIES)?;
        for (name, seen) in
            listed.entries.into_iter().filter_map(|listed| self.view.line(&self.found, listed))
        {
            let mut href = self.href.clone();
            target::push(&mut href, &name, seen.as_ref().is_ok_and(Seen::is_directory));
            match seen {
                Ok(seen) => {
                    let resource = Resource { href: &href, name: Some(&name), seen: &seen };
                    properties::push_response(&mut out, &resource, &self.asked);
                }
                Err(error) => properties::push_broken(&mut out, &href, error.kind()),
            }
        }
        self.place = match listed.next {
            Some(cursor) => Place::Entries { cursor, page: page + 1 },
            None => {
                out.push_str(MULTISTATUS_END);
                Place::End
            }
        };
        Ok(Some(out.into()))
    }
}
