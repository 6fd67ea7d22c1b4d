//! LZX, of files that Windows packed.
#![no_main]

use spelunk_formats::codec::lzx;

/// Bytes of the largest unit that is decompressed at once.
const OUTPUT_BYTES: usize = 32 << 10;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = lzx::decompress(input, &mut vec![0; OUTPUT_BYTES]);
});
