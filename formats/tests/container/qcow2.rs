//! QCOW2: images by qemu in all its variants, and images with a few bytes changed.

use super::make::put;
use super::support::{Image, Parents, Scratch, line, noise, open_path, open_with};
use super::tools::{assert_same, has_qemu, qemu_img, raw, run, same_as_qemu, scribble};
use spelunk_formats::container;
use spelunk_tree::{ErrorKind, Place};
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// A disk of noise, text and holes, on which compression has something to do.
fn mixed(len: usize) -> Vec<u8> {
    let mut disk = noise(len, 7);
    for (number, piece) in disk.chunks_mut(40_000).enumerate() {
        match number % 4 {
            0 => piece.fill(0),
            1 => piece.iter_mut().enumerate().for_each(|(at, byte)| *byte = b"all the same "[at % 13]),
            _ => {}
        }
    }
    disk
}

#[test]
fn every_cluster_size_of_both_versions_has_qemu_s_bytes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-sizes");
    let size = 11 * MIB + 512;
    for bits in 9..=21 {
        for compat in ["0.10", "1.1"] {
            let options = format!("compat={compat},cluster_size={}", 1 << bits);
            qemu_img(&scratch.0, &format!("create -q -f qcow2 -o {options} a.qcow2 {size}"));
            scribble(&scratch.0, "a.qcow2", size, bits);

            let opened = same_as_qemu(&scratch.0, "a.qcow2", &options);

            assert_eq!(opened.disk.layers[0].block_bytes, 1 << bits);
            assert_eq!(opened.disk.layers[0].notes, Vec::<String>::new());
        }
    }
}

#[test]
fn compressed_clusters_have_the_bytes_of_their_source_and_are_opaque() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-packed");
    let disk = mixed(5 * MIB as usize + 1536);
    std::fs::write(scratch.0.join("source.img"), &disk).unwrap();
    for bits in [9, 10, 12, 14, 16, 18, 21] {
        for kind in ["compat=0.10", "compression_type=zlib", "compression_type=zstd"] {
            let options = format!("{kind},cluster_size={}", 1 << bits);
            let line = format!("convert -c -f raw -O qcow2 -o {options} source.img a.qcow2");
            qemu_img(&scratch.0, &line);

            let opened = same_as_qemu(&scratch.0, "a.qcow2", &options);

            assert_same(&opened.all().unwrap(), &disk, &options);
            let mut runs = Vec::new();
            opened.disk.bytes.runs(0, disk.len() as u64, &mut runs).unwrap();
            assert!(runs.iter().any(|run| run.place == Place::Opaque), "{options}: nothing is compressed");
            assert_eq!(opened.read(123_457, 77_777).unwrap(), &disk[123_457..][..77_777]);
        }
    }
}

#[test]
fn subclusters_have_qemu_s_bytes_with_and_without_a_backing_file() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-subclusters");
    let size = 9 * MIB + 4096;
    std::fs::write(scratch.0.join("base.img"), noise(size as usize, 3)).unwrap();
    for bits in [14, 15, 16, 17, 19, 21] {
        for backing in ["", "-F raw -b base.img"] {
            let options = format!("extended_l2=on,cluster_size={}", 1 << bits);
            qemu_img(&scratch.0, &format!("create -q -f qcow2 {backing} -o {options} a.qcow2 {size}"));
            scribble(&scratch.0, "a.qcow2", size, 100 + bits);

            let opened = same_as_qemu(&scratch.0, "a.qcow2", &format!("{options} {backing}"));

            assert_eq!(opened.disk.layers[0].variant, "version 3, subclusters");
        }
    }
}

#[test]
fn chains_of_all_sizes_and_formats_have_qemu_s_bytes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-chains");
    let bases = [("base.img", "raw"), ("base.qcow2", "qcow2"), ("base.vhd", "vpc"), ("base.vhdx", "vhdx")];
    for (base, format) in bases {
        let force = if format == "vpc" { "-o force_size=on" } else { "" };
        qemu_img(&scratch.0, &format!("create -q -f {format} {force} {base} 6M"));
        scribble(&scratch.0, base, 6 * MIB, 1);
        // Middle and top: larger than what is below, and smaller.
        for (middle, top) in [(9, 13), (3, 8), (6, 2)] {
            qemu_img(&scratch.0, &format!("create -q -f qcow2 -F {format} -b {base} middle.qcow2 {middle}M"));
            scribble(&scratch.0, "middle.qcow2", middle * MIB, 2);
            let options = "-o cluster_size=4k";
            qemu_img(
                &scratch.0,
                &format!("create -q -f qcow2 {options} -F qcow2 -b middle.qcow2 top.qcow2 {top}M"),
            );
            scribble(&scratch.0, "top.qcow2", top * MIB, 3);

            let opened = same_as_qemu(&scratch.0, "top.qcow2", &format!("{base}, {middle}M, {top}M"));

            let formats: Vec<&str> = opened.disk.layers.iter().map(|layer| layer.format.as_str()).collect();
            let last = if format == "vpc" { "vhd" } else { format };
            assert_eq!(formats, ["qcow2", "qcow2", last]);
            let sources: Vec<u32> = opened.disk.layers.iter().map(|layer| layer.source).collect();
            assert_eq!(sources, [0, 1, 2]);
        }
    }
}

#[test]
fn zeros_over_a_backing_file_hide_it() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-zeros");
    std::fs::write(scratch.0.join("base.img"), noise(2 << 20, 5)).unwrap();
    qemu_img(&scratch.0, "create -q -f qcow2 -F raw -b base.img a.qcow2");
    run(&scratch.0, "qemu-io", &["-c", "write -z 64k 128k", "a.qcow2"]);

    let opened = same_as_qemu(&scratch.0, "a.qcow2", "");

    let mut runs = Vec::new();
    opened.disk.bytes.runs(0, 2 << 20, &mut runs).unwrap();
    let places: Vec<Place> = runs.iter().map(|run| run.place).collect();
    let base = |offset| Place::At { source: 1, offset };
    assert_eq!(places, [base(0), Place::Zero, base(192 << 10)]);
}

#[test]
fn internal_snapshots_are_listed_and_open_as_qemu_reads_them() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-snapshots");
    for compat in ["0.10", "1.1"] {
        qemu_img(&scratch.0, &format!("create -q -f qcow2 -o compat={compat},cluster_size=8k a.qcow2 5M"));
        for (seed, name) in [(1, "first"), (2, "second"), (3, "1")] {
            scribble(&scratch.0, "a.qcow2", 5 * MIB, seed);
            qemu_img(&scratch.0, &format!("snapshot -c {name} a.qcow2"));
        }
        qemu_img(&scratch.0, "snapshot -a second a.qcow2");
        scribble(&scratch.0, "a.qcow2", 5 * MIB, 4);

        let opened = same_as_qemu(&scratch.0, "a.qcow2", compat);

        let notes = &opened.disk.layers[0].notes;
        assert_eq!(notes.len(), 3);
        assert!(notes[0].starts_with("internal snapshot 1, \"first\", of 20"), "{notes:?}");
        // An id goes before a name.
        for (wanted, id) in [("first", 1), ("second", 2), ("1", 1), ("3", 3)] {
            let disk = snapshot(&scratch.0.join("a.qcow2"), wanted).unwrap();
            assert_same(&disk, &raw(&scratch.0, "a.qcow2", &format!("-l snapshot.id={id}")), wanted);
        }
        let error = snapshot(&scratch.0.join("a.qcow2"), "third").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let error = container::open_at(Arc::new(Image::memory(vec![1; 512])), Some("x"), &mut Parents::default());
    assert_eq!(error.err().unwrap().kind(), ErrorKind::Unsupported);
}

fn snapshot(path: &Path, wanted: &str) -> spelunk_tree::Result<Vec<u8>> {
    let disk = container::open_at(Arc::new(Image::file(path)), Some(wanted), &mut Parents::default())?;
    let mut bytes = vec![0; disk.bytes.size() as usize];
    disk.bytes.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn preallocated_images_have_qemu_s_bytes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-preallocated");
    for mode in ["metadata", "falloc", "full"] {
        for extended in ["off", "on"] {
            let options = format!("preallocation={mode},extended_l2={extended}");
            qemu_img(&scratch.0, &format!("create -q -f qcow2 -o {options} a.qcow2 3M"));
            run(&scratch.0, "qemu-io", &["-c", "write -q -P 7 100k 9k", "a.qcow2"]);

            same_as_qemu(&scratch.0, "a.qcow2", &options);
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-refused");
    qemu_img(&scratch.0, "create -q -f qcow2 -o data_file=data.raw external.qcow2 1M");
    let secret = "--object secret,id=s,data=abc";
    qemu_img(
        &scratch.0,
        &format!("create -q {secret} -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s luks.qcow2 1M"),
    );
    qemu_img(
        &scratch.0,
        &format!("create -q {secret} -f qcow2 -o encrypt.format=aes,encrypt.key-secret=s aes.qcow2 1M"),
    );
    qemu_img(&scratch.0, "create -q -f qcow old.qcow 1M");
    qemu_img(&scratch.0, "create -q -f qcow2 plain.qcow2 1M");
    qemu_img(&scratch.0, "rebase -u -F raw -b nbd://host/disk plain.qcow2");
    qemu_img(&scratch.0, "create -q -f qcow2 bochs.qcow2 1M");
    qemu_img(&scratch.0, "rebase -u -F bochs -b disk bochs.qcow2");
    let cases = [
        ("external.qcow2", "an external data file"),
        ("luks.qcow2", "encrypted with LUKS"),
        ("aes.qcow2", "encrypted with AES"),
        ("old.qcow", "QCOW version 1"),
        ("plain.qcow2", "named by more than a path"),
        ("bochs.qcow2", "a backing file of the format \"bochs\""),
    ];
    for (name, words) in cases {
        let error = open_path(&scratch.0.join(name)).err().unwrap();

        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {}", line(&error));
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
}

/// An image of 1 MiB in clusters of 64 KiB, of which the first is 7s and the second compressed.
fn sample(scratch: &Scratch) -> Vec<u8> {
    qemu_img(&scratch.0, "create -q -f qcow2 a.qcow2 1M");
    let commands = ["-c", "write -q -P 7 0 64k", "-c", "write -q -c -P 9 64k 64k", "a.qcow2"];
    run(&scratch.0, "qemu-io", &commands);
    std::fs::read(scratch.0.join("a.qcow2")).unwrap()
}

fn be_u64_at(image: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(image[at..at + 8].try_into().unwrap())
}

/// Where the L1 table and the first L2 table are.
fn tables(image: &[u8]) -> (usize, usize) {
    let l1 = be_u64_at(image, 40) as usize;
    (l1, (be_u64_at(image, l1) & 0x00FF_FFFF_FFFF_FE00) as usize)
}

#[test]
fn wrong_entries_are_errors_of_their_cluster_alone() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-entries");
    let image = sample(&scratch);
    let (_, l2) = tables(&image);
    let second = be_u64_at(&image, l2 + 8);
    let cases: [(u64, &str); 8] = [
        (be_u64_at(&image, l2) | 2, "reserved bits"),
        (be_u64_at(&image, l2) | 1 << 58, "reserved bits"),
        (be_u64_at(&image, l2) | 0x200, "the middle of a cluster"),
        (1 << 40, "truncated: data past the end"),
        (1 << 62 | 1 << 40, "past the end of the file"),
        (1 << 62, "a damaged deflate block"),
        (second + 1, "cluster"),
        (1 << 62 | (image.len() as u64 - 1), "cluster"),
    ];
    for (entry, words) in cases {
        let mut image = image.clone();
        put(&mut image, l2, &entry.to_be_bytes());
        let opened = open_with(Image::memory(image), Parents::default()).unwrap();

        let error = opened.read(0, 64 << 10).map(|_| entry).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Corrupt, "{entry:x}");
        assert!(line(&error).contains(words), "{entry:x}: {} is not {words}", line(&error));
        assert!(opened.read(64 << 10, 64 << 10).unwrap().iter().all(|&byte| byte == 9));
    }
}

#[test]
fn wrong_tables_and_headers_are_corrupt() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-headers");
    let image = sample(&scratch);
    let (l1, l2) = tables(&image);
    let corrupt = ErrorKind::Corrupt;
    let unsupported = ErrorKind::Unsupported;
    let l1_entry = |bits: u64| (l1, (l2 as u64 | bits).to_be_bytes().to_vec());
    type Change = (usize, Vec<u8>);
    let cases: Vec<(Change, ErrorKind, &str)> = vec![
        (l1_entry(1), corrupt, "an L1 entry with reserved bits"),
        (l1_entry(0x400), corrupt, "the middle of a cluster"),
        (l1_entry(1 << 50), corrupt, "truncated"),
        ((4, vec![0, 0, 0, 4]), unsupported, "QCOW version 4"),
        ((20, vec![0, 0, 0, 8]), corrupt, "clusters of 2^8"),
        ((20, vec![0, 0, 0, 22]), corrupt, "clusters of 2^22"),
        ((24, vec![0; 8]), corrupt, "a disk of 0 bytes"),
        ((24, vec![0xFF; 8]), ErrorKind::Limit, "a disk of"),
        ((36, vec![0, 0, 0, 0]), corrupt, "an L1 table of 0 entries, not 1"),
        ((40, vec![0, 0, 0, 0, 0, 3, 2, 0]), corrupt, "does not begin with a cluster"),
        ((40, vec![0, 0, 1, 0, 0, 0, 0, 0]), corrupt, "truncated: the L1 table"),
        ((79, vec![0x20]), unsupported, "unknown incompatible features 0x20"),
        ((79, vec![8]), corrupt, "contradicts"),
        ((104, vec![1]), corrupt, "contradicts"),
        ((100, vec![0, 0, 0, 100]), corrupt, "a header of 100 bytes"),
        ((100, vec![0, 1, 0, 8]), corrupt, "over a cluster"),
        ((8, vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9]), corrupt, "outside the first cluster"),
        ((8, vec![0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0]), corrupt, "a backing file's name of 1024"),
    ];
    for ((at, bytes), kind, words) in cases {
        let mut image = image.clone();
        put(&mut image, at, &bytes);

        let opened = open_with(Image::memory(image), Parents::default());
        let error = opened.and_then(|opened| opened.read(0, 512)).err().unwrap();

        assert_eq!(error.kind(), kind, "{}", line(&error));
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    for len in [4, 71, 100, 5000, l1 + 7] {
        let cut = open_with(Image::memory(image[..len].to_vec()), Parents::default()).err().unwrap();
        assert_eq!(cut.kind(), ErrorKind::Corrupt, "{len}: {}", line(&cut));
    }
}

#[test]
fn dirty_and_corrupt_bits_are_notes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-bits");
    let mut image = sample(&scratch);
    image[79] = 3;

    let opened = open_with(Image::memory(image), Parents::default()).unwrap();

    assert_eq!(opened.read(0, 1).unwrap(), [7]);
    let notes = opened.disk.layers[0].notes.join("\n");
    assert!(notes.contains("dirty") && notes.contains("corrupt"), "{notes}");
}

#[test]
fn parent_that_is_called_raw_is_raw_whatever_its_guest_wrote() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-trap");
    // The guest of the base wrote a header there that would make its host read another file.
    qemu_img(&scratch.0, "create -q -f raw secret.img 1M");
    qemu_img(&scratch.0, "create -q -f qcow2 -F raw -b secret.img base.img 1M");
    let base = std::fs::read(scratch.0.join("base.img")).unwrap();
    qemu_img(&scratch.0, "create -q -f qcow2 -F raw -b base.img top.qcow2 128k");

    let opened = open_path(&scratch.0.join("top.qcow2")).unwrap();

    assert_eq!(opened.disk.layers.len(), 2);
    assert_eq!(opened.read(0, 4096).unwrap(), &base[..4096]);
}

#[test]
fn only_a_file_beside_the_image_can_be_its_parent() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("qcow2-paths");
    for directory in ["images", "other"] {
        std::fs::create_dir(scratch.0.join(directory)).unwrap();
    }
    std::fs::write(scratch.0.join("other/base.img"), noise(1 << 20, 1)).unwrap();
    for path in ["../other/base.img", "/etc/base.img", "file:../other/base.img", "..\\other\\base.img"] {
        qemu_img(&scratch.0.join("images"), "create -q -f qcow2 top.qcow2 1M");
        qemu_img(&scratch.0.join("images"), &format!("rebase -u -F raw -b {path} top.qcow2"));
        let _ = std::fs::remove_file(scratch.0.join("images/base.img"));

        let error = open_path(&scratch.0.join("images/top.qcow2")).err().unwrap();
        std::fs::copy(scratch.0.join("other/base.img"), scratch.0.join("images/base.img")).unwrap();
        let found = open_path(&scratch.0.join("images/top.qcow2")).unwrap();

        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(line(&error).contains("the parent \"base.img\" of image 0 is missing"), "{}", line(&error));
        assert_eq!(found.read(0, 512).unwrap(), noise(512, 1));
    }
}
