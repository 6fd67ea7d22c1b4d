//! What the host asks, as the worker decodes it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spelunk_sandbox::fuzzing::request(input));
