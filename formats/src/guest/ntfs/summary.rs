//! What a listing shows of a file, from its record.

use super::Ntfs;
use super::attribute::{Attribute, I30, UNNAMED, types};
use super::ea;
use super::interix::{self, Special};
use super::node::Node;
use super::record::Record;
use super::reparse::{Reparse, TAG_WOF};
use super::standard_information::{StandardInformation, flags};
use super::wof;
use crate::bytes::count;
use spelunk_tree::{Attr, Kind, Result, Time};
use std::sync::Arc;

/// What the attributes of a file say that its line in a listing needs.
#[derive(Default)]
struct Summary {
    standard: Option<StandardInformation>,
    /// Size and bytes set aside of the unnamed `$DATA`.
    data: (u64, u64),
    /// The same of the directory's `$INDEX_ALLOCATION`.
    index: (u64, u64),
    has_list: bool,
    has_reparse_point: bool,
    has_ea: bool,
}

impl Summary {
    fn add(&mut self, attribute: &Attribute<'_>) -> Result<()> {
        match attribute.kind {
            types::STANDARD_INFORMATION => {
                self.standard = Some(StandardInformation::parse(attribute.resident()?)?);
            }
            types::ATTRIBUTE_LIST => self.has_list = true,
            types::DATA if attribute.name == UNNAMED && attribute.lowest_vcn() == 0 => {
                self.data = attribute.sizes();
            }
            types::INDEX_ALLOCATION if attribute.name == I30 && attribute.lowest_vcn() == 0 => {
                self.index = attribute.sizes();
            }
            types::REPARSE_POINT => self.has_reparse_point = true,
            types::EA => self.has_ea = true,
            _ => {}
        }
        Ok(())
    }

    fn of_record<B: AsRef<[u8]>>(record: &Record<B>) -> Result<Summary> {
        let mut summary = Summary::default();
        for attribute in record.attributes() {
            summary.add(&attribute?)?;
        }
        Ok(summary)
    }

    /// The same where the attributes stand in several records.
    fn of_node(tree: &Ntfs, node: &Node) -> Result<Summary> {
        let mut summary = Summary::of_record(&node.record)?;
        let elsewhere: &[(u32, &[u8])] = &[
            (types::STANDARD_INFORMATION, UNNAMED),
            (types::DATA, UNNAMED),
            (types::INDEX_ALLOCATION, I30),
            (types::REPARSE_POINT, UNNAMED),
            (types::EA, UNNAMED),
        ];
        if summary.has_list {
            for (kind, name) in elsewhere {
                if let Some(found) = node.first(&tree.volume.mft, *kind, name)? {
                    summary.add(&found.get()?)?;
                }
            }
        }
        Ok(summary)
    }

    fn attributes(&self) -> u32 {
        self.standard.map_or(0, |standard| standard.attributes)
    }

    /// Whether the record alone does not tell what the file is.
    fn needs_more(&self, is_directory: bool) -> bool {
        self.has_list
            || self.has_reparse_point
            || self.has_ea
            || (!is_directory && self.attributes() & flags::SYSTEM != 0)
    }

    fn attr(&self, is_directory: bool, links: u16) -> Attr {
        let mut attr = Attr::new(if is_directory { Kind::Directory } else { Kind::File });
        let (size, allocated) = if is_directory { self.index } else { self.data };
        attr.size = size;
        attr.allocated = Some(allocated);
        attr.links = Some(if is_directory { 1 } else { u32::from(links) });
        if let Some(standard) = &self.standard {
            attr.modified = Some(Time::from_filetime(standard.modified));
            attr.accessed = Some(Time::from_filetime(standard.accessed));
            attr.changed = Some(Time::from_filetime(standard.changed));
            attr.created = Some(Time::from_filetime(standard.created));
            attr.dos_attributes = Some(standard.shown_attributes(is_directory));
        }
        attr
    }
}

impl Ntfs {
    /// The attributes of the file that a base record holds.
    ///
    /// # Errors
    /// `Corrupt` when the record, or another that belongs to it, is damaged.
    pub(super) fn attr_of_record(&self, record: &Record<&[u8]>) -> Result<Attr> {
        let summary = Summary::of_record(record)?;
        if summary.needs_more(record.is_directory()) {
            return self.attr_of_node(&Node::new(&self.volume, Arc::new(record.to_owned()))?);
        }
        Ok(summary.attr(record.is_directory(), record.links))
    }

    /// The same of a node.
    ///
    /// # Errors
    /// As [`Ntfs::attr_of_record`].
    pub(super) fn attr_of_node(&self, node: &Node) -> Result<Attr> {
        let summary = Summary::of_node(self, node)?;
        let is_directory = node.record.is_directory();
        let mut attr = summary.attr(is_directory, node.record.links);
        if summary.has_reparse_point
            && let Some(reparse) = Reparse::read(&self.volume, node)?
        {
            attr.reparse_tag = Some(reparse.tag);
            attr.kind = reparse.kind(attr.kind);
            if reparse.tag == TAG_WOF
                && let Some(packed) = node.first(&self.volume.mft, types::DATA, wof::STREAM)?
            {
                let packed = packed.get()?.sizes().1;
                attr.allocated = attr.allocated.map(|plain| plain.saturating_add(packed));
            }
            if let Some(link) = reparse.link()? {
                attr.size = count(self.link_text(node, &link)?.len());
            }
        } else if !is_directory && summary.attributes() & flags::SYSTEM != 0 {
            let is_hidden = summary.attributes() & flags::HIDDEN != 0;
            match interix::special(&self.volume, node, is_hidden)? {
                Some(Special::Link(target)) => {
                    attr.kind = Kind::Symlink;
                    attr.size = count(target.len());
                }
                Some(Special::Device(kind, device)) => {
                    attr.kind = kind;
                    attr.device = Some(device);
                }
                Some(Special::Plain(kind)) => attr.kind = kind,
                None => {}
            }
        }
        if summary.has_ea {
            // What Linux thinks of a file is not worth losing the file for: damage shows where it is asked for.
            ea::Linux::read(&self.volume, node).unwrap_or_default().show(&mut attr);
        }
        Ok(attr)
    }

    /// The file's `$STANDARD_INFORMATION`; `None` where it has none.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub(super) fn standard_information(&self, node: &Node) -> Result<Option<StandardInformation>> {
        let found = node.first(&self.volume.mft, types::STANDARD_INFORMATION, UNNAMED)?;
        found.map(|found| StandardInformation::parse(found.get()?.resident()?)).transpose()
    }
}
