//! What a guest wrote, made safe to print.
//!
//! Names are bytes, and hostile: control characters drive terminals, bidirectional overrides disguise
//! `exe.txt`. Everything that is not plain visible text is printed as `ls -b` prints it, byte by byte:
//! `\n`, `\033`, `\342\200\256`; a backslash is `\\`. So each name has exactly one form, on one line,
//! and `printf %b` or a shell's `$'...'` gives the bytes back.

use std::borrow::Cow;
use std::fmt::Write;

/// The printable form of `bytes`.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(is_plain) => Cow::Borrowed(text),
        _ => Cow::Owned(escape_slowly(bytes)),
    }
}

/// The printable form of a message that may quote a guest, on one line: as [`escape`], but backslashes
/// stay, since what is quoted in a message may be escaped already.
pub fn message(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) {
            push_bytes(&mut out, character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Whether `character` may do something other than show itself: control characters (C0, DEL, C1), line
/// and paragraph separators, bidirectional marks and overrides, and what is invisible. The joiners
/// U+200C and U+200D stay: Persian and emoji need them.
pub fn is_hostile(character: char) -> bool {
    matches!(character,
        '\0'..='\x1F'
        | '\x7F'..='\u{9F}'
        | '\u{AD}'
        | '\u{61C}'
        | '\u{180E}'
        | '\u{200B}'
        | '\u{200E}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}')
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\'
}

fn escape_slowly(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                out.push_str("\\\\");
            } else if is_hostile(character) {
                push_bytes(&mut out, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(character);
            }
        }
        push_bytes(&mut out, chunk.invalid());
    }
    out
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            _ => _ = write!(out, "\\{byte:03o}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_foreign_text_stays() {
        for text in ["a b.txt", "Größe ✓", "日本語", "می\u{200C}خواهم", "👩\u{200D}🚀", "%20"]
        {
            assert_eq!(escape(text.as_bytes()), text);
        }
    }

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        assert_eq!(escape(b"a\x1b[2Jb"), r"a\033[2Jb");
        assert_eq!(escape(b"one\ntwo\r\t\x7f"), r"one\ntwo\r\t\177");
        assert_eq!(escape("\u{9b}31m".as_bytes()), r"\302\23331m");
        assert_eq!(escape("a\u{202e}txt.exe".as_bytes()), r"a\342\200\256txt.exe");
        assert_eq!(escape("\u{feff}x\u{2028}".as_bytes()), r"\357\273\277x\342\200\250");
    }

    #[test]
    fn bytes_that_are_not_utf8_and_backslashes_are_escaped() {
        assert_eq!(escape(b"caf\xe9"), r"caf\351");
        assert_eq!(escape(b"\xED\xA0\x80"), r"\355\240\200");
        assert_eq!(escape(br"C:\x"), r"C:\\x");
    }

    #[test]
    fn messages_keep_backslashes_and_stay_on_one_line() {
        assert_eq!(message(r"a\033b"), r"a\033b");
        assert_eq!(message("a\nb\u{202e}"), r"a\nb\342\200\256");
    }
}
