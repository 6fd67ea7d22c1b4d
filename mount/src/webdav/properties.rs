//! Properties of files and directories, and how they are written.

use super::client::Client;
use super::request::Wanted;
use super::view::Seen;
use super::xml::{ElementName, is_xml, push_text};
use super::{Refusal, conditions, media, refusal};
use crate::civil::civil;
use spelunk_tree::{Attr, ErrorKind, Kind, Name, Time, TreeInfo};
use std::fmt::Write as _;

/// How an answer with many statuses begins: the prefixes stand for the namespaces of [`PROPERTIES`]. Windows
/// understands prefixed names only.
pub(super) const MULTISTATUS: &str = "<D:multistatus xmlns:D=\"DAV:\" xmlns:Z=\"urn:schemas-microsoft-com:\" \
     xmlns:A=\"http://apache.org/dav/props/\">\n";
pub(super) const MULTISTATUS_END: &str = "</D:multistatus>\n";

const DAV: (&str, &str) = ("D", "DAV:");
const MICROSOFT: (&str, &str) = ("Z", "urn:schemas-microsoft-com:");
const APACHE: (&str, &str) = ("A", "http://apache.org/dav/props/");

/// Bytes of XML that name the unknown properties which a client asks for: they come with each entry of a listing.
const UNKNOWN_BYTES_MAX: usize = 4096;

/// Windows's attributes that are passed on: read-only, hidden, system, archive.
const DOS_KEPT: u32 = 0x27;
const DOS_DIRECTORY: u32 = 0x10;
const DOS_NORMAL: u32 = 0x80;

/// A file or directory as its properties are made from it.
pub(super) struct Resource<'a> {
    /// The path of its URL.
    pub(super) href: &'a str,
    /// Its name, unless it is the root.
    pub(super) name: Option<&'a Name>,
    pub(super) seen: &'a Seen,
}

/// What properties depend on beside the resource.
pub(super) struct Asked {
    wanted: Wanted,
    client: Client,
    /// Bytes in use in the tree, when that is known.
    used_bytes: Option<u64>,
    /// The properties that nothing has, as each answer names them.
    unknown: String,
}

impl Asked {
    /// # Errors
    /// 400 for names of unknown properties that would make each of a million answers long.
    pub(super) fn new(wanted: Wanted, client: Client, info: &TreeInfo) -> Result<Asked, Refusal> {
        let used = info.size_bytes.checked_sub(info.free_bytes.unwrap_or(0)).filter(|&used| used > 0);
        let mut unknown = String::new();
        if let Wanted::These(names) | Wanted::All(names) = &wanted {
            let is_unknown = |name: &&ElementName| !PROPERTIES.iter().any(|property| property.is_named(name));
            names.iter().filter(is_unknown).for_each(|name| push_unknown(&mut unknown, name));
        }
        if unknown.len() > UNKNOWN_BYTES_MAX {
            return Err(Refusal::bad_request());
        }
        Ok(Asked { wanted, client, used_bytes: used, unknown })
    }
}

/// When a property is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// To all who ask for all.
    Always,
    /// To Windows when it asks for all, to others by name.
    Windows,
    /// By name only.
    ByName,
}

struct Property {
    space: (&'static str, &'static str),
    local: &'static str,
    when: When,
    /// Its value as XML; `None` when the resource has none.
    value: fn(&Resource<'_>, &Asked) -> Option<String>,
}

const fn property(
    space: (&'static str, &'static str),
    local: &'static str,
    when: When,
    value: fn(&Resource<'_>, &Asked) -> Option<String>,
) -> Property {
    Property { space, local, when, value }
}

const PROPERTIES: &[Property] = &[
    property(DAV, "resourcetype", When::Always, |resource, _| {
        Some(if resource.seen.is_directory() { "<D:collection/>" } else { "" }.to_owned())
    }),
    property(DAV, "displayname", When::Always, |resource, _| display_name(resource.name?)),
    property(DAV, "getcontentlength", When::Always, |resource, _| {
        file(resource).map(|attr| attr.size.to_string())
    }),
    property(DAV, "getcontenttype", When::Always, |resource, _| {
        file(resource).map(|_| media::of(resource.name).to_owned())
    }),
    property(DAV, "getetag", When::Always, |resource, _| {
        file(resource).map(|_| escaped(&conditions::etag(resource.seen)))
    }),
    property(DAV, "getlastmodified", When::Always, |resource, _| http_date(resource.seen.attr.modified)),
    property(DAV, "creationdate", When::Always, |resource, _| iso_date(resource.seen.attr.created?)),
    property(DAV, "supportedlock", When::Always, |_, asked| Some(supported_lock(asked.client).to_owned())),
    // No lock keeps anybody from anything here, so none is worth being told of.
    property(DAV, "lockdiscovery", When::Always, |_, _| Some(String::new())),
    // By name only, as RFC 4331 says. Nothing can be added.
    property(DAV, "quota-available-bytes", When::ByName, |resource, _| {
        resource.seen.is_directory().then(|| "0".to_owned())
    }),
    property(DAV, "quota-used-bytes", When::ByName, |resource, asked| {
        asked.used_bytes.filter(|_| resource.seen.is_directory()).map(|used| used.to_string())
    }),
    property(APACHE, "executable", When::ByName, |resource, _| {
        let mode = file(resource)?.mode?;
        Some(if mode & 0o111 == 0 { "F" } else { "T" }.to_owned())
    }),
    property(MICROSOFT, "Win32CreationTime", When::Windows, |resource, _| {
        http_date(resource.seen.attr.created)
    }),
    property(MICROSOFT, "Win32LastAccessTime", When::Windows, |resource, _| {
        http_date(resource.seen.attr.accessed)
    }),
    property(MICROSOFT, "Win32LastModifiedTime", When::Windows, |resource, _| {
        http_date(resource.seen.attr.modified)
    }),
    property(MICROSOFT, "Win32FileAttributes", When::Windows, |resource, _| {
        Some(format!("{:08x}", windows_attributes(&resource.seen.attr)))
    }),
];

impl Property {
    fn is_named(&self, name: &ElementName) -> bool {
        name.namespace == self.space.1 && name.local == self.local
    }

    fn is_given(&self, asked: &Asked) -> bool {
        let by_name = |names: &[ElementName]| names.iter().any(|name| self.is_named(name));
        match &asked.wanted {
            Wanted::All(included) => match self.when {
                When::Always => true,
                When::Windows => asked.client == Client::Windows || by_name(included),
                When::ByName => by_name(included),
            },
            Wanted::Names => true,
            Wanted::These(names) => by_name(names),
        }
    }
}

/// Appends the answer for one resource.
pub(super) fn push_response(out: &mut String, resource: &Resource<'_>, asked: &Asked) {
    push_href(out, resource.href);
    out.push_str("<D:propstat><D:prop>");
    let mut missing = String::new();
    for property in PROPERTIES.iter().filter(|property| property.is_given(asked)) {
        let name = format_args!("{}:{}", property.space.0, property.local);
        let value = (property.value)(resource, asked);
        // Writing to a string cannot fail.
        let _ = match value {
            Some(value) if !value.is_empty() && asked.wanted != Wanted::Names => {
                write!(out, "<{name}>{value}</{name}>")
            }
            Some(_) => write!(out, "<{name}/>"),
            None if matches!(asked.wanted, Wanted::These(_)) => write!(missing, "<{name}/>"),
            None => Ok(()),
        };
    }
    out.push_str("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>");
    missing.push_str(&asked.unknown);
    if !missing.is_empty() {
        let status = "<D:status>HTTP/1.1 404 Not Found</D:status>";
        let _ = write!(out, "<D:propstat><D:prop>{missing}</D:prop>{status}</D:propstat>");
    }
    out.push_str("</D:response>\n");
}

/// Appends the answer for an entry that cannot be read: it is there, and its properties are not to be had.
pub(super) fn push_broken(out: &mut String, href: &str, kind: ErrorKind) {
    push_href(out, href);
    let status = refusal::status(kind);
    let prop = "<D:prop><D:resourcetype/><D:getcontentlength/></D:prop>";
    let _ = writeln!(
        out,
        "<D:propstat>{prop}<D:status>HTTP/1.1 {status}</D:status>\
         <D:responsedescription>{}</D:responsedescription></D:propstat></D:response>",
        kind.phrase()
    );
}

/// A path of a URL has no letter that XML would have to escape: all those are percent-encoded.
fn push_href(out: &mut String, href: &str) {
    out.push_str("<D:response><D:href>");
    out.push_str(href);
    out.push_str("</D:href>");
}

fn push_unknown(out: &mut String, name: &ElementName) {
    let _ = write!(out, "<{} xmlns=\"", name.local);
    push_text(out, &name.namespace);
    out.push_str("\"/>");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_text(&mut out, text);
    out
}

fn file<'a>(resource: &'a Resource<'_>) -> Option<&'a Attr> {
    (resource.seen.attr.kind == Kind::File).then_some(&resource.seen.attr)
}

/// The name, where XML can hold it. Otherwise the URL alone has it.
fn display_name(name: &Name) -> Option<String> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    text.chars().all(is_xml).then(|| escaped(text))
}

/// A date as HTTP writes it, from 1970 to 9999: others it cannot tell.
pub(super) fn http_date(time: Option<Time>) -> Option<String> {
    Some(httpdate::fmt_http_date(conditions::system_time(time?)?))
}

/// A date as RFC 3339 writes it, in years of four digits.
fn iso_date(time: Time) -> Option<String> {
    const DAY: i64 = 86_400;
    let (year, month, day) = civil(time.seconds().div_euclid(DAY));
    let second = time.seconds().rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

fn windows_attributes(attr: &Attr) -> u32 {
    let kept = attr.dos_attributes.unwrap_or(0) & DOS_KEPT;
    match (attr.kind, kept) {
        (Kind::Directory, _) => kept | DOS_DIRECTORY,
        (_, 0) => DOS_NORMAL,
        _ => kept,
    }
}

fn supported_lock(client: Client) -> &'static str {
    match client {
        Client::Finder => "",
        Client::Windows | Client::Other => {
            "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
             <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_cannot_be_told_are_left_out() {
        assert_eq!(iso_date(Time::from_seconds(0)).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(iso_date(Time::from_filetime(0)).as_deref(), Some("1601-01-01T00:00:00Z"));
        assert_eq!(iso_date(Time::from_seconds(i64::MAX)), None);
        assert_eq!(http_date(Some(Time::from_seconds(0))).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        for seconds in [i64::MIN, -1, 253_402_300_800, i64::MAX] {
            assert_eq!(http_date(Some(Time::from_seconds(seconds))), None);
        }
    }

    #[test]
    fn names_that_xml_cannot_hold_are_told_by_their_url_alone() {
        let display = |bytes: &[u8]| display_name(&Name::new(bytes).unwrap());

        assert_eq!(display("a<\u{e4}>".as_bytes()).as_deref(), Some("a&lt;\u{e4}&gt;"));
        assert_eq!(display(b"\x01"), None);
        assert_eq!(display(b"\r"), None);
        assert_eq!(display(b"\xff"), None);
    }
}
