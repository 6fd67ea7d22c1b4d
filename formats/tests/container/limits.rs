//! Images that go over the limits of their readers: each is an error of its kind, or is cut and says so.

use super::make::{BLOCKS, LogChange, LogEntry, METADATA, MIB, Vdi, Vhd, Vhdx, put, seal_vhd, seal_vhdx};
use super::support::{Image, Parents, Scratch, line, noise, open, open_path, open_with};
use super::tools::{has_qemu, qemu_img};
use spelunk_formats::container;
use spelunk_tree::{ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;

fn assert_refused<T>(result: Result<T>, kind: ErrorKind, words: &str) {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), kind, "{}", line(&error));
    assert!(line(&error).contains(words), "{} is not {words}", line(&error));
}

// ---- VHD ----

/// An image with other values in its footer (and its copy), both sealed again.
fn with_footer(image: &Vhd, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = image.build();
    for at in [0, bytes.len() - 512] {
        let footer = &mut bytes[at..at + 512];
        change(footer);
        seal_vhd(footer, 64);
    }
    bytes
}

#[test]
fn vhd_of_more_than_64_tib_is_over_the_limit() {
    let image = Vhd::dynamic(noise(8192, 1));
    let of_size = |size: u64| open(with_footer(&image, |footer| put(footer, 48, &size.to_be_bytes())));

    assert_refused(of_size((64 << 40) + 512), ErrorKind::Limit, "a disk of 70368744178176 bytes");
    assert!(of_size(8192).is_ok());
}

#[test]
fn vhd_table_that_is_too_large_to_search_for_blocks_is_over_the_limit() {
    // Blocks of 512 KiB for 9 TB, none of them there, and no footer at the end: was it finished?
    let entries = 17 << 20;
    let mut bytes = Vhd::dynamic(noise(8192, 1)).build();
    bytes.truncate(Vhd::TABLE);
    put(&mut bytes, 48, &((entries << 19) as u64).to_be_bytes());
    seal_vhd(&mut bytes[..512], 64);
    put(&mut bytes, 512 + 28, &(entries as u32).to_be_bytes());
    put(&mut bytes, 512 + 32, &(512_u32 << 10).to_be_bytes());
    seal_vhd(&mut bytes[512..1536], 36);
    bytes.resize(Vhd::TABLE + entries * 4, 0xFF);
    bytes.extend(noise(4096, 2));

    assert_refused(open(bytes), ErrorKind::Limit, "a table too large to search for blocks");
}

#[test]
fn vhd_locator_of_endless_length_is_read_up_to_the_longest_path() {
    let parent = Vhd::dynamic(noise(8192, 1));
    let child = Vhd::child(noise(8192, 2), &parent, "full.vhd");
    let mut bytes = child.build();
    // The locator's path takes in all that comes behind it.
    put(&mut bytes, 512 + 584, &u32::MAX.to_be_bytes());
    seal_vhd(&mut bytes[512..1536], 36);

    let opened =
        open_with(Image::memory(bytes.clone()), Parents::of([Image::memory(parent.build())])).unwrap();
    assert!(opened.all().unwrap() == child.disk, "the id decides");
    // Named by a part of the path, or by the other name in the header; never by all of it.
    let error = open(bytes).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(line(&error).len() < 4096, "{} bytes", line(&error).len());
}

#[test]
fn error_about_a_missing_parent_tells_of_a_few_candidates() {
    let parent = Vhd::dynamic(noise(8192, 1));
    let child = Vhd::child(noise(8192, 2), &parent, "full.vhd");
    let other = Vhd { id: [0xAA; 16], ..parent };
    let candidates = (0..10).map(|_| Image::memory(other.build()));

    let error = open_with(Image::memory(child.build()), Parents::of(candidates)).err().unwrap();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(line(&error).matches("a file of its name was found").count(), 3, "{}", line(&error));
}

// ---- VHDX ----

fn vhdx() -> Vhdx {
    Vhdx { blocks: vec![(0, 6, noise(MIB, 1))], ..Vhdx::new(3 * MIB as u64, MIB) }
}

#[test]
fn vhdx_tables_of_more_entries_than_fit_are_corrupt() {
    let mut regions = vhdx().build();
    for at in [192 << 10, 256 << 10] {
        put(&mut regions, at + 8, &2048_u32.to_le_bytes());
        seal_vhdx(&mut regions[at..at + (64 << 10)]);
    }
    let mut metadata = vhdx().build();
    put(&mut metadata, METADATA + 10, &2048_u16.to_le_bytes());

    assert_refused(open(regions), ErrorKind::Corrupt, "a region table of 2048 entries");
    assert_refused(open(metadata), ErrorKind::Corrupt, "a metadata table of 2048 entries");
}

#[test]
fn vhdx_parent_locator_of_too_many_pairs_is_over_the_limit() {
    let parent = (0..65).map(|number| (format!("key{number}"), "value".to_owned())).collect();

    let image = Vhdx { parent, ..vhdx() };

    assert_refused(open(image.build()), ErrorKind::Limit, "a parent locator of 65 entries");
}

/// With the log that the headers tell of elsewhere, and of another length.
fn with_log(mut bytes: Vec<u8>, start: usize, len: u32) -> Vec<u8> {
    for at in [64 << 10, 128 << 10] {
        put(&mut bytes, at + 68, &len.to_le_bytes());
        put(&mut bytes, at + 72, &(start as u64).to_le_bytes());
        seal_vhdx(&mut bytes[at..at + 4096]);
    }
    bytes
}

fn zero(at: u64) -> LogChange {
    LogChange::Zero { at, len: 4096 }
}

#[test]
fn vhdx_log_over_its_bytes_or_changes_is_over_the_limit() {
    let dirty = |changes: Vec<LogChange>| LogEntry {
        sequence: 1,
        changes,
        flushed: BLOCKS as u64 + MIB as u64,
        size: BLOCKS as u64 + MIB as u64,
        ..LogEntry::default()
    };
    let image = Vhdx { log: vec![dirty(vec![zero(BLOCKS as u64)])], ..vhdx() };
    let bytes = image.build();
    assert!(open(bytes.clone()).is_ok());

    // None of the changes touches another, so none can be forgotten.
    let many: Vec<LogChange> = (0..(1 << 17) + 1).map(|number| zero((1 << 30) + number * 8192)).collect();
    let (start, log_bytes) = (bytes.len(), 8 * MIB);
    let mut long = with_log(bytes.clone(), start, log_bytes as u32);
    long.resize(start + log_bytes, 0);
    let entry = LogEntry { size: 4 << 30, ..dirty(many) }.build(0);
    put(&mut long, start, &entry);

    assert_refused(open(long), ErrorKind::Limit, "more than 131072 changes");
    assert_refused(open(with_log(bytes, start, 512 << 20)), ErrorKind::Limit, "a log of 536870912 bytes");
}

// ---- VDI, VMDK ----

#[test]
fn vdi_of_blocks_over_the_largest_is_corrupt() {
    let mut bytes = Vdi::new(4 * MIB as u64, MIB).build();
    put(&mut bytes, 376, &(512_u32 << 20).to_le_bytes());

    assert_refused(open(bytes), ErrorKind::Corrupt, "blocks of 536870912 bytes");
}

#[test]
fn vmdk_type_is_shown_up_to_its_longest() {
    let name = format!("fullDevice{}", "x".repeat(1000));
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"{name}\"\nRW 8 ZERO\n"
    );
    let opened = open(text.into_bytes()).unwrap();

    assert_eq!(opened.disk.layers[0].variant.matches('x').count(), 30, "{}", opened.disk.layers[0].variant);
}

// ---- QCOW2 ----

#[test]
fn qcow2_header_of_too_many_extensions_is_over_the_limit() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-extensions");
    std::fs::write(scratch.0.join("base.img"), noise(MIB, 1)).unwrap();
    qemu_img(&scratch.0, "create -q -f qcow2 -F raw -b base.img a.qcow2 1M");
    let path = scratch.0.join("a.qcow2");
    let whole = std::fs::read(&path).unwrap();
    // Unknown ones of no bytes, then the name of the backing file.
    let with_extensions = |count: usize| {
        let mut bytes = whole.clone();
        let name_at = 104 + (count + 1) * 8;
        for number in 0..count {
            put(&mut bytes, 104 + number * 8, &[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0]);
        }
        put(&mut bytes, 100, &104_u32.to_be_bytes());
        put(&mut bytes, name_at - 8, &[0; 8]);
        put(&mut bytes, name_at, b"base.img");
        put(&mut bytes, 8, &(name_at as u64).to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        open_path(&path)
    };

    assert!(with_extensions(60).is_ok());
    assert_refused(with_extensions(65), ErrorKind::Limit, "a header of more than 64 extensions");
}

#[test]
fn qcow2_snapshots_over_their_limits_are_told_and_refused() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-many-snapshots");
    let path = scratch.0.join("a.qcow2");
    qemu_img(&scratch.0, "create -q -f qcow2 a.qcow2 1M");
    let long = "n".repeat(200);
    qemu_img(&scratch.0, &format!("snapshot -c {long} a.qcow2"));
    for number in 0..35 {
        qemu_img(&scratch.0, &format!("snapshot -c s{number} a.qcow2"));
    }
    let whole = std::fs::read(&path).unwrap();
    let table = u64::from_be_bytes(whole[64..72].try_into().unwrap()) as usize;
    let notes = || open_path(&path).unwrap().disk.layers[0].notes.clone();
    let snapshot = |wanted| {
        container::open_at(Arc::new(Image::file(Path::new(&path))), Some(wanted), &mut Parents::default())
    };

    let all = notes();
    assert_eq!((all.len(), all[32].as_str()), (33, "4 more internal snapshots"));
    assert!(all[0].contains(&format!("\"{}\"", "n".repeat(100))), "{}", all[0]);

    let mut many = whole.clone();
    put(&mut many, 60, &65_537_u32.to_be_bytes());
    std::fs::write(&path, many).unwrap();
    assert!(notes().iter().any(|note| note.contains("65537 internal snapshots")), "{:?}", notes());
    assert_refused(snapshot("s1"), ErrorKind::Limit, "65537 internal snapshots");

    let mut extra = whole;
    put(&mut extra, table + 36, &1025_u32.to_be_bytes());
    std::fs::write(&path, extra).unwrap();
    assert!(notes().iter().any(|note| note.contains("1025 bytes of extra data")), "{:?}", notes());
    assert_refused(snapshot("s1"), ErrorKind::Limit, "1025 bytes of extra data");
}
