//! A mount of a real directory must look as the directory itself does.

use super::dir_tree::DirTree;
use super::memory_tree::{MemoryTree, directory, file, name};
use super::{Mounted, is_root, printed, shell};
use rustix::fs::{Dir, SeekFrom};
use spelunk_mount::Composition;
use spelunk_tree::{Error, Tree};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// All that stat(2) says of each entry, but for the device.
const STATS: &str =
    r"find . -printf '%p|%y|%s|%b|%m|%U|%G|%n|%i|%l|%T@|%C@|%A@\0' | sort -z | tr '\0\n' '\n?'";

/// A directory with one of everything.
fn sample() -> tempfile::TempDir {
    let sample = tempfile::tempdir().unwrap();
    let path = sample.path();
    let build = r#"
        mkdir -p d/e/f empty 'odd names'
        printf hello > d/hello; head -c 3000000 /dev/urandom > d/e/random; : > d/e/f/nothing
        ln d/hello d/e/again; ln -s ../hello d/e/link; ln -s /nonexistent/target dangling
        ln -s "$(head -c 4000 /dev/zero | tr '\0' x)" long-link
        printf a > "odd names/$(printf 'new\nline')"; printf b > "odd names/$(printf '\377\376')"
        printf c > "odd names/$(head -c 255 /dev/zero | tr '\0' n)"; printf d > 'odd names/a\b*?"'
        mkfifo fifo; chmod 4751 d/hello; chmod 1777 empty; chmod 0 d/e/random
        touch -d '1901-12-14 00:00:01.123456789' d/e/f/nothing; touch -d '2400-01-01' fifo
        truncate -s 5000000 sparse; printf x | dd of=sparse bs=1 seek=4000000 conv=notrunc 2>/dev/null
        setfattr -n user.comment -v 'a value' d/hello
    "#;
    printed(path, build);
    if is_root() {
        printed(
            path,
            "mknod null c 1 3; mknod disk b 8 300; chown 12345:54321 d/e; setfattr -n trusted.t -v 1 d/e",
        );
        shell(path, "setfacl -m u:99:rwx,g:98:r d/e/f");
    }
    // So that later reads change no access time.
    printed(
        path,
        "chmod u+r d/e/random; find . -type f -exec cat {} + >/dev/null; ls -R . >/dev/null; chmod 0 d/e/random",
    );
    printed(path, "find . -type l -exec readlink {} + >/dev/null");
    sample
}

#[test]
fn walk_with_ordinary_tools_equals_the_directory() {
    let sample = sample();
    let Some(mounted) = Mounted::new(DirTree::new(sample.path()), "ro") else { return };
    let scripts = [
        STATS,
        "find . -type f -readable -exec sha256sum {} + | sort",
        "find . -print0 | sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null",
        "find . ! -type l -print0 | sort -z | xargs -0 getfacl -n 2>/dev/null",
        "ls -lARin --time-style=full-iso . | grep -v ^total",
        "tar --sort=name --xattrs --exclude=./d/e/random -cf - . | sha256sum",
        "find . -type l -exec readlink {} + | sort",
        "stat -c '%n %a %b %B %f %g %h %i %o %s %t %T %u %X %Y %Z %F' d/hello null disk 2>&1",
    ];

    for script in scripts {
        let expected = printed(sample.path(), script);

        for state in ["cold", "warm"] {
            let shown = printed(mounted.path(), script);
            let difference = shown.lines().zip(expected.lines()).find(|(shown, expected)| shown != expected);
            assert_eq!(difference, None, "{state}: {script}");
            assert_eq!(shown.len(), expected.len(), "{state}: {script}");
        }
    }
}

#[test]
fn mount_table_and_statfs_say_what_it_is() {
    let sample = sample();
    let Some(mounted) = Mounted::new(DirTree::new(sample.path()), "noexec") else { return };
    let path = mounted.path().display();

    let mount = printed(Path::new("/"), &format!("findmnt -n -o SOURCE,FSTYPE,OPTIONS {path}"));
    let space = printed(Path::new("/"), &format!("stat -f -c '%S %s %b %f %a %c %d' {path}"));

    let mount: Vec<&str> = mount.split_whitespace().collect();
    assert_eq!(mount[..2], ["/images/a_b_c.vhd", "fuse.spelunk"]);
    let options: HashSet<&str> = mount[2].split(',').collect();
    assert!(options.is_superset(&HashSet::from(["ro", "nosuid", "nodev", "noexec"])), "{options:?}");
    assert!(!options.contains("allow_other"), "{options:?}");
    assert_eq!(space, "4096 4096 1000 300 300 77 33\n");
}

#[test]
fn large_directory_is_listed_whole_and_can_be_sought_in() {
    let mut tree = MemoryTree::new();
    for index in 0..20_000 {
        tree.add(&format!("entry {index} with a name of some length"), file(b""));
    }
    let Some(mounted) = Mounted::new(tree, "ro") else { return };
    assert_eq!(printed(mounted.path(), "ls -f | sort -u | wc -l"), "20002\n");

    let opened = rustix::fs::open(mounted.path(), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let mut dir = Dir::new(opened.unwrap()).unwrap();
    let mut entries = Vec::new();
    for entry in dir.by_ref() {
        let entry = entry.unwrap();
        entries.push((entry.file_name().to_owned(), entry.offset()));
    }
    assert_eq!(entries.len(), 20_002);
    for index in [0, 1, 2, 19_000, 1023, 1024, 20_000, 7] {
        dir.seek(entries[index].1).unwrap();
        let after = dir.next().unwrap().unwrap();
        assert_eq!(after.file_name(), &*entries[index + 1].0, "after {index}");
    }
    dir.rewind();
    assert_eq!(dir.next().unwrap().unwrap().file_name(), &*entries[0].0);
}

#[test]
fn many_readers_at_once_get_the_right_bytes() {
    let mut tree = MemoryTree::new();
    let data: Vec<u8> =
        (0..8_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    tree.add("file", file(&data));
    for index in 0..3000 {
        tree.add(&format!("{index}"), file(b""));
    }
    let Some(mounted) = Mounted::new(tree, "ro") else { return };

    std::thread::scope(|scope| {
        for reader in 0..8_u64 {
            let (path, data) = (mounted.path(), &data);
            scope.spawn(move || {
                let file = std::fs::File::open(path.join("file")).unwrap();
                let mut buffer = vec![0; 70_001];
                for step in 0..60 {
                    let offset = (reader * 977_777 + step * 1_234_567) % 7_900_000;
                    file.read_exact_at(&mut buffer, offset).unwrap();
                    let offset = usize::try_from(offset).unwrap();
                    assert!(buffer == data[offset..offset + buffer.len()], "at {offset}");
                }
                assert_eq!(std::fs::read_dir(path).unwrap().count(), 3001);
            });
        }
    });
}

#[test]
fn sparse_file_of_ten_gigabytes_is_read_and_sought_without_its_holes() {
    let sample = tempfile::tempdir().unwrap();
    printed(
        sample.path(),
        "truncate -s 10G big; printf end | dd of=big bs=1 seek=9999999999 conv=notrunc 2>/dev/null",
    );
    let Some(mounted) = Mounted::new(DirTree::new(sample.path()), "ro") else { return };
    let (ours, original) = (mounted.path().join("big"), sample.path().join("big"));

    let file = std::fs::File::open(&ours).unwrap();
    let mut end = [0; 3];
    file.read_exact_at(&mut end, 9_999_999_999).unwrap();

    assert_eq!(&end, b"end");
    let original = std::fs::File::open(original).unwrap();
    for place in [0, 1, 5 << 30, 9_999_999_999, 10_000_000_002, (10 << 30) - 1, 10 << 30] {
        for seek in [SeekFrom::Data(place), SeekFrom::Hole(place)] {
            assert_eq!(rustix::fs::seek(&file, seek), rustix::fs::seek(&original, seek), "{seek:?}");
        }
    }
    let copied =
        printed(sample.path(), &format!("cp --sparse=auto {} copy; stat -c %b copy", ours.display()));
    assert!(copied.trim().parse::<u64>().unwrap() < 1000, "{copied} blocks");
}

#[test]
fn composition_shows_each_tree_under_its_name() {
    let trees = ["p1", "p2"].map(|part| {
        let mut tree = MemoryTree::new();
        let dir = tree.add("dir", directory());
        tree.add_to(dir, "file", file(part.as_bytes()));
        (name(part), Ok(Arc::new(tree) as Arc<dyn Tree>))
    });
    let mut parts = Vec::from(trees);
    parts.insert(1, (name("damaged"), Err(Error::corrupt("for the test"))));
    let Some(mounted) = Mounted::new(Composition::new(parts).unwrap(), "ro") else { return };

    let files = printed(mounted.path(), "find p1 p2 -type f -exec cat {} + -printf ' %p\n' | sort");
    let numbers = printed(mounted.path(), "find . -name damaged -o -printf '%i\n' | sort -u | wc -l");
    let missing = shell(mounted.path(), "ls p3; ls damaged");

    assert_eq!(files, " p1/dir/file\n p2/dir/file\np1p2\n");
    assert_eq!(printed(mounted.path(), "ls -f"), ".\n..\np1\ndamaged\np2\n");
    assert_eq!(numbers, "7\n");
    let complaints = String::from_utf8_lossy(&missing.stderr);
    assert!(complaints.contains("'p3': No such file"), "{complaints}");
    assert!(complaints.contains("'damaged': Input/output error"), "{complaints}");
}
