//! The corpus: images that others made, with manifests by the kernel.

use crate::kernel::{compare_image, is_possible};
use crate::volume::open_tree;
use crate::walk::Walker;
use spelunk_tree::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image that needs recovery, and whose manifest was made without: its tree is compared with what the kernel
/// shows after recovery.
const UNREPLAYED: &str = "ext4view-test_disk_4k_block_journal";

/// A row of the corpus' index.
struct Image {
    id: String,
    file: String,
    class: String,
    filesystem: String,
    manifest: Option<PathBuf>,
}

/// The directory with the corpus, `None` (and a word about it) where there is none.
fn corpus() -> Option<PathBuf> {
    Some(spelunk_testkit::corpus::root()?.join("corpus"))
}

/// The raw images of ext filesystems.
fn images(corpus: &Path) -> Vec<Image> {
    let index = std::fs::read_to_string(corpus.join("index.tsv")).unwrap();
    let rows = index.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        Image {
            id: columns[0].into(),
            file: columns[1].into(),
            class: columns[3].into(),
            filesystem: columns[4].into(),
            manifest: (columns[11] != "-").then(|| corpus.join(columns[11])),
        }
    });
    rows.filter(|image| image.filesystem.starts_with("ext"))
        .filter(|image| image.file.ends_with(".raw.zst") || image.file.ends_with(".img.zst"))
        .collect()
}

/// Unpacks an image for as long as the guard lives.
fn unpack(corpus: &Path, image: &Image, dir: &Path) -> PathBuf {
    let path = dir.join(format!("{}.raw", image.id));
    let status = Command::new("zstd")
        .args(["-d", "-q", "-f", "--sparse", "-o"])
        .arg(&path)
        .arg(corpus.join(&image.file))
        .status()
        .expect("zstd is installed");
    assert!(status.success(), "{}", image.file);
    path
}

#[test]
fn every_ext_image_of_the_corpus_equals_its_manifest() {
    let Some(corpus) = corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for image in images(&corpus).iter().filter(|image| image.manifest.is_some()) {
        let path = unpack(&corpus, image, dir.path());
        let tree = open_tree(&path).unwrap_or_else(|error| panic!("{}: {error:?}", image.id));
        let mut walker = Walker::new(&*tree);
        walker.image = Some(&path);
        walker.page = 97;
        walker.walk();
        let unexpected: Vec<_> =
            walker.errors.iter().filter(|error| !error.contains("an encrypted file")).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?}", image.id);
        if image.id == UNREPLAYED {
            assert!(walker.lines.len() > 100);
            if is_possible() {
                compare_image(&image.id, &path, dir.path());
            }
        } else {
            compare(image, &walker.lines);
        }
        eprintln!("{}: {} lines, {}", image.id, walker.lines.len(), tree.info().filesystem);
        compared += 1;
        std::fs::remove_file(path).unwrap();
    }
    assert!(compared > 20, "only {compared} images found");
}

fn compare(image: &Image, lines: &[String]) {
    let manifest = std::fs::read_to_string(image.manifest.as_ref().unwrap()).unwrap();
    // Where the kernel says why it cannot read, so do we, in other words.
    let manifest = manifest.replace("\tERR:Required key not available\t", "\tERR\t");
    let mut expected: Vec<&str> = manifest.lines().collect();
    expected.sort_unstable();
    let ours = lines;
    let missing: Vec<_> =
        expected.iter().filter(|line| ours.binary_search_by(|our| our.as_str().cmp(line)).is_err()).collect();
    let extra: Vec<_> = ours.iter().filter(|our| expected.binary_search(&our.as_str()).is_err()).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{}: {} lines differ\nexpected {:#?}\nfound {:#?}",
        image.id,
        missing.len().max(extra.len()),
        missing.iter().take(10).collect::<Vec<_>>(),
        extra.iter().take(10).collect::<Vec<_>>(),
    );
}

#[test]
fn hostile_ext_images_end_in_entries_or_typed_errors() {
    let Some(corpus) = corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    for image in images(&corpus).iter().filter(|image| image.manifest.is_none()) {
        let path = unpack(&corpus, image, dir.path());
        match open_tree(&path) {
            Err(error) => {
                eprintln!("{}: {error:?}", image.id);
                assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Limit),
                    "{}: {error:?}",
                    image.id
                );
            }
            Ok(tree) => {
                let mut walker = Walker::new(&*tree);
                walker.lines_max = 10_000;
                walker.is_full = true;
                walker.walk();
                eprintln!(
                    "{} ({}): {} lines, {} errors, notes {:?}",
                    image.id,
                    image.class,
                    walker.lines.len(),
                    walker.errors.len(),
                    tree.info().notes
                );
                for error in walker.errors {
                    eprintln!("    {error}");
                }
            }
        }
        std::fs::remove_file(path).unwrap();
    }
}
