//! The text that LVM's metadata are written as: sections of keys with numbers, strings and lists
//! (lvm.conf(5); LVM2 `libdm/libdm-config.c`).

use spelunk_tree::{Error, Result};
use std::borrow::Cow;

/// Sections in sections: LVM needs three, of volume group, logical volumes, volume and segment four.
const DEPTH_MAX: usize = 8;
/// Values in one text: a group of ten thousand volumes has a quarter as many.
const VALUES_MAX: usize = 1 << 18;

/// A section: keys and values, in the order in which they stand.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Section<'a> {
    pub(super) entries: Vec<(&'a str, Value<'a>)>,
}

/// What a key has.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Section(Section<'a>),
    Number(i64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
}

impl<'a> Section<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub(super) fn section(&self, key: &str) -> Option<&Section<'a>> {
        self.get(key).and_then(|value| if let Value::Section(section) = value { Some(section) } else { None })
    }

    /// The sections in it with their names.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&'a str, &Section<'a>)> {
        self.entries.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((*name, section)),
            _ => None,
        })
    }

    /// A string that must be there.
    pub(super) fn text(&self, key: &str) -> Result<&str> {
        match self.get(key) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::corrupt(format!("metadata without the string {key}"))),
        }
    }

    /// A number that must be there, and is not negative.
    pub(super) fn number(&self, key: &str) -> Result<u64> {
        self.optional_number(key)?.ok_or_else(|| Error::corrupt(format!("metadata without the number {key}")))
    }

    pub(super) fn optional_number(&self, key: &str) -> Result<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) => u64::try_from(*number).map(Some).map_err(|_| wrong(key)),
            Some(_) => Err(wrong(key)),
        }
    }

    /// A list; a single value counts as one; none is empty.
    pub(super) fn list(&self, key: &str) -> &[Value<'a>] {
        match self.get(key) {
            Some(Value::List(list)) => list,
            Some(value @ (Value::Text(_) | Value::Number(_))) => std::slice::from_ref(value),
            _ => &[],
        }
    }

    /// Whether the list `key` has the string `word`.
    pub(super) fn has_word(&self, key: &str, word: &str) -> bool {
        self.list(key).iter().any(|value| matches!(value, Value::Text(text) if text == word))
    }
}

fn wrong(key: &str) -> Error {
    Error::corrupt(format!("metadata in which {key} is no count"))
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Section<'_>> {
    let mut parser = Parser { rest: text, len: text.len(), values: 0 };
    let section = parser.section(0)?;
    if parser.rest.is_empty() { Ok(section) } else { Err(parser.wrong("a brace too many")) }
}

struct Parser<'a> {
    rest: &'a str,
    len: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn wrong(&self, what: &str) -> Error {
        let at = self.len.saturating_sub(self.rest.len());
        Error::corrupt(format!("LVM metadata: {what}")).at(crate::bytes::count(at))
    }

    /// Passes blanks and comments, and the NUL at the end of a text.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(|it: char| it.is_ascii_whitespace() || it == '\0');
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => return,
            }
        }
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// As many characters as fit.
    fn while_any(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|it| !fits(it)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Entries up to the brace that closes them, or the end of the text.
    fn section(&mut self, depth: usize) -> Result<Section<'a>> {
        if depth > DEPTH_MAX {
            return Err(Error::limit(format!(
                "LVM metadata of more than {DEPTH_MAX} sections in one another"
            )));
        }
        let mut section = Section::default();
        loop {
            self.skip_blanks();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Ok(section);
            }
            let key = self.while_any(|it| it.is_ascii_alphanumeric() || "_.+-/!@$%&*".contains(it));
            if key.is_empty() {
                return Err(self.wrong("no key where one should be"));
            }
            let value = if self.take('{') {
                let inner = self.section(depth.saturating_add(1))?;
                if !self.take('}') {
                    return Err(self.wrong("a section without end"));
                }
                self.count()?;
                Value::Section(inner)
            } else if self.take('=') {
                self.value()?
            } else {
                return Err(self.wrong("a key without a value"));
            };
            section.entries.push((key, value));
        }
    }

    fn count(&mut self) -> Result<()> {
        self.values = self.values.saturating_add(1);
        if self.values > VALUES_MAX {
            return Err(Error::limit(format!("LVM metadata of more than {VALUES_MAX} values")));
        }
        Ok(())
    }

    /// A number, a string, or a list of these.
    fn value(&mut self) -> Result<Value<'a>> {
        if !self.take('[') {
            return self.scalar();
        }
        self.count()?;
        let mut list = Vec::new();
        while !self.take(']') {
            list.push(self.scalar()?);
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err(self.wrong("a list without end"));
            }
        }
        Ok(Value::List(list))
    }

    fn scalar(&mut self) -> Result<Value<'a>> {
        self.count()?;
        if self.take('"') {
            return self.string();
        }
        let word = self.while_any(|it| it.is_ascii_digit() || "+-.".contains(it));
        // A fraction stands nowhere that matters here.
        let whole = word.split_once('.').map_or(word, |(whole, _)| whole);
        whole.parse().map(Value::Number).map_err(|_| self.wrong("neither a number nor a string"))
    }

    /// A string, behind its first quotation mark.
    fn string(&mut self) -> Result<Value<'a>> {
        let mut is_escaped = false;
        let end = self.rest.find(|it: char| {
            let is_end = it == '"' && !is_escaped;
            is_escaped = it == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or_else(|| self.wrong("a string without end"))?;
        let (inner, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix('"').unwrap_or(rest);
        Ok(Value::Text(if inner.contains('\\') {
            Cow::Owned(unescaped(inner))
        } else {
            Cow::Borrowed(inner)
        }))
    }
}

/// A backslash only says that what follows it means itself.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    #[test]
    fn sections_lists_strings_and_comments_are_read() {
        let text = "vg0 { # a comment\n id = \"a\\\"b\"\n seqno = 3 list = [\"x\", -1, ] none = [] inner {\n} }\ntime = 1\n\0";

        let section = parse(text).unwrap();

        let group = section.section("vg0").unwrap();
        assert_eq!(group.text("id"), Ok("a\"b"));
        assert_eq!(group.number("seqno"), Ok(3));
        assert_eq!(group.list("list"), [Value::Text("x".into()), Value::Number(-1)]);
        assert!(group.list("none").is_empty() && group.section("inner").is_some());
        assert_eq!(section.number("time"), Ok(1));
    }

    #[test]
    fn texts_that_are_deep_large_or_unfinished_are_errors() {
        let kind = |text: &str| parse(text).unwrap_err().kind();

        assert_eq!(kind(&"a{".repeat(100_000)), ErrorKind::Limit);
        assert_eq!(kind(&"a=1 ".repeat(300_000)), ErrorKind::Limit);
        for text in
            ["a {", "a = [1", "a = [1 2]", "a = \"b", "a", "}", "a = x", "= 1", "a = 99999999999999999999"]
        {
            assert_eq!(kind(text), ErrorKind::Corrupt, "{text}");
        }
    }
}
