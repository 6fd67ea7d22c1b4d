//! The decompressors against wimlib, which packs and unpacks random and repetitive files, and against damage.

#![allow(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

mod wim;

use spelunk_formats::codec::{lzx, xpress};
use spelunk_tree::Result;
use wim::{Random, packed, sample};

type Decompress = fn(&[u8], &mut [u8]) -> Result<()>;

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
    if !wim::is_there() {
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
