//! VMDK: images by qemu in all its types, and images by a writer of our own of what qemu reads but does not write.

use super::make::put;
use super::support::{Image, Opened, Parents, Rng, Scratch, line, noise, open_path, open_with};
use super::tools::{assert_same, has_qemu, qemu_img, run, same_as_qemu, scribble};
use spelunk_tree::{ErrorKind, Place};
use std::os::unix::fs::FileExt;

const MIB: u64 = 1 << 20;

#[test]
fn every_type_that_qemu_writes_has_its_bytes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk");
    let types = [
        ("monolithicSparse", 1),
        ("monolithicSparse,zeroed_grain=on", 1),
        ("monolithicFlat", 2),
        ("twoGbMaxExtentSparse", 2),
        ("twoGbMaxExtentSparse,zeroed_grain=on", 2),
        ("twoGbMaxExtentFlat", 2),
    ];
    for (kind, files) in types {
        for size in [512, 9 * MIB, 37 * MIB + 1536] {
            qemu_img(&scratch.0, &format!("create -q -f vmdk -o subformat={kind} a.vmdk {size}"));
            scribble(&scratch.0, "a.vmdk", size, size + 2);

            let opened = same_as_qemu(&scratch.0, "a.vmdk", &format!("{kind}, {size} bytes"));

            assert!(kind.starts_with(&opened.disk.layers[0].variant), "{kind}");
            assert_eq!(opened.files.len(), files, "{kind}");
        }
    }
}

#[test]
fn stream_optimised_images_have_the_bytes_of_their_source_and_are_opaque() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk-stream");
    for size in [64 << 10, (5 << 20) + 1536] {
        let mut disk = noise(size, 4);
        disk[70_000.min(size - 1)..300_000.min(size)].fill(0);
        std::fs::write(scratch.0.join("source.img"), &disk).unwrap();
        qemu_img(&scratch.0, "convert -f raw -O vmdk -o subformat=streamOptimized source.img a.vmdk");

        let opened = same_as_qemu(&scratch.0, "a.vmdk", "streamOptimized");

        assert_same(&opened.all().unwrap(), &disk, "the source");
        let mut runs = Vec::new();
        opened.disk.bytes.runs(0, size as u64, &mut runs).unwrap();
        assert_eq!(runs[0].place, Place::Opaque);
    }
}

#[test]
fn grain_directory_that_only_the_footer_knows_is_found() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk-footer");
    std::fs::write(scratch.0.join("source.img"), noise(900_000, 5)).unwrap();
    qemu_img(&scratch.0, "convert -f raw -O vmdk -o subformat=streamOptimized source.img a.vmdk");
    let mut image = std::fs::read(scratch.0.join("a.vmdk")).unwrap();
    image.resize(image.len().next_multiple_of(512), 0);
    let header = image[..512].to_vec();
    put(&mut image, 56, &[0xFF; 8]);
    let marker = |kind: u32| {
        let mut marker = vec![0; 512];
        put(&mut marker, 12, &kind.to_le_bytes());
        marker
    };
    let end = image.len();
    image.extend([marker(3), header, marker(0)].concat());
    std::fs::write(scratch.0.join("a.vmdk"), &image).unwrap();

    same_as_qemu(&scratch.0, "a.vmdk", "with a footer");

    image.truncate(end + 512);
    let error = open_with(Image::memory(image), Parents::default()).err().unwrap();
    assert!(line(&error).contains("no footer at the end"), "{}", line(&error));
}

#[test]
fn disk_of_several_files_is_whole_at_every_border() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk-split");
    let size = 5 << 30;
    for kind in ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
        qemu_img(&scratch.0, &format!("create -q -f vmdk -o subformat={kind} a.vmdk {size}"));
        let borders: Vec<u64> = (0..3).map(|number| number * 2_146_435_072).chain([size]).collect();
        let mut arguments = vec!["-f".to_owned(), "vmdk".into()];
        for (number, border) in borders.iter().enumerate() {
            let start = border.saturating_sub(100_352);
            let len = (border + 200_704).min(size) - start;
            arguments.extend(["-c".into(), format!("write -q -P {} {start} {len}", number + 1)]);
        }
        arguments.push("a.vmdk".into());
        run(&scratch.0, "qemu-io", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        qemu_img(&scratch.0, "convert -f vmdk -O raw a.vmdk converted.img");
        let raw = std::fs::File::open(scratch.0.join("converted.img")).unwrap();

        let opened = open_path(&scratch.0.join("a.vmdk")).unwrap();

        assert_eq!((opened.disk.bytes.size(), opened.files.len()), (size, 4), "{kind}");
        let mut rng = Rng(3);
        let random = (0..20).map(|_| rng.below(size - (1 << 20)));
        for start in borders.iter().map(|border| border.saturating_sub(300_000)).chain(random) {
            let len = (1 << 20).min(size - start) as usize;
            let mut expected = vec![0; len];
            raw.read_exact_at(&mut expected, start).unwrap();
            assert_same(&opened.read(start, len).unwrap(), &expected, &format!("{kind} at {start}"));
        }
    }
}

#[test]
fn children_of_all_sizes_have_qemu_s_bytes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk-children");
    for (parent, child) in [
        ("monolithicSparse", "monolithicSparse"),
        ("twoGbMaxExtentSparse", "twoGbMaxExtentSparse"),
        ("monolithicFlat", "monolithicSparse,zeroed_grain=on"),
    ] {
        qemu_img(&scratch.0, &format!("create -q -f vmdk -o subformat={parent} base.vmdk 6M"));
        scribble(&scratch.0, "base.vmdk", 6 * MIB, 1);
        for size in [6, 9, 3] {
            let options = format!("-o subformat={child} -F vmdk -b base.vmdk");
            qemu_img(&scratch.0, &format!("create -q -f vmdk {options} child.vmdk {size}M"));
            scribble(&scratch.0, "child.vmdk", size * MIB, 2);

            let opened = same_as_qemu(&scratch.0, "child.vmdk", &format!("{child} of {parent}, {size}M"));

            let layers = &opened.disk.layers;
            assert_eq!(layers.len(), 2);
            assert_eq!(layers[0].parent.as_ref().unwrap().id, layers[1].id);
            assert_eq!(layers[0].parent.as_ref().unwrap().paths, ["base.vmdk"]);
        }
        // A parent that has changed has another content id.
        run(&scratch.0, "qemu-io", &["-f", "vmdk", "-c", "write -q -P 1 0 64k", "base.vmdk"]);
        let error = open_path(&scratch.0.join("child.vmdk")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(line(&error).contains("but its id is"), "{}", line(&error));
    }
}

#[test]
fn chain_of_split_images_numbers_its_files_in_order() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk-chain");
    qemu_img(&scratch.0, "create -q -f vmdk -o subformat=twoGbMaxExtentFlat base.vmdk 4M");
    scribble(&scratch.0, "base.vmdk", 4 * MIB, 1);
    for (name, below) in [("middle", "base"), ("top", "middle")] {
        let options = format!("-o subformat=twoGbMaxExtentSparse -F vmdk -b {below}.vmdk");
        qemu_img(&scratch.0, &format!("create -q -f vmdk {options} {name}.vmdk 4M"));
        scribble(&scratch.0, &format!("{name}.vmdk"), 4 * MIB, 5);
    }
    qemu_img(&scratch.0, "create -q -f qcow2 -F vmdk -b top.vmdk over.qcow2");

    let opened = same_as_qemu(&scratch.0, "over.qcow2", "over a chain");

    let sources: Vec<u32> = opened.disk.layers.iter().map(|layer| layer.source).collect();
    assert_eq!(sources, [0, 1, 3, 5]);
    assert_eq!(opened.files.len(), 7);
}

/// An ESX sparse extent of `sectors`, of which the even ones are there.
fn cowd(sectors: usize) -> Vec<u8> {
    let tables = sectors.div_ceil(4096);
    let mut image = vec![0; 512 * (2 + tables * 32)];
    put(&mut image, 0, b"COWD\x01\0\0\0\x03\0\0\0");
    for (at, number) in [(12, sectors), (16, 1), (20, 1), (24, tables)] {
        put(&mut image, at, &(number as u32).to_le_bytes());
    }
    for table in 0..tables {
        put(&mut image, 512 + table * 4, &(2 + table as u32 * 32).to_le_bytes());
    }
    for sector in (0..sectors).step_by(2) {
        let place = (image.len() / 512) as u32;
        put(&mut image, 1024 + sector * 4, &place.to_le_bytes());
        image.extend(noise(512, 1000 + sector as u64));
    }
    image
}

#[test]
fn extents_of_esx_zeros_and_parts_of_one_file_make_one_disk() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vmdk-mixed");
    std::fs::write(scratch.0.join("a-delta.vmdk"), cowd(5000)).unwrap();
    std::fs::write(scratch.0.join("a-flat.vmdk"), noise(100 * 512, 9)).unwrap();
    let text = "# Disk DescriptorFile\nversion=1\nCID=00000ab1\nparentCID=ffffffff\ncreateType=\"custom\"\n\
        \n# Extents\nRW 30 FLAT \"a-flat.vmdk\" 60\nRW 5000 VMFSSPARSE \"a-delta.vmdk\"\nRW 77 ZERO\n\
        RW 20 FLAT \"a-flat.vmdk\" 0\n";
    std::fs::write(scratch.0.join("a.vmdk"), text).unwrap();
    // qemu takes an extent of zeros for the extent before it, and no custom types: it is asked for the same without.
    let qemu = text.replace("RW 77 ZERO\n", "").replace("custom", "vmfsSparse");
    std::fs::write(scratch.0.join("b.vmdk"), qemu).unwrap();
    let expected = same_as_qemu(&scratch.0, "b.vmdk", "without zeros").all().unwrap();

    let opened = open_path(&scratch.0.join("a.vmdk")).unwrap();

    let disk = opened.all().unwrap();
    let zeros = 5030 * 512..5107 * 512;
    assert!(disk[..zeros.start] == expected[..zeros.start] && disk[zeros.end..] == expected[zeros.start..]);
    assert!(disk[zeros].iter().all(|&byte| byte == 0));
    assert!(disk[..512] == noise(100 * 512, 9)[60 * 512..61 * 512]);
    assert_eq!(opened.files.len(), 3);
    assert_eq!(opened.disk.layers[0].id, "00000ab1");
}

fn with_text(text: &str, files: &[&[u8]]) -> spelunk_tree::Result<Opened> {
    let files = files.iter().map(|file| Image::memory(file.to_vec()));
    let text = format!("# Disk DescriptorFile\nversion=1\nCID=1\n{text}");
    open_with(Image::memory(text.into_bytes()), Parents::of(files))
}

#[test]
fn wrong_descriptors_are_refused_by_name() {
    use ErrorKind::{Corrupt, Limit, NotFound, Unsupported};
    let many = "RW 1 ZERO\n".repeat(5000);
    let large = "x".repeat(1 << 20);
    let cases = [
        ("", Corrupt, "a disk of 0 bytes"),
        ("RW 8 FLAT \"a\" 0", NotFound, "the part \"a\" of image 0 is missing"),
        ("RW 8 SPARSE \"..\\b/c.vmdk\"", NotFound, "the part \"c.vmdk\" of image 0"),
        ("RW 99999999999999999999 FLAT \"a\"", Corrupt, "a line of an extent"),
        ("RW 9999999999999999999 ZERO", Corrupt, "product overflows"),
        ("RW 999999999999999 ZERO", Limit, "a disk of"),
        ("RW 8 SESPARSE \"a\"", Unsupported, "an extent of the type SESPARSE"),
        ("NOACCESS 8 FLAT \"a\"", Unsupported, "must not be read"),
        ("parentCID=2\nRW 8 ZERO", Corrupt, "does not name its parent"),
        ("parentCID=x\nRW 8 ZERO", Corrupt, "a content id that is no number"),
        ("createType=\"fullDevice\"\nRW 8 FLAT \"/dev/sda\" 0", Unsupported, "a disk on a device"),
        ("encryption.keySafe = \"vmware:key\"\nRW 8 ZERO", Unsupported, "an encrypted disk"),
        (&many, Limit, "more than 4096 extents"),
        (&large, Limit, "a descriptor of"),
    ];
    for (text, kind, words) in cases {
        let error = with_text(text, &[]).err().unwrap();

        assert_eq!(error.kind(), kind, "{}", line(&error));
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    let opened = with_text("RW 8 FLAT \"a\" 1", &[&[7; 2048]]).unwrap();
    assert_eq!(opened.read(0, 1536).unwrap(), [7; 1536]);
    assert_eq!(opened.read(0, 4096).unwrap_err().kind(), Corrupt, "an extent that was cut off");
    let error = with_text("RW 8 SPARSE \"a\"", &[&[7; 4096]]).err().unwrap();
    assert!(line(&error).contains("no extent of the type"), "{}", line(&error));
}

/// A sparse image of 1 MiB, of which the first grain is 7s, and a stream-optimised one of the same.
fn samples(scratch: &Scratch) -> [Vec<u8>; 2] {
    qemu_img(&scratch.0, "create -q -f vmdk a.vmdk 1M");
    run(&scratch.0, "qemu-io", &["-f", "vmdk", "-c", "write -q -P 7 0 64k", "a.vmdk"]);
    qemu_img(&scratch.0, "convert -f vmdk -O vmdk -o subformat=streamOptimized a.vmdk b.vmdk");
    ["a.vmdk", "b.vmdk"].map(|name| std::fs::read(scratch.0.join(name)).unwrap())
}

fn sector_at(image: &[u8], at: usize) -> usize {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize * 512
}

#[test]
fn wrong_headers_tables_and_markers_are_errors() {
    if !has_qemu() {
        return;
    }
    use ErrorKind::{Corrupt, Limit, Unsupported};
    let scratch = Scratch::new("vmdk-headers");
    let [sparse, stream] = samples(&scratch);
    let place = |image: &[u8]| {
        let directory = sector_at(image, 56);
        let table = sector_at(image, directory);
        (directory, table, sector_at(image, table))
    };
    let (directory, table, _) = place(&sparse);
    let (_, _, grain) = place(&stream);
    type Case<'a> = (&'a [u8], usize, &'a [u8], ErrorKind, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (&sparse, 4, &[4], Unsupported, "VMDK version 4"),
        (&sparse, 12, &[0xFF; 8], Corrupt, "overflows"),
        (&sparse, 12, &[0, 0, 0, 0, 0, 1], Limit, "a disk of"),
        (&sparse, 20, &[0; 8], Corrupt, "grains of 0 bytes"),
        (&sparse, 20, &[100], Corrupt, "grains of 51200 bytes"),
        (&sparse, 20, &[0, 0, 0, 0, 1], Limit, "grains of"),
        (&sparse, 28, &[0; 8], Unsupported, "one extent of a split disk"),
        (&sparse, 28, &[0xFF, 0xFF, 0xFF], Corrupt, "truncated: the descriptor"),
        (&sparse, 44, &[0; 4], Corrupt, "grain tables of 0 entries"),
        (&sparse, 44, &[0, 4, 0, 0], Corrupt, "grain tables of 1024 entries"),
        (&sparse, 56, &[0xFF, 0xFF, 0xFF], Corrupt, "truncated: the grain directory"),
        (&sparse, directory, &[0xFF, 0xFF, 0xFF], Corrupt, "truncated: a table goes past"),
        (&sparse, table, &[0xFF, 0xFF, 0xFF], Corrupt, "truncated: data past the end"),
        (&stream, 77, &[2], Unsupported, "compression method 2"),
        (&stream, grain, &[1], Corrupt, "a marker of another grain"),
        (&stream, grain + 8, &[0; 4], Corrupt, "of an impossible length"),
        (&stream, grain + 8, &[0xFF; 4], Corrupt, "of an impossible length"),
        (&stream, grain + 8, &[9, 0, 0, 0], Corrupt, "a zlib block"),
        (&stream, grain + 20, &[0x55; 8], Corrupt, "zlib block"),
    ];
    for (image, at, bytes, kind, words) in cases {
        let mut image = image.to_vec();
        put(&mut image, at, bytes);

        let opened = open_with(Image::memory(image), Parents::default());
        let error = opened.and_then(|opened| opened.read(0, 512)).err().unwrap();

        assert_eq!(error.kind(), kind, "{}", line(&error));
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    let mut unclean = sparse.clone();
    unclean[72] = 1;
    unclean[75] = b'\n';
    let opened = open_with(Image::memory(unclean), Parents::default()).unwrap();
    assert_eq!(opened.read(0, 1).unwrap(), [7]);
    assert_eq!(opened.disk.layers[0].notes.len(), 2);
}
