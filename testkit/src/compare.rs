//! What differs between two manifests, or two walks.

use crate::manifest::{COLUMNS, Line, escape};
use crate::walk::Entry;
use std::collections::BTreeMap;
use std::fmt;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path, escaped as in the manifest.
    pub path: String,
    /// The column that differs, or `missing` for a line that should be there, `surplus` for one that
    /// should not, or `refused` when there are no lines at all.
    pub what: &'static str,
    /// What the independent reader says: the column, or the whole line without its path.
    pub expected: String,
    /// What Spelunk says.
    pub actual: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { path, what, expected, actual } = self;
        match *what {
            "missing" => write!(f, "{path}: missing, expected {expected}"),
            "surplus" => write!(f, "{path}: not expected, found {actual}"),
            "refused" => write!(f, "refused: {actual}"),
            column => write!(f, "{path}: {column}: expected {expected:?}, found {actual:?}"),
        }
    }
}

/// Compares two manifests, whatever the order of their lines.
pub fn manifests(expected: &[Line], actual: &[Line]) -> Vec<Difference> {
    let mut paths: BTreeMap<&str, (Vec<&Line>, Vec<&Line>)> = BTreeMap::new();
    for line in expected {
        paths.entry(line.path()).or_default().0.push(line);
    }
    for line in actual {
        paths.entry(line.path()).or_default().1.push(line);
    }
    let mut differences = Vec::new();
    for (expected, actual) in paths.into_values() {
        pair_up(expected, actual, &mut differences);
    }
    differences
}

/// Pairs the lines of one path: those of one type first, since a broken directory has a line `d` and a line
/// `?`; then whatever is left.
fn pair_up(expected: Vec<&Line>, mut actual: Vec<&Line>, differences: &mut Vec<Difference>) {
    let mut unpaired = Vec::new();
    for line in expected {
        match actual.iter().position(|each| each.kind() == line.kind()) {
            Some(index) => columns(line, actual.remove(index), differences),
            None => unpaired.push(line),
        }
    }
    for line in unpaired {
        match actual.pop() {
            Some(other) => columns(line, other, differences),
            None => differences.push(whole(line, "missing")),
        }
    }
    differences.extend(actual.into_iter().map(|line| whole(line, "surplus")));
}

fn columns(expected: &Line, actual: &Line, differences: &mut Vec<Difference>) {
    for (what, (expected_column, actual_column)) in COLUMNS.into_iter().zip(expected.0.iter().zip(&actual.0))
    {
        if expected_column != actual_column {
            differences.push(Difference {
                path: expected.path().to_owned(),
                what,
                expected: expected_column.clone(),
                actual: actual_column.clone(),
            });
        }
    }
}

fn whole(line: &Line, what: &'static str) -> Difference {
    let text = line.0.get(1..).unwrap_or_default().join(" ");
    let (expected, actual) = if what == "missing" { (text, String::new()) } else { (String::new(), text) };
    Difference { path: line.path().to_owned(), what, expected, actual }
}

/// Compares two walks, sorted by path, field by field.
pub fn walks(expected: &[Entry], actual: &[Entry]) -> Vec<Difference> {
    let mut paths: BTreeMap<&[u8], (Option<&Entry>, Option<&Entry>)> = BTreeMap::new();
    for entry in expected {
        paths.entry(&entry.path).or_default().0 = Some(entry);
    }
    for entry in actual {
        paths.entry(&entry.path).or_default().1 = Some(entry);
    }
    let mut differences = Vec::new();
    for (path, pair) in paths {
        let mut push = |what, expected, actual| {
            differences.push(Difference { path: escape(path), what, expected, actual });
        };
        match pair {
            (Some(expected), Some(actual)) => fields(expected, actual, push),
            (Some(entry), None) => push("missing", entry.kind.to_string(), String::new()),
            (None, Some(entry)) => push("surplus", String::new(), entry.kind.to_string()),
            (None, None) => {}
        }
    }
    differences
}

fn fields(expected: &Entry, actual: &Entry, mut push: impl FnMut(&'static str, String, String)) {
    let mut compare = |what, expected: &dyn fmt::Debug, actual: &dyn fmt::Debug| {
        let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
        if expected != actual {
            push(what, expected, actual);
        }
    };
    compare("type", &expected.kind, &actual.kind);
    compare("mode", &expected.mode, &actual.mode);
    compare("uid", &expected.uid, &actual.uid);
    compare("gid", &expected.gid, &actual.gid);
    compare("nlink", &expected.links, &actual.links);
    compare("size", &expected.size, &actual.size);
    compare("blocks", &expected.blocks, &actual.blocks);
    compare("blksize", &expected.block_size, &actual.block_size);
    compare("rdev", &expected.device, &actual.device);
    compare("mtime", &expected.modified, &actual.modified);
    compare("atime", &expected.accessed, &actual.accessed);
    compare("ctime", &expected.changed, &actual.changed);
    compare("btime", &expected.created, &actual.created);
    compare("xattrs", &expected.xattrs, &actual.xattrs);
    compare("content", &expected.content, &actual.content);
    compare("target", &escape(&expected.target), &escape(&actual.target));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    #[test]
    fn manifests_that_differ_in_order_only_are_equal() {
        let a = parse("a\tf\t1\nb\tf\t2\n");
        let b = parse("b\tf\t2\na\tf\t1\n");

        assert_eq!(manifests(&a, &b), []);
    }

    #[test]
    fn missing_surplus_and_changed_lines_are_told_apart() {
        let expected = parse("a\tf\t1\nb\tf\t2\n");
        let actual = parse("b\tf\t3\nc\tf\t4\n");

        let found: Vec<_> = manifests(&expected, &actual).into_iter().map(|d| (d.path, d.what)).collect();

        let wanted = [("a", "missing"), ("b", "size"), ("c", "surplus")];
        assert_eq!(found, wanted.map(|(path, what)| (path.to_owned(), what)));
    }
}
