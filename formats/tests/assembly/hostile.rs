//! Forged metadata: each ends in an error of what it covers, and the rest is shown.

use crate::images::MemoryImage;
use crate::support::{assemble, disks, open, volume};
use spelunk_formats::assembly::{Assembled, Device};
use spelunk_tree::{ErrorKind, ReadAt};
use std::sync::Arc;

const SECTOR: usize = 512;
const AREA: usize = 4096;
const AREA_BYTES: usize = 1 << 20;
const DATA: usize = 4 << 20;
const ID: &str = "0000000000000000000000000000000a";
const DASHED: &str = "000000-0000-0000-0000-0000-0000-00000a";

/// LVM's checksum.
fn lvm_checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xF597_A6CF);
    hasher.update(bytes);
    !hasher.finalize()
}

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..][..bytes.len()].copy_from_slice(bytes);
}

/// A physical volume of 8 MiB whose metadata text stands at `offset` in its ring.
fn physical_volume_at(text: &str, offset: usize) -> Vec<u8> {
    let mut disk = vec![0; 8 << 20];
    let mut label = [0; SECTOR];
    put(&mut label, 0, b"LABELONE");
    put(&mut label, 8, &1u64.to_le_bytes());
    put(&mut label, 20, &32u32.to_le_bytes());
    put(&mut label, 24, b"LVM2 001");
    put(&mut label, 32, ID.as_bytes());
    // An area of data, the end of the list, an area of metadata, the end of the list.
    for (number, word) in [8 << 20, 4 << 20, 0, 0, 0, AREA as u64, AREA_BYTES as u64].iter().enumerate() {
        put(&mut label, 64 + number * 8, &u64::to_le_bytes(*word));
    }
    let checksum = lvm_checksum(&label[20..]);
    put(&mut label, 16, &checksum.to_le_bytes());
    put(&mut disk, SECTOR, &label);

    let mut header = [0; SECTOR];
    put(&mut header, 4, b" LVM2 x[5A%r0N*>");
    put(&mut header, 20, &1u32.to_le_bytes());
    for (number, word) in [AREA, AREA_BYTES, offset, text.len()].iter().enumerate() {
        put(&mut header, 24 + number * 8, &(*word as u64).to_le_bytes());
    }
    put(&mut header, 56, &lvm_checksum(text.as_bytes()).to_le_bytes());
    let checksum = lvm_checksum(&header[4..]);
    put(&mut header, 0, &checksum.to_le_bytes());
    put(&mut disk, AREA, &header);
    let (first, second) = text.as_bytes().split_at(text.len().min(AREA_BYTES - offset));
    put(&mut disk, AREA + offset, first);
    put(&mut disk, AREA + SECTOR, second);
    disk
}

fn segment(content: &str) -> String {
    format!("segment1 {{\nstart_extent = 0\nextent_count = 4\n{content}\n}}")
}

fn logical(name: &str, segments: &str) -> String {
    format!("{name} {{\nid = \"{name}\"\nstatus = [\"READ\", \"VISIBLE\"]\n{segments}\n}}\n")
}

/// The text of a group with extents of 64 KiB, one physical volume, and these logical volumes.
fn group(version: u64, volumes: &str) -> String {
    format!(
        "vg {{\nid = \"g\"\nseqno = {version}\nextent_size = 128\nphysical_volumes {{\npv0 {{\nid = \"{DASHED}\"\n\
         status = [\"ALLOCATABLE\"]\nflags = []\npe_start = 8192\npe_count = 16\n}}\n}}\n\
         logical_volumes {{\n{volumes}}}\n}}\n"
    )
}

fn linear(extent: u64) -> String {
    segment(&format!("type = \"striped\"\nstripe_count = 1\nstripes = [\n\"pv0\", {extent}\n]"))
}

fn image(bytes: Vec<u8>) -> Arc<dyn ReadAt> {
    Arc::new(MemoryImage(bytes))
}

fn of_text(text: &str) -> Assembled {
    assemble("lvm2", &[image(physical_volume_at(text, SECTOR))])
}

fn device<'a>(assembled: &'a Assembled, name: &str) -> &'a Device {
    assembled.devices.iter().find(|device| device.name == name).unwrap()
}

fn kind(assembled: &Assembled, name: &str) -> Option<ErrorKind> {
    device(assembled, name).content.as_ref().err().map(|error| error.kind())
}

#[test]
fn a_text_that_passes_the_end_of_its_ring_goes_on_at_its_beginning() {
    let text = group(1, &logical("good", &linear(3)));
    let mut disk = physical_volume_at(&text, AREA_BYTES - 100);
    put(&mut disk, DATA + 3 * 65536, b"here");

    let assembled = assemble("lvm2", &[image(disk)]);

    let mut bytes = [0; 4];
    device(&assembled, "good").content.as_ref().unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!((&bytes, assembled.notes.len()), (b"here", 0));
}

#[test]
fn impossible_volumes_are_errors_and_the_good_one_beside_them_is_read() {
    let on = |volume: &str| segment(&format!("type = \"striped\"\nstripes = [\"{volume}\", 0]"));
    let many: Vec<String> = (0..1000).map(|_| "\"pv0\", 0".to_owned()).collect();
    let mut volumes = String::new();
    for (name, content) in [
        ("itself", on("itself")),
        ("circle", on("elcric")),
        ("elcric", on("circle")),
        ("nowhere", on("no such volume")),
        ("stripeless", segment("type = \"striped\"\nstripe_count = 4294967296\nstripes = []")),
        ("wide", segment(&format!("type = \"striped\"\nstripe_size = 8\nstripes = [{}]", many.join(", ")))),
        ("outside", linear(15)),
        ("far", linear(u64::MAX / 2)),
        ("tiny", segment("type = \"striped\"\nstripe_size = 1\nstripes = [\"pv0\", 0, \"pv0\", 2]")),
        ("legless", segment("type = \"mirror\"\nmirrors = []")),
        ("legless1", segment("type = \"raid1\"\nraids = []")),
        ("poolless", segment("type = \"thin\"\nthin_pool = \"good\"\ndevice_id = 1")),
        ("own_pool", segment("type = \"thin\"\nthin_pool = \"own_pool\"\ndevice_id = 1")),
        (
            "huge",
            "segment1 {\nstart_extent = 0\nextent_count = 9223372036854775807\ntype = \"striped\"\nstripes = [\"pv0\", 0]\n}"
                .to_owned(),
        ),
    ] {
        volumes += &logical(name, &content);
    }
    let bad: Vec<&str> = volumes.lines().filter_map(|line| line.strip_prefix("id = \"")).collect();
    let text = group(1, &format!("{volumes}{}", logical("good", &linear(0))));

    let assembled = of_text(&text);

    for name in bad.iter().map(|name| name.trim_end_matches('"')) {
        assert_eq!(kind(&assembled, name), Some(ErrorKind::Corrupt), "{name}");
    }
    assert_eq!(kind(&assembled, "good"), None);
}

#[test]
fn volumes_on_volumes_on_volumes_are_over_a_limit() {
    let on = |below: usize| segment(&format!("type = \"striped\"\nstripes = [\"v{below}\", 0]"));
    let mut volumes = logical("v0", &linear(0));
    for number in 1..12 {
        volumes += &logical(&format!("v{number}"), &on(number - 1));
    }
    // The highest one first, so that no other was made before it.
    let volumes = format!("{}{volumes}", logical("top", &on(11)));

    let assembled = of_text(&group(1, &volumes));

    assert_eq!(kind(&assembled, "top"), Some(ErrorKind::Limit));
    assert_eq!(kind(&assembled, "v0"), None);
}

#[test]
fn disks_that_say_to_be_the_same_physical_volume_are_refused() {
    let disk = image(physical_volume_at(&group(1, &logical("good", &linear(0))), SECTOR));

    let assembled = assemble("lvm2", &[disk.clone(), disk]);

    assert_eq!(kind(&assembled, "good"), Some(ErrorKind::Corrupt));
    assert!(
        assembled.notes.iter().any(|note| note.contains("both say to be physical volume")),
        "{:?}",
        assembled.notes
    );
}

#[test]
fn the_newest_description_counts_and_older_ones_are_told() {
    let newer = physical_volume_at(&group(9, &logical("new", &linear(0))), SECTOR);
    let mut older = physical_volume_at(&group(8, &logical("old", &linear(0))), SECTOR);
    // Another physical volume.
    older[SECTOR + 32] = b'1';
    let checksum = lvm_checksum(&older[SECTOR + 20..2 * SECTOR]);
    put(&mut older, SECTOR + 16, &checksum.to_le_bytes());

    let assembled = assemble("lvm2", &[image(older), image(newer)]);

    let names: Vec<&str> = assembled.devices.iter().map(|device| &*device.name).collect();
    assert_eq!(names, ["new"]);
    assert!(
        assembled.notes.iter().any(|note| note.contains("is version 8; the newest is 9")),
        "{:?}",
        assembled.notes
    );
}

#[test]
fn metadata_that_are_damaged_or_too_large_are_errors_of_their_member() {
    let text = group(1, &logical("good", &linear(0)));
    let mut damaged = physical_volume_at(&text, SECTOR);
    damaged[AREA + SECTOR + 5] ^= 1;
    let mut large = physical_volume_at(&text, SECTOR);
    put(&mut large, AREA + 32, &(1u64 << 40).to_le_bytes());
    put(&mut large, AREA + 48, &(1u64 << 39).to_le_bytes());
    let checksum = lvm_checksum(&large[AREA + 4..AREA + SECTOR]);
    put(&mut large, AREA, &checksum.to_le_bytes());

    for (disk, kind) in [(damaged, ErrorKind::Corrupt), (large, ErrorKind::Limit)] {
        let assembled = assemble("lvm2", &[image(disk)]);
        assert_eq!(assembled.member_of[0].as_ref().unwrap_err().kind(), kind);
        assert!(assembled.devices.is_empty() && assembled.notes.len() == 1);
    }
}

#[test]
fn volumes_that_lie_past_the_end_of_their_disk_are_damaged_when_read() {
    let text = group(1, &logical("good", &linear(0))).replace("pe_start = 8192", "pe_start = 1099511627776");

    let assembled = of_text(&text);

    let error = device(&assembled, "good").content.as_ref().unwrap().read_at(0, &mut [0; 512]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// The bytes of a disk of the fixtures.
fn bytes_of(name: &str) -> Vec<u8> {
    let disk = disks(&[name]).remove(0);
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_tree_of_a_thin_pool_that_leads_to_itself_is_an_error() {
    const BLOCK: usize = 4096;
    let mut disk = bytes_of("lvm-thin");
    let magic = 27_022_010u64.to_le_bytes();
    let superblock = (0..disk.len()).step_by(BLOCK).find(|at| disk[at + 32..][..8] == magic).unwrap();
    let root = u64::from_le_bytes(disk[superblock + 320..][..8].try_into().unwrap()) as usize;
    let at = superblock + root * BLOCK;
    // An inner node whose only entry is itself.
    put(&mut disk, at + 4, &1u32.to_le_bytes());
    put(&mut disk, at + 16, &1u32.to_le_bytes());
    put(&mut disk, at + 32, &0u64.to_le_bytes());
    let room = u32::from_le_bytes(disk[at + 20..][..4].try_into().unwrap()) as usize;
    put(&mut disk, at + 32 + room * 8, &(root as u64).to_le_bytes());
    let checksum = !crc32c::crc32c(&disk[at + 4..at + BLOCK]) ^ 121_107;
    put(&mut disk, at, &checksum.to_le_bytes());

    let assembled = assemble("lvm2", &[image(disk.clone())]);
    assert_eq!(kind(&assembled, "sparse"), Some(ErrorKind::Limit));

    disk[at + 100] ^= 1;
    let assembled = assemble("lvm2", &[image(disk)]);
    assert_eq!(kind(&assembled, "sparse"), Some(ErrorKind::Corrupt));
}

/// Changes a field of a superblock of version 1.2, and makes its checksum right.
fn with_field(name: &str, at: usize, value: &[u8]) -> Vec<u8> {
    const SUPERBLOCK: usize = 4096;
    let mut disk = bytes_of(name);
    put(&mut disk, SUPERBLOCK + at, value);
    put(&mut disk, SUPERBLOCK + 216, &[0; 4]);
    let roles = u32::from_le_bytes(disk[SUPERBLOCK + 220..][..4].try_into().unwrap()) as usize;
    let words = disk[SUPERBLOCK..][..256 + roles * 2].chunks(4);
    let sum: u64 = words.map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
    let folded = (sum & 0xFFFF_FFFF) + (sum >> 32);
    put(&mut disk, SUPERBLOCK + 216, &(folded as u32).to_le_bytes());
    disk
}

#[test]
fn arrays_with_impossible_numbers_are_errors() {
    let of = |at: usize, value: &[u8]| {
        let disk = open(vec![image(with_field("md-12-0", at, value))]);
        volume(&disk, "r1.2").filesystem.clone().err().map(|error| error.kind())
    };

    // Nothing is changed: the leg alone will do.
    assert_eq!(of(72, &1i32.to_le_bytes()), None);
    // The data's offset, past the end.
    assert_eq!(of(128, &(1u64 << 50).to_le_bytes()), Some(ErrorKind::Corrupt));
    assert_eq!(of(128, &u64::MAX.to_le_bytes()), Some(ErrorKind::Corrupt));
    // More bytes of a mirror than a leg has.
    assert_eq!(of(80, &u64::MAX.to_le_bytes()), Some(ErrorKind::Corrupt));
    // Members: none, too many.
    assert_eq!(of(92, &0u32.to_le_bytes()), Some(ErrorKind::Corrupt));
    assert_eq!(of(92, &u32::MAX.to_le_bytes()), Some(ErrorKind::Corrupt));
    // Levels that are not read, and one that there is not.
    assert_eq!(of(72, &6i32.to_le_bytes()), Some(ErrorKind::Unsupported));
    assert_eq!(of(72, &12345i32.to_le_bytes()), Some(ErrorKind::Unsupported));
    // A reshape.
    assert_eq!(of(8, &4u32.to_le_bytes()), Some(ErrorKind::Unsupported));
    // Stripes of no size, and of one member.
    assert_eq!(of(72, &0i32.to_le_bytes()), Some(ErrorKind::Storage));
}

#[test]
fn a_superblock_whose_checksum_is_wrong_makes_no_member() {
    let mut disk = bytes_of("md-12-0");
    disk[4096 + 40] ^= 1;

    let disk = open(vec![image(disk)]);

    assert_eq!(disk.info.volumes[0].member_of, "");
    assert_eq!(disk.info.volumes.len(), 1);
}
