//! The filesystem ext2, ext3, ext4, with its journal.
#![no_main]

spelunk_fuzz::image_target!(spelunk_fuzz::seal::ext, |input: &[u8]| spelunk_fuzz::guest("ext", input));
