//! The container VMDK.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::nothing, |input: &[u8]| spelunk_fuzz::container(input));
