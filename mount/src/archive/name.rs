//! Names in a ZIP archive: always UTF-8, harmless when extracted, and convertible back.
//!
//! A byte that must not stand there is written `%XX`, in upper-case hexadecimal: what is not UTF-8, control
//! characters, backslashes (a separator on Windows), and the colon of what looks like a drive (`C:`). A `%`
//! that two such digits follow is itself written `%25`; any other `%` stays. So the names of nearly all files
//! are as they were, no two names become one, and the way back is: `%XX` becomes its byte.

use std::fmt::Write;

/// The path with each of its names escaped.
pub fn escape_path(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for (index, part) in path.split(|&byte| byte == b'/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        push_escaped(&mut out, part);
    }
    out
}

fn push_escaped(out: &mut String, name: &[u8]) {
    if name.iter().all(|&byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b':' | b'%')) {
        // All of it is ASCII.
        out.extend(name.iter().map(|&byte| char::from(byte)));
        return;
    }
    let is_drive = name.get(1) == Some(&b':') && name.first().is_some_and(u8::is_ascii_alphabetic);
    let mut at = 0;
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            let rest = name.get(at + character.len_utf8()..).unwrap_or_default();
            let must_go = match character {
                '\\' => true,
                ':' => is_drive && at == 1,
                '%' => looks_escaped(rest),
                _ => character.is_control(),
            };
            if must_go {
                push_bytes(out, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(character);
            }
            at += character.len_utf8();
        }
        push_bytes(out, chunk.invalid());
        at += chunk.invalid().len();
    }
}

/// Whether a `%` before `rest` would be taken for an escape.
fn looks_escaped(rest: &[u8]) -> bool {
    let is_digit = |index| matches!(rest.get(index), Some(b'0'..=b'9' | b'A'..=b'F'));
    is_digit(0) && is_digit(1)
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        _ = write!(out, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescape(name: &str) -> Vec<u8> {
        let bytes = name.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            if bytes[at] == b'%' && looks_escaped(&bytes[at + 1..]) {
                out.push(u8::from_str_radix(&name[at + 1..at + 3], 16).unwrap());
                at += 3;
            } else {
                out.push(bytes[at]);
                at += 1;
            }
        }
        out
    }

    #[test]
    fn harmless_names_stay() {
        for name in ["a/b.txt", "100%", "50% off", "%zz", "12:30:00", "Größe", "日本語", "a%2f"] {
            assert_eq!(escape_path(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_could_do_harm_is_escaped() {
        assert_eq!(escape_path(b"..\\..\\evil"), "..%5C..%5Cevil");
        assert_eq!(escape_path(b"C:/Windows"), "C%3A/Windows");
        assert_eq!(escape_path(b"a\x1b[2J\r\n"), "a%1B[2J%0D%0A");
        assert_eq!(escape_path(b"caf\xe9"), "caf%E9");
        assert_eq!(escape_path("\u{85}".as_bytes()), "%C2%85");
    }

    #[test]
    fn every_name_comes_back() {
        let all: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        for name in [&all[..], b"%41", b"%2541", b"%\x01", b"%4\x01", b"C:%5C\\", b"%\xE9%E9", b"%%25"] {
            assert_eq!(unescape(&escape_path(name)), name, "{}", escape_path(name));
        }
    }
}
