//! A file or directory: its base record, and where its other attributes are.

use super::attribute::{Attribute, types};
use super::attribute_list::{self, Segment};
use super::mft::Mft;
use super::record::{self, OwnedRecord, Reference};
use super::volume::Volume;
use spelunk_tree::{Error, Result};
use std::sync::Arc;

/// A file or directory.
pub(super) struct Node {
    /// Its base record.
    pub record: Arc<OwnedRecord>,
    /// All segments of all attributes, when they need more than the base record.
    list: Option<Vec<Segment>>,
}

/// An attribute and the record that it stands in.
pub(super) struct Found {
    record: Arc<OwnedRecord>,
    at: usize,
}

impl Found {
    /// The attribute.
    ///
    /// # Errors
    /// None: it was read before.
    pub fn get(&self) -> Result<Attribute<'_>> {
        self.record.attribute_at(self.at)
    }
}

impl Node {
    /// The node that `reference` names.
    ///
    /// # Errors
    /// `NotFound` when it is none in use; `Corrupt` when its attribute list cannot be read.
    pub fn open(volume: &Volume, reference: Reference) -> Result<Node> {
        Node::new(volume, volume.mft.base(reference)?)
    }

    /// The node of a base record.
    ///
    /// # Errors
    /// `Corrupt` when its attribute list cannot be read.
    pub fn new(volume: &Volume, record: Arc<OwnedRecord>) -> Result<Node> {
        let mut list = None;
        for attribute in record.attributes() {
            let attribute = attribute?;
            if attribute.kind == types::ATTRIBUTE_LIST {
                let segments = attribute_list::read(&attribute, &*volume.bytes, &volume.geometry);
                list = Some(segments.map_err(|error| error.object(record::object(record.number)))?);
            }
            // Attributes stand in the order of their types.
            if attribute.kind >= types::ATTRIBUTE_LIST {
                break;
            }
        }
        Ok(Node { record, list })
    }

    /// Its reference.
    pub fn reference(&self) -> Reference {
        self.record.reference()
    }

    /// The segments of the attributes that `wanted` picks by type and name, in the order of the file.
    ///
    /// # Errors
    /// `Corrupt` for a damaged record.
    pub fn segments(&self, wanted: impl Fn(u32, &[u8]) -> bool) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        if let Some(list) = &self.list {
            segments.extend(list.iter().filter(|segment| wanted(segment.kind, &segment.name)).cloned());
            return Ok(segments);
        }
        for attribute in self.record.attributes() {
            let attribute = attribute?;
            if wanted(attribute.kind, attribute.name) {
                segments.push(Segment {
                    kind: attribute.kind,
                    name: attribute.name.into(),
                    lowest_vcn: attribute.lowest_vcn(),
                    record: self.reference(),
                    instance: attribute.instance,
                });
            }
        }
        Ok(segments)
    }

    /// The attribute that a segment names.
    ///
    /// # Errors
    /// `Corrupt` when it is not there.
    pub fn attribute(&self, mft: &Mft, segment: &Segment) -> Result<Found> {
        attribute(mft, self.reference(), segment)
    }

    /// The attribute with this type and name, or the first segment of it.
    ///
    /// # Errors
    /// `Corrupt` when it should be there and is not.
    pub fn first(&self, mft: &Mft, kind: u32, name: &[u8]) -> Result<Option<Found>> {
        if self.list.is_none() {
            for attribute in self.record.attributes() {
                let attribute = attribute?;
                if attribute.is(kind, name) && attribute.lowest_vcn() == 0 {
                    return Ok(Some(Found { record: self.record.clone(), at: attribute.at }));
                }
            }
            return Ok(None);
        }
        let segments = self.segments(|a, b| a == kind && b == name)?;
        let first = segments.iter().find(|segment| segment.lowest_vcn == 0);
        first.map(|segment| self.attribute(mft, segment)).transpose()
    }
}

/// The attribute that `segment` of the file `base` names.
///
/// # Errors
/// `Corrupt` when it is not there.
pub(super) fn attribute(mft: &Mft, base: Reference, segment: &Segment) -> Result<Found> {
    let record = mft.extension(segment.record, base)?;
    let mut found = None;
    for attribute in record.attributes() {
        let attribute = attribute?;
        if attribute.is(segment.kind, &segment.name)
            && attribute.instance == segment.instance
            && attribute.lowest_vcn() == segment.lowest_vcn
        {
            found = Some(attribute.at);
            break;
        }
    }
    match found {
        Some(at) => Ok(Found { record, at }),
        None => Err(Error::corrupt(format!("attribute {:#x} is not where the file says", segment.kind))
            .object(record::object(segment.record.number))),
    }
}
