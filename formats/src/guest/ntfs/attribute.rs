//! Attributes: the typed, named values that a file consists of.

use super::record;
use crate::bytes::{index, le_u16, le_u32, le_u64, range, u8_at};
use spelunk_tree::{Error, Result};

/// Attribute types (`$AttrDef`).
pub(super) mod types {
    pub const STANDARD_INFORMATION: u32 = 0x10;
    pub const ATTRIBUTE_LIST: u32 = 0x20;
    pub const FILE_NAME: u32 = 0x30;
    pub const OBJECT_ID: u32 = 0x40;
    pub const SECURITY_DESCRIPTOR: u32 = 0x50;
    pub const VOLUME_NAME: u32 = 0x60;
    pub const VOLUME_INFORMATION: u32 = 0x70;
    pub const DATA: u32 = 0x80;
    pub const INDEX_ROOT: u32 = 0x90;
    pub const INDEX_ALLOCATION: u32 = 0xA0;
    pub const BITMAP: u32 = 0xB0;
    pub const REPARSE_POINT: u32 = 0xC0;
    pub const EA: u32 = 0xE0;
    pub(super) const END: u32 = 0xFFFF_FFFF;
}

const FLAG_COMPRESSION_MASK: u16 = 0x00FF;
const FLAG_COMPRESSED: u16 = 0x0001;
const FLAG_ENCRYPTED: u16 = 0x4000;
const FLAG_SPARSE: u16 = 0x8000;

const RESIDENT_HEADER_BYTES: usize = 0x18;
const NON_RESIDENT_HEADER_BYTES: usize = 0x40;

/// One attribute, or one segment of an attribute that is spread over several records.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    /// Position in its record.
    pub at: usize,
    /// Its type, see [`types`].
    pub kind: u32,
    /// Its name in UTF-16LE; empty for the unnamed one.
    pub name: &'a [u8],
    /// Tells the attributes of one record apart.
    pub instance: u16,
    /// Where its value is.
    pub body: Body<'a>,
    flags: u16,
}

/// Where the value of an attribute is.
#[derive(Clone, Debug)]
pub(super) enum Body<'a> {
    /// In the record.
    Resident(&'a [u8]),
    /// In clusters of the volume.
    NonResident(NonResident<'a>),
}

/// The header of a value that lies in clusters. Only the first segment's sizes mean something.
#[derive(Clone, Debug)]
pub(super) struct NonResident<'a> {
    /// First cluster of this segment, counted from the start of the value.
    pub lowest_vcn: u64,
    /// Cluster behind the last one of this segment.
    pub end_vcn: u64,
    /// Bytes set aside, holes of compressed and sparse values included.
    pub allocated: u64,
    /// Bytes of the value.
    pub size: u64,
    /// Bytes that were ever written; behind them the value is zero, whatever its clusters hold.
    pub initialized: u64,
    /// Bytes in clusters, of compressed and sparse values.
    pub compressed: Option<u64>,
    /// log2 of the clusters of a compression unit.
    pub unit_bits: u8,
    /// Mapping pairs, see [`super::runlist`].
    pub pairs: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Whether the attribute has this type and name (UTF-16LE).
    pub fn is(&self, kind: u32, name: &[u8]) -> bool {
        self.kind == kind && self.name == name
    }

    /// First cluster of this segment; 0 for resident values.
    pub fn lowest_vcn(&self) -> u64 {
        match &self.body {
            Body::Resident(_) => 0,
            Body::NonResident(body) => body.lowest_vcn,
        }
    }

    /// Whether its clusters may be compressed (LZNT1).
    pub fn is_compressed(&self) -> bool {
        self.flags & FLAG_COMPRESSED != 0
    }

    /// Whether it is compressed in a way that NTFS does not define.
    pub fn is_compressed_unknown(&self) -> bool {
        self.flags & FLAG_COMPRESSION_MASK > FLAG_COMPRESSED
    }

    /// Whether it is encrypted (EFS).
    pub fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPTED != 0
    }

    /// The value, of attributes that are always resident.
    ///
    /// # Errors
    /// `Corrupt` when it is not.
    pub fn resident(&self) -> Result<&'a [u8]> {
        match self.body {
            Body::Resident(value) => Ok(value),
            Body::NonResident(_) => {
                Err(Error::corrupt(format!("attribute {:#x} that is not resident", self.kind)))
            }
        }
    }

    /// Bytes of the value, and bytes set aside for it as ntfs-3g counts them: resident values in units of
    /// eight, compressed and sparse ones without their holes.
    pub fn sizes(&self) -> (u64, u64) {
        match &self.body {
            Body::Resident(value) => {
                let len = crate::bytes::count(value.len());
                (len, len.saturating_add(7) & !7)
            }
            Body::NonResident(body) => (body.size, body.compressed.unwrap_or(body.allocated)),
        }
    }

    fn parse(bytes: &'a [u8], at: usize, kind: u32) -> Result<Attribute<'a>> {
        let name_len = usize::from(u8_at(bytes, 9)?).saturating_mul(2);
        let name = match name_len {
            0 => &[][..],
            _ => range(bytes, usize::from(le_u16(bytes, 0x0A)?), name_len)?,
        };
        let flags = le_u16(bytes, 0x0C)?;
        let body = match u8_at(bytes, 8)? {
            0 => {
                let len = index(le_u32(bytes, 0x10)?)?;
                Body::Resident(range(bytes, usize::from(le_u16(bytes, 0x14)?), len)?)
            }
            1 => Body::NonResident(NonResident::parse(bytes, flags)?),
            form => return Err(Error::corrupt(format!("an attribute of form {form}"))),
        };
        Ok(Attribute { at, kind, name, instance: le_u16(bytes, 0x0E)?, body, flags })
    }
}

impl<'a> NonResident<'a> {
    fn parse(bytes: &'a [u8], flags: u16) -> Result<NonResident<'a>> {
        let pairs_offset = usize::from(le_u16(bytes, 0x20)?);
        if pairs_offset < NON_RESIDENT_HEADER_BYTES {
            return Err(Error::corrupt(format!("mapping pairs at byte {pairs_offset} of their attribute")));
        }
        let lowest_vcn = le_u64(bytes, 0x10)?;
        let has_compressed_size = lowest_vcn == 0 && flags & (FLAG_COMPRESSED | FLAG_SPARSE) != 0;
        Ok(NonResident {
            lowest_vcn,
            // An empty value's highest cluster is -1.
            end_vcn: le_u64(bytes, 0x18)?.wrapping_add(1),
            allocated: le_u64(bytes, 0x28)?,
            size: le_u64(bytes, 0x30)?,
            initialized: le_u64(bytes, 0x38)?,
            compressed: if has_compressed_size { Some(le_u64(bytes, 0x40)?) } else { None },
            unit_bits: u8_at(bytes, 0x22)?,
            pairs: bytes.get(pairs_offset..).unwrap_or_default(),
        })
    }
}

/// The attributes of a record, in their order. The first damaged one is an error and ends them.
pub(super) struct Attributes<'a> {
    area: &'a [u8],
    position: Option<usize>,
    record: u64,
}

impl<'a> Attributes<'a> {
    /// Attributes in `area`, a record's bytes in use, from `position` on.
    pub fn new(area: &'a [u8], position: usize, record: u64) -> Attributes<'a> {
        Attributes { area, position: Some(position), record }
    }

    fn step(&mut self, at: usize) -> Result<Option<Attribute<'a>>> {
        let kind = le_u32(self.area, at)?;
        if kind == types::END {
            return Ok(None);
        }
        let len = index(le_u32(self.area, at.saturating_add(4))?)?;
        if len < RESIDENT_HEADER_BYTES || len % 8 != 0 {
            return Err(Error::corrupt(format!("an attribute of {len} bytes")));
        }
        let attribute = Attribute::parse(range(self.area, at, len)?, at, kind)?;
        self.position = Some(at.saturating_add(len));
        Ok(Some(attribute))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.position.take()?;
        self.step(at).map_err(|error| error.object(record::object(self.record))).transpose()
    }
}

/// The name of the index of file names in UTF-16LE.
pub(super) const I30: &[u8] = b"$\0I\x003\x000\0";
/// The unnamed attribute.
pub(super) const UNNAMED: &[u8] = b"";
