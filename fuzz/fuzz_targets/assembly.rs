//! Arrays and volume groups: one disk that is a member as a whole.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::assembly, |input: &[u8]| spelunk_fuzz::table(input));
