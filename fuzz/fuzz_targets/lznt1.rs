//! The compression of NTFS.
#![no_main]

use spelunk_formats::guest::ntfs;

/// Bytes of the largest unit that is decompressed at once, and some.
const OUTPUT_BYTES: usize = 70_000;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = ntfs::fuzzing::lznt1(input, &mut vec![0; OUTPUT_BYTES]);
});
