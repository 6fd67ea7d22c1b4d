//! qemu's programs as a writer of images and as a second reader.

use super::support::{Opened, Rng, line, open_path};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether qemu-img and qemu-io are there, which is said where they are not.
pub fn has_qemu() -> bool {
    let is_there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let are_there = is_there("qemu-img") && is_there("qemu-io");
    if !are_there {
        spelunk_testkit::skip::because("qemu-img and qemu-io are not installed");
    }
    are_there
}

/// Runs a program in `directory`; its arguments are words.
pub fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// `qemu-img` with the words of `line`.
pub fn qemu_img(directory: &Path, line: &str) {
    run(directory, "qemu-img", &line.split_whitespace().collect::<Vec<_>>());
}

/// Writes patterns, zeros and holes of all sizes at places that depend on `seed`.
pub fn scribble(directory: &Path, image: &str, size: u64, seed: u64) {
    let mut rng = Rng(seed);
    let mut arguments = vec!["-f".to_owned(), format_of(image).to_owned()];
    for _ in 0..40 {
        let start = rng.below(size / 512) * 512;
        let longest = [4 << 10, 100 << 10, 3 << 20][rng.below(3) as usize];
        let len = ((1 + rng.below(longest / 512)) * 512).min(size - start);
        let command = match rng.below(8) {
            0 => format!("write -z {start} {len}"),
            1 => format!("discard {start} {len}"),
            _ => format!("write -q -P {} {start} {len}", 1 + rng.below(255)),
        };
        arguments.extend(["-c".to_owned(), command]);
    }
    arguments.push(image.to_owned());
    run(directory, "qemu-io", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

/// qemu's name of the format of an image, by its extension.
pub fn format_of(image: &str) -> &str {
    match image.rsplit_once('.').unwrap().1 {
        "vhd" => "vpc",
        "img" => "raw",
        extension => extension,
    }
}

/// Opens an image, whose disk must be what qemu sees.
pub fn same_as_qemu(directory: &Path, image: &str, context: &str) -> Opened {
    let opened = open_path(&directory.join(image));
    let opened = opened.unwrap_or_else(|error| panic!("{image} ({context}): {}", line(&error)));
    let disk = opened.all().unwrap_or_else(|error| panic!("{image} ({context}): {}", line(&error)));
    assert_same(&disk, &raw(directory, image, ""), &format!("{image} ({context})"));
    opened
}

/// The disk as qemu converts it, with more of its options.
pub fn raw(directory: &Path, image: &str, options: &str) -> Vec<u8> {
    let raw: PathBuf = directory.join("converted.img");
    let _ = std::fs::remove_file(&raw);
    qemu_img(directory, &format!("convert {options} -f {} -O raw {image} converted.img", format_of(image)));
    std::fs::read(raw).unwrap()
}

/// Says where two disks differ first, not how.
pub fn assert_same(disk: &[u8], expected: &[u8], context: &str) {
    assert_eq!(disk.len(), expected.len(), "{context}: the size");
    let difference = disk.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(difference, None, "{context}: differs first at this byte");
}
