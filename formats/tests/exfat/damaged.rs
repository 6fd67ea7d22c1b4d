//! Damaged boot regions and tables: what is left is used, and that is said.

use crate::images::MemoryImage;
use crate::volume::{ROOT, ROOT_ENTRIES, Set, UPCASE, Volume, cluster_at, name, names, table_entry};
use spelunk_formats::guest;
use spelunk_tree::ErrorKind;

const BACKUP_USED: &str = "the main boot region is damaged: its backup is used";
const BITMAP_ENTRY: usize = ROOT_ENTRIES - 64;
const UPCASE_ENTRY: usize = ROOT_ENTRIES - 32;

fn volume() -> Volume {
    Volume::new().root(&[Set::new("one").bytes(), Set::new("xyz").bytes()])
}

fn probe(volume: &Volume) -> bool {
    (guest::exfat::GUEST.probe)(&MemoryImage(volume.0.clone())).unwrap()
}

#[test]
fn sound_volume_says_what_it_is() {
    let tree = volume().open();
    let info = tree.info();

    assert_eq!((info.label.as_slice(), info.uuid.as_str()), ("Abä".as_bytes(), "1234-ABCD"));
    assert_eq!((info.block_bytes, info.free_bytes), (512, Some(590 * 512)));
    assert_eq!((info.size_bytes, info.notes.len()), (632 * 512, 0));
    assert_eq!(names(&*tree), ["one", "xyz"]);
}

#[test]
fn damaged_main_boot_region_is_replaced_by_its_backup() {
    // The name, the version, a size, the layout, code that only the checksum covers, the checksum, all of it.
    for (at, len) in
        [(3, 1), (105, 1), (108, 1), (88, 4), (5 * 512 + 7, 1), (11 * 512 + 500, 1), (0, 12 * 512)]
    {
        let mut volume = volume();
        volume.0[at..][..len].fill(0xEE);

        assert!(probe(&volume), "byte {at}");
        let tree = volume.open();
        assert_eq!(tree.info().notes, [BACKUP_USED], "byte {at}");
        assert_eq!(names(&*tree), ["one", "xyz"], "byte {at}");
    }
}

#[test]
fn old_backup_in_a_volume_of_something_else_is_not_taken_for_exfat() {
    let mut volume = volume();
    volume.0[..512].fill(0);
    assert!(probe(&volume));

    volume.0[cluster_at(ROOT)..][..512].fill(0);

    assert!(!probe(&volume));
    assert_eq!(volume.try_open().err().unwrap().kind(), ErrorKind::Unsupported);
}

#[test]
fn volume_without_a_sound_boot_region_is_read_as_far_as_its_sector_makes_sense() {
    let mut readable = volume();
    for region in [0, 12 * 512] {
        readable.0[region + 700] ^= 1;
    }
    let tree = readable.open();
    assert_eq!(names(&*tree), ["one", "xyz"]);
    assert!(tree.info().notes[0].starts_with("the checksum of the boot region is wrong"));

    let mut hopeless = volume();
    for region in [0, 12 * 512] {
        hopeless.0[region + 108] = 99;
    }
    assert!(probe(&hopeless));
    assert_eq!(hopeless.try_open().err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn boot_sectors_that_cannot_be_are_corrupt_and_other_versions_not_supported() {
    let impossible: [(usize, &[u8]); 10] = [
        (11, &[1]),
        (72, &[1, 0]),
        (80, &[23]),
        (84, &[4]),
        (84, &[99]),
        (88, &[28]),
        (92, &[0xFF; 4]),
        (108, &[8]),
        (109, &[17]),
        (110, &[3]),
    ];
    for (at, value) in impossible {
        let volume = volume().put(at, value).seal(0).seal(12);
        assert_eq!(volume.try_open().err().unwrap().kind(), ErrorKind::Corrupt, "byte {at}");
    }
    let newer = volume().put(104, &[0, 2]).seal(0).seal(12);
    assert_eq!(newer.try_open().err().unwrap().kind(), ErrorKind::Unsupported);
}

#[test]
fn flags_are_not_under_the_checksum_and_said() {
    let mut volume = volume();
    volume.0[106] = 2 | 4;
    volume.0[112] = 55;

    let notes = volume.open().info().notes.clone();

    assert_eq!(notes, ["not unmounted", "its medium has failed before, by its own flag"]);
}

#[test]
fn second_table_and_bitmap_are_used_when_the_flag_says_so() {
    // Two tables of five sectors do not fit: these have four, for fewer clusters.
    let last = ROOT_ENTRIES + 11 * 32;
    let mut volume = volume().put(84, &[4]).put(92, &400_u32.to_le_bytes()).put(110, &[2]);
    volume.0[106] = 1;
    let mut second = table_entry(0x81, 0, 20, 50);
    second[1] = 1;
    volume.0.copy_within(24 * 512..28 * 512, 28 * 512);
    volume.0[24 * 512..28 * 512].fill(0);
    let volume = volume.put(last, &second).put(cluster_at(20), &[0xFF; 49]);
    let mut volume = volume.put(cluster_at(20) + 49, &[0xFC]);
    volume.0[28 * 512 + 4 * 20..][..4].fill(0xFF);
    // The root's entries up to there, or the search would end before.
    for at in (ROOT_ENTRIES + 6 * 32..last).step_by(32) {
        volume.0[at] = 5;
    }

    let tree = volume.seal(0).seal(12).open();

    assert_eq!(tree.info().notes, Vec::<String>::new());
    assert_eq!((names(&*tree).len(), tree.info().free_bytes), (2, Some(2 * 512)));
}

#[test]
fn names_are_compared_by_the_volumes_own_table() {
    let tree =
        volume().root(&[Set::new("xyz").bytes(), Set::new("q").bytes(), Set::new("ONE").bytes()]).open();
    let found = |text: &str| tree.lookup(tree.root(), &name(text)).map(|entry| entry.name);

    assert_eq!(found("qyz"), Ok(name("xyz")));
    assert_eq!(found("x"), Ok(name("q")));
    assert_eq!(found("one").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn damaged_table_of_upper_case_is_replaced_by_unicodes() {
    let damages: [(usize, &[u8]); 5] = [
        (cluster_at(UPCASE), &[7]),
        (UPCASE_ENTRY, &[5]),
        (UPCASE_ENTRY + 20, &[0xFF, 0xFF]),
        (UPCASE_ENTRY + 24, &[1, 2]),
        (UPCASE_ENTRY + 24, &[0, 0, 0, 0x7F]),
    ];
    for (at, bytes) in damages {
        let tree = volume().put(at, bytes).open();

        assert_eq!(tree.lookup(tree.root(), &name("ONE")).unwrap().name, name("one"), "byte {at}");
        assert!(tree.lookup(tree.root(), &name("qyz")).is_err(), "byte {at}");
        let notes = &tree.info().notes;
        assert!(notes[0].starts_with("names are compared by Unicode's rules: "), "{notes:?}");
        assert_eq!(notes.len(), 1);
    }
}

#[test]
fn without_a_sound_bitmap_free_space_is_not_known() {
    let damages: [(usize, &[u8]); 3] =
        [(BITMAP_ENTRY, &[1]), (BITMAP_ENTRY + 20, &[0xFF, 0xFF]), (BITMAP_ENTRY + 24, &[74])];
    for (at, bytes) in damages {
        let tree = volume().put(at, bytes).open();

        assert_eq!((tree.info().free_bytes, names(&*tree).len()), (None, 2), "byte {at}");
        assert!(tree.info().notes[0].starts_with("it is not known what space is free: "));
    }
}

#[test]
fn root_that_is_nowhere_is_said_and_an_error() {
    let tree = volume().put(96, &[0xFF, 0xFF, 0, 0]).seal(0).seal(12).open();

    assert!(tree.info().notes[0].starts_with("the root directory is damaged: "));
    let error = tree.list(tree.root(), spelunk_tree::Cursor::START, 9).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn label_is_cut_at_its_longest() {
    let mut volume = volume();
    volume.0[BITMAP_ENTRY - 32 + 1] = 200;

    let tree = volume.open();

    assert_eq!(String::from_utf8_lossy(&tree.info().label).chars().count(), 11);
}

#[test]
fn sectors_and_clusters_over_the_largest_are_corrupt() {
    for (sector_shift, cluster_shift) in [(13, 0), (12, 14), (9, 17), (255, 255)] {
        let mut volume = volume();
        volume.0[108..110].copy_from_slice(&[sector_shift, cluster_shift]);
        // Without a backup that could stand in for it.
        volume.0[12 * 512..24 * 512].fill(0);

        assert_eq!(
            volume.try_open().err().unwrap().kind(),
            ErrorKind::Corrupt,
            "{sector_shift} {cluster_shift}"
        );
    }
}
