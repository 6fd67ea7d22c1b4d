//! The filesystem exFAT.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::exfat, |input: &[u8]| spelunk_fuzz::guest("exfat", input));
