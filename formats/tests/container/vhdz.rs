//! Compressed containers, with what UrBackup writes and what nobody should.

use super::make::{BLOCKS, MIB, Packing, Vhd, Vhdx, put, vhdz};
use super::support::{Image, Rng, line, noise, open};
use spelunk_tree::{ErrorKind, Place, ReadAt, Result, Run};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn mixed(number: usize) -> Packing {
    [Packing::Zstd, Packing::Zlib, Packing::Stored][number % 3]
}

#[test]
fn blocks_of_all_packings_and_sizes_hold_the_file_inside() {
    let disk = noise(300_000, 1);
    let inner = Vhd::dynamic(disk.clone()).build();
    for block_bytes in [512, 1000, 4096, 65536, 2 << 20, 16 << 20] {
        let opened = open(vhdz(&inner, block_bytes, mixed)).unwrap();

        assert!(opened.all().unwrap() == disk, "{block_bytes}");
        let [outer, layer] = &opened.disk.layers[..] else { panic!() };
        assert_eq!((outer.format.as_str(), outer.size_bytes), ("vhdz", inner.len() as u64));
        assert_eq!((layer.format.as_str(), layer.source), ("vhd", 0));
    }
}

#[test]
fn holes_are_zeros_in_bytes_and_in_runs() {
    let mut raw = noise(64 << 10, 2);
    raw[8192..24576].fill(0);
    let hole = |number| if (2..6).contains(&number) { Packing::Hole } else { Packing::Zlib };
    let opened = open(vhdz(&raw, 4096, hole)).unwrap();

    let mut runs = Vec::new();
    opened.disk.bytes.runs(0, 64 << 10, &mut runs).unwrap();

    assert!(opened.all().unwrap() == raw);
    let places: Vec<(u64, Place)> = runs.iter().map(|run| (run.len, run.place)).collect();
    assert_eq!(places, [(8192, Place::Opaque), (16384, Place::Zero), (40960, Place::Opaque)]);
}

/// Flips, cuts and lies, and the word that the error must have.
type Breaks = (fn(&mut Vec<u8>), &'static str);

const BREAKS: [Breaks; 10] = [
    (|image| put(image, 37, &[0; 8]), "unfinished"),
    (|image| put(image, 37, &(-5_i64).to_le_bytes()), "negative"),
    (|image| put(image, 37, &i64::MAX.to_le_bytes()), "a compressed file of"),
    (|image| put(image, 45, &[0; 4]), "blocks of 0 bytes"),
    (|image| put(image, 45, &[0xFF; 4]), "blocks of 4294967295 bytes"),
    (|image| put(image, 29, &(-1_i64).to_le_bytes()), "negative"),
    (|image| put(image, 29, &10_i64.to_le_bytes()), "inside the header"),
    (|image| image.truncate(image.len() - 1), "truncated"),
    (|image| image.truncate(40), "truncated"),
    (|image| image[27] = b'9', "version"),
];

#[test]
fn headers_that_lie_are_refused() {
    let image = vhdz(&Vhd::dynamic(noise(30_000, 3)).build(), 4096, mixed);
    for (breaks, words) in BREAKS {
        let mut image = image.clone();
        breaks(&mut image);

        let error = open(image).err().unwrap();

        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
}

/// A container of one block whose record is `mode` and `payload`, with `claimed` as the payload's length.
fn one_block(mode: u32, payload: &[u8], claimed: u32) -> Vec<u8> {
    let mut image = vhdz(&[0; 4096], 4096, |_| Packing::Hole);
    let record = image.len() as i64;
    let index = image.len() - 8;
    put(&mut image, index, &record.to_le_bytes());
    image.extend(claimed.to_le_bytes());
    image.extend(mode.to_le_bytes());
    image.extend_from_slice(payload);
    image
}

#[test]
fn blocks_that_lie_are_errors_and_cannot_grow() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let small = zstd::bulk::compress(&[0; 100], 3).unwrap();
    let mut bad = zstd::bulk::compress(&noise(4096, 4), 3).unwrap();
    bad.truncate(bad.len() - 10);
    let cases: [(u32, &[u8], u32, &str); 7] = [
        (2, &bomb, bomb.len() as u32, "damaged zstd"),
        (2, &bad, bad.len() as u32, "damaged zstd"),
        (2, &small, small.len() as u32, "a block of 100 bytes"),
        (1, &bad, bad.len() as u32, "damaged zlib"),
        (0, &[0; 5000], 5000, "larger than a block"),
        (0, &[0; 4096], u32::MAX, "bytes packed"),
        (0, &[0; 4096], 4097, "truncated"),
    ];
    for (mode, payload, claimed, words) in cases {
        let error = open(one_block(mode, payload, claimed)).err().unwrap();

        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    let error = open(one_block(9, &[0; 4096], 4096)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(open(one_block(0, &[0; 4096], 4096)).is_ok());
}

#[test]
fn zlib_bomb_stops_at_the_block() {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 2 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();

    let error = open(one_block(1, &bomb, bomb.len() as u32)).err().unwrap();

    assert!(line(&error).contains("too large"), "{}", line(&error));
}

#[test]
fn damaged_block_does_not_hide_its_siblings() {
    let raw = noise(10 * 4096, 5);
    let mut image = vhdz(&raw, 4096, |_| Packing::Zlib);
    let index = image.len() - 10 * 8;
    let record = i64::from_le_bytes(image[index + 24..index + 32].try_into().unwrap()) as usize;
    image[record + 2000] ^= 0x55;
    let opened = open(image).unwrap();

    assert_eq!(opened.read(3 * 4096, 10).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(opened.read(0, 3 * 4096).unwrap() == raw[..3 * 4096]);
    assert!(opened.read(4 * 4096, 6 * 4096).unwrap() == raw[4 * 4096..]);
}

#[test]
fn container_in_a_container_is_refused() {
    let inner = vhdz(&Vhd::dynamic(noise(5000, 6)).build(), 4096, mixed);

    let error = open(vhdz(&inner, 4096, mixed)).err().unwrap();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn end_of_a_vhdx_may_be_missing_inside_a_container_only() {
    let block = noise(MIB, 7);
    let mut inner = Vhdx { blocks: vec![(0, 6, block.clone())], ..Vhdx::new(MIB as u64, MIB) }.build();
    inner.truncate(BLOCKS + 600_000);
    let mut expected = block;
    expected[600_000..].fill(0);

    let packed = open(vhdz(&inner, 2 << 20, mixed)).unwrap();
    let plain = open(inner).unwrap();

    assert!(packed.all().unwrap() == expected);
    let error = plain.all().unwrap_err();
    assert!(line(&error).contains("truncated"), "{}", line(&error));
}

/// Counts the bytes that are read from a file.
struct Counted {
    image: Image,
    bytes: Arc<AtomicU64>,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.image.read_at(offset, buffer)
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        self.image.runs(offset, len, runs)
    }
}

#[test]
fn many_readers_get_the_right_bytes_and_each_block_is_unpacked_once() {
    let raw = noise(4 << 20, 8);
    let image = vhdz(&raw, 256 << 10, |_| Packing::Stored);
    let bytes = Arc::new(AtomicU64::new(0));
    let counted = Counted { image: Image::memory(image), bytes: bytes.clone() };
    let mut nobody = super::support::Parents::default();
    let disk = spelunk_formats::container::open(Arc::new(counted), &mut nobody).unwrap();

    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (disk, raw) = (&disk.bytes, &raw);
            scope.spawn(move || {
                let mut rng = Rng(seed);
                for _ in 0..200 {
                    let start = rng.below(raw.len() as u64 - 5000) as usize;
                    let mut buffer = vec![0; rng.below(5000) as usize];
                    disk.read_at(start as u64, &mut buffer).unwrap();
                    assert!(buffer == raw[start..start + buffer.len()]);
                }
            });
        }
    });

    assert!(bytes.load(Ordering::Relaxed) < (4 << 20) + (64 << 10));
}
