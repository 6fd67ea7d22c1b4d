//! What a worker answers, as the host decodes and checks it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spelunk_sandbox::fuzzing::reply(input));
