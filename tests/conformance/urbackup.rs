//! Image backups that UrBackup itself wrote show the volumes they were made of.
//!
//! The expected manifest is a walk of the original volume, mounted by the kernel or by ntfs-3g.

use super::known::{Suite, Used, View};
use super::{lines_of, mounted};
use crate::program;
use spelunk_testkit::corpus;
use spelunk_testkit::manifest::{self, Line};
use spelunk_testkit::walk::{self, Options};
use spelunk_testkit::{Result, parallel, peer, skip};
use std::fs;
use std::path::{Path, PathBuf};

/// What each image backup holds: time and volume of its folder, original.
const IMAGES: &[(&str, &str)] = &[
    ("0243_Image__dev_loop40", "ext4_v1"),
    ("0245_Image__dev_loop40", "ext4_v2"),
    // UrBackup left out the last 12 KiB of this volume, which belong to no file.
    ("0246_Image__dev_loop40", "ext4_v3"),
    ("0248_Image__dev_loop41", "ntfs_v1"),
    ("0249_Image__dev_loop41", "ntfs_v2"),
    ("0250_Image__dev_loop41", "ntfs_v2"),
    ("0251_Image__dev_loop40", "ext4_v1"),
    ("0254_Image__dev_loop40", "ext4_v1"),
    ("0255_Image__dev_loop40", "ext4_v2"),
    ("0254_Image__dev_loop41", "ntfs_v2"),
    ("0255_Image__dev_loop41", "ntfs_v2"),
    ("0256_Image__dev_loop40", "ext4_v1"),
    // Here too.
    ("0257_Image__dev_loop40", "ext4_v1"),
    ("0258_Image__dev_loop40", "ext4_v1"),
    ("0256_Image__dev_loop41", "ntfs_v1"),
    ("0257_Image__dev_loop41", "ntfs_v2"),
    ("0258_Image__dev_loop41", "ntfs_v2"),
];

/// How the originals are mounted: ntfs-3g shows its metafiles, and streams as `name:stream`.
const NTFS_3G: &str = "ro,show_sys_files,streams_interface=windows";

#[test]
fn manifests_of_urbackup_images_equal_their_originals() {
    compare_all(View::Manifest, |image, _| {
        let options = ["manifest", "--show-metafiles", "--volume", "p1"];
        let finished = program::run(options.iter().map(AsRef::as_ref).chain([image.as_os_str()]))?;
        lines_of(&finished)
    });
}

#[test]
fn mounts_of_urbackup_images_equal_their_originals() {
    if skip::unless_fuse() {
        compare_all(View::Mount, |image, expected| mounted::lines(image, expected, &["--volume", "p1"]));
    }
}

fn compare_all(view: View, read: impl Fn(&Path, &[Line]) -> Result<Vec<Line>> + Sync) {
    let Some(root) = corpus::root() else { return };
    if !skip::unless_root("mounting the originals") || !skip::unless_found(&["ntfs-3g"]) {
        return;
    }
    let storage = corpus::urbackup_storage(&root).expect("the sample can be unpacked");
    let originals = ["ext4_v1", "ext4_v2", "ext4_v3", "ntfs_v1", "ntfs_v2"].map(|name| {
        let volume = corpus::urbackup_original(&root, name).expect("the original can be unpacked");
        (name, original(&volume, name).expect("the original can be walked"))
    });
    let used = Used::default();
    let reports = parallel::map(IMAGES.to_vec(), |(folder, name)| {
        let image = image_of(&storage, folder).expect("the sample has this image");
        let (_, expected) = originals.iter().find(|(each, _)| *each == name)?;
        used.judge(view, &format!("urbackup-{folder}"), expected, read(&image, expected))
    });
    let wrong: Vec<String> = reports.into_iter().flatten().collect();
    println!("{} images; {used}", IMAGES.len());
    assert!(wrong.is_empty(), "{} of {} images differ:\n{}", wrong.len(), IMAGES.len(), wrong.join("\n"));
    used.assert_no_row_is_idle(view, Suite::UrBackup);
}

/// The manifest of an original volume, by an independent reader.
fn original(volume: &Path, name: &str) -> Result<Vec<Line>> {
    if name.starts_with("ext4") {
        let mount = peer::loop_mount(volume, "ext4", "ro,noload")?;
        let lines = manifest::of_walk(&walk::walk(mount.path(), Options::default())?);
        mount.unmount()?;
        return Ok(lines);
    }
    let mount = peer::ntfs_3g_mount(volume, NTFS_3G)?;
    let entries = walk::walk(mount.path(), Options::default())?;
    let mut lines = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.path.is_empty()) {
        lines.push(manifest::of_entry(entry));
        for stream in ntfs_3g_streams(mount.path(), &entry.path)? {
            let name = [&entry.path[..], b":", &stream].concat();
            lines.extend(mounted::stream(mount.path(), &name)?);
        }
    }
    mount.unmount()?;
    Ok(lines)
}

/// The names of an entry's streams, as ntfs-3g lists them.
fn ntfs_3g_streams(root: &Path, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    use std::os::unix::ffi::OsStrExt;
    let path = root.join(std::ffi::OsStr::from_bytes(path));
    let list = walk::xattr(&path, b"ntfs.streams.list")?.unwrap_or_default();
    Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The image in the folder whose name ends so: the one file without a second extension.
fn image_of(storage: &Path, folder: &str) -> Option<PathBuf> {
    let client = storage.join("testclient");
    let folders = fs::read_dir(client).ok()?.flatten().map(|entry| entry.path());
    let is_wanted = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(folder));
    let files = fs::read_dir(folders.into_iter().find(is_wanted)?).ok()?.flatten();
    let is_image = |name: &str| name.matches('.').count() == 1;
    let found = files.into_iter().find(|entry| entry.file_name().to_str().is_some_and(is_image));
    Some(found?.path())
}
