//! JSON, as all commands print it.
//!
//! Every object begins with `"schema"`. A name is text; where its bytes are not UTF-8 the text has
//! U+FFFD in their place and `<field>_hex` holds the bytes. What would drive a terminal is written as
//! `\u....`, so that JSON too is safe to look at.

use super::{escape, time};
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use spelunk_tree::{Attr, Kind, NodeId, Time, Tree};
use std::borrow::Cow;
use std::io::{self, Write};

/// The version of all objects: goes up when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Writes `value` and a newline.
///
/// # Errors
/// What `out` reports.
pub fn write<T: Serialize>(out: &mut impl Write, value: &T, pretty: bool) -> io::Result<()> {
    if pretty {
        let formatter = Safe(PrettyFormatter::new());
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, formatter))?;
    } else {
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Safe(CompactFormatter)))?;
    }
    out.write_all(b"\n")
}

/// A formatter that writes hostile characters as escapes; the rest is the inner one's.
struct Safe<F>(F);

impl<F: Formatter> Formatter for Safe<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (index, character) in text.char_indices().filter(|(_, c)| escape::is_hostile(*c)) {
            out.write_all(&text.as_bytes()[plain_from..index])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain_from = index + character.len_utf8();
        }
        out.write_all(&text.as_bytes()[plain_from..])
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

/// The text form of `bytes`.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The bytes as hexadecimal digits, where they are not UTF-8.
pub fn hex(bytes: &[u8]) -> Option<String> {
    match std::str::from_utf8(bytes) {
        Ok(_) => None,
        Err(_) => Some(hex_digits(bytes)),
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub fn hex_digits(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS[usize::from(nibble & 0xF)];
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

/// One entry, as `ls` and `find` print it.
#[derive(Serialize)]
pub struct Entry<'a> {
    schema: u32,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    r#type: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    modified: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    accessed: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    changed: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    created: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dos_attributes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reparse_tag: Option<String>,
    node: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_hex: Option<String>,
}

impl<'a> Entry<'a> {
    /// The object of the entry at `path`; `target` is given for symbolic links.
    pub fn new(path: &'a [u8], node: NodeId, attr: &Attr, target: Option<&'a [u8]>) -> Entry<'a> {
        Entry {
            schema: SCHEMA,
            path: text(path),
            path_hex: hex(path),
            r#type: attr.kind.word(),
            size: attr.size,
            allocated: attr.allocated,
            links: attr.links,
            mode: attr.mode.map(|mode| format!("{mode:04o}")),
            uid: attr.uid,
            gid: attr.gid,
            device: attr.device.map(|device| format!("{}:{}", device.major, device.minor)),
            modified: attr.modified,
            accessed: attr.accessed,
            changed: attr.changed,
            created: attr.created,
            dos_attributes: attr.dos_attributes,
            reparse_tag: attr.reparse_tag.map(|tag| format!("{tag:08x}")),
            node: node.get(),
            target: target.map(text),
            target_hex: target.and_then(hex),
        }
    }
}

/// The target of `node`, when that is a symbolic link.
///
/// # Errors
/// When the target cannot be read.
pub fn link_target(tree: &dyn Tree, node: NodeId, attr: &Attr) -> spelunk_tree::Result<Option<Vec<u8>>> {
    if attr.kind == Kind::Symlink { tree.link_target(node).map(Some) } else { Ok(None) }
}

/// One broken entry.
#[derive(Serialize)]
pub struct Broken<'a> {
    schema: u32,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    r#type: &'static str,
    error: String,
    error_kind: &'static str,
}

impl<'a> Broken<'a> {
    /// The object of what is broken at `path`.
    pub fn new(path: &'a [u8], error: &spelunk_tree::Error) -> Broken<'a> {
        Broken {
            schema: SCHEMA,
            path: text(path),
            path_hex: hex(path),
            r#type: "broken",
            error: super::error::describe(error),
            error_kind: error.kind().phrase(),
        }
    }
}

/// For serde: a time as [`time::rfc3339`] writes it.
pub fn as_rfc3339<S: Serializer>(value: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(time::rfc3339).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<T: Serialize>(value: &T) -> String {
        let mut out = Vec::new();
        write(&mut out, value, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_characters_are_escaped_and_parse_back() {
        let name = "a\u{202e}b\x1b\u{9b}c\u{e0041}\"\\";

        let json = written(&name);

        assert_eq!(json, "\"a\\u202eb\\u001b\\u009bc\\udb40\\udc41\\\"\\\\\"\n");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }

    #[test]
    fn names_that_are_not_utf8_have_a_hex_form() {
        let json = written(&Entry::new(b"/a\xff", NodeId::new(7).unwrap(), &Attr::new(Kind::File), None));

        assert_eq!(
            json,
            "{\"schema\":1,\"path\":\"/a\u{fffd}\",\"path_hex\":\"2f61ff\",\"type\":\"file\",\"size\":0,\"node\":7}\n"
        );
    }
}
