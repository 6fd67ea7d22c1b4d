//! Filesystems copied while mounted, their journal not yet written home: Spelunk replays it in memory, and sees
//! what the kernel sees after its own recovery.

use crate::kernel::{Mount, compare_image, copy, is_possible, make};
use crate::populate::pattern;
use crate::volume::open_tree;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

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
