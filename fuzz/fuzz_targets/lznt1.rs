//! The compression of NTFS.
#![no_main]

use spelunk_formats::codec::lznt1;

/// Bytes of the largest unit that is decompressed at once, and some.
const OUTPUT_BYTES: usize = 70_000;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = lznt1::decompress(input, &mut vec![0; OUTPUT_BYTES]);
});
