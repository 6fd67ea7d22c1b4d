//! Files packed by wimlib, in the form that WOF keeps them in, too.

use spelunk_testkit::skip;
use std::path::Path;
use std::process::Command;

/// Whether wimlib can be run; says so when not.
pub fn is_there() -> bool {
    let is_there = Command::new("wimlib-imagex").arg("--version").output().is_ok();
    if !is_there {
        skip::because("no wimlib-imagex");
    }
    is_there
}

/// A cheap generator of numbers; the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end
    }
}

/// A file of one kind: bytes that do not compress, few letters, long repetitions, text, x86 calls, one byte only.
pub fn sample(random: &mut Random, len: usize) -> Vec<u8> {
    let kind = random.below(7);
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        match kind {
            0 => bytes.push(random.next() as u8),
            1 => bytes.push(b'a' + (random.next().trailing_zeros() % 20) as u8),
            2 if bytes.len() > 4 && random.below(3) > 0 => {
                let from = random.below(bytes.len() - 3);
                for at in 0..random.below(2000) {
                    bytes.push(bytes[from + at]);
                }
            }
            3 => bytes.extend(format!("{}: the quick brown fox {}\n", bytes.len(), random.below(9)).bytes()),
            4 => {
                bytes.push(0xE8);
                bytes.extend((random.next() as i32 % 14_000_000 - 1_000_000).to_le_bytes());
                bytes.extend(b"\x55\x8B\xEC");
            }
            5 => bytes.push(7),
            // Words of very different frequency, so that codes become long.
            _ => bytes.push(
                random.next().leading_zeros() as u8 ^ (random.next() & random.next() & random.next()) as u8,
            ),
        }
    }
    bytes.truncate(len);
    bytes
}

/// Packs each file into one WIM archive; gives the packed resources with their plain sizes.
pub fn packed(directory: &Path, method: &str, files: &[Vec<u8>]) -> Vec<(Vec<u8>, usize)> {
    let source = directory.join("source");
    std::fs::create_dir_all(&source).unwrap();
    for (at, file) in files.iter().enumerate() {
        std::fs::write(source.join(at.to_string()), file).unwrap();
    }
    let archive = directory.join("archive");
    let (kind, chunk) = method.split_once(' ').unwrap();
    let output = Command::new("wimlib-imagex")
        .args([
            "capture",
            "--no-acls",
            "--check",
            &format!("--compress={kind}"),
            &format!("--chunk-size={chunk}"),
        ])
        .args([&source, &archive])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let archive = std::fs::read(&archive).unwrap();
    resources(&archive)
}

/// The compressed resources of a WIM archive, with their sizes when unpacked.
fn resources(archive: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let number = |at: usize| u64::from_le_bytes(archive[at..at + 8].try_into().unwrap());
    let place = |at: usize| {
        let size = number(at) & 0x00FF_FFFF_FFFF_FFFF;
        let from = number(at + 8) as usize;
        (archive[at + 7], from, size as usize, number(at + 16) as usize)
    };
    let (_, from, size, _) = place(0x30);
    let mut found = Vec::new();
    for entry in (from..from + size).step_by(50) {
        let (flags, from, stored, plain) = place(entry);
        // Compressed, and no metadata.
        if flags & 6 == 4 {
            found.push((archive[from..from + stored].to_vec(), plain));
        }
    }
    found
}
