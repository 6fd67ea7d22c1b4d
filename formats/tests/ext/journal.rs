//! Filesystems copied while mounted, their journal not yet written home: Spelunk replays it in memory, and sees
//! what the kernel sees after its own recovery.

use crate::kernel::{Mount, compare_image, copy, is_possible, make};
use crate::populate::pattern;
use crate::volume::open_tree;
use spelunk_tree::{ErrorKind, Name};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Changes of all kinds, so that the journal has many transactions, revoked blocks and escaped ones.
fn change(root: &Path) {
    let keep = root.join("keep");
    fs::create_dir_all(&keep).unwrap();
    for round in 0..2u64 {
        let dir = root.join(format!("round-{round}"));
        fs::create_dir(&dir).unwrap();
        for number in 0..700u64 {
            let bytes = if number % 10 == 0 { pattern(number + round, 700) } else { Vec::new() };
            fs::write(dir.join(format!("file-{number}-{}", "long".repeat(55))), bytes).unwrap();
        }
        // Blocks that begin like those of the journal must be escaped in it (with data=journal).
        let mut magic = pattern(round, 20_000);
        for at in (0..magic.len() - 4).step_by(1024) {
            magic[at..at + 4].copy_from_slice(&0xC03B_3998u32.to_be_bytes());
        }
        fs::write(keep.join(format!("magic-{round}")), &magic).unwrap();
        commit(&keep.join(format!("magic-{round}")));
        if round % 2 == 0 {
            // The directory's blocks are revoked, and other files get them.
            fs::remove_dir_all(&dir).unwrap();
            fs::write(keep.join(format!("reuses-{round}")), pattern(round, 300_000)).unwrap();
        }
        commit(&keep.join("magic-0"));
    }
    fill(&keep.join("fills-the-rest"));
    commit(&keep.join("fills-the-rest"));
}

/// Takes all free blocks for data, those of removed directories too: without the journal's revocations, a replay
/// would put the old directories there.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut seed = 0;
    while file.write_all(&pattern(seed, 1 << 20)).is_ok() {
        seed += 1;
    }
}

/// Commits the journal, without writing its blocks home as `sync` would.
fn commit(path: &Path) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len()).unwrap();
    file.set_permissions(file.metadata().unwrap().permissions()).unwrap();
    file.sync_all().unwrap();
}

fn compare_after_crash(name: &str, mkfs: &str, options: &str) {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [image, dirty] = ["image", "dirty"].map(|name| dir.path().join(name));
    make(&image, 24, mkfs);
    let mounted = Mount::new(&image, &dir.path().join("mnt"), options).expect(name);
    change(&dir.path().join("mnt"));
    copy(&image, &dirty);
    drop(mounted);
    let notes = open_tree(&dirty).unwrap().info().notes.clone();
    eprintln!("{name}: {notes:?}");
    assert!(notes.iter().any(|note| note.contains("replayed in memory")), "{name}: {notes:?}");
    compare_image(name, &dirty, dir.path());
}

#[test]
fn ext4_with_checksums_is_replayed() {
    compare_after_crash("v3", "-t ext4 -b 4096 -N 4000", "loop");
}

#[test]
fn ext4_with_journaled_data_is_replayed() {
    compare_after_crash("data", "-t ext4 -b 4096 -N 4000", "loop,data=journal");
    compare_after_crash("data-1k", "-t ext4 -b 1024 -N 4000 -O ^64bit", "loop,data=journal");
}

#[test]
fn ext3_without_checksums_is_replayed() {
    compare_after_crash("ext3", "-t ext3 -b 1024 -N 4000", "loop");
    compare_after_crash("ext3-data", "-t ext3 -b 4096 -N 4000", "loop,data=journal");
}

#[test]
fn ext4_without_metadata_checksums_but_with_those_of_the_journal_is_replayed() {
    let mkfs = "-t ext4 -b 2048 -N 4000 -O ^metadata_csum,64bit";
    compare_after_crash("journal_checksum", mkfs, "loop,journal_checksum");
    compare_after_crash("async", mkfs, "loop,journal_async_commit,data=writeback");
}

/// A loop device for as long as this lives.
struct Loop(String);

impl Loop {
    fn new(image: &Path) -> Loop {
        let output = Command::new("losetup").args(["-f", "--show"]).arg(image).output().unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Loop(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_journal_on_another_device_is_needed_only_while_it_holds_changes() {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [image, journal, dirty, mnt] = ["image", "journal", "dirty", "mnt"].map(|name| dir.path().join(name));
    make(&journal, 8, "-O journal_dev -b 4096");
    let device = Loop::new(&journal);
    make(&image, 24, &format!("-t ext4 -b 4096 -J device={}", device.0));
    let mounted = Mount::new(&image, &mnt, &format!("loop,journal_path={}", device.0)).unwrap();
    fs::write(mnt.join("file"), pattern(1, 10_000)).unwrap();
    commit(&mnt.join("file"));
    copy(&image, &dirty);
    drop(mounted);

    let refused = open_tree(&dirty).map(|_| ()).unwrap_err();
    let journal = open_tree(&journal).map(|_| ()).unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("a journal on another device"), "{refused}");
    assert_eq!(journal.kind(), ErrorKind::Unsupported, "{journal}");
    assert!(journal.to_string().contains("journal_dev"), "{journal}");
    let clean = open_tree(&image).unwrap();
    assert_eq!(clean.info().notes, Vec::<String>::new());
    assert!(clean.lookup(clean.root(), &Name::new(&b"file"[..]).unwrap()).is_ok());
}

#[test]
fn files_that_were_removed_while_open_are_gone() {
    if !is_possible() {
        return;
    }
    for (name, mkfs) in [("list", "-t ext4 -O ^orphan_file"), ("file", "-t ext4 -O orphan_file")] {
        let dir = tempfile::tempdir().unwrap();
        let [image, dirty, mnt] = ["image", "dirty", "mnt"].map(|name| dir.path().join(name));
        make(&image, 24, mkfs);
        let mounted = Mount::new(&image, &mnt, "loop").expect(name);
        fs::write(mnt.join("stays"), pattern(1, 10_000)).unwrap();
        let held: Vec<File> = (0..5)
            .map(|number| {
                let path = mnt.join(format!("removed-{number}"));
                fs::write(&path, pattern(number, 100_000)).unwrap();
                let file = File::open(&path).unwrap();
                fs::remove_file(path).unwrap();
                file
            })
            .collect();
        commit(&mnt.join("stays"));
        copy(&image, &dirty);
        drop(held);
        drop(mounted);

        compare_image(name, &dirty, dir.path());
    }
}

/// Journals of the versions that Linux wrote before, by debugfs: one block of a file, and one that is revoked.
#[test]
fn journals_of_all_versions_are_replayed() {
    if !is_possible() {
        return;
    }
    for (mkfs, open) in [
        ("-t ext4 -O ^metadata_csum", "jo"),
        ("-t ext4 -O ^metadata_csum,^64bit", "jo -c"),
        ("-t ext4 -O metadata_csum,64bit", "jo -c -v 2"),
        ("-t ext4 -O metadata_csum,^64bit", "jo -c -v 2"),
        ("-t ext4 -O metadata_csum,64bit", "jo -c -v 3"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let [image, block, script] = ["image", "block", "script"].map(|name| dir.path().join(name));
        make(&image, 24, &format!("{mkfs} -b 4096"));
        let debugfs = |request: &str| {
            let output = Command::new("debugfs").args(["-w", "-R", request]).arg(&image).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        fs::write(&block, [b'a'; 8192]).unwrap();
        debugfs(&format!("write {} file", block.display()));
        fs::write(&block, [b'Z'; 4096]).unwrap();
        let blocks = debugfs("blocks file");
        let [first, second] = *blocks.split_whitespace().collect::<Vec<_>>() else { panic!("{blocks}") };
        let name = block.display();
        let mut lines = vec![
            format!("{open}\njw -b {first} {name}\njc"),
            format!("{open}\njw -b {second} {name}\njc"),
            format!("{open}\njw -r {second}\njc\n"),
        ];
        // debugfs adds revoked blocks to the first version's checksum, which the kernel then calls wrong.
        let revokes = open != "jo -c";
        if !revokes {
            lines.pop();
        }
        fs::write(&script, lines.join("\n") + "\n").unwrap();
        Command::new("debugfs").args(["-w", "-f"]).args([&script, &image]).output().unwrap();

        let tree = open_tree(&image).unwrap();
        let mut bytes = [0; 8192];
        let file = tree.lookup(tree.root(), &Name::new(&b"file"[..]).unwrap()).unwrap();
        tree.read(file.node, None, 0, &mut bytes).unwrap();

        let notes = &tree.info().notes;
        let expected = format!("{} transactions were replayed", lines.len());
        assert!(notes.iter().any(|note| note.contains(&expected)), "{mkfs} {open}: {notes:?}");
        assert_eq!((bytes[0], bytes[8191]), (b'Z', if revokes { b'a' } else { b'Z' }), "{mkfs} {open}");
        compare_image(open, &image, dir.path());
    }
}
