//! `spelunk manifest`.

use super::{fixture, spelunk};

/// SHA-256 of nothing, of `aaaa`, and of a link's target `docs/a.txt`.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OF_AAAA: &str = "61be55a8e2f6b4e172338bddf184d6dbee29c98853e0a0485ecee7f27b9af0b4";

/// The columns of a line; owner left out, since only root can give files away.
fn columns(line: &str) -> Vec<&str> {
    let mut columns: Vec<&str> = line.split('\t').collect();
    assert_eq!(columns.len(), 9, "{line}");
    columns.remove(6);
    columns
}

#[test]
fn every_entry_is_a_line_of_nine_columns() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = spelunk(["manifest", &image.path().to_string_lossy()]);

    let lines: Vec<Vec<&str>> = ended.success().lines().map(columns).collect();
    let paths: Vec<&str> = lines.iter().map(|line| line[0]).collect();
    assert_eq!(
        paths,
        [
            ".hidden",
            "docs",
            "docs/a.txt",
            "docs/b.doc",
            "docs/sub",
            "docs/sub/deep.TXT",
            "hello.txt",
            "link",
            "lost+found",
            "old",
            "up"
        ]
    );
    assert_eq!(lines[1], ["docs", "d", "0", "-", "1767323045.000000000", "0755", "3", ""]);
    assert_eq!(lines[2], ["docs/a.txt", "f", "4", OF_AAAA, "1767323045.000000000", "0644", "1", ""]);
    assert_eq!(lines[5][..4], ["docs/sub/deep.TXT", "f", "0", OF_NOTHING]);
    assert_eq!(lines[6][5], "4750");
    assert_eq!((lines[7][1], lines[7][2], lines[7][7]), ("l", "10", "docs/a.txt"));
}

#[test]
fn names_are_escaped_as_in_the_corpus() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::hostile();

    let ended = spelunk(["manifest", &image.path().to_string_lossy()]);

    let paths: Vec<&str> = ended.success().lines().map(|line| columns(line)[0]).collect();
    assert_eq!(
        paths,
        ["a\u{202e}cod.exe", "back%5Cslash", "caf%E9", "lost+found", "red%1B[31m", "two%0Alines"]
    );
}

#[test]
fn partitions_are_lines_with_their_contents_below() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::partitioned();

    let ended = spelunk(["manifest", &image.path().to_string_lossy()]);

    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(3), 1), "{}", ended.stderr);
    assert_eq!(ended.stderr, "warning: p4: not supported: no known filesystem\n");
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(
        lines[0],
        "p1\tP\t4194304\t-\t\t\t\t\tstart=1048576 type=0FC63DAF-8483-4772-8E79-3D69D8477DE4 name=root \
         uuid=AAAAAAAA-0000-0000-0000-000000000001 attrs="
    );
    let firsts: Vec<&str> = lines.iter().map(|line| columns(line)[0]).collect();
    assert_eq!(firsts[1..3], ["p1/.hidden", "p1/docs"]);
    assert_eq!(firsts[12..15], ["p2", "p3", "p3/.hidden"]);
    assert_eq!(firsts.last(), Some(&"p4"));
}

#[test]
fn files_over_the_limit_are_not_hashed() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let ended = spelunk(["manifest", "--hash-limit", "2k", &image.path().to_string_lossy()]);

    let lines: Vec<Vec<&str>> = ended.success().lines().map(columns).collect();
    assert_eq!(lines[3][..4], ["docs/b.doc", "f", "3000", "-"]);
    assert_eq!(lines[2][3], OF_AAAA);
}

#[test]
fn damaged_entry_is_a_line_with_its_error() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::damaged();

    let ended = spelunk(["manifest", &image.path().to_string_lossy()]);

    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(3), 1), "{}", ended.stderr);
    assert!(ended.text().contains("docs/b.doc\t?\t0\tERR:damaged\t\t\t\t\t\n"), "{}", ended.text());
    assert_eq!(ended.text().lines().count(), 11);
}

#[test]
fn json_leaves_out_what_is_not_known() {
    if !fixture::can_be_made() {
        return;
    }
    let image = fixture::plain();

    let objects = spelunk(["manifest", "--json", &image.path().to_string_lossy()]).objects();

    assert_eq!((&objects[2]["path"], &objects[2]["sha256"]), (&"docs/a.txt".into(), &OF_AAAA.into()));
    assert_eq!(objects[1].get("sha256"), None);
    assert!(objects.iter().all(|object| object["schema"] == 1));
}
