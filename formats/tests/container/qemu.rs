//! Images that qemu-img writes, against the source they were made from.

use super::make::{LOG, MIB, put, seal_vhdx};
use super::support::{Scratch, line, noise, open_path};
use super::tools::has_qemu;
use std::path::Path;
use std::process::Command;

/// A disk with data, holes, and an end that fits no block.
fn source(sectors: usize) -> Vec<u8> {
    let mut disk = vec![0; sectors * 512];
    let len = disk.len();
    for (start, part) in [(0, 5000), (1 << 20, 300_000), (9 << 20, 1), (len - 3000, 3000)] {
        if start + part <= len {
            disk[start..start + part].copy_from_slice(&noise(part, start as u64 + 1));
        }
    }
    disk
}

fn convert(raw: &Path, format: &str, options: &str, image: &Path) -> bool {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O", format]);
    if !options.is_empty() {
        command.args(["-o", options]);
    }
    command.arg(raw).arg(image).status().is_ok_and(|status| status.success())
}

const CASES: &[(&str, &str)] = &[
    ("vpc", "force_size=on"),
    ("vpc", "subformat=fixed,force_size=on"),
    ("vpc", "subformat=dynamic"),
    ("vpc", "subformat=fixed"),
    ("vhdx", ""),
    ("vhdx", "subformat=fixed"),
    ("vhdx", "block_size=1M"),
    ("vhdx", "block_size=2M,log_size=4M"),
    ("vhdx", "block_size=16M,block_state_zero=off"),
    ("vhdx", "block_size=64M,subformat=fixed"),
    ("vhdx", "block_size=256M,log_size=64M"),
];

#[test]
fn images_of_qemu_have_the_bytes_of_their_source() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qemu");
    let raw = scratch.0.join("raw");
    for sectors in [8, 40_961, 65_536] {
        let disk = source(sectors);
        std::fs::write(&raw, &disk).unwrap();
        for (format, options) in CASES {
            let image = scratch.0.join("image");
            let _ = std::fs::remove_file(&image);
            assert!(convert(&raw, format, options, &image), "qemu-img made no {format} {options}");

            let opened =
                open_path(&image).unwrap_or_else(|error| panic!("{format} {options}: {}", line(&error)));

            let all = opened.all().unwrap();
            // Without force_size qemu rounds up to whole cylinders.
            assert!(all.len() == disk.len() || (*format == "vpc" && all.len() > disk.len()));
            assert!(all[..disk.len()] == disk, "{format} {options} of {sectors} sectors");
            assert!(all[disk.len()..].iter().all(|&byte| byte == 0));
            assert_eq!(opened.disk.layers[0].notes, Vec::<String>::new());
        }
    }
}

fn qemu(program: &str, arguments: &[&str], image: &Path) {
    let output = Command::new(program).args(arguments).arg(image).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// qemu leaves its log's entries in place after it wrote their changes. Here the image is put back to where
/// it was killed before that: the headers name the log, and the block table is lost.
fn forget_changes(path: &Path) {
    let mut image = std::fs::read(path).unwrap();
    let is_entry = |at: &usize| image[*at..].starts_with(b"loge");
    let newest = (LOG..LOG + MIB).step_by(4096).rfind(is_entry).unwrap();
    let id = image[newest + 32..newest + 48].to_vec();
    for header in [64 << 10, 128 << 10] {
        put(&mut image, header + 48, &id);
        seal_vhdx(&mut image[header..header + 4096]);
    }
    let mut table = (0..2).map(|n| &image[(192 << 10) + 16 + n * 32..][..32]);
    let table = table.rfind(|entry| entry.starts_with(&[0x66, 0x77, 0xC2, 0x2D])).unwrap();
    let table = u64::from_le_bytes(table[16..24].try_into().unwrap()) as usize;
    assert!(image[table..table + 4096].iter().any(|&byte| byte != 0));
    image[table..table + 4096].fill(0);
    std::fs::write(path, image).unwrap();
}

#[test]
fn log_of_qemu_is_replayed_as_qemu_replays_it() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qemu-log");
    let [image, repaired, raw] = ["dirty.vhdx", "repaired.vhdx", "raw"].map(|name| scratch.0.join(name));
    qemu("qemu-img", &["create", "-f", "vhdx", "-o", "block_size=1M,size=64M"], &image);
    let writes = ["-c", "write -P 90 3M 5M", "-c", "write -P 17 30M 100k", "-c", "write -P 3 63M 1M"];
    qemu("qemu-io", &[&["-f", "vhdx"], &writes[..]].concat(), &image);
    forget_changes(&image);
    std::fs::copy(&image, &repaired).unwrap();
    qemu("qemu-img", &["check", "-q", "-f", "vhdx", "-r", "all"], &repaired);
    qemu("qemu-img", &["convert", "-f", "vhdx", "-O", "raw", repaired.to_str().unwrap()], &raw);

    let opened = open_path(&image).unwrap();

    let disk = opened.all().unwrap();
    assert!(disk[3 * MIB..8 * MIB].iter().all(|&byte| byte == 90));
    assert!(disk == std::fs::read(&raw).unwrap());
    assert!(opened.disk.layers[0].notes[0].contains("replayed"));
}
