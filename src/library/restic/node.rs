//! A node: an entry of a directory, as JSON (restic's design document, "Trees and Data").

use super::id::Id;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use spelunk_tree::{Attr, Device, Error, Kind, Result, Time, Xattr, Xattrs, limits};
use std::borrow::Cow;

/// Pieces of one file: 8 TiB at restic's usual size of a piece.
const PIECES_MAX: usize = 1 << 23;

/// What all that list nodes want to know.
#[derive(Deserialize)]
struct MetaJson<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    mode: Option<u32>,
    #[serde(borrow)]
    mtime: Option<Cow<'a, str>>,
    #[serde(borrow)]
    atime: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ctime: Option<Cow<'a, str>>,
    uid: Option<u32>,
    gid: Option<u32>,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    device: u64,
    #[serde(borrow)]
    linktarget: Option<Cow<'a, str>>,
    #[serde(borrow)]
    linktarget_raw: Option<Cow<'a, str>>,
    extended_attributes: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    subtree: Option<Id>,
}

/// What those want to know who look into one.
#[derive(Deserialize)]
struct DetailsJson<'a> {
    #[serde(borrow)]
    extended_attributes: Option<Vec<XattrJson<'a>>>,
    content: Option<Vec<Id>>,
}

#[derive(Deserialize)]
struct XattrJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
}

/// What a node is.
pub(super) struct Meta {
    pub(super) attr: Attr,
    /// Of a directory: its blob.
    pub(super) subtree: Option<Id>,
    /// Of a symbolic link: where it leads.
    pub(super) link_target: Option<Vec<u8>>,
    /// Of what has several names: a hash that all of them have, and nothing else in the snapshot.
    pub(super) shared: Option<Sha256>,
}

/// What a node holds.
pub(super) struct Details {
    pub(super) xattrs: Result<Vec<Xattr>>,
    /// The pieces of a file.
    pub(super) content: Vec<Id>,
}

impl Meta {
    /// Parses a node.
    ///
    /// # Errors
    /// `Corrupt` when it is none; `Unsupported` for a kind that is not known.
    pub(super) fn parse(json: &[u8]) -> Result<Meta> {
        let node: MetaJson =
            serde_json::from_slice(json).map_err(|_| Error::corrupt("an entry that is no node"))?;
        let kind = kind(&node.kind)?;
        let link_target = if kind == Kind::Symlink { Some(node.link_target()?) } else { None };
        let size = match (&link_target, kind) {
            (Some(target), _) => u64::try_from(target.len()).unwrap_or(u64::MAX),
            (None, Kind::File) => node.size,
            (None, _) => 0,
        };
        let has_xattrs = node.extended_attributes.as_ref().is_some_and(|attributes| !attributes.is_empty());
        let attr = Attr {
            size,
            links: u32::try_from(node.links).ok().filter(|&links| links > 0),
            mode: node.mode.map(permissions),
            uid: node.uid,
            gid: node.gid,
            device: matches!(kind, Kind::BlockDevice | Kind::CharDevice).then(|| device(node.device)),
            modified: node.mtime.as_deref().map(time).transpose()?,
            accessed: node.atime.as_deref().map(time).transpose()?,
            changed: node.ctime.as_deref().map(time).transpose()?,
            xattrs: if has_xattrs { Xattrs::Maybe } else { Xattrs::None },
            ..Attr::new(kind)
        };
        if kind == Kind::Directory && node.subtree.is_none() {
            return Err(Error::corrupt("a directory that does not say where its entries are"));
        }
        let subtree = node.subtree.filter(|_| kind == Kind::Directory);
        let is_shared = kind != Kind::Directory && node.links > 1;
        let shared = is_shared.then(|| node.shared(&attr));
        Ok(Meta { attr, subtree, link_target, shared })
    }
}

impl MetaJson<'_> {
    fn link_target(&self) -> Result<Vec<u8>> {
        let target = match (&self.linktarget_raw, &self.linktarget) {
            (Some(raw), _) => base64(raw)?,
            (None, Some(target)) => target.as_bytes().to_vec(),
            (None, None) => return Err(Error::corrupt("a symbolic link that leads nowhere")),
        };
        if target.len() > limits::LINK_TARGET_BYTES_MAX {
            return Err(Error::limit(format!("a link's target of {} bytes", target.len())));
        }
        Ok(target)
    }

    /// A hash of all but the name: files that were one file have the same. Those that only say so differ in
    /// something, and stay apart.
    fn shared(&self, attr: &Attr) -> Sha256 {
        let content = self.content.map_or("", RawValue::get);
        // To read a file for its backup may change when it was last read.
        let attr = Attr { accessed: None, ..attr.clone() };
        let stated = format!("{}:{}:{attr:?}:", self.device_id, self.inode);
        let target = self.linktarget.as_deref().unwrap_or_default();
        // No directory's id begins so: they are hashed with the id of their parent, which is not zero, before.
        let hash = Sha256::new().chain_update(0u64.to_le_bytes()).chain_update(stated);
        hash.chain_update(target).chain_update(content)
    }
}

impl Details {
    /// Parses a node.
    ///
    /// # Errors
    /// `Corrupt` when it is none; `Limit` for a file of too many pieces.
    pub(super) fn parse(json: &[u8]) -> Result<Details> {
        let node: DetailsJson =
            serde_json::from_slice(json).map_err(|_| Error::corrupt("an entry that is no node"))?;
        let content = node.content.unwrap_or_default();
        if content.len() > PIECES_MAX {
            return Err(Error::limit(format!("a file of more than {PIECES_MAX} pieces")));
        }
        Ok(Details { xattrs: xattrs(node.extended_attributes.unwrap_or_default()), content })
    }
}

fn xattrs(attributes: Vec<XattrJson>) -> Result<Vec<Xattr>> {
    if attributes.len() > limits::XATTRS_MAX {
        return Err(Error::limit(format!("{} extended attributes", attributes.len())));
    }
    let mut bytes = 0usize;
    let mut xattrs = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let value = attribute.value.as_deref().map_or_else(|| Ok(Vec::new()), base64)?;
        bytes = bytes.saturating_add(attribute.name.len()).saturating_add(value.len());
        if bytes > limits::XATTRS_BYTES_MAX {
            return Err(Error::limit("extended attributes of too many bytes"));
        }
        xattrs.push(Xattr::new(attribute.name.as_bytes(), value)?);
    }
    Ok(xattrs)
}

fn kind(text: &str) -> Result<Kind> {
    Ok(match text {
        "file" => Kind::File,
        "dir" => Kind::Directory,
        "symlink" => Kind::Symlink,
        "dev" => Kind::BlockDevice,
        "chardev" => Kind::CharDevice,
        "fifo" => Kind::Fifo,
        "socket" => Kind::Socket,
        _ => return Err(Error::unsupported("an entry of a kind that is not known")),
    })
}

/// Permissions of Go's `os.FileMode`, whose set-id and sticky bits are elsewhere than Unix's.
fn permissions(mode: u32) -> u32 {
    let bit = |from: u32, to: u32| if mode & (1 << from) == 0 { 0 } else { to };
    mode & 0o777 | bit(23, 0o4000) | bit(22, 0o2000) | bit(20, 0o1000)
}

/// A device number as Linux gives it.
fn device(number: u64) -> Device {
    Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) }
}

/// A time in RFC 3339.
///
/// # Errors
/// `Corrupt` for anything else.
pub(super) fn time(text: &str) -> Result<Time> {
    const SECOND: i128 = 1_000_000_000;
    let timestamp: Timestamp = text.parse().map_err(|_| Error::corrupt("a time that is none"))?;
    // A timestamp's seconds are rounded towards 1970, where those of a `Time` are rounded down.
    let nanoseconds = timestamp.as_nanosecond();
    let out_of_range = |_| Error::corrupt("a time out of range");
    let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).map_err(out_of_range)?;
    Time::new(seconds, u32::try_from(nanoseconds.rem_euclid(SECOND)).map_err(out_of_range)?)
}

fn base64(text: impl AsRef<str>) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text.as_ref()).map_err(|_| Error::corrupt("bytes that are not in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_go_become_those_of_unix() {
        assert_eq!(permissions(0o644), 0o644);
        assert_eq!(permissions(1 << 31 | 1 << 20 | 0o777), 0o1777);
        assert_eq!(permissions(1 << 23 | 1 << 22 | 0o755), 0o6755);
    }

    #[test]
    fn times_before_1970_are_rounded_down() {
        let parsed = |text| time(text).map(|time| (time.seconds(), time.nanoseconds()));

        assert_eq!(parsed("1969-12-31T23:59:58.25Z"), Ok((-2, 250_000_000)));
        assert_eq!(parsed("2026-11-27T14:17:17.644063437+01:00"), Ok((1_795_785_437, 644_063_437)));
        assert_eq!(parsed("0001-01-01T00:00:00Z"), Ok((-62_135_596_800, 0)));
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn nodes_that_contradict_themselves_are_damaged() {
        for bad in [
            r#"{"name":"x"}"#,
            r#"{"type":"dir"}"#,
            r#"{"type":"symlink"}"#,
            r#"{"type":"file","mtime":"x"}"#,
            r#"{"type":"file","size":-1}"#,
            r#"{"type":"dir","subtree":"abc"}"#,
        ] {
            let error = Meta::parse(bad.as_bytes()).err();
            assert_eq!(error.map(|error| error.kind()), Some(spelunk_tree::ErrorKind::Corrupt), "{bad}");
        }
        let strange = Meta::parse(br#"{"type":"irregular"}"#).err().map(|error| error.kind());
        assert_eq!(strange, Some(spelunk_tree::ErrorKind::Unsupported));
    }

    #[test]
    fn bytes_of_links_and_attributes_are_whatever_they_were() {
        let meta =
            Meta::parse(br#"{"type":"symlink","linktarget":"x","linktarget_raw":"dGFyZ/90"}"#).unwrap();
        let json =
            br#"{"extended_attributes":[{"name":"user.a","value":"eXk="},{"name":"user.b","value":null}]}"#;
        let xattrs = Details::parse(json).unwrap().xattrs.unwrap();

        assert_eq!(meta.link_target.as_deref(), Some(&b"targ\xfft"[..]));
        let values: Vec<&[u8]> = xattrs.iter().map(Xattr::value).collect();
        assert_eq!(values, [&b"yy"[..], b""]);
    }
}
