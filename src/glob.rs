//! Shell patterns over names that are bytes.
//!
//! As `find -name`: `*` any bytes, `?` one character, `[a-z]` one of a set, `[!a-z]` one outside it, `\x`
//! the character x. A pattern becomes a regular expression, which folds case as Unicode does and takes
//! linear time on any name; glob libraries either want UTF-8 names or fold ASCII alone.

use regex::bytes::{Regex, RegexBuilder};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob(Regex);

impl Glob {
    /// Compiles `pattern`; `fold` ignores case.
    pub fn new(pattern: &str, fold: bool) -> Result<Glob, String> {
        RegexBuilder::new(&translate(pattern))
            .case_insensitive(fold)
            .build()
            .map(Glob)
            .map_err(|_| format!("not a pattern: {pattern}"))
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.0.is_match(name)
    }
}

/// What stands in every name that `pattern` matches, with an `edge` where the name begins or ends there.
pub fn literals(pattern: &str, edge: char) -> Vec<String> {
    let mut literals = vec![String::from(edge)];
    let mut push = |character: Option<char>| match (character, literals.last_mut()) {
        (Some(character), Some(last)) => last.push(character),
        _ => literals.push(String::new()),
    };
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '*' | '?' => push(None),
            '[' => match set(rest.as_str()) {
                Some((_, after)) => {
                    push(None);
                    rest = after.chars();
                }
                None => push(Some('[')),
            },
            '\\' => push(Some(rest.next().unwrap_or('\\'))),
            _ => push(Some(character)),
        }
    }
    push(Some(edge));
    literals
}

/// Any bytes, and one character or one byte that belongs to none.
const ANY: &str = r"(?s-u:.*)";
const ONE: &str = r"(?:(?s:.)|(?-u:[\x80-\xFF]))";

fn translate(pattern: &str) -> String {
    let mut regex = String::from(r"\A");
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '*' => regex.push_str(ANY),
            '?' => regex.push_str(ONE),
            '[' => match set(rest.as_str()) {
                Some((class, after)) => {
                    regex.push_str(&class);
                    rest = after.chars();
                }
                // A bracket that nothing closes stands for itself, as in a shell.
                None => regex.push_str(r"\["),
            },
            '\\' => push_literal(&mut regex, rest.next().unwrap_or('\\')),
            _ => push_literal(&mut regex, character),
        }
    }
    regex.push_str(r"\z");
    regex
}

fn push_literal(regex: &mut String, character: char) {
    regex.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
}

/// Translates the set that begins after a `[`, and returns what follows its `]`.
fn set(text: &str) -> Option<(String, &str)> {
    let (negation, body) = match text.strip_prefix(['!', '^']) {
        Some(body) => ("^", body),
        None => ("", text),
    };
    // A `]` at the very beginning is a member.
    let first = body.chars().next()?.len_utf8();
    let end = first + body.get(first..)?.find(']')?;
    let mut class = format!("[{negation}");
    for (index, character) in body[..end].char_indices() {
        // A dash between two members is a range, at either end a member.
        let is_range = character == '-' && index != 0 && index + 1 != end;
        if character.is_ascii_punctuation() && !is_range {
            class.push('\\');
        }
        class.push(character);
    }
    class.push(']');
    Some((class, &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::new(pattern, false).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn stars_and_question_marks_match_characters() {
        assert!(matches("*.doc", "a.doc") && matches("*.doc", ".doc") && matches("*", "a\nb"));
        assert!(!matches("*.doc", "a.docx") && !matches("*.doc", "xdoc"));
        assert!(matches("gr??e", "größe") && !matches("gr?e", "größe"));
        assert!(matches("a+b.(c)", "a+b.(c)") && !matches("a+b", "aab"));
    }

    #[test]
    fn sets_and_escapes_match() {
        assert!(matches("[a-c]x", "bx") && !matches("[a-c]x", "dx"));
        assert!(matches("[!a-c]x", "dx") && matches("[^a]x", "dx") && !matches("[!a-c]x", "ax"));
        assert!(matches("[]a]", "]") && matches("[a-]", "-") && matches("[^-]", "a"));
        assert!(matches("[[]", "[") && matches("[&&~]", "&") && matches("[a", "[a") && matches("[ä-ü]", "ö"));
        assert!(matches(r"\*", "*") && !matches(r"\*", "a") && matches(r"a\", r"a\"));
    }

    #[test]
    fn names_that_are_not_utf8_match() {
        let glob = Glob::new("caf?.*", false).unwrap();

        assert!(glob.matches(b"caf\xe9.txt"));
        assert!(glob.matches("café.\u{fffd}".as_bytes()));
    }

    #[test]
    fn folding_knows_more_than_ascii() {
        assert!(Glob::new("GRÖSSE*", true).unwrap().matches("grösse.txt".as_bytes()));
        assert!(!matches("GRÖSSE*", "grösse.txt"));
    }

    #[test]
    fn literals_are_what_every_match_holds() {
        assert_eq!(literals("*.doc", '/'), ["/", ".doc/"]);
        assert_eq!(literals(r"a?[b-d]e\*[f", '/'), ["/a", "", "e*[f/"]);
        assert_eq!(literals("name", '/'), ["/name/"]);
    }

    #[test]
    fn impossible_ranges_are_refused() {
        assert!(Glob::new("[z-a]", false).is_err());
    }
}
