//! XML: what is asked is parsed by a library, within bounds; answers are written.

use super::Refusal;
use http::HeaderValue;
use xml::ParserConfig;
use xml::reader::XmlEvent;

/// How every document begins.
pub(super) const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// Elements inside of each other: a PROPFIND needs three.
const DEPTH_MAX: usize = 16;
/// Bytes of a name or a namespace: those that are not known come back with each entry of a listing.
const NAME_BYTES_MAX: usize = 256;
const ATTRIBUTES_MAX: usize = 32;

pub(super) fn content_type() -> HeaderValue {
    HeaderValue::from_static("application/xml; charset=utf-8")
}

/// An element's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ElementName {
    pub(super) namespace: String,
    pub(super) local: String,
}

impl ElementName {
    pub(super) fn is_dav(&self, local: &str) -> bool {
        self.namespace == "DAV:" && self.local == local
    }
}

/// A part of a document, with the elements that it is in, the outermost first.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// An element begins, the last one of these.
    Element(&'a [ElementName]),
    /// Text.
    Text(&'a [ElementName], &'a str),
}

/// Tells `visit` the parts of a document, one after the other.
///
/// # Errors
/// 400 for what is no XML, has a document type (which no client sends, and attacks need), or is over a limit; what
/// `visit` says.
pub(super) fn visit(
    document: &[u8],
    mut visit: impl FnMut(Part<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let config = ParserConfig::new()
        .ignore_comments(true)
        .cdata_to_characters(true)
        .max_entity_expansion_length(NAME_BYTES_MAX)
        .max_name_length(NAME_BYTES_MAX)
        .max_attributes(ATTRIBUTES_MAX)
        .max_attribute_length(NAME_BYTES_MAX);
    let mut open: Vec<ElementName> = Vec::new();
    for event in config.create_reader(document) {
        match event.map_err(|_| Refusal::bad_request())? {
            XmlEvent::StartElement { name, .. } if open.len() < DEPTH_MAX => {
                let namespace = name.namespace.unwrap_or_default();
                open.push(ElementName { namespace, local: name.local_name });
                visit(Part::Element(&open))?;
            }
            XmlEvent::StartElement { .. } | XmlEvent::Doctype { .. } => return Err(Refusal::bad_request()),
            XmlEvent::EndElement { .. } => drop(open.pop()),
            XmlEvent::Characters(text) => visit(Part::Text(&open, &text))?,
            _ => {}
        }
    }
    Ok(())
}

/// Appends text to a document. What XML cannot hold becomes U+FFFD.
pub(super) fn push_text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ if is_xml(character) => out.push(character),
            _ => out.push('\u{FFFD}'),
        }
    }
}

/// Whether XML 1.0 can hold this as text, and gives it back as it is (a carriage return comes back as a line feed).
pub(super) fn is_xml(character: char) -> bool {
    !matches!(character, '\0'..='\u{8}' | '\u{B}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(document: &str) -> bool {
        visit(document.as_bytes(), |_| Ok(())).is_ok()
    }

    #[test]
    fn documents_that_attack_are_refused() {
        let deep = |levels: usize| "<a>".repeat(levels) + &"</a>".repeat(levels);

        assert!(is_accepted(&deep(DEPTH_MAX)));
        assert!(!is_accepted(&deep(20_000)));
        assert!(!is_accepted("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"));
        assert!(!is_accepted(&format!("<{}/>", "a".repeat(1000))));
        let attributes = |count: usize| {
            let all: String = (0..count).map(|number| format!(" a{number}='x'")).collect();
            format!("<a{all}/>")
        };
        assert!(is_accepted(&attributes(ATTRIBUTES_MAX)));
        assert!(!is_accepted(&attributes(ATTRIBUTES_MAX + 1)));
        assert!(!is_accepted("<a>"));
        assert!(!is_accepted("a"));
    }

    #[test]
    fn text_is_escaped_and_stays_xml() {
        let mut out = String::new();

        push_text(&mut out, "\"><script>&\u{1}\u{FFFE}\t\u{1F600}");

        assert_eq!(out, "&quot;&gt;&lt;script&gt;&amp;\u{FFFD}\u{FFFD}\t\u{1F600}");
    }
}
