//! MFT records (FILE records): the header of a file, and the container of its attributes.

use super::attribute::{Attribute, Attributes};
use super::fixup;
use crate::bytes::{array, count, index, le_u16, le_u32, le_u64};
use spelunk_tree::{Error, NodeId, Result};

/// The root directory's record.
pub(super) const ROOT: u64 = 5;
/// Records below this one belong to the filesystem itself.
pub(super) const FIRST_USER: u64 = 24;
/// Bits of a node id that hold the record number; the sequence number stands above them.
const NUMBER_BITS: u32 = 40;

const FLAG_IN_USE: u16 = 0x0001;
const FLAG_DIRECTORY: u16 = 0x0002;
/// The header of NTFS 1.2 ends here, that of 3.1 six bytes later.
const HEADER_BYTES: usize = 0x2A;

/// Names a record: its number, and which of its lives is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    /// Record number.
    pub number: u64,
    /// Sequence number; 0 means any.
    pub sequence: u16,
}

impl Reference {
    /// Takes the on-disk form: 48 bits of number below 16 bits of sequence.
    pub fn from_disk(raw: u64) -> Reference {
        let [a, b, c, d, e, f, low, high] = raw.to_le_bytes();
        Reference {
            number: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            sequence: u16::from_le_bytes([low, high]),
        }
    }

    /// Takes a node id.
    pub fn from_node(node: NodeId) -> Reference {
        let [a, b, c, d, e, low, high, _] = node.get().to_le_bytes();
        Reference {
            number: u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]),
            sequence: u16::from_le_bytes([low, high]),
        }
    }

    /// The node id.
    ///
    /// # Errors
    /// `Limit` for a record number above 2^40.
    pub fn node(self) -> Result<NodeId> {
        if self.number >> NUMBER_BITS != 0 {
            return Err(Error::limit(format!("MFT record number {}", self.number)));
        }
        NodeId::new(self.number | (u64::from(self.sequence) << NUMBER_BITS))
    }
}

/// A record whose header has been checked and whose update sequence has been undone.
#[derive(Clone)]
pub(super) struct Record<B> {
    /// Its number.
    pub number: u64,
    /// Its sequence number.
    pub sequence: u16,
    /// Number of the record of the log that changed it last.
    pub lsn: u64,
    /// Count of `$FILE_NAME` attributes, DOS names included.
    pub links: u16,
    /// The record that this one extends; all 0 in a base record. (Those of `$MFT` extend number 0, but with
    /// a sequence.)
    pub base: Reference,
    flags: u16,
    first_attribute: usize,
    used: usize,
    bytes: B,
}

/// A record that owns its bytes.
pub(super) type OwnedRecord = Record<Box<[u8]>>;

impl<'a> Record<&'a [u8]> {
    /// Undoes the update sequence of `bytes` and reads the header.
    ///
    /// # Errors
    /// `Corrupt` when this is no record.
    pub fn parse(number: u64, bytes: &'a mut [u8], sector_bytes: u32) -> Result<Record<&'a [u8]>> {
        Self::parse_inner(number, bytes, sector_bytes).map_err(|error| error.object(object(number)))
    }

    fn parse_inner(number: u64, bytes: &'a mut [u8], sector_bytes: u32) -> Result<Record<&'a [u8]>> {
        match &array::<4>(bytes, 0)? {
            b"FILE" => {}
            b"BAAD" => return Err(Error::corrupt("a record that Windows found damaged (BAAD)")),
            _ => return Err(Error::corrupt("no FILE signature")),
        }
        fixup::apply(bytes, sector_bytes)?;
        let bytes: &'a [u8] = bytes;
        let record = Record {
            number,
            sequence: le_u16(bytes, 0x10)?,
            lsn: le_u64(bytes, 0x08)?,
            links: le_u16(bytes, 0x12)?,
            base: Reference::from_disk(le_u64(bytes, 0x20)?),
            flags: le_u16(bytes, 0x16)?,
            first_attribute: usize::from(le_u16(bytes, 0x14)?),
            used: index(le_u32(bytes, 0x18)?)?,
            bytes,
        };
        if record.used > bytes.len() || record.first_attribute < HEADER_BYTES {
            return Err(Error::corrupt(format!(
                "a record of {} bytes with attributes from {} to {}",
                count(bytes.len()),
                record.first_attribute,
                record.used
            )));
        }
        Ok(record)
    }

    /// The same record with bytes of its own.
    pub fn to_owned(&self) -> OwnedRecord {
        self.with_bytes(self.bytes.into())
    }
}

impl OwnedRecord {
    /// The same record by reference.
    pub fn as_slice(&self) -> Record<&[u8]> {
        self.with_bytes(&*self.bytes)
    }
}

impl<B: AsRef<[u8]>> Record<B> {
    fn with_bytes<C>(&self, bytes: C) -> Record<C> {
        Record {
            number: self.number,
            sequence: self.sequence,
            lsn: self.lsn,
            links: self.links,
            base: self.base,
            flags: self.flags,
            first_attribute: self.first_attribute,
            used: self.used,
            bytes,
        }
    }

    /// Whether the record holds a file or directory now.
    pub fn is_in_use(&self) -> bool {
        self.flags & FLAG_IN_USE != 0
    }

    /// Whether it is a directory (an index of names).
    pub fn is_directory(&self) -> bool {
        self.flags & FLAG_DIRECTORY != 0
    }

    /// Whether it is a file's first record, not an extension of another.
    pub fn is_base(&self) -> bool {
        self.base == Reference { number: 0, sequence: 0 }
    }

    /// This record's own reference.
    pub fn reference(&self) -> Reference {
        Reference { number: self.number, sequence: self.sequence }
    }

    /// Whether the record is the one that `wanted` means, in use, and a base record.
    pub fn is_life_of(&self, wanted: Reference) -> bool {
        self.is_in_use() && self.is_base() && (wanted.sequence == 0 || wanted.sequence == self.sequence)
    }

    /// The attributes that stand in this record, in their order; the first damaged one ends them.
    pub fn attributes(&self) -> Attributes<'_> {
        let area = self.bytes.as_ref().get(..self.used).unwrap_or_default();
        Attributes::new(area, self.first_attribute, self.number)
    }

    /// The attribute at a position that [`Attribute::at`] gave.
    ///
    /// # Errors
    /// `Corrupt` when there is none.
    pub fn attribute_at(&self, at: usize) -> Result<Attribute<'_>> {
        let area = self.bytes.as_ref().get(..self.used).unwrap_or_default();
        Attributes::new(area, at, self.number)
            .next()
            .unwrap_or_else(|| Err(Error::corrupt("no attribute here").object(object(self.number))))
    }

    /// Bytes of memory that the record takes.
    pub fn weight(&self) -> usize {
        self.bytes.as_ref().len()
    }
}

/// How a record is named in errors.
pub(super) fn object(number: u64) -> String {
    format!("MFT record {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_convert_to_node_ids_and_back() {
        let reference = Reference::from_disk(0x0007_0000_0000_0040);

        assert_eq!(reference, Reference { number: 0x40, sequence: 7 });
        assert_eq!(Reference::from_node(reference.node().unwrap()), reference);
        assert!(Reference { number: 1 << 40, sequence: 1 }.node().is_err());
    }
}
