//! Extended attributes under the names of ntfs-3g, and named streams.

use super::Ntfs;
use super::attribute::{UNNAMED, types};
use super::ea;
use super::file_name::{FileName, Namespace, name_from_utf16};
use super::node::Node;
use super::record::ROOT;
use super::reparse::Reparse;
use super::security;
use super::stream::Stream;
use super::wof;
use crate::bytes::count;
use crate::guest::utf16::utf16_from_name;
use spelunk_tree::{Error, Name, Result, StreamInfo, Xattr, limits, wtf8_from_utf16};

/// How the names of all extended attributes begin.
pub(super) const PREFIXES: [&str; 2] = ["system.ntfs_", "user."];

impl Ntfs {
    /// All extended attributes: `system.ntfs_attrib` (DOS attributes, 32 bits), `system.ntfs_times` (creation,
    /// change of data, access, change of the record; 64 bits of 100 ns since 1601 each), `system.ntfs_acl` (the
    /// security descriptor), `system.ntfs_reparse_data`, `system.ntfs_object_id` (without the birth ids that
    /// the index `$O` may have), `system.ntfs_ea` (all of OS/2's and WSL's, as stored), `system.ntfs_dos_name`, and named streams of up to 64 KiB as `user.<name>`.
    /// Numbers are little-endian. Streams that cannot be read (encrypted) or do not fit are left out: they
    /// are still streams.
    ///
    /// # Errors
    /// `Corrupt` when one of them is damaged.
    pub(super) fn xattrs_of(&self, node: &Node) -> Result<Vec<Xattr>> {
        let mut xattrs = Vec::new();
        let mut push = |name: &str, value| Xattr::new(name.as_bytes(), value).map(|xattr| xattrs.push(xattr));
        if let Some(standard) = self.standard_information(node)? {
            let attributes = standard.shown_attributes(node.record.is_directory());
            push("system.ntfs_attrib", attributes.to_le_bytes().to_vec())?;
            let times = [standard.created, standard.modified, standard.accessed, standard.changed];
            push("system.ntfs_times", times.iter().flat_map(|time| time.to_le_bytes()).collect())?;
        }
        if let Some(descriptor) = self.security_descriptor(node)? {
            push("system.ntfs_acl", descriptor)?;
        }
        if let Some(reparse) = Reparse::read(&self.volume, node)? {
            push("system.ntfs_reparse_data", reparse.bytes)?;
        }
        if let Some(found) = node.first(&self.volume.mft, types::OBJECT_ID, UNNAMED)? {
            push("system.ntfs_object_id", found.get()?.resident()?.to_vec())?;
        }
        if let Some(list) = ea::read(&self.volume, node)? {
            push("system.ntfs_ea", list)?;
        }
        if let Some(name) = self.dos_name(node)? {
            push("system.ntfs_dos_name", name)?;
        }
        self.push_streams(node, &mut xattrs)?;
        Ok(xattrs)
    }

    fn push_streams(&self, node: &Node, xattrs: &mut Vec<Xattr>) -> Result<()> {
        let weight = |xattr: &Xattr| xattr.name().len().saturating_add(xattr.value().len());
        let mut left = limits::XATTRS_BYTES_MAX.saturating_sub(xattrs.iter().map(weight).sum());
        for (name, units) in self.stream_names(node)? {
            let Some(stream) = Stream::open(&self.volume, node, types::DATA, &units)? else { continue };
            let fits = stream.size <= count(limits::XATTR_VALUE_BYTES_MAX.min(left));
            if !fits || !stream.is_readable() || xattrs.len() >= limits::XATTRS_MAX {
                continue;
            }
            let value = stream.whole(&self.volume, stream.size)?;
            let xattr = Xattr::new([b"user.", name.as_bytes()].concat(), value)?;
            left = left.saturating_sub(weight(&xattr));
            xattrs.push(xattr);
        }
        Ok(())
    }

    fn security_descriptor(&self, node: &Node) -> Result<Option<Vec<u8>>> {
        let id = self.standard_information(node)?.map_or(0, |standard| standard.security_id);
        if id == 0 {
            return security::own_descriptor(&self.volume, node);
        }
        let security = self.security.get_or_init(|| security::Security::open(&self.volume));
        security.as_ref().map_err(Error::clone)?.descriptor(&self.volume, id)
    }

    /// The name for DOS, in upper case. The root's name `.` is none.
    fn dos_name(&self, node: &Node) -> Result<Option<Vec<u8>>> {
        if node.record.number == ROOT {
            return Ok(None);
        }
        for segment in node.segments(|kind, _| kind == types::FILE_NAME)? {
            let found = node.attribute(&self.volume.mft, &segment)?;
            let attribute = found.get()?;
            let name = FileName::parse(attribute.resident()?)?;
            if matches!(name.namespace, Namespace::Dos | Namespace::Both) {
                return Ok(Some(wtf8_from_utf16(&self.upcase.upper_case(name.units))));
            }
        }
        Ok(None)
    }

    /// The named streams with their sizes.
    ///
    /// # Errors
    /// `Corrupt` when one cannot be opened; `Limit` when there are too many.
    pub(super) fn streams_of(&self, node: &Node) -> Result<Vec<StreamInfo>> {
        let mut streams = Vec::new();
        for (name, units) in self.stream_names(node)? {
            if let Some(stream) = Stream::open(&self.volume, node, types::DATA, &units)? {
                streams.push(StreamInfo { name, size: stream.size });
            }
        }
        Ok(streams)
    }

    /// The names of all named streams, as shown and in UTF-16LE. Those that cannot be shown are left out, and
    /// so is the packed form of a file that is shown unpacked: Windows hides it, too.
    fn stream_names(&self, node: &Node) -> Result<Vec<(Name, Box<[u8]>)>> {
        let mut names = Vec::new();
        let is_packed = match Reparse::read(&self.volume, node)? {
            Some(reparse) => wof::algorithm(&reparse).is_ok_and(|algorithm| algorithm.is_some()),
            None => false,
        };
        for segment in node.segments(|kind, name| kind == types::DATA && name != UNNAMED)? {
            if segment.lowest_vcn == 0 && !(is_packed && *segment.name == *wof::STREAM) {
                names.push((name_from_utf16(&segment.name)?, segment.name));
            }
            if names.len() > limits::STREAMS_MAX {
                return Err(Error::limit("a file with too many streams"));
            }
        }
        Ok(names)
    }

    /// The stream of `node` with this name, else one that differs only in case; without name, the main one.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn open_stream(&self, node: &Node, name: Option<&Name>) -> Result<Stream> {
        let not_found = || Error::not_found("no such stream");
        let Some(name) = name else {
            return Stream::open(&self.volume, node, types::DATA, UNNAMED)?.ok_or_else(not_found);
        };
        let wanted = utf16_from_name(name.as_bytes()).ok_or_else(not_found)?;
        let exact: Vec<u8> = wanted.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        if let Some(stream) = Stream::open(&self.volume, node, types::DATA, &exact)? {
            return Ok(stream);
        }
        let found =
            node.segments(|kind, units| kind == types::DATA && self.upcase.is_same(units, &wanted))?;
        let found = found.first().ok_or_else(not_found)?;
        Stream::open(&self.volume, node, types::DATA, &found.name)?.ok_or_else(not_found)
    }
}
