//! What is asked of the properties: the body of a PROPFIND, and how bodies are read.

use super::Refusal;
use super::xml::{self, ElementName, Part};
use bytes::Buf;
use http::StatusCode;
use std::pin::pin;

/// Bytes of a request's body: clients send some hundred.
const BODY_BYTES_MAX: usize = 32 << 10;
/// Properties that may be asked for by name: clients ask for up to twenty.
const PROPERTIES_MAX: usize = 64;

/// The properties that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The usual ones, and those named.
    All(Vec<ElementName>),
    /// The names of those that there are.
    Names,
    /// Those named.
    These(Vec<ElementName>),
}

/// Reads the whole body of a request.
pub(super) async fn read<B: http_body::Body>(body: B) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(frame) = frame.map_err(drop) else { return Err(Refusal::bad_request()) };
        let Ok(mut data) = frame.into_data() else { continue };
        if bytes.len().saturating_add(data.remaining()) > BODY_BYTES_MAX {
            return Err(Refusal::Status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok(bytes)
}

/// Reads the body of a PROPFIND. No body asks for all properties.
pub(super) fn parse(body: &[u8]) -> Result<Wanted, Refusal> {
    if body.is_empty() {
        return Ok(Wanted::All(Vec::new()));
    }
    let mut kind = None;
    let mut names = Vec::new();
    xml::visit(body, |part| {
        let Part::Element(elements) = part else { return Ok(()) };
        match elements {
            [root] if !root.is_dav("propfind") => return Err(Refusal::bad_request()),
            [_, child] if ["prop", "allprop", "propname"].iter().any(|name| child.is_dav(name)) => {
                let others = kind.replace(child.local.clone());
                others.map_or(Ok(()), |_| Err(Refusal::bad_request()))?;
            }
            [_, list, name] if list.is_dav("prop") || list.is_dav("include") => {
                if names.len() == PROPERTIES_MAX {
                    return Err(Refusal::Status(StatusCode::PAYLOAD_TOO_LARGE));
                }
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    match kind.as_deref() {
        Some("prop") => Ok(Wanted::These(names)),
        Some("allprop") => Ok(Wanted::All(names)),
        Some("propname") => Ok(Wanted::Names),
        _ => Err(Refusal::bad_request()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, local: &str) -> ElementName {
        ElementName { namespace: namespace.to_owned(), local: local.to_owned() }
    }

    #[test]
    fn properties_are_found_under_any_prefix() {
        let body = br#"<?xml version="1.0"?><x:propfind xmlns:x="DAV:" xmlns="urn:other"><x:prop>
            <x:getetag/><own>text</own><x:getetag/></x:prop></x:propfind>"#;

        let wanted = parse(body).unwrap();

        assert_eq!(wanted, Wanted::These(vec![name("DAV:", "getetag"), name("urn:other", "own")]));
    }

    #[test]
    fn all_properties_come_with_those_included() {
        let body = b"<propfind xmlns='DAV:'><allprop/><include><quota-used-bytes/></include></propfind>";

        assert_eq!(parse(body).unwrap(), Wanted::All(vec![name("DAV:", "quota-used-bytes")]));
        assert_eq!(parse(b"").unwrap(), Wanted::All(Vec::new()));
    }

    #[test]
    fn bodies_that_ask_nothing_are_refused() {
        for body in ["<a/>", "<propfind/>", "<propfind xmlns='DAV:'/>", "{}", "<propfind xmlns='DAV:'>"] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
        let many: String = (0..100).map(|number| format!("<p{number}/>")).collect();
        assert!(parse(format!("<propfind xmlns='DAV:'><prop>{many}</prop></propfind>").as_bytes()).is_err());
    }
}
