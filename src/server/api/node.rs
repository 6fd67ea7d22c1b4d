//! All that is known of one node.

use super::entry::{self, Entry, rfc3339};
use crate::escape;
use crate::server::access::{Action, Principal};
use crate::server::location::{Location, encode};
use crate::server::problem::Problem;
use crate::server::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use spelunk_mount::path::Links;
use spelunk_tree::{Attr, Kind, StreamInfo, Xattr};
use std::sync::Arc;
use utoipa::ToSchema;

/// A node with all its attributes. What a guest lacks is left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// What a listing shows of it.
    #[serde(flatten)]
    pub entry: Entry,
    /// Bytes that the guest has set aside for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u64>,
    /// Hard links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<u32>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Owning group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Of a device: major and minor number, with a colon between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Last access, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accessed: Option<String>,
    /// Last change of the attributes, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// Creation, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// DOS attributes, as a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dos_attributes: Option<u32>,
    /// Tag of an NTFS reparse point, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reparse_tag: Option<String>,
    /// Extended attributes.
    pub xattrs: Vec<ExtendedAttribute>,
    /// Named streams.
    pub streams: Vec<NamedStream>,
    /// What of all this could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// An extended attribute.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExtendedAttribute {
    /// Its full name, with what is hostile escaped.
    pub name: String,
    /// The value, Base64.
    pub value: String,
    /// The value as text, where it is plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A named stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamedStream {
    /// Its name as text.
    pub name: String,
    /// Its name for the parameter `stream`, percent-encoded.
    pub stream: String,
    /// Bytes.
    pub size: u64,
}

impl Node {
    fn new(entry: Entry, attr: &Attr) -> Node {
        Node {
            entry,
            allocated: attr.allocated,
            links: attr.links,
            uid: attr.uid,
            gid: attr.gid,
            device: attr.device.map(|device| format!("{}:{}", device.major, device.minor)),
            accessed: attr.accessed.map(rfc3339),
            changed: attr.changed.map(rfc3339),
            created: attr.created.map(rfc3339),
            dos_attributes: attr.dos_attributes,
            reparse_tag: attr.reparse_tag.map(|tag| format!("{tag:08x}")),
            xattrs: Vec::new(),
            streams: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl ExtendedAttribute {
    fn of(xattr: &Xattr) -> ExtendedAttribute {
        let text = std::str::from_utf8(xattr.value()).ok();
        ExtendedAttribute {
            name: escape::escape(xattr.name()).into_owned(),
            value: STANDARD.encode(xattr.value()),
            text: text.filter(|text| !text.contains(escape::is_hostile)).map(str::to_owned),
        }
    }
}

impl NamedStream {
    fn of(stream: &StreamInfo) -> NamedStream {
        NamedStream { name: entry::text(&stream.name), stream: encode(&stream.name), size: stream.size }
    }
}

/// The attributes of a node.
#[utoipa::path(get, path = "/api/v1/node/{path}", tag = "library", params(("path" = String, Path,)),
    responses((status = 200, body = Node), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn node(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    location: Location,
) -> Result<Json<Node>, Problem> {
    app.read(move |app| {
        let location = app.canonical(location)?;
        principal.check(Action::Browse, location.names())?;
        let found = app.find(&location, Links::Keep)?;
        let mut node = Node::new(Entry::at(&location, &found.attr), &found.attr);
        if found.attr.kind == Kind::Symlink {
            match app.tree.link_target(found.node) {
                Ok(target) => node.entry.target = Some(entry::target(&target)),
                Err(error) => node.problems.push(error.into()),
            }
        }
        match app.tree.xattrs(found.node) {
            Ok(xattrs) => node.xattrs = xattrs.iter().map(ExtendedAttribute::of).collect(),
            Err(error) => node.problems.push(error.into()),
        }
        match app.tree.streams(found.node) {
            Ok(streams) => node.streams = streams.iter().map(NamedStream::of).collect(),
            Err(error) => node.problems.push(error.into()),
        }
        Ok(Json(node))
    })
    .await
}
