//! Files: in chains, in one piece, with bytes that were never written; and their times.

use crate::images::FileImage;
use crate::volume::{
    CHAINED, CLUSTERS, DATA, END, ONE_PIECE, ROOT_ENTRIES, Set, Volume, cluster_at, name, node, seal_set,
};
use spelunk_formats::guest::{self, Options};
use spelunk_tree::{ErrorKind, Place, Run, Time, Tree};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

fn runs(tree: &dyn Tree, offset: u64, len: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    tree.runs(node(ROOT_ENTRIES), None, offset, len, &mut runs).unwrap();
    runs
}

fn at(cluster: u32, within: u64, len: u64) -> Run {
    Run { len, place: Place::At { source: 0, offset: cluster_at(cluster) as u64 + within } }
}

#[test]
fn file_in_one_piece_needs_no_table() {
    // What the table says of its clusters is old.
    let volume = Volume::new().link(&[(100, 7), (101, 0)]);
    let tree = volume.root(&[Set::file("f", ONE_PIECE, 100, 1300, 1300).bytes()]).open();
    let mut buffer = [0; 2000];

    assert_eq!(tree.read(node(ROOT_ENTRIES), None, 500, &mut buffer), Ok(800));
    assert_eq!((buffer[11], buffer[12], buffer[799], buffer[800]), (100, 101, 102, 0));
    assert_eq!(runs(&*tree, 500, u64::MAX), [at(100, 500, 800)]);
}

#[test]
fn file_in_a_chain_goes_where_the_table_leads() {
    let volume = Volume::new().link(&[(100, 300), (300, 50), (50, END)]);
    let tree = volume.root(&[Set::file("f", CHAINED, 100, 1300, 1300).bytes()]).open();

    assert_eq!(runs(&*tree, 500, u64::MAX), [at(100, 500, 12), at(300, 0, 512), at(50, 0, 276)]);
}

#[test]
fn bytes_that_were_never_written_are_zeros() {
    for (flags, valid) in [(CHAINED, 700), (ONE_PIECE, 700), (ONE_PIECE, 0), (CHAINED, 0)] {
        let volume = Volume::new().link(&[(100, 101), (101, 102), (102, END)]);
        let tree = volume.root(&[Set::file("f", flags, 100, valid, 1500).bytes()]).open();
        let mut buffer = [9; 1600];

        assert_eq!(tree.read(node(ROOT_ENTRIES), None, 0, &mut buffer), Ok(1500));

        let (written, zeros) = buffer[..1500].split_at(valid as usize);
        assert!(written.iter().all(|byte| matches!(byte, 100 | 101)) && zeros.iter().all(|byte| *byte == 0));
        let zero = |len| Run { len, place: Place::Zero };
        let expected = if valid > 0 { vec![at(100, 600, 100), zero(800)] } else { vec![zero(900)] };
        assert_eq!(runs(&*tree, 600, u64::MAX), expected);
        assert_eq!(runs(&*tree, 1400, 50), [zero(50)]);
        let attr = tree.attr(node(ROOT_ENTRIES)).unwrap();
        assert_eq!((attr.size, attr.allocated), (1500, Some(1536)));
    }
}

#[test]
fn more_valid_bytes_than_there_are_end_with_the_file() {
    let tree = Volume::new().root(&[Set::file("f", ONE_PIECE, 100, u64::MAX, 600).bytes()]).open();

    assert_eq!(runs(&*tree, 0, u64::MAX), [at(100, 0, 600)]);
}

#[test]
fn file_in_broken_clusters_is_readable_up_to_there() {
    let sound = 2 * 512;
    for (flags, first, links) in [
        (CHAINED, 100, vec![(100, 101), (101, 100)]),
        (CHAINED, 100, vec![(100, 101), (101, 101)]),
        (CHAINED, 100, vec![(100, 101), (101, END)]),
        (CHAINED, 100, vec![(100, 101), (101, 0)]),
        (CHAINED, 100, vec![(100, 101), (101, 0xFFFF_FFF7)]),
        (CHAINED, 100, vec![(100, 101), (101, CLUSTERS as u32 + 2)]),
        (ONE_PIECE, 600, vec![]),
    ] {
        for size in [2048, 1 << 40, u64::MAX] {
            let volume = Volume::new().link(&links);
            let tree = volume.root(&[Set::file("f", flags, first, size, size).bytes()]).open();
            let mut buffer = [0; 2048];

            assert_eq!(tree.read(node(ROOT_ENTRIES), None, 0, &mut buffer[..sound]), Ok(sound), "{links:?}");
            assert_eq!((buffer[0], buffer[sound - 1]), (first as u8, (first + 1) as u8));
            for offset in [0, sound as u64 - 1, sound as u64, 2047] {
                let error = tree.read(node(ROOT_ENTRIES), None, offset, &mut buffer).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{links:?} {size} {offset}");
            }
        }
    }
}

#[test]
fn file_whose_first_cluster_is_nowhere_is_corrupt_and_an_empty_one_is_not() {
    for flags in [CHAINED, ONE_PIECE] {
        for first in [0, 1, CLUSTERS as u32 + 2, u32::MAX] {
            let sets =
                [Set::file("f", flags, first, 1, 1).bytes(), Set::file("e", flags, first, 0, 0).bytes()];
            let tree = Volume::new().root(&sets).open();
            let error = tree.read(node(ROOT_ENTRIES), None, 0, &mut [0; 1]).unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Corrupt, "{first}");
            assert_eq!(tree.read(node(ROOT_ENTRIES + 96), None, 0, &mut [0; 1]), Ok(0));
        }
    }
}

#[test]
fn files_of_more_than_four_gigabytes_are_read_at_their_ends() {
    // Clusters of 32 MiB, and an image as long as that, of which little is written.
    const CLUSTER: u64 = 32 << 20;
    let size = (5 << 30) + 123;
    let set = Set::file("big", ONE_PIECE, 10, size - 100, size);
    let mut volume = Volume::new().root(&[set.bytes()]);
    let sectors = (DATA as u64 + 600 * CLUSTER) / 512;
    volume = volume.put(72, &sectors.to_le_bytes()).put(109, &[16]).seal(0).seal(12);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(sectors * 512).unwrap();
    file.write_all_at(&volume.0[..DATA], 0).unwrap();
    let at = |cluster: u64| DATA as u64 + (cluster - 2) * CLUSTER;
    for cluster in [2, 3, 4] {
        let bytes = &volume.0[cluster_at(cluster)..][..512];
        file.write_all_at(bytes, at(u64::from(cluster))).unwrap();
    }
    file.write_all_at(b"the end of what is valid", at(10) + size - 124).unwrap();
    file.write_all_at(&[7; 100], at(10) + size - 100).unwrap();
    let tree = guest::open(Arc::new(FileImage::open(&path)), &Options::default()).unwrap();

    let found = tree.lookup(tree.root(), &name("big")).unwrap();

    assert_eq!((found.attr.size, tree.info().block_bytes), (size, 32 << 20));
    assert_eq!(tree.info().notes, Vec::<String>::new());
    let mut buffer = [9; 200];
    assert_eq!(tree.read(found.node, None, size - 124, &mut buffer), Ok(124));
    assert_eq!(&buffer[..24], b"the end of what is valid");
    assert!(buffer[24..124].iter().all(|byte| *byte == 0));
    let mut runs = Vec::new();
    tree.runs(found.node, None, 0, u64::MAX, &mut runs).unwrap();
    let stored = Run { len: size - 100, place: Place::At { source: 0, offset: at(10) } };
    assert_eq!(runs, [stored, Run { len: 100, place: Place::Zero }]);
}

/// A file with a time of creation, its hundredths and its offset from UTC.
fn created(timestamp: u32, hundredths: u8, utc_offset: u8) -> Option<Time> {
    created_in("UTC", timestamp, hundredths, utc_offset)
}

/// The same, as it is read when local times are taken for those of `zone`.
fn created_in(zone: &str, timestamp: u32, hundredths: u8, utc_offset: u8) -> Option<Time> {
    let mut bytes = Set::new("f").bytes();
    bytes[8..12].copy_from_slice(&timestamp.to_le_bytes());
    bytes[20] = hundredths;
    bytes[22] = utc_offset;
    seal_set(&mut bytes);
    let options = Options { time_zone: zone.parse().unwrap(), ..Options::default() };
    let tree = Volume::new().root(&[bytes]).open_with(&options).unwrap();
    tree.attr(node(ROOT_ENTRIES)).unwrap().created
}

#[test]
fn times_have_hundredths_and_a_time_zone() {
    // 2019-04-17 12:55:46.
    let stamp = (39 << 25) | (4 << 21) | (17 << 16) | (12 << 11) | (55 << 5) | 23;
    let noon = 1_555_505_746;
    let time = |seconds, nanoseconds| Some(Time::new(seconds, nanoseconds).unwrap());

    assert_eq!(created(stamp, 0, 0x80), time(noon, 0));
    assert_eq!(created(stamp, 199, 0x80), time(noon + 1, 990_000_000));
    // Two hours east of Greenwich, as Windows wrote it; fifteen hours and three quarters west; the ends.
    assert_eq!(created(stamp, 1, 0x88), time(noon - 7200, 10_000_000));
    assert_eq!(created(stamp, 0, 0xC1), time(noon + 63 * 900, 0));
    assert_eq!(created(stamp, 0, 0xBF), time(noon - 63 * 900, 0));
    assert_eq!(created(stamp, 0, 0xC0), time(noon + 64 * 900, 0));
    // Without the valid bit it is local time, of the zone that is taken for it.
    assert_eq!(created(stamp, 0, 0x08), time(noon, 0));
    assert_eq!(created_in("-03:00", stamp, 0, 0x08), time(noon + 3 * 3600, 0));
    assert_eq!(created_in("-03:00", stamp, 0, 0x80), time(noon, 0));
    for bad in [created(0, 0, 0x80), created(stamp, 200, 0x80), created(stamp | 0x1F, 0, 0x80)] {
        assert_eq!(bad, None);
    }
}

#[test]
fn every_time_is_read_with_its_own_hundredths_and_zone() {
    let mut bytes = Set { attributes: 0x27, ..Set::new("f") }.bytes();
    let stamp = |day: u32| ((20 << 25) | (1 << 21) | (day << 16)).to_le_bytes();
    for (at, day) in [(8, 1), (12, 2), (16, 3)] {
        bytes[at..][..4].copy_from_slice(&stamp(day));
    }
    bytes[20..25].copy_from_slice(&[10, 20, 0x84, 0x88, 0x8C]);
    seal_set(&mut bytes);
    let attr = Volume::new().root(&[bytes]).open().attr(node(ROOT_ENTRIES)).unwrap();
    // 2000-01-01 00:00:00.
    let time = |days: i64, hours: i64, nanoseconds| {
        Some(Time::new(946_684_800 + days * 86_400 - hours * 3600, nanoseconds).unwrap())
    };

    assert_eq!(attr.created, time(0, 1, 100_000_000));
    assert_eq!(attr.modified, time(1, 2, 200_000_000));
    assert_eq!(attr.accessed, time(2, 3, 0));
    assert_eq!((attr.changed, attr.dos_attributes), (None, Some(0x27)));
}
