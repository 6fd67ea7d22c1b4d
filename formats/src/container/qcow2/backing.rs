//! Backing files: the parent, known by its name alone (qcow2.rst, "Header", "String header extensions").

use crate::bytes::{add, index};
use crate::container::parent::file_names;
use spelunk_tree::{Error, ParentRef, ReadAt, Result};

/// Bytes of a backing file's name, as the format demands. It stands in the first cluster.
const NAME_BYTES_MAX: u32 = 1023;

/// QEMU's names of formats, and ours.
const FORMATS: &[(&str, &str)] = &[
    ("raw", "raw"),
    ("file", "raw"),
    ("host_device", "raw"),
    ("qcow2", "qcow2"),
    ("vmdk", "vmdk"),
    ("vdi", "vdi"),
    ("vpc", "vhd"),
    ("vhdx", "vhdx"),
];

/// What an image says of its backing file.
pub(super) struct Backing {
    pub(super) name: Vec<u8>,
    pub(super) format: Option<Vec<u8>>,
}

/// The parent to look for, and its format where the image says it.
pub(super) type Parent = (ParentRef, Option<&'static str>);

impl Backing {
    pub(super) fn read_name(file: &dyn ReadAt, offset: u64, len: u32, cluster_bytes: u64) -> Result<Vec<u8>> {
        if len > NAME_BYTES_MAX {
            return Err(Error::corrupt(format!("a backing file's name of {len} bytes")).at(16));
        }
        let end = add(offset, len.into())?;
        if end > cluster_bytes || end > file.size() {
            return Err(Error::corrupt("a backing file's name outside the first cluster").at(8));
        }
        let mut name = vec![0; index(len)?];
        file.read_at(offset, &mut name)?;
        Ok(name)
    }

    /// Of a path only the file's own name is passed on: with no id to know the file by, it must lie beside its
    /// child. One that is called raw is never probed, since its guest may have written the header of another
    /// format into it; where the image says no format, the file is probed, as QEMU does.
    pub(super) fn parent(&self) -> Result<Parent> {
        let format = self.format.as_deref().filter(|name| !name.is_empty()).map(format).transpose()?;
        let name = String::from_utf8_lossy(&self.name);
        if name.starts_with("json:") || name.contains("://") {
            return Err(Error::unsupported("a backing file that is named by more than a path").at(8));
        }
        let path = name.strip_prefix("file:").unwrap_or(&name);
        let parent =
            ParentRef { id: String::new(), alternative_id: String::new(), paths: file_names([path]) };
        Ok((parent, format))
    }
}

fn format(name: &[u8]) -> Result<&'static str> {
    let found = FORMATS.iter().find(|(qemu, _)| qemu.as_bytes() == name);
    found.map(|(_, ours)| *ours).ok_or_else(|| {
        let name: String =
            String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(40).collect();
        Error::unsupported(format!("a backing file of the format \"{name}\""))
    })
}
