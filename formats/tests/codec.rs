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
use spelunk_testkit::skip;
use spelunk_tree::Result;
use std::io::Write;
use std::process::{Command, Stdio};
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

/// Unpacks chunks by wimlib's own library. Of each: wimlib's number of the method, bytes of a chunk, of what comes out, and
/// of the packed bytes, which follow; back come a byte that says whether it could be unpacked, and what it was.
const BY_WIMLIB: &str = r#"
import ctypes, struct, sys
wim = ctypes.CDLL("libwim.so.15")
wim.wimlib_create_decompressor.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p]
wim.wimlib_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p]
decompressors = {}
while header := sys.stdin.buffer.read(16):
    method, chunk, plain, packed = struct.unpack("<4I", header)
    data = sys.stdin.buffer.read(packed)
    if (method, chunk) not in decompressors:
        made = ctypes.c_void_p()
        assert wim.wimlib_create_decompressor(method, chunk, ctypes.byref(made)) == 0
        decompressors[method, chunk] = made
    out = ctypes.create_string_buffer(plain)
    failed = wim.wimlib_decompress(data, packed, out, plain, decompressors[method, chunk])
    sys.stdout.buffer.write(b"\0" if failed else b"\1" + out.raw)
"#;

/// A chunk that was changed, and how to unpack it.
struct Chunk {
    wimlib_method: u32,
    decompress: Decompress,
    chunk_bytes: usize,
    plain: usize,
    packed: Vec<u8>,
}

/// What wimlib makes of each chunk; `None` when there is no wimlib to ask.
fn by_wimlib(chunks: &[Chunk]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut command = Command::new("python3");
    command.args(["-c", BY_WIMLIB]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        skip::because("no python3");
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let asked: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| {
            let numbers = [chunk.chunk_bytes, chunk.plain, chunk.packed.len()].map(|number| number as u32);
            let header = [[chunk.wimlib_method].as_slice(), &numbers].concat();
            let header: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
            [header, chunk.packed.clone()].concat()
        })
        .collect();
    // It answers before it has read everything.
    let writer = std::thread::spawn(move || input.write_all(&asked));
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("libwim.so.15"), "{said}");
        skip::because("no libwim.so.15");
        return None;
    }
    writer.join().unwrap().unwrap();
    let mut rest = output.stdout.as_slice();
    let answers = chunks.iter().map(|chunk| {
        let is_unpacked = rest[0] == 1;
        let (answer, behind) = rest[1..].split_at(if is_unpacked { chunk.plain } else { 0 });
        rest = behind;
        is_unpacked.then(|| answer.to_vec())
    });
    Some(answers.collect())
}

#[test]
fn damaged_chunks_are_unpacked_as_by_wimlib_or_refused() {
    if !wim::is_there() {
        return;
    }
    let methods: [(&str, u32, usize, Decompress); 3] = [
        ("XPRESS 4096", 1, 4096, xpress::decompress),
        ("XPRESS 16384", 1, 16384, xpress::decompress),
        ("LZX:50 32768", 2, 32768, lzx::decompress),
    ];
    let mut random = Random(23);
    let mut chunks = Vec::new();
    for (method, wimlib_method, chunk_bytes, decompress) in methods {
        let directory = tempfile::tempdir().unwrap();
        let files: Vec<Vec<u8>> = (0..80)
            .map(|_| {
                let len = 1 + random.below(chunk_bytes);
                sample(&mut random, len)
            })
            .collect();
        for (resource, plain) in packed(directory.path(), method, &files) {
            for _ in 0..25 {
                let packed = changed(&mut random, &resource);
                chunks.push(Chunk { wimlib_method, decompress, chunk_bytes, plain, packed });
            }
        }
    }
    let Some(answers) = by_wimlib(&chunks) else { return };
    let (mut same, mut refused, mut stricter) = (0, 0, 0);
    for (chunk, theirs) in chunks.iter().zip(answers) {
        let mut output = vec![0; chunk.plain];
        let ours = (chunk.decompress)(&chunk.packed, &mut output).map(|()| output);
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => {
                assert!(ours == theirs, "other bytes of a chunk of method {}", chunk.wimlib_method);
                same += 1;
            }
            (Err(_), None) => refused += 1,
            // wimlib reads zeros behind the end of the packed bytes.
            (Err(error), Some(_)) => {
                assert!(error.to_string().contains("end too early"), "{error}");
                stricter += 1;
            }
            (Ok(_), None) => {
                panic!("bytes of a chunk that wimlib refuses, of method {}", chunk.wimlib_method)
            }
        }
    }
    println!(
        "{same} damaged chunks gave the same bytes, {refused} were refused by both, {stricter} here alone"
    );
    assert!(same > 100 && refused > 100, "{same} alike, {refused} refused");
}

/// A packed chunk with some bytes changed, or cut off.
fn changed(random: &mut Random, packed: &[u8]) -> Vec<u8> {
    let mut packed = packed.to_vec();
    if random.below(4) == 0 {
        packed.truncate(random.below(packed.len()) + 1);
    }
    for _ in 0..=random.below(3) {
        let at = random.below(packed.len());
        packed[at] ^= 1 << random.below(8);
    }
    packed
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
