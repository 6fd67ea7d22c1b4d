//! Nodes as JSON.

use crate::server::location::{Location, encode};
use crate::server::problem::Problem;
use crate::{escape, time};
use serde::Serialize;
use spelunk_tree::{Attr, Name, Time};
use utoipa::ToSchema;

/// DOS attributes (\[MS-FSCC\], section 2.6).
const READ_ONLY: u32 = 0x1;
const HIDDEN: u32 = 0x2;
const SYSTEM: u32 = 0x4;

/// One line of a listing.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// The name as text. What is no UTF-8 has U+FFFD in its place.
    pub name: String,
    /// The place, to be put into URLs as it stands.
    pub path: String,
    /// What it is, with its attributes.
    #[serde(flatten)]
    pub attributes: Option<Attributes>,
    /// Where a symbolic link leads, as the guest wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is wrong with it, in place of its attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// What a guest says of a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attributes {
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `char-device`, `block-device`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
    /// Last change of the contents, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Permissions, octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Hidden by DOS attribute.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Read-only by DOS attribute.
    #[serde(skip_serializing_if = "is_false")]
    pub readonly: bool,
    /// A system file by DOS attribute.
    #[serde(skip_serializing_if = "is_false")]
    pub system: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde demands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Attributes {
    /// Those of `attr`.
    pub fn of(attr: &Attr) -> Attributes {
        let has = |bit: u32| attr.dos_attributes.is_some_and(|bits| bits & bit != 0);
        Attributes {
            kind: attr.kind.word(),
            size: attr.size,
            modified: attr.modified.map(rfc3339),
            mode: attr.mode.map(|mode| format!("{mode:04o}")),
            hidden: has(HIDDEN),
            readonly: has(READ_ONLY),
            system: has(SYSTEM),
        }
    }
}

impl Entry {
    /// The entry `name` of `directory`.
    pub fn new(directory: &str, name: &Name, attr: &Attr) -> Entry {
        let attributes = Some(Attributes::of(attr));
        Entry { name: text(name), path: below(directory, name), attributes, target: None, error: None }
    }

    /// One that is broken.
    pub fn broken(directory: &str, name: Option<&Name>, error: &spelunk_tree::Error) -> Entry {
        Entry {
            name: name.map_or_else(|| "?".to_owned(), text),
            path: name.map(|name| below(directory, name)).unwrap_or_default(),
            attributes: None,
            target: None,
            error: Some(error.clone().into()),
        }
    }

    /// What is at `location`.
    pub fn at(location: &Location, attr: &Attr) -> Entry {
        let name = location.name().map(text).unwrap_or_default();
        let attributes = Some(Attributes::of(attr));
        Entry { name, path: location.encoded(), attributes, target: None, error: None }
    }
}

/// A name to show.
pub fn text(name: &Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

/// The encoded place of `name` in `directory`.
pub fn below(directory: &str, name: &Name) -> String {
    if directory.is_empty() { encode(name) } else { format!("{directory}/{}", encode(name)) }
}

/// A link's target to show: with what is hostile escaped, since nobody navigates by it.
pub fn target(bytes: &[u8]) -> String {
    escape::escape(bytes).into_owned()
}

/// RFC 3339.
pub fn rfc3339(value: Time) -> String {
    time::rfc3339(value)
}
