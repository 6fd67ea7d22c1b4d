//! VHDXs that no writer at hand makes: dirty logs, damaged copies, all geometries.

use super::make::{BLOCK_TABLE, BLOCKS, LOG, LogChange, LogEntry, METADATA, MIB, Vhdx, guid, put, seal_vhdx};
use super::support::{Image, Opened, Parents, line, noise, open, open_with};
use spelunk_tree::{ErrorKind, Place};

const FULL: u64 = 6;
const PARTIAL: u64 = 7;

fn notes(opened: &Opened) -> String {
    opened.disk.layers.iter().flat_map(|layer| layer.notes.clone()).collect::<Vec<_>>().join("; ")
}

/// Two blocks of 1 MiB, and a third that is absent.
fn small() -> Vhdx {
    Vhdx {
        blocks: vec![(0, FULL, noise(MIB, 1)), (1, FULL, noise(MIB, 2))],
        ..Vhdx::new(3 * MIB as u64, MIB)
    }
}

fn small_disk() -> Vec<u8> {
    [noise(MIB, 1), noise(MIB, 2), vec![0; MIB]].concat()
}

#[test]
fn every_legal_geometry_is_read_across_chunks() {
    for sector_bytes in [512, 4096] {
        for shift in 20..=28 {
            let block_bytes = 1 << shift;
            let empty = Vhdx { sector_bytes, ..Vhdx::new(0, block_bytes) };
            // The last block lies behind the first bitmap block's entry; its own is partial.
            let last = empty.ratio() + 1;
            let size = last * block_bytes as u64 + 3 * 4096;
            let data = noise(3 * 4096, shift);
            let image = Vhdx { size, blocks: vec![(last, FULL, data.clone())], ..empty };

            let opened = open(image.build()).unwrap();

            assert_eq!(opened.disk.bytes.size(), size);
            assert_eq!(opened.disk.sector_bytes, Some(sector_bytes as u32));
            assert!(opened.read(size - 3 * 4096, 3 * 4096).unwrap() == data, "{block_bytes} {sector_bytes}");
            let mut runs = Vec::new();
            opened.disk.bytes.runs(0, size, &mut runs).unwrap();
            assert_eq!(runs.len(), 2);
        }
    }
}

#[test]
fn states_without_data_are_zeros_and_unknown_ones_are_corrupt() {
    for state in 0..8 {
        let mut image = small();
        image.blocks[1] = (1, state, Vec::new());
        let mut bytes = image.build();
        put(&mut bytes, image.entry_at(1), &state.to_le_bytes());
        let opened = open(bytes).unwrap();

        let second = opened.read(MIB as u64, MIB);

        match state {
            0..=3 | 5 => assert!(second.unwrap() == vec![0; MIB]),
            _ => assert_eq!(second.unwrap_err().kind(), ErrorKind::Corrupt, "state {state}"),
        }
        assert!(opened.read(0, MIB).unwrap() == noise(MIB, 1));
    }
}

fn linkage(id: &str, path: &str) -> Vec<(String, String)> {
    vec![
        ("absolute_win32_path".into(), format!("C:\\images\\{path}")),
        ("parent_linkage".into(), format!("{{{}}}", id.to_uppercase())),
        ("relative_path".into(), format!(".\\{path}")),
    ]
}

const PARENT_ID: &str = "00112233-4455-6677-8899-aabbccddeeff";

#[test]
fn child_takes_from_its_parent_sector_by_sector_in_every_chunk() {
    for sector_bytes in [512, 4096] {
        let has: fn(u64) -> bool = |sector| sector % 3 == 1 || sector % 100 > 60;
        let geometry = Vhdx { sector_bytes, has, ..Vhdx::new(0, 32 * MIB) };
        let last = geometry.ratio() + 2;
        let size = last * 32 * MIB as u64 + MIB as u64;
        let parent = Vhdx {
            blocks: vec![(0, FULL, noise(MIB, 3)), (1, FULL, noise(MIB, 4)), (last, FULL, noise(MIB, 5))],
            size,
            ..geometry.clone()
        };
        let child = Vhdx {
            blocks: vec![
                (0, PARTIAL, noise(MIB, 6)),
                (2, FULL, noise(MIB, 7)),
                (last, PARTIAL, noise(MIB, 8)),
            ],
            parent: linkage(PARENT_ID, "parent.vhdx"),
            id: [9; 16],
            ..parent.clone()
        };
        let merged = |block: u64, own: Vec<u8>, theirs: Vec<u8>| -> Vec<u8> {
            let first = block * (32 * MIB / sector_bytes) as u64;
            let pairs = own.chunks(sector_bytes).zip(theirs.chunks(sector_bytes));
            let sectors = pairs.enumerate().map(|(n, (a, b))| if has(first + n as u64) { a } else { b });
            sectors.collect::<Vec<_>>().concat()
        };

        let opened =
            open_with(Image::memory(child.build()), Parents::of([Image::memory(parent.build())])).unwrap();

        let at = |block: u64| opened.read(block * 32 * MIB as u64, MIB).unwrap();
        assert!(at(0) == merged(0, noise(MIB, 6), noise(MIB, 3)));
        assert!(at(1) == noise(MIB, 4));
        assert!(at(2) == noise(MIB, 7));
        assert!(at(3) == vec![0; MIB]);
        assert!(at(last) == merged(last, noise(MIB, 8), noise(MIB, 5)));
        let wanted = opened.disk.layers[0].parent.as_ref().unwrap();
        assert_eq!(wanted.paths, ["./parent.vhdx", "C:/images/parent.vhdx"]);
        assert_eq!((wanted.id.as_str(), opened.disk.layers[1].id.as_str()), (PARENT_ID, PARENT_ID));
    }
}

#[test]
fn one_damaged_header_or_region_table_is_noted_and_two_are_refused() {
    let image = small().build();
    for [first, second] in [[64 << 10, 128 << 10], [192 << 10, 256 << 10]] {
        for damaged in [first, second] {
            let mut image = image.clone();
            image[damaged + 40] ^= 1;

            let opened = open(image).unwrap();

            assert!(opened.all().unwrap() == small_disk());
            assert!(notes(&opened).contains("unusable"), "{}", notes(&opened));
        }
        let mut image = image.clone();
        image[first + 40] ^= 1;
        image[second + 40] ^= 1;
        assert_eq!(open(image).err().unwrap().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn headers_of_the_same_age_must_be_the_same() {
    let mut image = small().build();
    image.copy_within(64 << 10..68 << 10, 128 << 10);
    assert!(open(image.clone()).unwrap().all().unwrap() == small_disk());

    put(&mut image, (128 << 10) + 32, &[5; 16]);
    seal_vhdx(&mut image[128 << 10..132 << 10]);
    assert!(line(&open(image).err().unwrap()).contains("same age"));
}

#[test]
fn what_a_reader_must_know_and_does_not_is_unsupported() {
    let image = small().build();
    let mut region = image.clone();
    for table in [192 << 10, 256 << 10] {
        put(&mut region, table + 8, &[3]);
        put(&mut region, table + 80, &[0xAB; 16]);
        put(&mut region, table + 108, &[1]);
        seal_vhdx(&mut region[table..table + (64 << 10)]);
    }
    let mut item = image.clone();
    put(&mut item, METADATA + 10, &[6]);
    put(&mut item, METADATA + 192, &[0xAB; 16]);
    put(&mut item, METADATA + 216, &[4]);
    let mut version = image.clone();
    for header in [64 << 10, 128 << 10] {
        put(&mut version, header + 66, &[2]);
        seal_vhdx(&mut version[header..header + 4096]);
    }
    for image in [&region, &item, &version] {
        assert_eq!(open(image.clone()).err().unwrap().kind(), ErrorKind::Unsupported);
    }
    put(&mut item, METADATA + 216, &[0]);
    assert!(open(item).is_ok(), "an unknown item that is not required");
}

#[test]
fn impossible_geometry_and_damaged_metadata_are_corrupt() {
    type Break = fn(&mut Vec<u8>);
    let items = METADATA + (64 << 10);
    assert_eq!(items, 0x21_0000);
    let breaks: [(Break, &str); 10] = [
        (|image| put(image, 0x21_0000, &[0, 0, 0x18, 0]), "blocks of 1572864"),
        (|image| put(image, 0x21_0000, &[0, 0, 8, 0]), "blocks of 524288"),
        (|image| put(image, 0x21_0000, &[0, 0, 0, 0x20]), "blocks of 536870912"),
        (|image| put(image, 0x21_0008, &[0; 8]), "0 bytes"),
        (|image| put(image, 0x21_0008, &[1]), "in sectors of"),
        (|image| put(image, 0x21_0008, &[0, 0, 0, 0, 0, 0x50]), "a disk of"),
        (|image| put(image, 0x21_0008, &[0, 0, 0, 0, 0, 0x30]), "too small"),
        (|image| put(image, 0x21_0020, &[0, 4]), "sectors of 1024"),
        (|image| put(image, METADATA, b"M"), "no metadata table"),
        (|image| put(image, METADATA + 64, &[0xFF; 16]), "a required metadata item"),
    ];
    for (breaks, words) in breaks {
        let mut image = small().build();
        breaks(&mut image);

        let error = open(image).err().unwrap();

        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
}

#[test]
fn vhdx_that_is_cut_or_has_lost_its_identifier_is_an_error_and_never_raw() {
    let image = small().build();
    for len in [8, 1000, 70_000, 300 << 10, LOG, METADATA + 1000, BLOCK_TABLE] {
        let error = open(image[..len].to_vec()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{len}: {}", line(&error));
    }
    let mut lost = image.clone();
    put(&mut lost, 0, b"XXXXXXXX");
    assert!(line(&open(lost).err().unwrap()).contains("identifier"));
    let cut = open(image[..BLOCKS + MIB + 4096].to_vec()).unwrap();
    assert!(line(&cut.read(MIB as u64 + 4096, 1).unwrap_err()).contains("truncated"));
    assert!(cut.read(0, MIB).unwrap() == noise(MIB, 1));
}

#[test]
fn table_entry_that_points_into_headers_log_metadata_or_table_is_corrupt() {
    for place in [0, LOG, METADATA, BLOCK_TABLE] {
        let mut image = small().build();
        put(&mut image, small().entry_at(1), &(place as u64 | FULL).to_le_bytes());
        let opened = open(image).unwrap();

        assert_eq!(opened.read(MIB as u64, 1).unwrap_err().kind(), ErrorKind::Corrupt, "{place}");
        opened.read(0, MIB).unwrap();
    }
}

#[test]
fn disk_of_64_tib_opens_without_reading_its_table() {
    let image = Vhdx { size: 64 << 40, ..Vhdx::new(0, 256 * MIB) };
    let mut bytes = image.build();
    // 262144 blocks and their bitmap entries need 2.1 MiB of table.
    for table in [192 << 10, 256 << 10] {
        put(&mut bytes, table + 16 + 24, &(3 * MIB as u32).to_le_bytes());
        seal_vhdx(&mut bytes[table..table + (64 << 10)]);
    }
    bytes.resize(BLOCK_TABLE + 3 * MIB, 0);
    let place = bytes.len() as u64 | FULL;
    put(&mut bytes, image.entry_at((64 << 40) / (256 << 20) - 1), &place.to_le_bytes());
    bytes.extend(noise(MIB, 9));
    bytes.resize(bytes.len() + 255 * MIB, 0);

    let opened = open(bytes).unwrap();

    assert!(opened.read((64 << 40) - (256 << 20), MIB).unwrap() == noise(MIB, 9));
    assert!(opened.read(32 << 40, MIB).unwrap() == vec![0; MIB]);
}

// ---- The log ----

/// A change that makes the table's first sector have the entries of [`small`], with block 2 where block 1 was.
fn moved_block(image: &[u8]) -> LogChange {
    let mut sector = image[BLOCK_TABLE..BLOCK_TABLE + 4096].to_vec();
    sector.copy_within(8..16, 16);
    sector[8..16].fill(0);
    LogChange::Data { at: BLOCK_TABLE as u64, bytes: sector }
}

/// [`small`] with a log, and its size.
fn with_log(entries: impl FnOnce(&[u8]) -> Vec<LogEntry>, log_start: usize) -> Vec<u8> {
    let clean = small().build();
    let mut log = entries(&clean);
    for entry in &mut log {
        entry.flushed = clean.len() as u64;
        entry.size = entry.size.max(clean.len() as u64);
    }
    Vhdx { log, log_start, ..small() }.build()
}

fn entry(sequence: u64, changes: Vec<LogChange>) -> LogEntry {
    LogEntry { sequence, changes, ..LogEntry::default() }
}

fn moved_disk() -> Vec<u8> {
    [noise(MIB, 1), vec![0; MIB], noise(MIB, 2)].concat()
}

#[test]
fn dirty_log_is_replayed_in_memory_also_around_the_ring_s_end() {
    for log_start in [0, 10, 254, 255] {
        let image = with_log(|image| vec![entry(5, vec![moved_block(image)])], log_start);

        let opened = open(image).unwrap();

        assert!(opened.all().unwrap() == moved_disk(), "{log_start}");
        assert!(notes(&opened).contains("log was replayed"), "{}", notes(&opened));
    }
}

#[test]
fn entries_are_replayed_from_the_tail_to_the_newest_in_their_order() {
    let wrong = || LogChange::Data { at: BLOCK_TABLE as u64, bytes: vec![0xFF; 4096] };
    let empty = || LogChange::Zero { at: BLOCK_TABLE as u64, len: MIB as u64 };
    let image = with_log(
        |image| {
            vec![
                entry(40, vec![wrong()]),
                LogEntry { older: 0, ..entry(41, vec![wrong(), empty()]) },
                LogEntry { older: 1, ..entry(42, vec![moved_block(image)]) },
            ]
        },
        100,
    );

    assert!(open(image).unwrap().all().unwrap() == moved_disk());
}

#[test]
fn torn_last_entry_is_ignored_and_an_older_sequence_yields_to_the_newer() {
    let wrong = || LogChange::Data { at: BLOCK_TABLE as u64, bytes: vec![0xFF; 4096] };
    let torn = with_log(
        |image| {
            vec![
                entry(7, vec![moved_block(image)]),
                LogEntry { is_torn: true, older: 1, ..entry(8, vec![wrong()]) },
            ]
        },
        0,
    );
    let two = with_log(
        |image| vec![entry(3, vec![wrong()]), entry(9, vec![moved_block(image)]), entry(2, vec![wrong()])],
        0,
    );

    for image in [torn, two] {
        assert!(open(image).unwrap().all().unwrap() == moved_disk());
    }
}

#[test]
fn zeros_of_the_log_are_cut_by_what_comes_later() {
    let image = with_log(
        |image| {
            vec![entry(
                5,
                vec![
                    LogChange::Zero { at: BLOCKS as u64, len: 2 * MIB as u64 },
                    LogChange::Data { at: BLOCKS as u64 + 8192, bytes: noise(4096, 77) },
                    LogChange::Data { at: BLOCKS as u64 + 4096, bytes: noise(4096, 78) },
                    LogChange::Zero { at: BLOCKS as u64 + 8192, len: 4096 },
                    LogChange::Data {
                        at: (BLOCKS + MIB) as u64,
                        bytes: image[BLOCKS + MIB..BLOCKS + MIB + 4096].to_vec(),
                    },
                ],
            )]
        },
        0,
    );
    let mut expected = vec![0; 3 * MIB];
    put(&mut expected, 4096, &noise(4096, 78));
    put(&mut expected, MIB, &noise(4096, 2));
    let opened = open(image).unwrap();

    assert!(opened.all().unwrap() == expected);
    assert!(opened.read(5000, 2000).unwrap() == expected[5000..7000]);
    let mut runs = Vec::new();
    opened.disk.bytes.runs(0, 3 * MIB as u64, &mut runs).unwrap();
    let places: Vec<Place> = runs.iter().map(|run| run.place).collect();
    assert_eq!(places, [Place::Zero, Place::Opaque, Place::Zero, Place::Opaque, Place::Zero]);
}

#[test]
fn log_with_many_descriptors_spans_descriptor_sectors() {
    for count in [126, 127, 254, 255] {
        let image = with_log(
            |image| {
                let zeros =
                    (0..count - 1).map(|n| LogChange::Zero { at: (MIB / 2 + n * 4096) as u64, len: 4096 });
                vec![entry(5, zeros.chain([moved_block(image)]).collect())]
            },
            200,
        );

        assert!(open(image).unwrap().all().unwrap() == moved_disk(), "{count}");
    }
}

#[test]
fn log_that_extends_the_file_makes_zeros_there() {
    let end = small().build().len() as u64;
    let image = with_log(
        |image| {
            let mut sector = image[BLOCK_TABLE..BLOCK_TABLE + 4096].to_vec();
            put(&mut sector, 16, &(end | FULL).to_le_bytes());
            let change = LogChange::Data { at: BLOCK_TABLE as u64, bytes: sector };
            vec![LogEntry { size: end + MIB as u64, ..entry(5, vec![change]) }]
        },
        0,
    );

    assert!(open(image).unwrap().all().unwrap() == small_disk());
}

#[test]
fn log_that_must_be_replayed_and_cannot_is_an_error() {
    let good = |image: &[u8]| vec![entry(5, vec![moved_block(image)])];
    let torn = with_log(|image| vec![LogEntry { is_torn: true, ..entry(5, vec![moved_block(image)]) }], 0);
    let mut foreign = with_log(good, 0);
    put(&mut foreign, LOG + 32, &[1; 16]);
    seal_vhdx(&mut foreign[LOG..LOG + 8192]);
    let mut truncated = with_log(good, 0);
    truncated.truncate(truncated.len() - MIB);
    let outside = with_log(|_| vec![entry(5, vec![LogChange::Zero { at: 1 << 40, len: 4096 }])], 0);
    let version = {
        let mut image = with_log(good, 0);
        for header in [64 << 10, 128 << 10] {
            put(&mut image, header + 64, &[1]);
            seal_vhdx(&mut image[header..header + 4096]);
        }
        image
    };
    let cases = [
        (torn, "no valid entries"),
        (foreign, "no valid entries"),
        (truncated, "truncated"),
        (outside, "past the end"),
        (version, "log version 1"),
    ];
    for (image, words) in cases {
        let error = open(image).err().unwrap();
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
}

#[test]
fn guids_of_the_maker_are_what_the_reader_prints() {
    let opened = open(Vhdx { id: guid(PARENT_ID), ..small() }.build()).unwrap();

    assert_eq!(opened.disk.layers[0].id, PARENT_ID);
}
