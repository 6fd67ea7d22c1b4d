//! What only NTFS has: named streams, metafiles, no modes.

use super::fixture::{self, Image};
use super::{Ended, spelunk};

fn run(command: &str, image: &Image, arguments: &[&str]) -> Ended {
    let image = image.path().to_string_lossy();
    spelunk([command, &image].iter().chain(arguments))
}

#[test]
fn streams_can_be_read_and_stand_in_the_manifest() {
    let Some(image) = fixture::ntfs() else { return };

    let stream = run("cat", &image, &["FILE.TXT", "--stream", "Zone.Identifier"]);
    let manifest = run("manifest", &image, &[]);

    assert_eq!(stream.success(), "stream");
    let lines: Vec<&str> = manifest.success().lines().collect();
    assert_eq!(lines.len(), 2, "{}", manifest.text());
    assert!(
        lines[0].starts_with("file.txt\tf\t4\t") && lines[0].ends_with("\t0777\t0:0\t1\t"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[1],
        "file.txt:Zone.Identifier\ta\t6\t\
         dca83e717b1f64eb141057a7415a330ad1361f51703efa2e4776f40047898a04\t\t\t\t\t"
    );
}

#[test]
fn what_is_not_recorded_is_permitted_and_belongs_to_nobody() {
    let Some(image) = fixture::ntfs() else { return };

    let ended = run("ls", &image, &["-l"]);

    assert!(ended.success().starts_with("-rwxrwxrwx 1 - - 4 "), "{}", ended.text());
}

#[test]
fn metafiles_are_shown_when_asked() {
    let Some(image) = fixture::ntfs() else { return };

    assert_eq!(run("ls", &image, &[]).success(), "file.txt\n");
    assert!(run("ls", &image, &["--show-metafiles"]).success().contains("$MFT\n"));
}
