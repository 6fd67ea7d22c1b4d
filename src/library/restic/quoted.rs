//! Names as they stand in a tree: as Go's `strconv.Quote` writes them, without the quotation marks, so that bytes that
//! are not UTF-8 fit into JSON.

/// The bytes that are written so.
///
/// # Errors
/// `None` for what `strconv.Quote` does not write.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        let (kind, after) = (*escape.as_bytes().get(1)?, escape.get(2..)?);
        let single = match kind {
            b'a' => Some(7),
            b'b' => Some(8),
            b't' => Some(b'\t'),
            b'n' => Some(b'\n'),
            b'v' => Some(11),
            b'f' => Some(12),
            b'r' => Some(b'\r'),
            b'\\' | b'"' | b'\'' => Some(kind),
            _ => None,
        };
        rest = match (single, kind) {
            (Some(byte), _) => {
                bytes.push(byte);
                after
            }
            (None, b'x') => {
                bytes.push(u8::try_from(number(after, 2)?).ok()?);
                after.get(2..)?
            }
            (None, b'u' | b'U') => {
                let digits = if kind == b'u' { 4 } else { 8 };
                let character = char::from_u32(number(after, digits)?)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                after.get(digits..)?
            }
            (None, _) => return None,
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

fn number(text: &str, digits: usize) -> Option<u32> {
    let digits = text.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_characters_are_read_as_go_writes_them() {
        let good: [(&str, &[u8]); 7] = [
            ("plain ä", "plain ä".as_bytes()),
            (r"bad\xff\xfename", b"bad\xff\xfename"),
            (r#"new\nline\"q\\b"#, b"new\nline\"q\\b"),
            (r"\a\b\t\v\f\r", b"\x07\x08\t\x0b\x0c\r"),
            (r"\u00ad\ufeff", "\u{ad}\u{feff}".as_bytes()),
            (r"\U000e0001x", "\u{e0001}x".as_bytes()),
            ("", b""),
        ];
        for (text, bytes) in good {
            assert_eq!(unquote(text).as_deref(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_go_does_not_write_is_refused() {
        for bad in ["\\", r"\x1", r"\xg0", r"\u12", r"\ud800", r"\U00110000", r"\q", r"\x+1", "\\ä", "\\xä"]
        {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }
}
