//! XPRESS, of files that Windows packed.
#![no_main]

use spelunk_formats::codec::xpress;

/// Bytes of the largest unit that is decompressed at once.
const OUTPUT_BYTES: usize = 16 << 10;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = xpress::decompress(input, &mut vec![0; OUTPUT_BYTES]);
});
