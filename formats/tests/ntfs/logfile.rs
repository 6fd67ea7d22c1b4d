//! A log that Windows wrote and closed, opened by hand: with all of its 628 records back in force, nothing of them is
//! missing in the volume, until something is taken away.

use crate::corpus::Corpus;
use crate::file::{Image, open_at};
use crate::live::place_of;
use crate::walk::{Line, walk};
use spelunk_tree::{Name, ReadAt, Result, Run, Tree};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Where the volume begins in the image, and its length.
const VOLUME: (u64, u64) = (128 * 512, 2_091_008 * 512);
/// The oldest record that the log still has.
const OLDEST_LSN: u64 = 0x20_4408;

/// An image with other bytes in some places.
struct Edited {
    image: Arc<dyn ReadAt>,
    edits: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Edited {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.image.read_at(offset, buffer)?;
        for (at, bytes) in &self.edits {
            for (place, byte) in (*at..).zip(bytes) {
                if let Some(at) = place.checked_sub(offset).and_then(|at| buffer.get_mut(at as usize)) {
                    *at = *byte;
                }
            }
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.image.runs(offset, len, runs)
    }
}

/// What is noted of the log once `edits` were made.
fn note(image: &Arc<dyn ReadAt>, edits: &[(u64, Vec<u8>)]) -> Option<String> {
    let edited = Edited { image: image.clone(), edits: edits.to_vec() };
    let tree = open_at(Arc::new(edited), VOLUME.0, VOLUME.1).unwrap();
    tree.info().notes.iter().find(|note| note.contains("$LogFile")).cloned()
}

/// Edits of both restart areas so that the log is open, and all of its records are needed.
fn opened(log: u64) -> Vec<(u64, Vec<u8>)> {
    let areas = [log, log + 4096].map(|page| page + 0x30);
    let flags = areas.map(|area| (area + 0x0E, vec![0, 0]));
    let oldest = areas.map(|area| (area + 0x40, OLDEST_LSN.to_le_bytes().to_vec()));
    flags.into_iter().chain(oldest).collect()
}

fn with_volume(name: &str, look: impl FnOnce(Arc<dyn ReadAt>, &dyn Tree)) {
    let Some(corpus) = Corpus::find(name) else { return };
    let rows = corpus.rows();
    let row = rows.iter().find(|row| row.id == "suhanov-ntfs-ptrn").expect("a volume of Windows 10");
    corpus.with_image(row, |image| {
        let tree = open_at(image.clone(), VOLUME.0, VOLUME.1).unwrap();
        look(image, &*tree);
    });
}

#[test]
fn what_the_log_holds_and_the_volume_does_not_is_noted() {
    with_volume("log", |image, tree| {
        assert_eq!(note(&image, &[]), None);
        let mut edits = opened(place_of(tree, "$LogFile", 0));

        let complete = note(&image, &edits).unwrap();
        assert!(
            complete.contains("all file records and directories that it names were written (617 changes)"),
            "{complete}"
        );

        // Two records with the numbers of older changes.
        for number in [40, 41] {
            edits.push((place_of(tree, "$MFT", number * 1024) + 8, 0x20_4000_u64.to_le_bytes().to_vec()));
        }
        let older = note(&image, &edits).unwrap();
        assert!(older.contains("2 file records and 0 blocks of directories are older"), "{older}");
        assert!(older.ends_with("0 transactions are not finished): records 40, 41"), "{older}");

        // A page in the middle that is none: the log ends there, among transactions.
        edits.push((place_of(tree, "$LogFile", 0x30000), vec![0; 4096]));
        let cut = note(&image, &edits).unwrap();
        assert!(cut.contains("not closed") && cut != older, "{cut}");
    });
}

#[test]
fn damaged_logs_are_noted_and_end() {
    with_volume("log-damaged", |image, tree| {
        let log = place_of(tree, "$LogFile", 0);
        let mut seed = 5_u64;
        let mut below = |end: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % end
        };
        for _ in 0..150 {
            let mut edits = opened_from_the_start(log);
            edits.extend(unwritten(tree));
            for _ in 0..=below(4) {
                let at = match below(3) {
                    // The restart areas, heads of records, anything.
                    0 => 0x30 + below(0xA0) + 4096 * below(2),
                    1 => 0x22040 + 8 * below(400),
                    _ => 0x22000 + below(0x20000),
                };
                edits.push((
                    log + at,
                    vec![
                        [0, 1, 0x7F, 0x80, 0xFF, below(256) as u8][below(6) as usize];
                        1 + below(8) as usize
                    ],
                ));
            }
            if let Some(note) = note(&image, &edits) {
                assert!(note.contains("not closed"), "{note}");
            }
        }
    });
}

/// The oldest checkpoint that the log still has: a replay that begins there does everything again.
const OLDEST_CHECKPOINT: u64 = 0x20_4408;
/// Records of the MFT that all came to be in the log.
const NEW_RECORDS: std::ops::RangeInclusive<u64> = 24..=44;
/// Clusters with blocks of indexes that came to be in the log.
const NEW_INDEX_CLUSTERS: [u64; 2] = [2002, 2003];

/// Edits that make the log open, and let a replay begin at the oldest checkpoint.
fn opened_from_the_start(log: u64) -> Vec<(u64, Vec<u8>)> {
    let restart =
        [log, log + 4096].map(|page| (page + 0x30 + 0x48, OLDEST_CHECKPOINT.to_le_bytes().to_vec()));
    opened(log).into_iter().chain(restart).collect()
}

/// Edits that take away all that was written to new records and blocks, as if the machine had stopped before.
fn unwritten(tree: &dyn Tree) -> Vec<(u64, Vec<u8>)> {
    let records = NEW_RECORDS.map(|number| (place_of(tree, "$MFT", number * 1024), vec![0; 1024]));
    let blocks = NEW_INDEX_CLUSTERS.map(|cluster| (VOLUME.0 + cluster * 4096, vec![0; 4096]));
    records.chain(blocks).collect()
}

/// What lies in the MFT, update sequences undone.
fn records(tree: &dyn Tree) -> Vec<Vec<u8>> {
    let node = tree.lookup(tree.root(), &Name::new(&b"$MFT"[..]).unwrap()).unwrap().node;
    let mut bytes = vec![0; 64 * 1024];
    tree.read(node, None, 0, &mut bytes).unwrap();
    let undo = |record: &[u8]| {
        let mut record = record.to_vec();
        for stride in 1..=2 {
            record.copy_within(0x30 + stride * 2..0x32 + stride * 2, stride * 512 - 2);
        }
        record[0x30..0x36].fill(0);
        let used = u32::from_le_bytes(record[0x18..0x1C].try_into().unwrap()) as usize;
        record.truncate(used.min(1024));
        record
    };
    bytes.chunks(1024).map(undo).collect()
}

/// Opens the volume with `edits`, which make the log open.
fn replayed(image: &Arc<dyn ReadAt>, edits: Vec<(u64, Vec<u8>)>) -> (Arc<dyn ReadAt>, Arc<dyn Tree>, String) {
    let edited: Arc<dyn ReadAt> = Arc::new(Edited { image: image.clone(), edits });
    let tree = open_at(edited.clone(), VOLUME.0, VOLUME.1).unwrap();
    let notes = tree.info().notes.join("; ");
    assert!(notes.contains("were replayed in memory"), "{notes}");
    (edited, tree, notes)
}

#[test]
fn what_windows_had_not_written_is_replayed() {
    with_volume("replay", |image, tree| {
        let log = place_of(tree, "$LogFile", 0);
        for version in [Vec::new(), as_version_2(&*image, log)] {
            let mut edits = opened_from_the_start(log);
            edits.extend(unwritten(tree));
            edits.extend(version);
            compare_with_all_written(&image, tree, edits);
        }
    });
}

/// Edits that make the log one of version 2.0, as it was before Windows closed it; its last page has not found its place
/// yet.
fn as_version_2(image: &dyn ReadAt, log: u64) -> Vec<(u64, Vec<u8>)> {
    let versions = [log, log + 4096].map(|page| (page + 0x1A, vec![0, 0, 2, 0]));
    let last = 0x40000_u32;
    let mut page = vec![0; 4096];
    image.read_at(log + u64::from(last), &mut page).unwrap();
    page[0x3C..0x40].copy_from_slice(&last.to_le_bytes());
    let moved = [(log + 0x5000, page), (log + u64::from(last), vec![0; 4096])];
    versions.into_iter().chain(moved).collect()
}

fn compare_with_all_written(image: &Arc<dyn ReadAt>, tree: &dyn Tree, edits: Vec<(u64, Vec<u8>)>) {
    let (edited, tree_again, _) = replayed(image, edits);

    // NTFS does not log what stands in small files: where that was lost, there are zeros.
    let is_lost = |found: &u8, expected: &u8| found != expected && *found == 0;
    for (number, (found, expected)) in records(&*tree_again).iter().zip(&records(tree)).enumerate() {
        assert_eq!(found.len(), expected.len(), "record {number}");
        let differ = found.iter().zip(expected).filter(|(found, expected)| found != expected).count();
        let lost = found.iter().zip(expected).filter(|(found, expected)| is_lost(found, expected)).count();
        assert!(differ == lost && (differ == 0 || [37, 38, 39, 42, 44].contains(&number)), "record {number}");
    }
    // Compared above, edited by the test, and the one place where Windows itself did not write what it had logged:
    // some padding between security descriptors.
    let elsewhere = ["$MFT", "$LogFile", "$Secure:$SDS"];
    let without_hashes = |mut lines: BTreeMap<String, Line>| {
        lines.retain(|path, _| !elsewhere.contains(&path.as_str()));
        for line in lines.values_mut().filter(|line| line.kind == 'f' && line.size < 700) {
            line.hash.clear();
        }
        lines
    };
    assert_same(&without_hashes(walk(&*tree_again, &*edited)), &without_hashes(walk(tree, &**image)));
}

/// A checkpoint with a table of open attributes, which the other reader wants, and the oldest record that it needs.
const CHECKPOINT: (u64, u64) = (0x20_5FA0, 0x20_5EF4);

#[test]
fn a_replayed_volume_is_what_ntfsrecover_makes_of_it() {
    if std::process::Command::new("ntfsrecover").arg("--version").output().is_err() {
        spelunk_testkit::skip::because("ntfsrecover is not installed");
        return;
    }
    with_volume("ntfsrecover", |image, tree| {
        let log = place_of(tree, "$LogFile", 0);
        let mut edits = opened(log);
        for area in [log, log + 4096].map(|page| page + 0x30) {
            let lsns = [CHECKPOINT.1, CHECKPOINT.0].map(u64::to_le_bytes).concat();
            edits.push((area + 0x40, lsns));
        }
        edits.extend((36..=44).map(|number| (place_of(tree, "$MFT", number * 1024), vec![0; 1024])));
        let (edited, replayed, _) = replayed(&image, edits);
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        extract(&*edited, &volume);
        let output = std::process::Command::new("ntfsrecover").arg(&volume).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

        let recovered = Image::open(&volume);
        let recovered_tree = open_at(recovered.clone(), 0, VOLUME.1).unwrap();

        assert!(!recovered_tree.info().notes.iter().any(|note| note.contains("$LogFile")));
        // ntfsrecover counts other update sequences, and writes the numbers of copies of times (0x13).
        let lines = |tree: &dyn Tree, image: &dyn ReadAt| {
            let mut lines = walk(tree, image);
            lines.retain(|path, _| !["$LogFile", "$MFT"].contains(&path.as_str()));
            lines
        };
        assert_same(&lines(&*replayed, &*edited), &lines(&*recovered_tree, &*recovered));
    });
}

fn assert_same(found: &BTreeMap<String, Line>, expected: &BTreeMap<String, Line>) {
    let paths = found.keys().chain(expected.keys()).filter(|path| found.get(*path) != expected.get(*path));
    let differences: Vec<_> = paths
        .take(8)
        .map(|path| format!("{path}\nfound    {:?}\nexpected {:?}", found.get(path), expected.get(path)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Writes the volume in `image` to a sparse file.
fn extract(image: &dyn ReadAt, to: &Path) {
    let file = File::create(to).unwrap();
    file.set_len(VOLUME.1).unwrap();
    let mut piece = vec![0; 1 << 20];
    for at in (0..VOLUME.1).step_by(piece.len()) {
        let len = (VOLUME.1 - at).min(piece.len() as u64) as usize;
        image.read_at(VOLUME.0 + at, &mut piece[..len]).unwrap();
        if piece[..len].iter().any(|byte| *byte != 0) {
            file.write_all_at(&piece[..len], at).unwrap();
        }
    }
}

/// Actions that are a transaction of their own, the end of that, and the record of the MFT that they change.
const TRANSACTIONS: [(u64, u64, usize); 4] = [
    (0x20_7F00, 0x20_7F17, 44),
    (0x20_7EDE, 0x20_7EF5, 43),
    (0x20_7EBC, 0x20_7ED3, 42),
    (0x20_7E84, 0x20_7E9B, 38),
];

#[test]
fn what_an_unfinished_transaction_did_is_undone() {
    with_volume("undo", |image, tree| {
        let log = place_of(tree, "$LogFile", 0);
        // A log ends before the first record that does not have its number.
        let cut = |lsn: u64| (log + ((lsn & 0xF_FFFF) << 3), vec![0; 8]);
        for (action, end, number) in TRANSACTIONS {
            let edits = |cut_at: u64| {
                let mut edits = opened_from_the_start(log);
                edits.extend(unwritten(tree));
                edits.push(cut(cut_at));
                edits
            };
            let (_, before, notes_before) = replayed(&image, edits(action));
            let (_, undone, notes_undone) = replayed(&image, edits(end));
            let (_, done, _) =
                replayed(&image, opened_from_the_start(log).into_iter().chain(unwritten(tree)).collect());

            assert!(notes_before.contains(" 0 unfinished"), "{notes_before}");
            assert!(notes_undone.contains(" 1 unfinished transactions undone"), "{notes_undone}");
            // But for its LSN, which only grows.
            let record = |tree: &dyn Tree| records(tree)[number][0x10..].to_vec();
            assert_eq!(record(&*undone), record(&*before), "record {number}");
            assert_ne!(record(&*undone), record(&*done), "record {number}");
        }
    });
}
