//! Headers that carry what a guest wrote, or keep it from doing harm.

use crate::escape;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 8187, section 3.2.1: what stands for itself in an extended value.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// A guest's file is a document that can do nothing: no script, no form, no request, an origin of its own.
const SANDBOX: &str =
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'";

/// Browsers show PDF in a viewer of their own, which a sandbox keeps out. It runs none of the page's scripts.
const SANDBOX_PDF: &str = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'";

/// Whether a file is to be looked at, or saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Looked at.
    Inline,
    /// Saved.
    Attachment,
}

/// What kind of content a name promises. To be looked at are only kinds that browsers show and never run; all else
/// is text or bytes.
pub fn content_type(name: &[u8], disposition: Disposition) -> String {
    let name = String::from_utf8_lossy(name);
    let guess = mime_guess::from_path(&*name).first_or_octet_stream();
    if disposition == Disposition::Attachment {
        return guess.essence_str().to_owned();
    }
    let kind = guess.type_().as_str();
    match guess.essence_str() {
        essence if matches!(kind, "image" | "audio" | "video") => essence.to_owned(),
        "application/pdf" => "application/pdf".to_owned(),
        "application/json" | "application/xml" | "application/javascript" => "text/plain".to_owned(),
        _ if kind == "text" => "text/plain".to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}

/// RFC 6266: a name for the file, whatever the guest called it.
pub fn content_disposition(name: &[u8], disposition: Disposition) -> HeaderValue {
    let harmless = |c: char| if escape::is_hostile(c) || matches!(c, '/' | '\\') { '_' } else { c };
    let name: String = String::from_utf8_lossy(name).chars().map(harmless).collect();
    let ascii = |c: char| if c.is_ascii() && !matches!(c, '"' | '%') { c } else { '_' };
    let fallback: String = name.chars().map(ascii).collect();
    let word = match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    let extended = utf8_percent_encode(&name, ATTR_CHAR);
    let value = format!("{word}; filename=\"{fallback}\"; filename*=UTF-8''{extended}");
    // It is plain ASCII by now.
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Sets what keeps a guest's content from being more than content.
pub fn confine(headers: &mut HeaderMap, content_type: &str) {
    let policy = if content_type == "application/pdf" { SANDBOX_PDF } else { SANDBOX };
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_header() {
        let hostile = "a\"; x=\r\nSet-Cookie: a=b\u{202e}/..\\é\u{0}%41".as_bytes();

        let value = content_disposition(hostile, Disposition::Attachment);

        assert_eq!(
            value.to_str().unwrap(),
            "attachment; filename=\"a_; x=__Set-Cookie: a=b__..____41\"; \
             filename*=UTF-8''a%22%3B%20x%3D__Set-Cookie%3A%20a%3Db__.._%C3%A9_%2541"
        );
        assert!(content_disposition(b"\xff\xfe", Disposition::Inline).to_str().is_ok());
    }

    #[test]
    fn nothing_that_runs_is_shown_as_what_it_is() {
        for name in ["a.html", "a.htm", "a.xhtml", "a.js", "a.mjs", "a.xml", "a.css", "a.wasm", "a.swf", "a"]
        {
            let shown = content_type(name.as_bytes(), Disposition::Inline);
            assert!(matches!(&*shown, "text/plain" | "application/octet-stream"), "{name}: {shown}");
        }
        assert_eq!(content_type(b"a.PNG", Disposition::Inline), "image/png");
        assert_eq!(content_type(b"a.html", Disposition::Attachment), "text/html");
    }
}
