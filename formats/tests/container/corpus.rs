//! Images that others wrote: the bytes that a guest sees, by their hashes.

use super::support::{Image, Opened, Scratch, hex, line, open_path};
use sha2::{Digest, Sha256};
use spelunk_testkit::corpus;
use spelunk_tree::ReadAt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shell(script: &str, arguments: &[&Path]) {
    let status = Command::new("sh").args(["-ec", script, "sh"]).args(arguments).status().unwrap();
    assert!(status.success(), "{script} {arguments:?}");
}

fn is_ours(file: &str) -> bool {
    [".vhd", ".vhdx", ".vhdz", ".vhdxz", ".qcow2", ".vmdk"]
        .iter()
        .any(|end| file.trim_end_matches(".zst").ends_with(end))
}

/// Each image of the corpus in a container: id, path, virtual size, hash of the virtual disk.
fn unpacked(shared: &Path, scratch: &Path) -> Vec<(String, PathBuf, u64, String)> {
    let index = std::fs::read_to_string(shared.join("corpus/index.tsv")).unwrap();
    let mut images = Vec::new();
    let archive = scratch.join("gen-disks-A");
    std::fs::create_dir_all(&archive).unwrap();
    let packed = shared.join("corpus/images/gen-disks-A.tar.zst");
    let wanted = "zstd -dcq --long=28 \"$1\" | tar -C \"$2\" -xSf - --wildcards '*.vhd*' '*.qcow2' '*.vmdk'";
    shell(wanted, &[&packed, &archive]);
    for row in index.lines().skip(1) {
        let column: Vec<&str> = row.split('\t').collect();
        // Parts of images that are split over several files are no images.
        if !is_ours(column[1]) || column[3] == "aux" {
            continue;
        }
        let path = match column[1].split_once("::") {
            Some((_, member)) => archive.join(member),
            None => {
                let path = scratch.join(column[1].trim_end_matches(".zst").trim_start_matches("images/"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                let packed = shared.join("corpus").join(column[1]);
                shell("zstd -dqf --sparse \"$1\" -o \"$2\"", &[&packed, &path]);
                path
            }
        };
        images.push((column[0].into(), path, column[9].parse().unwrap(), column[10].into()));
    }
    images
}

#[test]
fn disks_of_the_corpus_have_the_bytes_that_other_readers_see() {
    let Some(shared) = corpus::root() else { return };
    let scratch = Scratch::new("corpus");
    let images = unpacked(&shared, &scratch.0);
    let mut failures = Vec::new();
    for (id, path, size, sha256) in &images {
        let result = open_path(path).and_then(|opened| {
            assert_eq!(opened.disk.bytes.size(), *size, "{id}");
            if sha256 == "-" { Ok(sha256.clone()) } else { opened.sha256(0, *size) }
        });
        match result {
            Ok(found) if found == *sha256 => println!("{id}: {size} bytes, {found}"),
            Ok(found) => failures.push(format!("{id}: {found}, not {sha256}")),
            Err(error) => failures.push(format!("{id}: {}", line(&error))),
        }
    }
    assert!(images.len() >= 30, "only {} images", images.len());
    assert_eq!(failures, Vec::<String>::new());
}

/// The source volumes of UrBackup's samples, by name.
fn originals(shared: &Path, scratch: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let directory = shared.join("samples/urbackup/originals");
    shell(
        "cd \"$2\"; for fs in ext4 ntfs; do zstd -dqf \"$1/${fs}_v1.raw.zst\" -o ${fs}_v1.raw; done
         for v in ext4_v2 ext4_v3 ntfs_v2; do
             zstd -dqf --long=27 --patch-from=${v%2}1.raw \"$1/$v.raw.patch.zst\" -o $v.raw 2>/dev/null ||
             zstd -dqf --long=27 --patch-from=${v%_*}_v1.raw \"$1/$v.raw.patch.zst\" -o $v.raw
         done",
        &[&directory, scratch],
    );
    let sums = std::fs::read_to_string(directory.join("SHA256SUMS")).unwrap();
    let names = ["ext4_v1", "ext4_v2", "ext4_v3", "ntfs_v1", "ntfs_v2"];
    let read = |name| {
        let bytes = std::fs::read(scratch.join(format!("{name}.raw"))).unwrap();
        assert!(sums.contains(&hex(&Sha256::digest(&bytes))), "{name} is not the original");
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

/// Where the volume begins on UrBackup's disks.
const VOLUME_START: u64 = 512 << 10;

/// Sample, original, and how many bytes at the end of the volume UrBackup itself lost (zeros).
const SAMPLES: &[(&str, &str, usize)] = &[
    ("0243_Image__dev_loop40.vhdz", "ext4_v1", 0),
    ("0245_Image__dev_loop40.vhdz", "ext4_v2", 0),
    ("0246_Image__dev_loop40.vhdz", "ext4_v3", 12288),
    ("0251_Image__dev_loop40.vhdx", "ext4_v1", 0),
    ("0254_Image__dev_loop40.vhdxz", "ext4_v1", 0),
    ("0255_Image__dev_loop40.vhdxz", "ext4_v2", 0),
    ("0256_Image__dev_loop40.vhdz", "ext4_v1", 0),
    ("0257_Image__dev_loop40.vhdz", "ext4_v1", 12288),
    ("0258_Image__dev_loop40.vhdz", "ext4_v1", 0),
    ("0248_Image__dev_loop41.vhd", "ntfs_v1", 0),
    ("0249_Image__dev_loop41.vhd", "ntfs_v2", 0),
    ("0250_Image__dev_loop41.vhd", "ntfs_v2", 0),
    ("0254_Image__dev_loop41.vhdxz", "ntfs_v2", 0),
    ("0255_Image__dev_loop41.vhdxz", "ntfs_v2", 0),
    ("0256_Image__dev_loop41.vhdz", "ntfs_v1", 0),
    ("0257_Image__dev_loop41.vhdz", "ntfs_v2", 0),
    ("0258_Image__dev_loop41.vhdz", "ntfs_v2", 0),
];

fn sample(storage: &Path, name: &str) -> PathBuf {
    let (stem, extension) = name.split_once('.').unwrap();
    let (time, image) = stem.split_at(4);
    let folder = format!("261123-{time}{image}");
    storage.join(&folder).join(format!("{}_261123-{time}.{extension}", &image[1..]))
}

/// The numbers of the 4096-byte blocks that the client called used.
fn used_blocks(path: &Path) -> Vec<usize> {
    let bitmap = std::fs::read(format!("{}.cbitmap", path.display())).unwrap();
    assert!(bitmap.starts_with(b"UrBBMM8C\0\x10\0\0"));
    let bits = &bitmap[12..bitmap.len() - 32];
    (0..bits.len() * 8).filter(|&bit| bits[bit / 8] >> (bit % 8) & 1 == 1).collect()
}

#[test]
fn backups_of_urbackup_hold_what_was_on_the_volume() {
    let Some(shared) = corpus::root() else { return };
    let scratch = Scratch::new("urbackup");
    let originals = originals(&shared, &scratch.0);
    let storage = shared.join("samples/urbackup/storage_images.tar.zst");
    shell("tar -C \"$2\" --zstd -xf \"$1\"", &[&storage, &scratch.0]);
    for (name, original, lost) in SAMPLES {
        let path = sample(&scratch.0.join("testclient"), name);
        let opened = open_path(&path).unwrap();
        let original = &originals[original];

        let disk = opened.all().unwrap();

        compare_volume(name, &disk[VOLUME_START as usize..], original, &used_blocks(&path), *lost);
        check_layers(name, &opened, &path);
    }
}

fn compare_volume(name: &str, volume: &[u8], original: &[u8], used: &[usize], lost: usize) {
    let end = original.len().min(volume.len()) - lost;
    if name.contains("loop40") {
        assert!(volume[..end] == original[..end], "{name}");
        assert!(volume[end..end + lost] == vec![0; lost], "{name}");
        return;
    }
    let mut compared = 0;
    for start in used.iter().map(|block| block * 4096).filter(|start| *start < 33_553_920) {
        let end = (start + 4096).min(33_553_920);
        assert!(volume[start..end] == original[start..end], "{name} at {start}");
        compared += 1;
    }
    assert!(compared > 800, "{name}: {compared} blocks compared");
}

fn check_layers(name: &str, opened: &Opened, path: &Path) {
    let layers = &opened.disk.layers;
    let is_packed = name.ends_with('z');
    assert_eq!(layers[0].format == "vhdz", is_packed, "{name}");
    assert_eq!(layers[0].source, 0);
    let files = layers.last().unwrap().source as usize + 1;
    assert_eq!(files, opened.files.len(), "{name}");
    assert_eq!(layers.len(), files * if is_packed { 2 } else { 1 }, "{name}");
    assert_eq!(Image::file(path).size(), opened.files[0].size());
}

#[test]
fn child_without_its_parent_is_refused_by_name_and_id() {
    let Some(shared) = corpus::root() else { return };
    let scratch = Scratch::new("orphan");
    let packed = shared.join("corpus/images/dfvfs-ntfs-chain.vhd/ntfs-differential.vhd.zst");
    let path = scratch.0.join("ntfs-differential.vhd");
    shell("zstd -dqf \"$1\" -o \"$2\"", &[&packed, &path]);

    let error = open_path(&path).err().unwrap();

    let text = line(&error);
    assert_eq!(error.kind(), spelunk_tree::ErrorKind::NotFound);
    assert!(text.contains("\"ntfs-parent.vhd\""), "{text}");
    assert!(text.contains("e7ea9200-8493-954e-a816-9572339be931"), "{text}");
}
