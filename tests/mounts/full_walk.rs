//! A full walk of the mount equals the kernel's, or ntfs-3g's, of the same image: names, all of stat (but
//! for device and inode numbers), extended attributes, bytes.

use super::ext4_image;
use crate::program;
use spelunk_testkit::compare::{self, Difference};
use spelunk_testkit::peer::{self, Mount};
use spelunk_testkit::walk::{self, Options};
use spelunk_testkit::{Result, image, skip};
use std::path::Path;

/// A field in which a peer shows something else, and why Spelunk is right to differ.
struct Exception {
    field: &'static str,
    /// Whether the peer's value and Spelunk's differ as expected.
    is_expected: fn(&Difference) -> bool,
    reason: &'static str,
}

const EXT4: &[Exception] = &[Exception {
    field: "btime",
    is_expected: |difference| difference.expected.starts_with("Some(") && difference.actual == "None",
    reason: "stat has no creation time, and statx through FUSE does not bring one",
}];

const NTFS: &[Exception] = &[];

#[test]
fn walk_of_50_000_files_on_ext4_equals_the_kernels() {
    let Some(image) = ext4_image() else { return };

    let kernel = peer::loop_mount(&image, "ext4", "ro,noload");

    compare_mounts(&image, kernel, &["-o", "allow_other"], Options::default(), EXT4);
}

#[test]
fn walk_of_50_000_files_on_ntfs_equals_ntfs_3g() {
    if !skip::unless_fuse()
        || !skip::unless_root("making the image")
        || !skip::unless_found(&["ntfs-3g", "mkntfs"])
    {
        return;
    }
    let image = image::ntfs_of_50_000_files().expect("the image can be made");
    let unlisted = ["system.ntfs_acl", "system.ntfs_attrib", "system.ntfs_reparse_data", "system.ntfs_times"];
    let asked = Options { unlisted_xattrs: &unlisted };

    let ntfs_3g = peer::ntfs_3g_mount(&image, "ro,streams_interface=xattr");

    compare_mounts(&image, ntfs_3g, &[], asked, NTFS);
}

fn compare_mounts(
    image: &Path,
    peer: Result<Mount>,
    options: &[&str],
    asked: Options<'_>,
    exceptions: &[Exception],
) {
    let peer = peer.expect("the peer mounts the image");
    let expected = walk::walk(peer.path(), asked).expect("the peer's mount can be walked");
    peer.unmount().expect("the peer's mount ends");
    let spelunk = peer::spelunk_mount(program::path(), image, options).expect("the image can be mounted");
    let actual = walk::walk(spelunk.path(), asked).expect("the mount can be walked");
    spelunk.unmount().expect("the mount ends");

    let mut used = vec![0; exceptions.len()];
    let differences = compare::walks(&expected, &actual).into_iter().filter(|difference| {
        let is_it = |each: &Exception| each.field == difference.what && (each.is_expected)(difference);
        let known = exceptions.iter().position(is_it);
        known.and_then(|index| used.get_mut(index)).map(|count| *count += 1).is_none()
    });
    let differences: Vec<String> = differences.map(|each| each.to_string()).collect();

    assert!(expected.len() > 50_000, "the peer shows only {} entries", expected.len());
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differences:\n{shown}", differences.len());
    for (exception, count) in exceptions.iter().zip(used) {
        assert!(count > 0, "nothing differs any more in {}: {}", exception.field, exception.reason);
    }
}
