//! The container VHD.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::vhd, |input: &[u8]| spelunk_fuzz::container(input));
