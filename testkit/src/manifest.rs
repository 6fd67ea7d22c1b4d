//! The lines of a manifest: `spelunk manifest`'s, the corpus', and a walk's.

use crate::walk::Entry;

/// Names of the columns, in their order.
pub const COLUMNS: [&str; 9] = ["path", "type", "size", "sha256", "mtime", "mode", "owner", "nlink", "extra"];

/// One line, by columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(pub [String; 9]);

impl Line {
    /// The path, escaped.
    pub fn path(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The type's letter.
    pub fn kind(&self) -> &str {
        self.0.get(1).map_or("", String::as_str)
    }
}

/// Takes a manifest apart. Lines with too few columns get empty ones: they compare unequal.
pub fn parse(text: &str) -> Vec<Line> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut columns = line.splitn(COLUMNS.len(), '\t').map(str::to_owned);
            Line(std::array::from_fn(|_| columns.next().unwrap_or_default()))
        })
        .collect()
}

/// The lines of a walked tree, without its root.
pub fn of_walk(entries: &[Entry]) -> Vec<Line> {
    entries.iter().filter(|entry| !entry.path.is_empty()).map(of_entry).collect()
}

/// The line of one entry.
pub fn of_entry(entry: &Entry) -> Line {
    let size = match entry.kind {
        'f' | 'l' => entry.size,
        _ => 0,
    };
    let digest = match entry.kind {
        'f' | 'l' | '?' => &entry.content,
        _ => "-",
    };
    let extra = match entry.kind {
        'l' => escape(&entry.target),
        'c' | 'b' => format!("{}:{}", entry.device.0, entry.device.1),
        _ => String::new(),
    };
    let (seconds, nanoseconds) = entry.modified;
    Line([
        escape(&entry.path),
        entry.kind.to_string(),
        size.to_string(),
        digest.to_owned(),
        format!("{seconds}.{nanoseconds:09}"),
        format!("{:04o}", entry.mode),
        format!("{}:{}", entry.uid, entry.gid),
        entry.links.to_string(),
        extra,
    ])
}

/// The line of a named stream of `size` bytes; `path` is the entry's path, a colon, the stream's name.
pub fn of_stream(path: &[u8], size: u64, digest: String) -> Line {
    let mut line = Line(Default::default());
    let [path_column, kind, size_column, sha256, ..] = &mut line.0;
    (*path_column, *kind, *size_column, *sha256) = (escape(path), "a".into(), size.to_string(), digest);
    line
}

/// Escapes as in manifests: control bytes, `%`, backslash and what is not UTF-8 become `%XX`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0'..='\x1f' | '\x7f' | '%' | '\\' => {
                    text.push_str(&format!("%{:02X}", u32::from(character)));
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Undoes [`escape`]. What is no escape stays as it is.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_keeps_utf8_and_hides_the_rest() {
        assert_eq!(escape("größe 流".as_bytes()), "größe 流");
        assert_eq!(escape(b"a\n%\\\xff\xed\xa0\x80\x7f"), "a%0A%25%5C%FF%ED%A0%80%7F");
        assert_eq!(unescape("a%0A%25%5C%FF%ED%A0%80%7F"), b"a\n%\\\xff\xed\xa0\x80\x7f");
    }

    #[test]
    fn parse_gives_nine_columns() {
        let lines = parse("a\tf\t1\tdead\t0.0\t0644\t0:0\t1\t\nb\td\n");

        assert_eq!(lines.first().map(|line| (line.path(), line.kind())), Some(("a", "f")));
        assert_eq!(lines.get(1).map(|line| line.0.last()), Some(Some(&String::new())));
    }
}
