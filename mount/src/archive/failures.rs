//! What could not be read, and the file that lists it.

use super::{ERRORS_NAME, name};
use spelunk_tree::Error;
use std::fmt::Write;

/// Failures that are kept with path and reason; the others are counted.
const KEPT_MAX: usize = 10_000;
/// Bytes of their paths and reasons: a path may have two million.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Something that is not in the archive as it is in the tree.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where it is in the tree.
    pub path: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub error: Error,
}

/// What became of something that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not in the archive.
    LeftOut,
    /// It is there in full length, with zeros in place of what could not be read.
    Zeros,
    /// It is there, with something about it missing.
    Incomplete,
}

impl Outcome {
    fn phrase(self) -> &'static str {
        match self {
            Outcome::LeftOut => "left out",
            Outcome::Zeros => "zeros in place of what could not be read",
            Outcome::Incomplete => "incomplete",
        }
    }
}

/// The failures of one archive.
#[derive(Debug, Default)]
pub struct Failures {
    pub kept: Vec<Failure>,
    pub count: u64,
    /// Bytes of what is kept.
    bytes: usize,
    names: ErrorsName,
}

impl Failures {
    pub fn add(&mut self, failure: Failure) {
        self.count += 1;
        let texts: usize = failure.error.chain().map(Error::text_bytes).sum();
        let bytes = self.bytes + failure.path.len() + texts;
        if self.kept.len() < KEPT_MAX && bytes <= KEPT_BYTES_MAX {
            self.bytes = bytes;
            self.kept.push(failure);
        }
    }

    /// Notes a name in the archive, so that the list gets another.
    pub fn note_name(&mut self, archive_name: &[u8]) {
        self.names.note(archive_name);
    }

    /// The name of the list in the archive.
    pub fn file_name(&self) -> String {
        self.names.free()
    }

    /// The list, ready to be read.
    pub fn text(&self) -> String {
        let mut text = String::from(TITLE);
        for failure in &self.kept {
            text.push_str(&line(failure));
        }
        let more = self.count.saturating_sub(u64::try_from(self.kept.len()).unwrap_or(u64::MAX));
        if more > 0 {
            // Writing to a String cannot fail.
            _ = writeln!(text, "... and {more} more");
        }
        text
    }
}

/// What the list begins with.
pub const TITLE: &str = "What is not in this archive as it is in the backup:\n\n";

/// One line of the list.
pub fn line(failure: &Failure) -> String {
    let reasons: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
    let reasons: String =
        reasons.join(": ").chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    let path = name::escape_path(&failure.path);
    let (outcome, kind) = (failure.outcome.phrase(), failure.error.kind().phrase());
    format!("{path}: {outcome}: {kind}: {reasons}\n")
}

/// Finds a name for the list that nothing at the archive's top has, also where case is ignored.
#[derive(Debug, Default)]
struct ErrorsName {
    /// The highest number in use; `None` while the plain name is free.
    highest: Option<u32>,
}

impl ErrorsName {
    /// Numbers above this are never given out, so their names need not be looked at.
    const NUMBER_MAX: u32 = 1_000_000_000;

    fn note(&mut self, archive_name: &[u8]) {
        let Ok(name) = std::str::from_utf8(archive_name) else { return };
        let top = name.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let (stem, extension) = stem();
        let Some(middle) = top
            .strip_prefix(&stem.to_ascii_lowercase())
            .and_then(|rest| rest.strip_suffix(&extension.to_ascii_lowercase()))
        else {
            return;
        };
        let number = match middle.strip_prefix('-') {
            None if middle.is_empty() => 1,
            Some(digits) => digits.parse().unwrap_or(u32::MAX),
            None => return,
        };
        if number <= ErrorsName::NUMBER_MAX {
            self.highest = Some(self.highest.unwrap_or(0).max(number));
        }
    }

    fn free(&self) -> String {
        let (stem, extension) = stem();
        match self.highest {
            None => ERRORS_NAME.to_owned(),
            Some(number) => format!("{stem}-{}{extension}", number + 1),
        }
    }
}

fn stem() -> (&'static str, &'static str) {
    ERRORS_NAME.split_at(ERRORS_NAME.len() - ".txt".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_never_has_a_name_that_is_taken() {
        let mut failures = Failures::default();
        assert_eq!(failures.file_name(), "SPELUNK-ERRORS.txt");

        failures.note_name(b"spelunk-errors.TXT");
        failures.note_name(b"sub/SPELUNK-ERRORS-9.txt");
        assert_eq!(failures.file_name(), "SPELUNK-ERRORS-2.txt");

        failures.note_name(b"SPELUNK-ERRORS-7.txt");
        failures.note_name(b"SPELUNK-ERRORS-4294967295.txt");
        assert_eq!(failures.file_name(), "SPELUNK-ERRORS-8.txt");
    }

    #[test]
    fn list_keeps_to_one_line_each_whatever_the_guest_wrote() {
        let failure = Failure {
            path: b"/a\nb".to_vec(),
            outcome: Outcome::LeftOut,
            error: Error::corrupt("bad\nname"),
        };

        assert_eq!(line(&failure), "/a%0Ab: left out: damaged: bad\u{FFFD}name\n");
    }

    #[test]
    fn failures_over_their_count_and_bytes_are_counted() {
        let failure = |path: usize| Failure {
            path: vec![b'x'; path],
            outcome: Outcome::LeftOut,
            error: Error::corrupt("bad"),
        };
        let (mut many, mut long) = (Failures::default(), Failures::default());

        (0..KEPT_MAX + 5).for_each(|_| many.add(failure(1)));
        (0..20).for_each(|_| long.add(failure(2 << 20)));

        assert_eq!((many.kept.len(), many.count), (KEPT_MAX, KEPT_MAX as u64 + 5));
        assert_eq!((long.kept.len(), long.count), (7, 20));
        assert!(many.text().ends_with("... and 5 more\n"));
    }
}
