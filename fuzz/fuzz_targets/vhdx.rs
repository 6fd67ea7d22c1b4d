//! The container VHDX, with its log.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::vhdx, |input: &[u8]| spelunk_fuzz::container(input));
