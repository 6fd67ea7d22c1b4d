//! `spelunk find`.

use super::fixture::{self, Image};
use super::{Ended, spelunk};

fn find(image: &Image, arguments: &[&str]) -> Ended {
    let image = image.path().to_string_lossy();
    spelunk(["find", &image].iter().chain(arguments))
}

/// The lines that a search printed, sorted: a guest's own order is not the tests' matter.
fn found(image: &Image, arguments: &[&str]) -> Vec<String> {
    let ended = find(image, arguments);
    let mut lines: Vec<String> = ended.success().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn without_conditions_all_is_found_with_its_path() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    assert_eq!(
        found(&image, &[]),
        [
            "/",
            "/.hidden",
            "/docs",
            "/docs/a.txt",
            "/docs/b.doc",
            "/docs/sub",
            "/docs/sub/deep.TXT",
            "/hello.txt",
            "/link",
            "/lost+found",
            "/old",
            "/up"
        ]
    );
    assert_eq!(found(&image, &["docs/sub"]), ["docs/sub", "docs/sub/deep.TXT"]);
    assert_eq!(found(&image, &["hello.txt"]), ["hello.txt"]);
}

#[test]
fn conditions_are_all_kept() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    assert_eq!(found(&image, &["--name", "*.txt"]), ["/docs/a.txt", "/hello.txt"]);
    assert_eq!(found(&image, &["--iname", "*.txt", "--path", "*/sub/*"]), ["/docs/sub/deep.TXT"]);
    assert_eq!(found(&image, &["--type", "l"]), ["/link", "/up"]);
    assert_eq!(found(&image, &["--type", "l,d", "--name", "[du]*"]), ["/docs", "/up"]);
    assert_eq!(found(&image, &["--size", "+1k"]), ["/docs/b.doc"]);
    assert_eq!(found(&image, &["--size", "-4", "--size", "+1"]), ["/docs/a.txt", "/old"]);
    assert_eq!(found(&image, &["--older", "2010-01-01"]), ["/old"]);
    assert_eq!(found(&image, &["--newer", "2026-01-02 03:04:04", "--name", "old"]), Vec::<String>::new());
    assert_eq!(found(&image, &["--newer", "2026-01-02 03:04:04", "--name", "a.txt"]), ["/docs/a.txt"]);
    assert_eq!(found(&image, &["docs", "--maxdepth", "1", "--mindepth", "1"]).len(), 3);
}

#[test]
fn words_of_find_are_understood() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    assert_eq!(found(&image, &["/", "-type", "f", "-name", "*.doc", "-size", "-1M"]), ["/docs/b.doc"]);
    assert_eq!(find(&image, &["docs/sub", "-print0"]).success(), "docs/sub\0docs/sub/deep.TXT\0");
}

#[test]
fn json_has_the_bytes_of_names_and_the_targets_of_links() {
    if !fixture::can_be_made() {
        return;
    }

    let links = find(&fixture::plain(), &["--type", "l", "--name", "link", "--json"]).objects();
    let odd = find(&fixture::hostile(), &["--name", "caf?", "--json"]).objects();

    assert_eq!((links.len(), &links[0]["target"]), (1, &"docs/a.txt".into()));
    assert_eq!((odd.len(), &odd[0]["path_hex"]), (1, &"2f636166e9".into()));
}

#[test]
fn damaged_entry_is_told_and_the_search_goes_on() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::damaged();

    let ended = find(&image, &["/docs"]);

    assert_eq!(ended.code, Some(3));
    assert!(ended.text().contains("/docs/a.txt\n") && ended.text().contains("/docs/sub/deep.TXT\n"));
    assert!(ended.stderr.starts_with("warning: /docs/b.doc: damaged: "), "{}", ended.stderr);
}

#[test]
fn wrong_conditions_are_wrong_usage() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    for arguments in
        [["--type", "z"], ["--size", "many"], ["--newer", "soon"], ["--name", "[z-a]"], ["--perm", "1"]]
    {
        let ended = find(&image, &arguments);
        assert_eq!((ended.code, ended.text()), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    }
}
