//! The descriptor: lines of text (Virtual Disk Format 5.0, "The Descriptor File").

use super::{SECTOR_BYTES, SIZE_BYTES_MAX, header, one_extent};
use crate::bytes::{add, index, mul};
use crate::container::parent::file_names;
use spelunk_tree::{Error, ParentRef, ReadAt, Result};

const MAGIC: &[u8; 21] = b"# Disk DescriptorFile";

/// Bytes of a descriptor: the limit of QEMU; those of the longest chains have some 100 KiB.
const DESCRIPTOR_BYTES_MAX: u64 = 1 << 20;

/// Extents of one disk: 64 TiB in pieces of 2 GiB have 32,768; a chain cannot have more files than
/// [`spelunk_tree::limits::CHAIN_MAX`], but extents may share one.
const EXTENTS_MAX: usize = 4096;

/// Characters of a type that are shown: the longest that is known has 28.
const CREATE_TYPE_MAX: usize = 40;

/// The content id of a parent that there is not.
const NO_PARENT: u32 = u32::MAX;

/// Types of disks that lie on devices, not in files.
const DEVICES: &[&str] = &[
    "fulldevice",
    "partitioneddevice",
    "vmfsraw",
    "vmfsrdm",
    "vmfsrawdevicemap",
    "vmfspassthroughrawdevicemap",
];

/// What a descriptor says.
pub(super) struct Descriptor {
    pub(super) create_type: String,
    /// The content id, as eight hexadecimal digits; empty when there is none.
    pub(super) content_id: String,
    pub(super) parent: Option<ParentRef>,
    pub(super) extents: Vec<Extent>,
}

/// How an extent's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flat,
    Sparse,
    /// ESX's own sparse format.
    VmfsSparse,
    Zero,
}

/// A range of the disk; they follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    sectors: u64,
    pub(super) kind: Kind,
    /// The file's name, without directories; none for zeros.
    pub(super) name: Option<String>,
    /// Where the extent begins in its file (flat ones).
    pub(super) offset_bytes: u64,
}

pub(super) fn probe(file: &dyn ReadAt) -> Result<bool> {
    if file.size() < 21 {
        return Ok(false);
    }
    let mut start = [0; 21];
    file.read_at(0, &mut start)?;
    Ok(start.eq_ignore_ascii_case(MAGIC))
}

impl Descriptor {
    /// Reads the text at `offset`, which ends with `len` bytes or a NUL.
    pub(super) fn read(file: &dyn ReadAt, offset: u64, len: u64) -> Result<Descriptor> {
        if len > DESCRIPTOR_BYTES_MAX {
            return Err(Error::limit(format!("a descriptor of {len} bytes")).at(offset));
        }
        if add(offset, len)? > file.size() {
            return Err(Error::corrupt("truncated: the descriptor goes past the end of the file").at(offset));
        }
        let mut bytes = vec![0; index(len)?];
        file.read_at(offset, &mut bytes)?;
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Descriptor::parse(&String::from_utf8_lossy(text))
    }

    fn parse(text: &str) -> Result<Descriptor> {
        if text.is_empty() {
            // QEMU leaves room for one in every extent.
            return Err(one_extent());
        }
        if !text.get(..MAGIC.len()).is_some_and(|start| start.as_bytes().eq_ignore_ascii_case(MAGIC)) {
            return Err(Error::corrupt("no descriptor where there should be one"));
        }
        let lines = || text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        if lines().any(|line| line.to_ascii_lowercase().starts_with("encryption.")) {
            return Err(Error::unsupported("an encrypted disk"));
        }
        let create_type: String =
            value(lines(), "createType").unwrap_or_default().chars().take(CREATE_TYPE_MAX).collect();
        if DEVICES.contains(&create_type.to_ascii_lowercase().as_str()) {
            return Err(Error::unsupported(format!("a disk on a device ({create_type})")));
        }
        let content_id = value(lines(), "CID").map(content_id).transpose()?.unwrap_or(NO_PARENT);
        let parent_id = value(lines(), "parentCID").map(self::content_id).transpose()?.unwrap_or(NO_PARENT);
        let parent = match parent_id {
            NO_PARENT => None,
            id => Some(parent(id, value(lines(), "parentFileNameHint"))?),
        };
        let extents = lines().filter(|line| is_extent(line)).map(extent).take(EXTENTS_MAX.saturating_add(1));
        let extents: Vec<Extent> = extents.collect::<Result<_>>()?;
        if extents.len() > EXTENTS_MAX {
            return Err(Error::limit(format!("a disk of more than {EXTENTS_MAX} extents")));
        }
        Ok(Descriptor { create_type, content_id: format!("{content_id:08x}"), parent, extents })
    }

    /// The disk's size: that of all extents together.
    pub(super) fn size_bytes(&self) -> Result<u64> {
        let size = self.extents.iter().try_fold(0, |sum, extent| add(sum, extent.bytes()?))?;
        match size {
            0 => Err(Error::corrupt("a disk of 0 bytes")),
            size if size > SIZE_BYTES_MAX => Err(Error::limit(format!("a disk of {size} bytes"))),
            size => Ok(size),
        }
    }
}

impl Extent {
    pub(super) fn bytes(&self) -> Result<u64> {
        mul(self.sectors, SECTOR_BYTES)
    }
}

impl Kind {
    /// What tells whether a file can be such an extent.
    pub(super) fn check(self) -> fn(&dyn ReadAt) -> Result<()> {
        match self {
            Kind::Flat | Kind::Zero => |_| Ok(()),
            Kind::Sparse => |file| header::check_magic(file, header::MAGIC),
            Kind::VmfsSparse => |file| header::check_magic(file, header::MAGIC_VMFS),
        }
    }
}

/// The value of the first line with this key.
fn value<'a>(mut lines: impl Iterator<Item = &'a str>, wanted: &str) -> Option<&'a str> {
    lines.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
    })
}

fn content_id(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 16).map_err(|_| Error::corrupt("a content id that is no number"))
}

fn parent(id: u32, hint: Option<&str>) -> Result<ParentRef> {
    let paths = file_names(hint);
    if paths.is_empty() {
        return Err(Error::corrupt("a child that does not name its parent"));
    }
    Ok(ParentRef { id: format!("{id:08x}"), alternative_id: String::new(), paths })
}

const ACCESS: [&str; 3] = ["RW", "RDONLY", "NOACCESS"];

fn is_extent(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| ACCESS.contains(&word))
}

/// A line such as `RW 4192256 SPARSE "disk-s001.vmdk"` or `RW 8192 FLAT "disk-flat.vmdk" 0`.
fn extent(line: &str) -> Result<Extent> {
    let wrong = || Error::corrupt("a line of an extent that cannot be read");
    let (words, rest) = line.split_once('"').unwrap_or((line, ""));
    let (name, behind) = rest.rsplit_once('"').unwrap_or(("", ""));
    let mut words = words.split_whitespace();
    let access = words.next();
    let sectors = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let kind = match words.next().ok_or_else(wrong)? {
        "FLAT" | "VMFS" => Kind::Flat,
        "SPARSE" => Kind::Sparse,
        "VMFSSPARSE" => Kind::VmfsSparse,
        "ZERO" => Kind::Zero,
        other => {
            let other: String = other.chars().filter(|c| c.is_ascii_alphanumeric()).take(20).collect();
            return Err(Error::unsupported(format!("an extent of the type {other}")));
        }
    };
    if access == Some("NOACCESS") && kind != Kind::Zero {
        return Err(Error::unsupported("an extent that must not be read"));
    }
    let offset: u64 = match behind.split_whitespace().next() {
        Some(word) if kind == Kind::Flat => word.parse().map_err(|_| wrong())?,
        _ => 0,
    };
    let name = if kind == Kind::Zero { None } else { Some(file_names([name]).pop().ok_or_else(wrong)?) };
    Ok(Extent { sectors, kind, name, offset_bytes: mul(offset, SECTOR_BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_read_with_quotes_spaces_and_paths_in_their_names() {
        let flat = extent(r#"RW 63 FLAT "C:\disks\a "b" c-flat.vmdk" 8"#).unwrap();
        assert_eq!(flat.name.as_deref(), Some(r#"a "b" c-flat.vmdk"#));
        assert_eq!((flat.kind, flat.sectors, flat.offset_bytes), (Kind::Flat, 63, 4096));
        assert_eq!(extent("RW 63 ZERO").unwrap().name, None);
        assert_eq!(extent(r#"RW 63 VMFS "x-flat.vmdk""#).unwrap().kind, Kind::Flat);
        for line in ["RW", "RW x FLAT", r#"RW 63 FLAT"#, r#"RW 63 FLAT "" 0"#, r#"RW 63 FLAT "a" b"#] {
            assert!(extent(line).is_err(), "{line}");
        }
        assert!(extent(r#"RW 63 SESPARSE "x""#).unwrap_err().to_string().contains("SESPARSE"));
    }
}
