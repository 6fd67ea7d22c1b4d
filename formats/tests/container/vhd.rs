//! VHDs that no writer at hand makes.

use super::make::{Vhd, put, seal_vhd};
use super::support::{Image, Opened, Parents, line, noise, open, open_with};
use spelunk_tree::{ErrorKind, Place};
use std::time::{Duration, Instant};

fn notes(opened: &Opened) -> String {
    opened.disk.layers.iter().flat_map(|layer| layer.notes.clone()).collect::<Vec<_>>().join("; ")
}

/// `disk` with zeros where `has` says that a sector is absent.
fn masked(mut disk: Vec<u8>, has: fn(u64) -> bool) -> Vec<u8> {
    for (sector, bytes) in disk.chunks_mut(512).enumerate() {
        if !has(sector as u64) {
            bytes.fill(0);
        }
    }
    disk
}

#[test]
fn dynamic_disks_of_any_block_size_are_read_and_clear_bits_are_zeros() {
    for block_bytes in [512, 1024, 4096, 65536, 1 << 21, 1 << 24] {
        for len in [512, 10_000 * 512, 3 * 4096 + 1024, 5000] {
            let has: fn(u64) -> bool = |sector| sector % 7 != 3 && !(100..700).contains(&sector);
            let disk = noise(len, 1);
            let image = Vhd { block_bytes, has, ..Vhd::dynamic(disk.clone()) }.build();

            let opened = open(image).unwrap();

            assert!(opened.all().unwrap() == masked(disk, has), "{block_bytes} {len}");
            assert_eq!(opened.disk.layers[0].variant, "dynamic");
            assert_eq!(opened.disk.layers[0].block_bytes, block_bytes as u64);
        }
    }
}

#[test]
fn ranges_that_begin_and_end_anywhere_agree_with_the_whole() {
    let has: fn(u64) -> bool = |sector| sector % 5 < 3;
    let disk = masked(noise(20 * 4096, 2), has);
    let opened = open(Vhd { has, ..Vhd::dynamic(disk.clone()) }.build()).unwrap();

    for start in (0..disk.len()).step_by(997) {
        for len in [0, 1, 511, 513, 5000, 20_000] {
            let end = (start + len).min(disk.len());
            assert!(opened.read(start as u64, end - start).unwrap() == disk[start..end]);
        }
    }
    assert_eq!(opened.read(disk.len() as u64 - 1, 2).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(opened.read(u64::MAX, 2).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn fixed_disks_and_footers_of_511_bytes_are_accepted() {
    let disk = noise(100 * 512, 3);
    for kind in [2, 3] {
        for footer_bytes in [512, 511] {
            let image = Vhd { kind, footer_bytes, ..Vhd::dynamic(disk.clone()) }.build();

            let opened = open(image).unwrap();

            assert!(opened.all().unwrap() == disk);
            assert_eq!(notes(&opened), "");
            assert_eq!(opened.disk.layers[0].id, "01010101-0101-0101-0101-010101010101");
        }
    }
}

#[test]
fn damaged_or_missing_footer_at_the_end_is_replaced_by_its_copy_with_a_note() {
    let disk = noise(100 * 512, 4);
    let image = Vhd::dynamic(disk.clone()).build();
    let footer = image.len() - 512;
    let mut damaged = image.clone();
    damaged[footer + 50] ^= 1;
    let missing = image[..footer].to_vec();

    for (image, word) in [(damaged, "damaged"), (missing, "missing")] {
        let opened = open(image).unwrap();

        assert!(opened.all().unwrap() == disk);
        assert!(notes(&opened).contains(word), "{}", notes(&opened));
    }
}

#[test]
fn backup_that_was_killed_is_unfinished_and_not_an_empty_disk() {
    let mut image = Vhd::dynamic(noise(100 * 512, 5)).build();
    let blocks = (100 * 512_usize).div_ceil(4096);
    for entry in [[0xFF; 4], [0; 4]] {
        for block in 0..blocks {
            put(&mut image, Vhd::TABLE + block * 4, &entry);
        }
        let killed = image[..image.len() - 512].to_vec();

        let error = open(killed).err().unwrap();

        assert!(line(&error).contains("unfinished"), "{}", line(&error));
    }
    put(&mut image, Vhd::TABLE, &[0xFF; 4].repeat(blocks));
    let empty = open(image).unwrap();
    assert!(empty.all().unwrap() == vec![0; 100 * 512], "an empty disk with its footer is legal");
}

#[test]
fn vhd_that_is_broken_is_an_error_and_never_raw() {
    let image = Vhd::dynamic(noise(100 * 512, 6)).build();
    let len = image.len();
    type Break = fn(&mut Vec<u8>, usize);
    let breaks: [(Break, &str); 9] = [
        (
            |image, len| {
                image[60] ^= 1;
                image[len - 452] ^= 1;
            },
            "checksum",
        ),
        (
            |image, len| {
                put(image, 0, b"xxxxxxxx");
                put(image, len - 512, b"xxxxxxxx");
            },
            "no valid footer",
        ),
        (|image, _| put(image, 512, b"xxxxxxxx"), "no dynamic header"),
        (|image, _| image[600] ^= 1, "header's checksum"),
        (
            |image, _| {
                put(image, 544, &[0, 0, 3, 0]);
                seal_vhd(&mut image[512..1536], 36);
            },
            "blocks of 768",
        ),
        (
            |image, _| {
                put(image, 540, &[0; 4]);
                seal_vhd(&mut image[512..1536], 36);
            },
            "a table of 0 blocks",
        ),
        (
            |image, _| {
                put(image, 536, &[0, 2]);
                seal_vhd(&mut image[512..1536], 36);
            },
            "version 2.0",
        ),
        (
            |image, _| {
                put(image, 528, &[1]);
                seal_vhd(&mut image[512..1536], 36);
            },
            "goes past the end",
        ),
        (
            |image, len| {
                put(image, len - 464, &[0; 8]);
                seal_vhd(&mut image[len - 512..], 64);
            },
            "0 bytes",
        ),
    ];
    for (breaks, words) in breaks {
        let mut image = image.clone();
        breaks(&mut image, len);

        let error = open(image).err().unwrap();

        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    assert!(open(b"conectix".to_vec()).is_err());
    assert!(open(image[..600].to_vec()).is_err());
}

#[test]
fn footer_of_a_larger_fixed_disk_is_left_over_and_the_file_is_raw() {
    for size in [0, 1 << 50] {
        let mut image = Vhd { kind: 2, ..Vhd::dynamic(noise(100 * 512, 7)) }.build();
        if size > 0 {
            let footer = image.len() - 512;
            put(&mut image, footer + 48, &u64::to_be_bytes(size));
            seal_vhd(&mut image[footer..], 64);
        }
        let part = &image[4096..];

        let opened = open(part.to_vec()).unwrap();

        assert!(opened.all().unwrap() == part);
        assert_eq!(opened.disk.layers[0].format, "raw");
        assert!(notes(&opened).contains("a VHD footer for a fixed disk of"), "{}", notes(&opened));
    }
}

#[test]
fn fixed_disk_in_a_longer_file_ends_where_its_footer_says() {
    let disk = noise(100 * 512, 7);
    let image = Vhd { kind: 2, ..Vhd::dynamic(disk.clone()) }.build();
    let (data, footer) = image.split_at(disk.len());

    let opened = open([data, &[7; 4096], footer].concat()).unwrap();

    assert!(opened.all().unwrap() == disk);
    assert_eq!(opened.disk.layers[0].variant, "fixed");
    assert!(notes(&opened).contains("4096 bytes behind the disk"), "{}", notes(&opened));
}

#[test]
fn block_past_the_end_is_truncated_and_its_siblings_are_read() {
    let disk = noise(16 * 4096, 8);
    let image = Vhd::dynamic(disk.clone()).build();
    let opened = open(image[..image.len() - 3000].to_vec()).unwrap();

    let error = opened.read(15 * 4096, 4096).unwrap_err();

    assert!(line(&error).contains("truncated"), "{}", line(&error));
    assert!(opened.read(0, 15 * 4096).unwrap() == disk[..15 * 4096]);
    assert!(opened.read(15 * 4096, 512).unwrap() == disk[15 * 4096..][..512]);
}

#[test]
fn table_entry_that_points_into_the_headers_is_corrupt() {
    for entry in [0_u32, 1, 2, 3, 4, u32::MAX - 1] {
        let mut image = Vhd::dynamic(noise(16 * 4096, 9)).build();
        put(&mut image, Vhd::TABLE + 4, &entry.to_be_bytes());
        let opened = open(image).unwrap();

        assert_eq!(opened.read(4096, 1).unwrap_err().kind(), ErrorKind::Corrupt, "{entry}");
        opened.read(0, 4096).unwrap();
        opened.read(8192, 4096).unwrap();
    }
}

#[test]
fn child_takes_from_its_parent_sector_by_sector_and_zeros_past_its_end() {
    let parent = Vhd { block_bytes: 2048, ..Vhd::dynamic(noise(50 * 512, 10)) };
    let has: fn(u64) -> bool = |sector| sector % 3 == 1 || (64..80).contains(&sector);
    let own = noise(100 * 512, 11);
    let child = Vhd { has, ..Vhd::child(own.clone(), &parent, ".\\the parent.vhd") };
    let mut expected = own;
    for (sector, bytes) in expected.chunks_mut(512).enumerate() {
        if !has(sector as u64) {
            match parent.disk.chunks(512).nth(sector) {
                Some(theirs) => bytes.copy_from_slice(theirs),
                None => bytes.fill(0),
            }
        }
    }

    let opened =
        open_with(Image::memory(child.build()), Parents::of([Image::memory(parent.build())])).unwrap();

    assert!(opened.all().unwrap() == expected);
    let [child, parent] = &opened.disk.layers[..] else { panic!() };
    assert_eq!((child.source, parent.source), (0, 1));
    assert_eq!(child.parent.as_ref().unwrap().id, parent.id);
    assert_eq!(child.parent.as_ref().unwrap().paths, ["./the parent.vhd"]);
}

#[test]
fn disk_of_2_tib_opens_at_once_and_reads_only_what_it_needs() {
    let size = 2_u64 << 40;
    let blocks = (size / (512 << 10)) as usize;
    let mut image = Vhd { block_bytes: 512 << 10, ..Vhd::dynamic(vec![0; 0]) };
    image.size = size;
    let mut bytes = image.build();
    bytes.truncate(bytes.len() - 512);
    let last = (bytes.len() / 512) as u32;
    put(&mut bytes, Vhd::TABLE + (blocks - 1) * 4, &last.to_be_bytes());
    bytes.extend([0xFF; 512]);
    bytes.extend(noise(512 << 10, 12));
    bytes.extend_from_within(..512);

    let image = Image::memory(bytes.clone());
    let start = Instant::now();
    let opened = open_with(image, Parents::default()).unwrap();
    let taken = start.elapsed();

    assert!(taken < Duration::from_millis(10), "{taken:?}");
    assert!(opened.read(size - 4096, 4096).unwrap() == bytes[bytes.len() - 512 - 4096..][..4096]);
    assert!(opened.read(size / 2, 4096).unwrap() == vec![0; 4096]);
    let mut runs = Vec::new();
    opened.disk.bytes.runs(0, size, &mut runs).unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].place, Place::Zero);
}
