//! `spelunk cat`.

use super::fixture::{self, Image};
use super::{Ended, spelunk};

fn cat(image: &Image, arguments: &[&str]) -> Ended {
    let image = image.path().to_string_lossy();
    spelunk(["cat", &image].iter().chain(arguments))
}

#[test]
fn files_come_one_after_the_other() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    assert_eq!(cat(&image, &["hello.txt", "/docs/../docs/a.txt"]).success(), "hello, world\naaaa");
}

#[test]
fn stretch_of_a_file_can_be_had() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    assert_eq!(cat(&image, &["hello.txt", "--offset", "7", "--length", "5"]).success(), "world");
    assert_eq!(cat(&image, &["hello.txt", "--offset", "1k"]).success(), "");
    assert_eq!(cat(&image, &["hello.txt", "--length", "0"]).success(), "");
}

#[test]
fn links_are_followed_only_when_asked_and_stay_inside() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let refused = cat(&image, &["link"]);

    assert_eq!((refused.code, refused.text()), (Some(1), ""));
    assert!(refused.stderr.contains("--follow"), "{}", refused.stderr);
    assert_eq!(cat(&image, &["--follow", "link"]).success(), "aaaa");
    assert_eq!(cat(&image, &["-L", "up/a.txt"]).success(), "aaaa");
    assert_eq!(cat(&image, &["up/a.txt"]).code, Some(1));
}

#[test]
fn what_is_no_file_is_told_and_the_rest_is_written() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = cat(&image, &["docs", "missing", "hello.txt/x", "old"]);

    assert_eq!((ended.code, ended.text()), (Some(1), "old"));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stderr);
    assert_eq!(lines[0], "error: docs: is a directory");
    assert!(lines[1].starts_with("error: missing: "), "{}", lines[1]);
    assert!(lines[2].starts_with("error: hello.txt/x: "), "{}", lines[2]);
}

#[test]
fn stream_that_is_not_there_is_told() {
    if !fixture::can_be_made() {
        return;
    }

    let ended = cat(&fixture::plain(), &["hello.txt", "--stream", "Zone.Identifier"]);

    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), "error: hello.txt: no such stream\n"));
}
