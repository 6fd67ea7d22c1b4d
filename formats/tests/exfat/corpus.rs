//! Sleuth Kit's manifests, and what blkid prints.

use crate::images::{CorpusImage, FileImage, corpus, walk};
use spelunk_formats::guest::{self, Options};
use spelunk_tree::{Kind, Tree};
use std::sync::Arc;

/// Images, and by how many seconds local time was ahead of UTC: Sleuth Kit shows local times as if they were UTC.
const SLEUTH_KIT: [(&str, i64); 5] = [
    ("dissect-fat-exfat", 2 * 3600),
    ("gen-exfat-128k-A", 0),
    ("gen-exfat-4k-A", 0),
    ("gen-exfat-512c-A", 0),
    ("syzseed-exfat-1", 0),
];

fn open(image: &CorpusImage) -> Arc<dyn Tree> {
    let volume = Arc::new(FileImage::open(&image.path));
    guest::open(volume, &Options::default()).unwrap_or_else(|error| panic!("{}: {error:?}", image.id))
}

/// The columns path, type, size, sha256, and mtime. Sleuth Kit says no size of directories.
fn our_lines(tree: &dyn Tree, ahead: i64) -> Vec<String> {
    let lines = walk(tree).into_iter().map(|walked| {
        let (kind, size) =
            if walked.attr.kind == Kind::Directory { ("d", 0) } else { ("f", walked.attr.size) };
        let time = walked.attr.modified.unwrap();
        // Sleuth Kit takes only more than a hundred hundredths for a second more.
        let is_cut = time.seconds() % 2 == 1 && time.nanoseconds() == 0;
        let (seconds, nanoseconds) = (time.seconds() + ahead - i64::from(is_cut), time.nanoseconds());
        format!("{}\t{kind}\t{size}\t{}\t{seconds}.{nanoseconds:09}", walked.path, walked.hash)
    });
    lines.collect()
}

/// Sleuth Kit shows the label and the volume's tables as entries.
fn sleuth_kit_lines(image: &CorpusImage) -> Vec<String> {
    let is_table = |path: &str| {
        path.ends_with(" (Volume Label Entry)") || matches!(path, "$ALLOC_BITMAP" | "$UPCASE_TABLE")
    };
    let mut lines: Vec<String> = image
        .manifest
        .iter()
        .filter(|line| line[1] != "v" && !is_table(&line[0]))
        .map(|line| line[..5].join("\t"))
        .collect();
    lines.sort();
    lines
}

#[test]
fn corpus_volumes_equal_sleuth_kits_manifests() {
    let Some(images) = corpus(&SLEUTH_KIT.map(|(id, _)| id)) else { return };
    for (image, (_, ahead)) in images.iter().zip(SLEUTH_KIT) {
        let tree = open(image);
        let (mut ours, theirs) = (our_lines(&*tree, ahead), sleuth_kit_lines(image));
        ours.sort();
        println!("{}: {} lines", image.id, ours.len());
        for (our, their) in ours.iter().zip(&theirs) {
            assert_eq!(our, their, "{}", image.id);
        }
        assert_eq!(ours.len(), theirs.len(), "{}", image.id);
        assert_eq!(tree.info().notes, Vec::<String>::new(), "{}", image.id);
    }
}

#[test]
fn corpus_volume_has_the_label_and_id_that_blkid_prints() {
    let Some(images) = corpus(&["blkid-exfat"]) else { return };
    let tree = open(&images[0]);

    assert_eq!(String::from_utf8_lossy(&tree.info().label), "Новый том");
    assert_eq!(tree.info().uuid, "9C23-8877");
}
