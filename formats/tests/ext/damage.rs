//! Damaged images: with checksums, what is shown is what was stored or an error; without, at least an end.

use crate::kernel::run;
use crate::populate::pattern;
use crate::volume::open_bytes;
use crate::walk::Walker;
use spelunk_tree::{ErrorKind, Kind, Place, Tree};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A small image with the given features, filled without a mount.
fn image(mkfs: &str, kibibytes: u64) -> Option<Vec<u8>> {
    if std::process::Command::new("mke2fs").arg("-V").output().is_err() {
        spelunk_testkit::skip::because("mke2fs is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fill(&source);
    let image = dir.path().join("image");
    fs::File::create(&image).unwrap().set_len(kibibytes << 10).unwrap();
    let mut arguments: Vec<&str> = mkfs.split_whitespace().collect();
    arguments.extend(["-q", "-F", "-d", source.to_str().unwrap(), image.to_str().unwrap()]);
    run("mke2fs", &arguments);
    Some(fs::read(image).unwrap())
}

fn fill(root: &Path) {
    fs::create_dir_all(root.join("dir/inner")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..150 {
        fs::write(root.join(format!("many/file-number-{number}")), pattern(number, 40)).unwrap();
    }
    for size in [0, 10, 100, 1000, 5000, 40_000] {
        fs::write(root.join(format!("dir/{size}")), pattern(size as u64, size)).unwrap();
        fs::write(root.join(format!("dir/inner/{size}")), pattern(size as u64 + 1, size)).unwrap();
    }
    symlink("short", root.join("link")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    for number in 0..40 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &pattern(number, 1024), number * 5000).unwrap();
    }
}

fn walk(tree: &dyn Tree) -> (Vec<String>, Vec<String>) {
    let mut walker = Walker::new(tree);
    walker.is_full = true;
    walker.lines_max = 5000;
    walker.walk();
    (walker.lines, walker.errors)
}

/// Which bytes of the image are data of files: no checksum covers them.
fn data_bytes(tree: &dyn Tree, len: usize) -> Vec<bool> {
    let mut is_data = vec![false; len];
    let mut directories = vec![tree.root()];
    while let Some(dir) = directories.pop() {
        for listed in tree.list(dir, spelunk_tree::Cursor::START, 4096).unwrap().entries {
            let spelunk_tree::Listed::Entry { entry, .. } = listed else { panic!("broken") };
            match entry.attr.kind {
                Kind::Directory => directories.push(entry.node),
                Kind::File => {
                    let mut runs = Vec::new();
                    tree.runs(entry.node, None, 0, u64::MAX, &mut runs).unwrap();
                    for run in runs {
                        if let Place::At { offset, .. } = run.place {
                            is_data[offset as usize..(offset + run.len) as usize].fill(true);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    is_data
}

/// A generator that is the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn a_flipped_bit_under_checksums_is_an_error_and_never_other_data() {
    for mkfs in [
        "-t ext4 -b 1024 -O metadata_csum,64bit",
        "-t ext4 -b 1024 -O metadata_csum,inline_data,^has_journal",
    ] {
        let Some(good) = image(mkfs, 2048) else { return };
        let tree = open_bytes(good.clone()).unwrap();
        let (expected, errors) = walk(&*tree);
        assert_eq!(errors, Vec::<String>::new());
        let expected: HashSet<String> = expected.into_iter().collect();
        let is_data = data_bytes(&*tree, good.len());
        let mut random = Random(1);
        let mut noticed = 0;
        // Where the metadata is: what is not zero.
        let places: Vec<usize> = (0..good.len()).filter(|&at| good[at] != 0 && !is_data[at]).collect();
        for _ in 0..300 {
            let at = places[random.below(places.len())];
            let mut bad = good.clone();
            bad[at] ^= 1 << random.below(8);
            let Ok(tree) = open_bytes(bad) else {
                assert!((1024..2048).contains(&at), "byte {at}");
                continue;
            };
            let (lines, errors) = walk(&*tree);
            for line in lines.iter().filter(|line| !line.contains("\tERR\t")) {
                assert!(expected.contains(line), "byte {at}: {line}");
            }
            assert!(
                lines.len() == expected.len() || !errors.is_empty(),
                "byte {at}: something is silently missing"
            );
            noticed += usize::from(!errors.is_empty());
        }
        assert!(noticed > 60, "{mkfs}: only {noticed} of 300 were noticed");
    }
}

#[test]
fn an_inode_with_a_wrong_checksum_hides_nothing_else() {
    let Some(good) = image("-t ext4 -b 1024 -O metadata_csum", 2048) else { return };
    let (expected, _) = walk(&*open_bytes(good.clone()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, &good).unwrap();
    let field = "set_inode_field many/file-number-77 checksum 0x12345678";
    run("debugfs", &["-w", "-R", field, path.to_str().unwrap()]);

    let (lines, errors) = walk(&*open_bytes(fs::read(&path).unwrap()).unwrap());

    let missing: Vec<&String> = expected.iter().filter(|line| !lines.contains(line)).collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("many/Some(\"file-number-77\"): damaged: wrong checksum"), "{errors:?}");
}

#[test]
fn a_damaged_superblock_is_replaced_by_its_copy() {
    let Some(good) = image("-t ext4 -b 1024 -O metadata_csum", 9500) else { return };
    let (expected, _) = walk(&*open_bytes(good.clone()).unwrap());
    let mut bad = good;
    bad[1024 + 0x28] ^= 1;

    let tree = open_bytes(bad.clone()).unwrap();

    assert_eq!(walk(&*tree).0, expected);
    assert!(tree.info().notes[0].contains("the copy at byte 8389632 was used"), "{:?}", tree.info().notes);
    bad[8_389_632 + 0x28] ^= 1;
    assert_eq!(open_bytes(bad).err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn damaged_group_descriptors_are_replaced_by_their_copies() {
    let Some(good) = image("-t ext4 -b 1024 -O metadata_csum", 9500) else { return };
    let (expected, _) = walk(&*open_bytes(good.clone()).unwrap());
    let mut bad = good;
    bad[2048..2048 + 64].fill(0x55);

    let (lines, errors) = walk(&*open_bytes(bad.clone()).unwrap());
    assert_eq!((lines, errors.len()), (expected, 0));

    bad[8_389_632 + 1024..8_389_632 + 1024 + 64].fill(0x55);
    let (lines, errors) = walk(&*open_bytes(bad).unwrap());
    assert_eq!(lines.len(), 0);
    assert!(errors[0].contains("descriptor of group 0"), "{errors:?}");
}

#[test]
fn truncated_images_show_what_is_left() {
    let Some(good) = image("-t ext4 -b 1024 -O metadata_csum", 2048) else { return };
    for kept in [1024, 2048, 3000, 50_000, 300_000, 900_000] {
        match open_bytes(good[..kept].to_vec()) {
            Ok(tree) => {
                let (_, errors) = walk(&*tree);
                assert!(!errors.is_empty());
                assert!(tree.info().notes.iter().any(|note| note.contains("the volume ends")));
            }
            Err(error) => assert!(kept < 3000, "{kept}: {error:?}"),
        }
    }
}

#[test]
fn forged_images_without_checksums_end() {
    let features =
        ["-t ext4 -b 1024 -O ^metadata_csum,inline_data", "-t ext3 -b 1024", "-t ext2 -b 1024 -I 128"];
    for (number, mkfs) in features.into_iter().enumerate() {
        let Some(good) = image(mkfs, 2048) else { return };
        let is_data = data_bytes(&*open_bytes(good.clone()).unwrap(), good.len());
        let places: Vec<usize> = (0..good.len()).filter(|&at| good[at] != 0 && !is_data[at]).collect();
        let mut random = Random(number as u64);
        for _ in 0..150 {
            let mut bad = good.clone();
            for _ in 0..=random.below(30) {
                let at = places[random.below(places.len())];
                bad[at] = [0, 0xFF, 0x7F, 1, random.below(256) as u8][random.below(5)];
            }
            if let Ok(tree) = open_bytes(bad) {
                walk(&*tree);
            }
        }
    }
}
