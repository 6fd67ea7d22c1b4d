//! What this machine's kernel may not mount: blocks larger than its pages, directories without case. Made and
//! changed by e2fsprogs alone.

use crate::kernel::{kernel_walk, run};
use crate::populate::pattern;
use crate::volume::open_tree;
use crate::walk::Walker;
use spelunk_tree::{Case, ErrorKind, Name, NodeId, Tree};
use std::fs;
use std::path::Path;

fn make_from(source: &Path, image: &Path, mebibytes: u64, mkfs: &str) {
    fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
    let mut arguments: Vec<&str> = mkfs.split_whitespace().collect();
    arguments.extend(["-q", "-F", "-d", source.to_str().unwrap(), image.to_str().unwrap()]);
    run("mke2fs", &arguments);
}

fn find(tree: &dyn Tree, dir: NodeId, name: &str) -> Result<String, ErrorKind> {
    let found = tree.lookup(dir, &Name::new(name.as_bytes()).unwrap()).map_err(|error| error.kind())?;
    Ok(String::from_utf8(found.name.as_bytes().to_vec()).unwrap())
}

#[test]
fn blocks_of_64_kib_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("dir")).unwrap();
    for number in 0..3000 {
        fs::write(source.join(format!("dir/a-name-of-some-length-{number}")), "").unwrap();
    }
    for size in [1, 65_535, 65_536, 65_537, 1_000_000] {
        fs::write(source.join(format!("{size}")), pattern(size as u64, size)).unwrap();
    }
    for (name, mkfs) in [("extents", "-t ext4 -b 65536 -N 4000"), ("maps", "-t ext2 -b 65536 -N 4000")] {
        let image = dir.path().join(name);
        make_from(&source, &image, 128, mkfs);

        let tree = open_tree(&image).unwrap();
        let mut walker = Walker::new(&*tree);
        walker.walk();

        let mut expected = Vec::new();
        kernel_walk(&source, b"", &mut expected);
        let columns = |line: &String| line.split('\t').take(7).collect::<Vec<_>>().join("\t");
        // Whole seconds in the small inodes of such filesystems are not the source's.
        let stable = |line: String| {
            let mut columns: Vec<&str> = line.split('\t').collect();
            columns.remove(4);
            columns.join("\t")
        };
        let mut expected: Vec<String> = expected.iter().map(columns).map(stable).collect();
        expected.sort();
        let mut found: Vec<String> = walker.lines.iter().map(columns).map(stable).collect();
        found.retain(|line| !line.starts_with("lost+found"));
        found.sort();
        assert_eq!(walker.errors, Vec::<String>::new());
        assert_eq!(expected, found);
        let many = tree.lookup(tree.root(), &Name::new(&b"dir"[..]).unwrap()).unwrap().node;
        assert_eq!(find(&*tree, many, "a-name-of-some-length-2999").unwrap(), "a-name-of-some-length-2999");
    }
}

#[test]
fn case_is_ignored_only_in_directories_that_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    for name in ["folds/ReadMe", "folds/readme", "folds/Straße", "folds/E\u{301}t\u{e9}", "keeps/ReadMe"] {
        fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
        fs::write(source.join(name), name).unwrap();
    }
    let image = dir.path().join("image");
    make_from(&source, &image, 8, "-t ext4 -O casefold");
    run("debugfs", &["-w", "-R", "set_inode_field folds flags 0x40080000", image.to_str().unwrap()]);

    let tree = open_tree(&image).unwrap();

    assert_eq!(tree.info().case, Case::PerDirectory);
    let dir = |name: &[u8]| tree.lookup(tree.root(), &Name::new(name).unwrap()).unwrap().node;
    let (folds, keeps) = (dir(b"folds"), dir(b"keeps"));
    assert_eq!(find(&*tree, folds, "readme"), Ok("readme".into()));
    assert_eq!(find(&*tree, folds, "ReadMe"), Ok("ReadMe".into()));
    assert!(find(&*tree, folds, "README").unwrap().eq_ignore_ascii_case("readme"));
    assert_eq!(find(&*tree, folds, "STRASSE"), Ok("Straße".into()));
    assert_eq!(find(&*tree, folds, "\u{e9}TE\u{301}"), Ok("E\u{301}t\u{e9}".into()));
    assert_eq!(find(&*tree, folds, "read"), Err(ErrorKind::NotFound));
    assert_eq!(find(&*tree, keeps, "ReadMe"), Ok("ReadMe".into()));
    assert_eq!(find(&*tree, keeps, "readme"), Err(ErrorKind::NotFound));
    assert_eq!(find(&*tree, tree.root(), "FOLDS"), Err(ErrorKind::NotFound));
}

#[test]
fn unknown_features_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    fs::create_dir(dir.path().join("source")).unwrap();
    make_from(&dir.path().join("source"), &image, 8, "-t ext4 -O ^metadata_csum");
    let mut bytes = fs::read(&image).unwrap();
    bytes[1024 + 0x60 + 1] |= 0x10;
    bytes[1024 + 0x60 + 3] |= 0x40;

    let error = crate::volume::open_bytes(bytes).err().unwrap();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("dirdata, incompat bit 30"), "{error:?}");
}

/// The kernel of this machine may not know `verity`. Its tree of hashes lies behind the end of the file.
#[test]
fn files_with_verity_a_project_or_blocks_counted_in_blocks_are_read_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let bytes = pattern(1, 50_000);
    for name in ["verity", "project", "huge"] {
        fs::write(source.join(name), &bytes).unwrap();
    }
    let image = dir.path().join("image");
    make_from(&source, &image, 8, "-t ext4 -b 4096 -I 256 -O verity,project,quota,huge_file");
    for request in [
        "set_inode_field verity flags 0x180000",
        "set_inode_field verity size 45000",
        "set_inode_field project projid 4711",
        "set_inode_field huge flags 0xC0000",
        "set_inode_field huge blocks 13",
    ] {
        run("debugfs", &["-w", "-R", request, image.to_str().unwrap()]);
    }

    let tree = open_tree(&image).unwrap();

    for (name, size) in [("verity", 45_000), ("project", 50_000), ("huge", 50_000)] {
        let found = tree.lookup(tree.root(), &Name::new(name.as_bytes()).unwrap()).unwrap();
        let mut buffer = vec![0; 60_000];
        let read = tree.read(found.node, None, 0, &mut buffer).unwrap();
        assert_eq!((found.attr.size, found.attr.allocated), (size, Some(13 * 4096)), "{name}");
        assert_eq!(buffer[..read], bytes[..size as usize], "{name}");
    }
}
