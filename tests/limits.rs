//! `docs/limits.md` names every limit that the product has, where it stands, why, and what happens over it. All but the
//! last is taken from the code: `SPELUNK_UPDATE=1 cargo test limits::` writes it anew and keeps the last column.

use regex_lite::Regex;
use spelunk_testkit::{cache, tool};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

/// The document, and where the part begins that is made.
const DOCUMENT: &str = "docs/limits.md";
const HEAD: &str = "| Limit | Value | Why | Over it, and the test |\n|---|---|---|---|\n";

/// What stands in the last column of a limit that nobody has written about.
const UNKNOWN: &str = "?";

/// One limit.
struct Limit {
    file: String,
    name: String,
    value: String,
    why: String,
}

/// Sources of the product: not those of its tests.
fn sources() -> Vec<String> {
    let root = cache::workspace();
    let folders = ["tree/src", "formats/src", "sandbox/src", "mount/src", "src"];
    let arguments =
        ["-C", root.to_str().expect("UTF-8"), "ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = tool::run("git", arguments.iter().chain(&folders)).expect("git lists the files");
    let listed = String::from_utf8(listed).expect("names in UTF-8");
    let is_source = |name: &&str| {
        let is_test =
            name.ends_with("/tests.rs") || name.contains("/tests/") || name.ends_with("/fuzzing.rs");
        name.ends_with(".rs") && !is_test && root.join(name).is_file()
    };
    let mut names: Vec<String> = listed.lines().filter(is_source).map(str::to_owned).collect();
    names.sort();
    names
}

/// The limits of one file: constants whose names say so, with the comment above them, or above those right before.
fn limits(file: &str) -> Vec<Limit> {
    let text = fs::read_to_string(cache::workspace().join(file)).expect("a source");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let constant =
        Regex::new(r"^\s*(?:pub(?:\([a-z]+\))? )?const ([A-Z0-9_]+): [^=]+ =(.*)$").expect("an expression");
    let (mut comment, mut last, mut limits) = (Vec::new(), String::new(), Vec::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.trim().strip_prefix("///") {
            comment.push(words.trim());
        } else if let Some(found) = constant.captures(line) {
            if !comment.is_empty() {
                last = comment.join(" ");
            }
            let mut value = found[2].trim().to_owned();
            while !value.ends_with(';') {
                let Some(more) = lines.next() else { break };
                value = format!("{value} {}", more.trim());
            }
            let is_limit = ["_MAX", "TIMEOUT", "_ENOUGH"].iter().any(|end| found[1].ends_with(end));
            if is_limit {
                limits.push(Limit {
                    file: file.to_owned(),
                    name: found[1].to_owned(),
                    value: of_the_product(value.trim_end_matches(';')).to_owned(),
                    why: last.clone(),
                });
            }
            comment.clear();
        } else if !line.trim().starts_with("#[") {
            comment.clear();
            last.clear();
        }
    }
    limits
}

/// The value that the product has, where unit tests have a smaller one, so that they can go over it.
fn of_the_product(value: &str) -> &str {
    let smaller = value.strip_prefix("if cfg!(test) {");
    let other =
        smaller.and_then(|rest| rest.split_once("} else {")).and_then(|(_, rest)| rest.strip_suffix('}'));
    other.map_or(value, str::trim)
}

/// The last columns that the document has, by file and name.
fn written(document: &str) -> HashMap<(String, String), String> {
    let mut file = String::new();
    let mut found = HashMap::new();
    for line in document.lines() {
        if let Some(name) = line.strip_prefix("## `").and_then(|rest| rest.strip_suffix('`')) {
            file = name.to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let name = row.split('`').next().unwrap_or_default().to_owned();
            let last = row.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default().trim();
            found.insert((file.clone(), name), last.to_owned());
        }
    }
    found
}

/// The document as it should be.
fn document(old: &str) -> String {
    let written = written(old);
    let mut text = old.split("\n## ").next().unwrap_or_default().trim_end().to_owned();
    let all: Vec<Limit> = sources().iter().flat_map(|file| limits(file)).collect();
    for of_file in all.chunk_by(|one, other| one.file == other.file) {
        let file = &of_file[0].file;
        _ = write!(text, "\n\n## `{file}`\n\n{HEAD}");
        for Limit { name, value, why, .. } in of_file {
            let over = written.get(&(file.clone(), name.clone())).map_or(UNKNOWN, String::as_str);
            let why = why.replace('|', "\\|");
            _ = writeln!(text, "| `{name}` | `{value}` | {why} | {over} |");
        }
        text.truncate(text.trim_end().len());
    }
    text + "\n"
}

#[test]
fn every_limit_stands_in_the_document_with_its_reason_and_what_happens_over_it() {
    let path = cache::workspace().join(DOCUMENT);
    let old = fs::read_to_string(&path).expect("the document");

    let new = document(&old);

    if std::env::var_os("SPELUNK_UPDATE").is_some() {
        fs::write(&path, &new).expect("the document is written");
    }
    assert!(
        new == old,
        "{DOCUMENT} is not what the code says; SPELUNK_UPDATE=1 cargo test limits:: writes it anew"
    );
    let bare: Vec<&str> = new
        .lines()
        .filter(|line| line.ends_with(&format!("| {UNKNOWN} |")) || line.contains("` |  |"))
        .collect();
    assert!(
        bare.is_empty(),
        "limits without a reason, or without a word on what happens over them: {bare:#?}"
    );
}

/// How the last column says that no test goes over a limit; why stands behind it.
const UNTESTED: [&str; 3] = ["no test: ", "no test of ", "never met"];

/// That the tests exist is checked with those of the other manuals, in `tidy`.
#[test]
fn every_limit_names_the_test_that_goes_over_it_or_says_why_none_does() {
    let document = fs::read_to_string(cache::workspace().join(DOCUMENT)).expect("the document");
    let test = Regex::new(r"`[a-z0-9]+(_[a-z0-9]+){2,}`").expect("an expression");

    let silent: Vec<(String, String)> = written(&document)
        .into_iter()
        .filter(|(_, last)| !test.is_match(last) && !UNTESTED.iter().any(|words| last.contains(words)))
        .map(|(limit, _)| limit)
        .collect();

    assert!(silent.is_empty(), "limits without a test, or a word on why there is none: {silent:#?}");
}
