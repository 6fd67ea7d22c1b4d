//! The decompressors of VHDZ's blocks: zlib and zstd, each with the whole input as a block.
#![no_main]

use spelunk_fuzz::vhdz;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for mode in [vhdz::ZLIB, vhdz::ZSTD] {
        vhdz::unpack(mode, input);
    }
});
