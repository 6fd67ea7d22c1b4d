//! Damaged images that qemu reads as well: then it must see the same bytes. Where only one of the two reads an image,
//! that is no difference: we refuse what points outside of the file or has reserved bits, qemu reads zeros there.
//!
//! `SPELUNK_DIFFER` is how many images of each kind are damaged (40), and where the random numbers begin.

use super::support::{Rng, Scratch, noise, open_path};
use super::tools::{assert_same, format_of, has_qemu, qemu_img, run};
use std::path::Path;
use std::process::Command;

/// Bytes of the largest disk that is compared: damage can make it petabytes.
const SIZE_BYTES_MAX: u64 = 64 << 20;

/// How each image is made, `IMAGE` standing for its name.
const KINDS: &[(&str, &str)] = &[
    ("a.qcow2", "create -q -f qcow2 -F raw -b base.img -o cluster_size=4k IMAGE 800k"),
    ("b.qcow2", "create -q -f qcow2 -F raw -b base.img -o extended_l2=on IMAGE 800k"),
    ("c.qcow2", "create -q -f qcow2 -o compat=0.10,cluster_size=512 IMAGE 800k"),
    ("d.qcow2", "convert -c -f raw -O qcow2 -o compression_type=zstd base.img IMAGE"),
    ("e.vmdk", "create -q -f vmdk -o zeroed_grain=on IMAGE 800k"),
    ("f.vmdk", "convert -f raw -O vmdk -o subformat=streamOptimized base.img IMAGE"),
    ("g.vdi", "create -q -f vdi IMAGE 4M"),
    ("h.vhdx", "create -q -f vhdx -o block_size=1M IMAGE 4M"),
    ("i.vhd", "create -q -f vpc -o force_size=on IMAGE 4M"),
];

fn make(directory: &Path, image: &str, how: &str) -> Vec<u8> {
    qemu_img(directory, &how.replace("IMAGE", image));
    if how.starts_with("create") {
        let writes =
            ["-c", "write -q -P 3 0 70k", "-c", "write -z 200k 40k", "-c", "write -q -P 9 300k 100k"];
        run(directory, "qemu-io", &[&["-f", format_of(image)], &writes[..], &[image]].concat());
    }
    std::fs::read(directory.join(image)).unwrap()
}

/// Where bytes count: not in what the disk is filled with.
fn metadata(image: &[u8]) -> Vec<usize> {
    let words = image.chunks(8).enumerate();
    let is_metadata = |word: &[u8]| word.windows(2).any(|pair| pair[0] != pair[1]);
    words.filter(|(_, word)| is_metadata(word)).map(|(number, _)| number * 8).take(400).collect()
}

/// The disk as qemu converts it, if it does.
fn theirs(directory: &Path, image: &str) -> Option<Vec<u8>> {
    let raw = directory.join("converted.img");
    let _ = std::fs::remove_file(&raw);
    let mut command = Command::new("timeout");
    command.args(["20", "qemu-img", "convert", "-f", format_of(image), "-O", "raw", image, "converted.img"]);
    let is_done = command.current_dir(directory).output().unwrap().status.success();
    let len = raw.metadata().map_or(u64::MAX, |metadata| metadata.len());
    (is_done && len <= SIZE_BYTES_MAX).then(|| std::fs::read(raw).unwrap())
}

#[test]
fn damaged_images_that_qemu_reads_too_have_its_bytes() {
    if !has_qemu() {
        return;
    }
    let rounds = std::env::var("SPELUNK_DIFFER").map_or(40, |text| text.parse().unwrap());
    let scratch = Scratch::new("differ");
    let text: Vec<u8> = b"text that can be packed ".iter().copied().cycle().take(500_000).collect();
    std::fs::write(scratch.0.join("base.img"), [noise(100_000, 8), text].concat()).unwrap();
    let mut both_all = 0;
    for (name, how) in KINDS {
        let whole = make(&scratch.0, name, how);
        let places = metadata(&whole);
        let mut rng = Rng(rounds);
        let mut both = 0;
        for round in 0..rounds {
            let mut image = whole.clone();
            for _ in 0..=rng.below(2) {
                let at = places[rng.below(places.len() as u64) as usize] + rng.below(8) as usize;
                let new = [0, 0xFF, image[at] ^ 1 << rng.below(8), rng.next() as u8];
                image[at] = new[rng.below(4) as usize];
            }
            std::fs::write(scratch.0.join(name), &image).unwrap();
            let Ok(opened) = open_path(&scratch.0.join(name)) else { continue };
            let is_small = opened.disk.bytes.size() <= SIZE_BYTES_MAX;
            let Some(Ok(ours)) = is_small.then(|| opened.all()) else { continue };
            if let Some(theirs) = theirs(&scratch.0, name) {
                both += 1;
                // qemu leaves out what fills no sector.
                let ours = &ours[..ours.len() / 512 * 512];
                assert_same(ours, &theirs, &format!("{name}, round {round} of {rounds}"));
            }
        }
        println!("{name}: {both} of {rounds} are read by both");
        both_all += both;
    }
    assert!(both_all > rounds, "only {both_all} images were compared");
}
