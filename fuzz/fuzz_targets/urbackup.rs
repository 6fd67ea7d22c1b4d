//! Metadata of files, as UrBackup stores them.
#![no_main]

use spelunk_formats::backup::urbackup;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(head) = input.first_chunk() {
        let _ = urbackup::tail_offset(*head);
    }
    let _ = urbackup::parse(input);
});
