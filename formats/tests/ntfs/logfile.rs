//! A log that Windows wrote and closed, opened by hand: with all of its 628 records back in force, nothing of them is
//! missing in the volume, until something is taken away.

use crate::corpus::Corpus;
use crate::file::open_at;
use crate::live::place_of;
use spelunk_tree::{ReadAt, Result, Run, Tree};
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
            let mut edits = opened(log);
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
