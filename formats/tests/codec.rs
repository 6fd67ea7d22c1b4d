//! The decompressors against wimlib, which packs and unpacks random and repetitive files, and against damage.

#![allow(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

use spelunk_formats::codec::{lzx, xpress};
use spelunk_testkit::skip;
use spelunk_tree::Result;
use std::path::Path;
use std::process::Command;

type Decompress = fn(&[u8], &mut [u8]) -> Result<()>;

/// A cheap generator of numbers; the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end
    }
}

/// A file of one kind: bytes that do not compress, few letters, long repetitions, text, x86 calls, one byte only.
fn sample(random: &mut Random, len: usize) -> Vec<u8> {
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
fn packed(directory: &Path, method: &str, files: &[Vec<u8>]) -> Vec<(Vec<u8>, usize)> {
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

/// Unpacks a resource as WOF files are laid out: a table of where chunks begin, then the chunks.
fn unpack(decompress: Decompress, resource: &[u8], plain: usize, chunk_bytes: usize) -> Vec<u8> {
    let chunks = plain.div_ceil(chunk_bytes);
    let table = (chunks - 1) * 4;
    let start = |chunk: usize| match chunk {
        0 => table,
        _ if chunk == chunks => resource.len(),
        _ => table + u32::from_le_bytes(resource[chunk * 4 - 4..chunk * 4].try_into().unwrap()) as usize,
    };
    let mut bytes = Vec::new();
    for chunk in 0..chunks {
        let stored = &resource[start(chunk)..start(chunk + 1)];
        let mut output = vec![0xEE; chunk_bytes.min(plain - chunk * chunk_bytes)];
        if stored.len() == output.len() {
            output.copy_from_slice(stored);
        } else {
            decompress(stored, &mut output).unwrap_or_else(|error| panic!("chunk {chunk}: {error:?}"));
        }
        bytes.extend(output);
    }
    bytes
}

#[test]
fn what_wimlib_packs_is_unpacked_and_damage_ends() {
    if Command::new("wimlib-imagex").arg("--version").output().is_err() {
        skip::because("no wimlib-imagex");
        return;
    }
    let methods: [(&str, Decompress); 5] = [
        ("XPRESS 4096", xpress::decompress),
        ("XPRESS 8192", xpress::decompress),
        ("XPRESS 16384", xpress::decompress),
        ("LZX:20 32768", lzx::decompress),
        ("LZX:100 32768", lzx::decompress),
    ];
    for (method, decompress) in methods {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random(11);
        let chunk_bytes: usize = method.split_once(' ').unwrap().1.parse().unwrap();
        let files: Vec<Vec<u8>> = (0..120)
            .map(|at| {
                let len = match at {
                    0..10 => chunk_bytes - 5 + at,
                    _ => 1 + random.below(150_000),
                };
                sample(&mut random, len)
            })
            .collect();
        let packed = packed(directory.path(), method, &files);
        let mut unpacked = 0;
        for (resource, plain) in &packed {
            let bytes = unpack(decompress, resource, *plain, chunk_bytes);
            assert!(files.contains(&bytes), "{method}: bytes that were never packed");
            unpacked += 1;
            damage(&mut random, decompress, resource, chunk_bytes);
        }
        println!("{method}: {unpacked} of {} files were compressed", files.len());
        assert!(unpacked > 60, "{method}: only {unpacked} files were compressed");
    }
}

/// Changed and cut input ends in bytes or an error, never in a panic.
fn damage(random: &mut Random, decompress: Decompress, resource: &[u8], chunk_bytes: usize) {
    for _ in 0..20 {
        let mut input = resource[..random.below(resource.len().min(chunk_bytes)) + 1].to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(input.len());
            input[at] = random.next() as u8;
        }
        let len = random.below(chunk_bytes + 1);
        if let Err(error) = decompress(&input, &mut vec![0; len]) {
            assert_eq!(error.kind(), spelunk_tree::ErrorKind::Corrupt);
        }
    }
}
