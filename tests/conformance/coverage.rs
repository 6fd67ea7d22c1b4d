//! Which images show each format: a format without one is a claim without a proof.

use super::selection;
use spelunk_testkit::corpus;

/// The folder of a format below `formats/src`, and images of the corpus that need it.
const COVERAGE: &[(&str, &[&str])] = &[
    ("container/raw", &["gen-ext4-default-A", "dfvfs-mbr"]),
    ("container/vhd", &["gen-vhd-fixed-vhd-A", "gen-vhd-dynamic-vhd-A", "gen-urb-incr2-vhd-A"]),
    ("container/vhdz", &["gen-urb-zfull-vhdz-A", "gen-urb-zfull-vhdxz-A", "gen-urb-zincr1-vhdz-A"]),
    ("container/qcow2", &["gen-qcow2-v2-qcow2-A", "gen-qcow2-child-qcow2-A", "gen-qcow2-extl2-qcow2-A"]),
    ("container/vmdk", &["gen-vmdk-flat-vmdk-A", "gen-vmdk-2gbsparse-vmdk-A", "gen-vmdk-stream-vmdk-A"]),
    // The corpus has none: `containers.rs` makes them.
    ("container/vdi", &[]),
    ("container/vhdx", &["gen-vhdx-fixed-vhdx-A", "gen-vhdx-dynamic-32m-vhdx-A", "gen-urb-incr2-vhdx-A"]),
    ("partition/mbr", &["gen-mbr-logical-raw-A", "dfvfs-mbr"]),
    ("partition/gpt", &["gen-gpt-mixed-raw-A", "gen-gpt-primary-destroyed-raw-A"]),
    ("assembly/lvm", &["gen-gpt-lvm2-raw-A", "gen-lvm2-two-pvs-1-raw-A", "dfvfs-lvm", "discutils-lvm2-vhdx"]),
    // The corpus has none with files: `testkit::assemblies` has arrays that the kernel made.
    ("assembly/md", &[]),
    ("guest/fat", &["gen-mbr-logical-raw-A", "gen-fat12-floppy-A", "gen-fat16-16M-A", "gen-fat32-lfn-A"]),
    ("guest/exfat", &["gen-exfat-4k-A", "gen-exfat-512c-A", "gen-exfat-128k-A", "dissect-fat-exfat"]),
    ("guest/ext", &["gen-ext2-1k-A", "gen-ext3-htree-A", "gen-ext4-default-A", "gen-ext4-bigalloc-A"]),
    ("guest/ntfs", &["gen-ntfs-4k-full-A", "gen-ntfs-1k-frag-mft-A", "gen-ntfs-512-A"]),
];

#[test]
fn images_of_the_coverage_table_are_compared() {
    let Some(root) = corpus::root() else { return };
    let all = corpus::index(&root).expect("the corpus has an index");
    for (format, images) in COVERAGE {
        for id in *images {
            let image = all.iter().find(|image| image.id == *id);
            assert!(image.is_some_and(selection::is_readable), "{format}: {id} is not compared");
        }
    }
}
