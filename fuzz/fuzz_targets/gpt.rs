//! The partition table GPT.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::gpt, |input: &[u8]| spelunk_fuzz::table(input));
