//! Partition tables against sfdisk's view of the same disks.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod images;

use images::{FileImage, MemoryImage, corpus};
use spelunk_formats::container::ParentSource;
use spelunk_formats::disk;
use spelunk_formats::guest::Options;
use spelunk_formats::partition::{self, Partition, Partitions};
use spelunk_tree::{ParentRef, ReadAt, Result};
use std::path::Path;
use std::sync::Arc;

/// Disks whose manifests list what sfdisk finds in them.
const AS_SFDISK: &[&str] = &[
    "dftt-extend-part",
    "dfvfs-gpt",
    "dfvfs-gpt_non_sequential",
    "dfvfs-mbr",
    "gen-gpt-256-entries-raw-A",
    "gen-gpt-4k-sectors-raw-A",
    "gen-gpt-backup-destroyed-raw-A",
    "gen-gpt-grown-disk-raw-A",
    "gen-gpt-hybrid-mbr-raw-A",
    "gen-gpt-lvm2-raw-A",
    "gen-gpt-mixed-raw-A",
    "gen-gpt-no-protective-mbr-raw-A",
    "gen-gpt-primary-destroyed-raw-A",
    "gen-gpt-truncated-copy-raw-A",
    "gen-mbr-4primary-raw-A",
    "gen-mbr-logical-raw-A",
    "gen-mbr-sector63-raw-A",
    "gptcrate-disk",
    "gptman-disk1",
    "suhanov-ntfs-ptrn",
];

/// A disk of which sfdisk, told nothing of sector sizes and given a cut copy, sees only the MBR. What is
/// expected is what `fdisk -b SECTOR_BYTES` lists after the copy is made as long as it says.
struct Misread {
    id: &'static str,
    sector_bytes: u32,
    /// Number, first sector, sectors, name.
    partitions: &'static [(u32, u64, u64, &'static str)],
}

const LINUX: &str = "Linux filesystem";
const MISREAD: &[Misread] = &[
    Misread {
        id: "dissect-volume-gpt",
        sector_bytes: 512,
        partitions: &[(1, 40, 409_600, "EFI System Partition"), (2, 411_648, 61_026_304, "")],
    },
    Misread {
        id: "dissect-volume-gpt_4k",
        sector_bytes: 4096,
        partitions: &[(1, 256, 257, LINUX), (2, 768, 257, LINUX), (3, 1280, 2907, LINUX)],
    },
    Misread {
        id: "dissect-volume-gpt_hybrid",
        sector_bytes: 512,
        partitions: &[(1, 2048, 1025, LINUX), (2, 34, 2014, LINUX), (3, 3073, 990, LINUX)],
    },
    Misread { id: "gptman-disk2", sector_bytes: 4096, partitions: &[(1, 6, 10, ""), (2, 70, 10, "")] },
    // It has no manifest.
    Misread {
        id: "blkid-gpt",
        sector_bytes: 512,
        partitions: &[
            (1, 34, 2014, "ThisIsName"),
            (2, 2048, 2048, "ThisIsOtherName"),
            (3, 4096, 2048, "primary"),
            (4, 6144, 2048, "primary"),
            (5, 8192, 2048, "primary"),
        ],
    },
];

/// Disks that are one volume.
const NO_TABLE: &[&str] = &[
    "gen-superfloppy-fat16-raw-A",
    "gen-superfloppy-ntfs-raw-A",
    "gen-fat32-lfn-A",
    "gen-ext4-default-A",
    "gen-exfat-4k-A",
    "dissect-fat-exfat",
    "dissect-fve-bde-aes_128",
    "dissect-ntfs-ntfs",
    "dftt-fat-daylight",
    "fatfs-fat12",
    "dissect-volume-lvm",
];

fn read(path: &Path) -> Option<Partitions> {
    partition::read(&FileImage::open(path), None).unwrap()
}

/// The columns path, type, size and extra of a manifest.
fn manifest_line(partition: &Partition, table: &str) -> [String; 4] {
    // sfdisk calls it "bootable", which the manifests leave out.
    let attributes = if table == "mbr" { "" } else { &partition.attributes };
    let Partition { number, start_bytes, size_bytes, partition_type, name, id, .. } = partition;
    let extra = format!("start={start_bytes} type={partition_type} name={name} uuid={id} attrs={attributes}");
    [format!("p{number}"), "P".into(), size_bytes.to_string(), extra]
}

#[test]
fn corpus_disks_have_the_partitions_that_sfdisk_lists() {
    let Some(images) = corpus(AS_SFDISK) else { return };
    for image in images {
        let found = read(&image.path).unwrap_or_else(|| panic!("{}: no table", image.id));

        let lines: Vec<[String; 4]> =
            found.partitions.iter().map(|it| manifest_line(it, found.table)).collect();

        let expected: Vec<[String; 4]> = image
            .manifest
            .iter()
            .filter(|columns| columns[1] == "P")
            .map(|columns| [0, 1, 2, 8].map(|column| columns[column].clone()))
            .collect();
        assert!(!expected.is_empty(), "{}: no partitions in the manifest", image.id);
        assert_eq!(lines, expected, "{}", image.id);
    }
}

#[test]
fn corpus_disks_that_sfdisk_misreads_are_read_right() {
    let ids: Vec<&str> = MISREAD.iter().map(|misread| misread.id).collect();
    let Some(images) = corpus(&ids) else { return };
    for (image, Misread { id, sector_bytes, partitions }) in images.iter().zip(MISREAD) {
        let found = read(&image.path).unwrap_or_else(|| panic!("{id}: no table"));

        let unit = u64::from(*sector_bytes);
        let listed = found.partitions.iter();
        let listed: Vec<_> = listed
            .map(|it| (it.number, it.start_bytes / unit, it.size_bytes / unit, it.name.as_str()))
            .collect();
        assert_eq!((found.table, found.sector_bytes), ("gpt", *sector_bytes), "{id}");
        assert_eq!(listed, *partitions, "{id}");
    }
}

#[test]
fn corpus_volumes_without_a_table_have_none() {
    let Some(images) = corpus(NO_TABLE) else { return };
    for image in images {
        assert!(read(&image.path).is_none(), "{}", image.id);
    }
}

/// A GPT disk: protective MBR, primary, backup at the end, with these entries (first and last sector).
struct GptDisk {
    bytes: Vec<u8>,
    sector: usize,
    entry_bytes: usize,
    slots: usize,
}

impl GptDisk {
    fn new(sector: usize, sectors: usize, slots: usize, entries: &[(usize, u64, u64)]) -> GptDisk {
        let mut disk = GptDisk { bytes: vec![0; sector * sectors], sector, entry_bytes: 128, slots };
        put_mbr_entry(&mut disk.bytes, 0, 0xEE, 1, sectors as u32 - 1);
        let table_sectors = (slots * 128).div_ceil(sector);
        let mut table = vec![0; slots * 128];
        for (slot, first, last) in entries {
            let entry = &mut table[slot * 128..][..128];
            entry[..16].fill(0xAB);
            entry[16] = *slot as u8;
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
        }
        disk.put_copy(1, sectors - 1, 2, &table);
        disk.put_copy(sectors - 1, 1, sectors - 1 - table_sectors, &table);
        disk
    }

    fn put_copy(&mut self, lba: usize, alternate: usize, table_lba: usize, table: &[u8]) {
        self.bytes[table_lba * self.sector..][..table.len()].copy_from_slice(table);
        let header = &mut self.bytes[lba * self.sector..][..92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        header[24..32].copy_from_slice(&(lba as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(alternate as u64).to_le_bytes());
        header[56..72].copy_from_slice(&[0x11; 16]);
        header[72..80].copy_from_slice(&(table_lba as u64).to_le_bytes());
        header[80..84].copy_from_slice(&(self.slots as u32).to_le_bytes());
        header[84..88].copy_from_slice(&(self.entry_bytes as u32).to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(table).to_le_bytes());
        self.seal(lba);
    }

    /// Sets the checksum of the header in sector `lba`.
    fn seal(&mut self, lba: usize) {
        let header = &mut self.bytes[lba * self.sector..][..92];
        header[16..20].fill(0);
        let checksum = crc32fast::hash(header);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn put_mbr_entry(disk: &mut [u8], slot: usize, partition_type: u8, start: u32, sectors: u32) {
    let entry = &mut disk[446 + 16 * slot..][..16];
    entry[4] = partition_type;
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
}

fn read_bytes(bytes: &[u8], sector_bytes: Option<u32>) -> Option<Partitions> {
    partition::read(&MemoryImage(bytes.to_vec()), sector_bytes).unwrap()
}

/// Table, sector size, and number, start and size of the partitions.
type Summary = (&'static str, u32, Vec<(u32, u64, u64)>);

fn summary(found: Option<&Partitions>) -> Option<Summary> {
    let found = found?;
    let partitions = found.partitions.iter().map(|it| (it.number, it.start_bytes, it.size_bytes)).collect();
    Some((found.table, found.sector_bytes, partitions))
}

#[test]
fn urbackup_gpt_with_one_entry_is_read() {
    let mut disk = GptDisk::new(512, 8192, 1, &[(0, 1024, 7000)]);

    let expected = Some(("gpt", 512, vec![(1, 524_288, 5977 * 512)]));
    assert_eq!(summary(read_bytes(&disk.bytes, Some(512)).as_ref()), expected);

    // A count of 128 with a checksum over the first entry alone.
    disk.bytes[512 + 80] = 128;
    disk.seal(1);
    let found = read_bytes(&disk.bytes, Some(512)).unwrap();
    assert_eq!(summary(Some(&found)), expected);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn urbackup_volume_image_is_found_behind_odd_boot_code() {
    let mut disk = vec![0; 1 << 20];
    disk[..11].copy_from_slice(b"\xEB\x52\x90NTFS    ");
    disk[54..62].copy_from_slice(b"FAT16   ");
    disk[440..444].copy_from_slice(&[0x78, 0x56, 0x34, 0x12]);
    put_mbr_entry(&mut disk, 0, 7, 1024, 1024);
    disk[446] = 0x80;

    let found = read_bytes(&disk, None).unwrap();

    assert_eq!(summary(Some(&found)), Some(("mbr", 512, vec![(1, 524_288, 524_288)])));
    assert_eq!((found.id.as_str(), found.partitions[0].partition_type.as_str()), ("12345678", "7"));
    assert_eq!(found.partitions[0].attributes, "active");

    // Cut off, its partition leaves the disk, so that the MBR alone is no certain one.
    disk.truncate(800 << 10);
    let cut = read_bytes(&disk, None);
    assert_eq!(summary(cut.as_ref()), summary(Some(&found)));

    // With the fields of a volume's boot sector, it is one.
    disk[11..14].copy_from_slice(&[0, 2, 8]);
    assert!(read_bytes(&disk, None).is_none());
}

#[test]
fn gpt_with_a_damaged_primary_is_read_from_its_backup() {
    let expected = Some(("gpt", 512, vec![(1, 51_200, 512 * 101), (3, 153_600, 512)]));
    let whole = GptDisk::new(512, 1000, 128, &[(0, 100, 200), (2, 300, 300)]).bytes;
    let mut header_lost = whole.clone();
    header_lost[512..1024].fill(0);
    let mut entry_lost = whole.clone();
    entry_lost[1024] = 0;
    let mut grown = header_lost.clone();
    grown.resize(1234 * 512, 0);
    let mut all_lost = whole.clone();
    all_lost[..40 * 512].fill(0);

    for (name, bytes) in
        [("header", header_lost), ("entry", entry_lost), ("grown", grown), ("start of the disk", all_lost)]
    {
        let found = read_bytes(&bytes, None);
        assert_eq!(summary(found.as_ref()), expected, "{name}");
        assert!(found.unwrap().notes[0].contains("backup in sector 999"), "{name}");
    }
}

#[test]
fn gpt_damaged_in_the_header_of_one_copy_and_the_entries_of_the_other_is_put_together() {
    let expected = Some(("gpt", 512, vec![(1, 51_200, 512 * 101), (3, 153_600, 512)]));
    let whole = GptDisk::new(512, 1000, 128, &[(0, 100, 200), (2, 300, 300)]).bytes;
    let (primary, primary_entries) = (512, 1024);
    let (backup, backup_entries) = (999 * 512, 967 * 512);
    for (header, entries) in [(primary, backup_entries), (backup, primary_entries)] {
        let mut bytes = whole.clone();
        bytes[header..header + 512].fill(0);
        bytes[entries + 40] ^= 0x55;

        let found = read_bytes(&bytes, None);

        assert_eq!(summary(found.as_ref()), expected, "{header}");
        let notes = found.unwrap().notes.join("\n");
        assert!(notes.contains("those of its other copy used"), "{notes}");
    }
}

#[test]
fn hybrid_mbr_yields_to_its_gpt_and_what_it_lists_alone_is_noted() {
    let expected = Some(("gpt", 512, vec![(1, 51_200, 512 * 101), (2, 153_600, 512)]));
    let mut disk = GptDisk::new(512, 1000, 128, &[(0, 100, 200), (1, 300, 300)]).bytes;
    put_mbr_entry(&mut disk, 1, 7, 100, 101);
    assert_eq!(summary(read_bytes(&disk, None).as_ref()), expected);
    assert_eq!(read_bytes(&disk, None).unwrap().notes, Vec::<String>::new());

    put_mbr_entry(&mut disk, 2, 7, 500, 10);
    let found = read_bytes(&disk, None);
    assert_eq!(summary(found.as_ref()), expected);
    assert_eq!(
        found.unwrap().notes,
        ["the hybrid MBR lists partitions that the GPT does not, which are not shown: 1"]
    );

    // Without a GPT that can be used, the MBR is what there is.
    for lba in [1, 999] {
        disk[lba * 512..][..512].fill(0);
    }
    let found = read_bytes(&disk, None).unwrap();
    let types: Vec<&str> = found.partitions.iter().map(|it| it.partition_type.as_str()).collect();
    assert_eq!((found.table, types), ("mbr", vec!["ee", "7", "7"]));
}

#[test]
fn gpt_with_one_wrong_checksum_and_no_backup_is_read_with_a_note() {
    for at in [512 + 16, 512 + 88] {
        let mut disk = GptDisk::new(4096, 100, 128, &[(127, 10, 20)]);
        disk.bytes.truncate(99 * 4096);
        disk.bytes[4096 + at - 512] ^= 1;
        if at == 512 + 88 {
            disk.seal(1);
        }

        let found = read_bytes(&disk.bytes, None);

        assert_eq!(summary(found.as_ref()), Some(("gpt", 4096, vec![(128, 40_960, 45_056)])));
        assert!(found.unwrap().notes[0].contains("checksum"));
    }
}

#[test]
fn gpt_that_nothing_confirms_is_shown_as_the_mbr_says() {
    let mut disk = GptDisk::new(512, 1000, 128, &[(0, 100, 200)]);
    for lba in [1, 999] {
        disk.bytes[lba * 512 + 16] ^= 1;
        disk.bytes[lba * 512 + 88] ^= 1;
    }

    let found = read_bytes(&disk.bytes, None);

    assert_eq!(summary(found.as_ref()), Some(("mbr", 512, vec![(1, 512, 999 * 512)])));
    assert_eq!(found.unwrap().partitions[0].partition_type, "ee");
}

#[test]
fn gpt_behind_another_mbr_is_a_leftover() {
    let mut disk = GptDisk::new(512, 1000, 128, &[(0, 100, 200)]);
    put_mbr_entry(&mut disk.bytes, 0, 0x83, 50, 100);

    assert_eq!(
        summary(read_bytes(&disk.bytes, None).as_ref()),
        Some(("mbr", 512, vec![(1, 25_600, 51_200)]))
    );
}

#[test]
fn gpt_with_impossible_sizes_is_none_and_costs_nothing() {
    for (count, entry_bytes) in [(u32::MAX, 128_u32), (128, u32::MAX), (128, 0), (128, 127), (1 << 14, 128)] {
        let mut disk = GptDisk::new(512, 1000, 128, &[(0, 100, 200)]);
        for lba in [1, 999] {
            disk.bytes[lba * 512 + 80..][..4].copy_from_slice(&count.to_le_bytes());
            disk.bytes[lba * 512 + 84..][..4].copy_from_slice(&entry_bytes.to_le_bytes());
            disk.seal(lba);
        }

        assert_eq!(read_bytes(&disk.bytes, None).unwrap().table, "mbr");
    }
}

#[test]
fn gpt_with_long_entries_out_of_order_overlapping_and_off_the_disk_is_read_with_notes() {
    let mut disk = GptDisk::new(512, 1000, 64, &[]);
    disk.entry_bytes = 256;
    let mut table = vec![0; 64 * 256];
    for (slot, first, last) in
        [(0_usize, 500_u64, 600_u64), (1, 100, 550), (2, 900, 2000), (3, u64::MAX - 1, u64::MAX)]
    {
        table[slot * 256] = 1;
        table[slot * 256 + 32..][..8].copy_from_slice(&first.to_le_bytes());
        table[slot * 256 + 40..][..8].copy_from_slice(&last.to_le_bytes());
    }
    disk.put_copy(1, 999, 2, &table);

    let found = read_bytes(&disk.bytes, None);

    let expected = vec![(1, 256_000, 101 * 512), (2, 51_200, 451 * 512), (3, 460_800, 1101 * 512)];
    assert_eq!(summary(found.as_ref()), Some(("gpt", 512, expected)));
    let notes = found.unwrap().notes;
    for expected in ["partition 4 is left out", "partition 3 leaves the disk", "partitions 2 and 1 overlap"] {
        assert!(notes.iter().any(|note| note.starts_with(expected)), "{expected}: {notes:?}");
    }
}

#[test]
fn mbr_of_a_disk_with_4096_byte_sectors_counts_in_them() {
    let mut disk = vec![0; 4096 * 100];
    put_mbr_entry(&mut disk, 0, 0x05, 20, 60);
    put_mbr_entry(&mut disk[20 * 4096..], 0, 0x83, 1, 10);

    let expected = Some(("mbr", 4096, vec![(1, 81_920, 60 * 4096), (5, 86_016, 40_960)]));
    assert_eq!(summary(read_bytes(&disk, None).as_ref()), expected);
    assert_eq!(summary(read_bytes(&disk, Some(4096)).as_ref()), expected);
}

#[test]
fn mbr_chain_that_loops_or_breaks_ends_with_a_note() {
    let mut disk = vec![0; 512 * 1000];
    put_mbr_entry(&mut disk, 1, 0x0F, 100, 800);
    put_mbr_entry(&mut disk[100 * 512..], 0, 0x83, 1, 10);
    put_mbr_entry(&mut disk[100 * 512..], 1, 0x05, 200, 50);
    put_mbr_entry(&mut disk[300 * 512..], 0, 0x83, 2, 20);
    let logicals = vec![(2, 51_200, 409_600), (5, 51_712, 5120), (6, 154_624, 10_240)];

    // Back to its beginning; to where there is nothing; off the disk.
    for start in [0, 500, 900_000] {
        put_mbr_entry(&mut disk[300 * 512..], 1, 0x85, start, 50);

        let found = read_bytes(&disk, None);

        assert_eq!(summary(found.as_ref()), Some(("mbr", 512, logicals.clone())));
        assert!(found.unwrap().notes[0].contains("chain"));
    }
}

#[test]
fn boot_sectors_that_are_no_tables_are_none() {
    let mut text_in_entries = vec![b'x'; 4096];
    text_in_entries[510..512].copy_from_slice(&[0x55, 0xAA]);
    let mut no_entries = vec![0; 4096];
    no_entries[510..512].copy_from_slice(&[0x55, 0xAA]);
    let mut no_type = no_entries.clone();
    put_mbr_entry(&mut no_type, 0, 0, 1, 2);
    // An entry that is one's own volume, as `mkfs.fat --mbr` writes it, behind an exFAT boot sector.
    let mut whole_volume = no_entries.clone();
    whole_volume[3..11].copy_from_slice(b"EXFAT   ");
    put_mbr_entry(&mut whole_volume, 0, 7, 0, 8);

    for bytes in [vec![], vec![0; 511], vec![0; 4096], text_in_entries, no_entries, no_type, whole_volume] {
        assert!(read_bytes(&bytes, None).is_none());
    }
}

#[test]
fn notes_on_a_table_that_is_wrong_everywhere_are_bounded() {
    let entries: Vec<(usize, u64, u64)> = (0..128).map(|slot| (slot, 100, 200)).collect();
    let disk = GptDisk::new(512, 4096, 128, &entries);

    let found = read_bytes(&disk.bytes, None).unwrap();

    assert_eq!((found.partitions.len(), found.notes.len()), (128, 64));
    assert!(found.notes[0].contains("overlap"), "{:?}", found.notes);
}

struct NoParents;

impl ParentSource for NoParents {
    fn next_candidate(&mut self, _: u32, _: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }
}

#[test]
fn more_partitions_than_may_be_shown_are_counted_in_a_note() {
    let entries: Vec<(usize, u64, u64)> =
        (0..300).map(|slot| (slot, 200 + slot as u64, 200 + slot as u64)).collect();
    let disk = GptDisk::new(512, 4096, 300, &entries);

    let info =
        disk::open(Arc::new(MemoryImage(disk.bytes)), &mut NoParents, &Options::default()).unwrap().info;

    assert_eq!(info.volumes.len(), 254);
    assert_eq!(info.notes, ["46 more partitions are not shown"]);
}
