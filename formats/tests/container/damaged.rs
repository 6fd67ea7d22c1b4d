//! Images with flipped bytes and cut ends: an error or bytes, soon, and never a panic.

use super::make::{
    BLOCK_TABLE, LogChange, LogEntry, METADATA, MIB, Packing, Vdi, Vhd, Vhdx, seal_vhd, seal_vhdx, vhdz,
};
use super::support::{Image, Parents, Rng, Scratch, noise, open_with};
use super::tools::{has_qemu, qemu_img, run};
use std::ops::Range;
use std::time::{Duration, Instant};

/// The longest that opening and reading one small image may take, on a busy machine and without
/// optimisation.
const TIME_MAX: Duration = Duration::from_secs(5);

/// An image, its parents, where to damage it, and how to make its checksums right again.
struct Victim {
    image: Vec<u8>,
    parents: Vec<Image>,
    targets: Vec<Range<usize>>,
    seal: fn(&mut [u8]),
}

fn damage(victim: &Victim, rounds: u64, seed: u64) {
    let mut rng = Rng(seed);
    for round in 0..rounds {
        let mut image = victim.image.clone();
        for _ in 0..=rng.below(4) {
            let target = &victim.targets[rng.below(victim.targets.len() as u64) as usize];
            let at = target.start + rng.below(target.len() as u64) as usize;
            let new = [0, 0xFF, 0x80, rng.next() as u8, image[at] ^ 1 << rng.below(8)];
            image[at] = new[rng.below(5) as usize];
        }
        if round % 8 == 7 {
            let len = image.len() as u64;
            image.truncate(rng.below(len) as usize);
        } else if round % 8 != 0 {
            (victim.seal)(&mut image);
        }
        let start = Instant::now();
        use_image(image, &victim.parents, &mut rng);
        assert!(start.elapsed() < TIME_MAX, "round {round} took {:?}", start.elapsed());
    }
}

/// Reads here and there, in both ways where there are bytes.
fn use_image(image: Vec<u8>, parents: &[Image], rng: &mut Rng) {
    let Ok(opened) = open_with(Image::memory(image), Parents::of(parents.to_vec())) else { return };
    let size = opened.disk.bytes.size();
    let _ = opened.read(0, size.min(64 << 10) as usize);
    let _ = opened.read(size - size.min(4096), size.min(4096) as usize);
    for _ in 0..8 {
        let start = rng.below(size);
        let _ = opened.read(start, (size - start).min(1 + rng.below(20_000)) as usize);
    }
}

fn seal_vhd_image(image: &mut [u8]) {
    let len = image.len();
    seal_vhd(&mut image[..512], 64);
    seal_vhd(&mut image[512..1536], 36);
    seal_vhd(&mut image[len - 512..], 64);
}

fn seal_vhdx_image(image: &mut [u8]) {
    for (at, len) in [(64 << 10, 4096), (128 << 10, 4096), (192 << 10, 64 << 10), (256 << 10, 64 << 10)] {
        seal_vhdx(&mut image[at..at + len]);
    }
    if &image[MIB..MIB + 4] == b"loge" {
        let len = u32::from_le_bytes(image[MIB + 8..MIB + 12].try_into().unwrap()) as usize;
        seal_vhdx(&mut image[MIB..MIB + len.clamp(4096, 65536)]);
    }
}

#[test]
fn damaged_vhds_are_harmless() {
    let parent = Vhd::dynamic(noise(40 * 512, 1));
    let has: fn(u64) -> bool = |sector| sector % 3 == 0;
    let child = Vhd { has, ..Vhd::child(noise(64 * 512, 2), &parent, "parent.vhd") };
    let parents = vec![Image::memory(parent.build())];
    for vhd in [child, parent.clone(), Vhd { kind: 2, ..parent }] {
        let image = vhd.build();
        let len = image.len();
        let targets = match vhd.kind {
            2 => vec![len - 512..len],
            _ => vec![
                0..100,
                512..700,
                1088..1200,
                Vhd::TABLE..Vhd::TABLE + 64,
                2560..3072,
                len - 512..len - 400,
            ],
        };
        let seal: fn(&mut [u8]) = if vhd.kind == 2 { |image| seal_end(image) } else { seal_vhd_image };
        damage(&Victim { image, parents: parents.clone(), targets, seal }, 3000, 1);
    }
}

fn seal_end(image: &mut [u8]) {
    let len = image.len();
    seal_vhd(&mut image[len - 512..], 64);
}

#[test]
fn damaged_vhdxs_are_harmless() {
    let size = 3 * MIB as u64;
    let parent = Vhdx { blocks: vec![(0, 6, noise(MIB, 3)), (1, 6, noise(MIB, 4))], ..Vhdx::new(size, MIB) };
    let linkage = "{00112233-4455-6677-8899-aabbccddeeff}";
    let change = LogChange::Data { at: BLOCK_TABLE as u64 + 4096, bytes: noise(4096, 5) };
    let zero = LogChange::Zero { at: BLOCK_TABLE as u64 + 8192, len: 65536 };
    let log = vec![LogEntry { sequence: 9, changes: vec![change, zero], ..LogEntry::default() }];
    let child = Vhdx {
        id: [3; 16],
        blocks: vec![(0, 7, noise(MIB, 6)), (2, 6, noise(MIB, 7))],
        has: |sector| sector % 5 < 2,
        parent: vec![
            ("parent_linkage".into(), linkage.into()),
            ("relative_path".into(), ".\\parent.vhdx".into()),
        ],
        log: log.clone(),
        ..parent.clone()
    };
    let child = Vhdx { log: vec![LogEntry { size: child.build().len() as u64, ..log[0].clone() }], ..child };
    let targets = vec![
        64 << 10..(64 << 10) + 96,
        128 << 10..(128 << 10) + 96,
        192 << 10..(192 << 10) + 80,
        MIB..MIB + 160,
        METADATA..METADATA + 256,
        METADATA + (64 << 10)..METADATA + (64 << 10) + 300,
        BLOCK_TABLE..BLOCK_TABLE + 24,
        BLOCK_TABLE + 4096 * 8..BLOCK_TABLE + 4096 * 8 + 8,
    ];
    let parents = vec![Image::memory(parent.build())];
    damage(&Victim { image: child.build(), parents, targets, seal: seal_vhdx_image }, 600, 2);
}

#[test]
fn damaged_vhdzs_are_harmless() {
    let parent = Vhd::dynamic(noise(40 * 512, 8)).build();
    let mixed = |number| [Packing::Zstd, Packing::Zlib, Packing::Stored, Packing::Hole][number % 4];
    let image = vhdz(&parent, 4096, mixed);
    let len = image.len();
    let targets = vec![0..50, 50..len, len - 48..len];
    damage(&Victim { image, parents: Vec::new(), targets, seal: |_| {} }, 5000, 3);
}

#[test]
fn damaged_qcow2s_are_harmless() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("damaged-qcow2");
    for (seed, options) in
        [(4, "cluster_size=512"), (5, "compression_type=zstd,cluster_size=4k"), (6, "extended_l2=on")]
    {
        std::fs::write(scratch.0.join("base.img"), noise(300_000, 8)).unwrap();
        qemu_img(&scratch.0, &format!("create -q -f qcow2 -F raw -b base.img -o {options} a.qcow2 300k"));
        let writes =
            ["-c", "write -q -P 3 0 70k", "-c", "write -q -c -P 4 128k 64k", "-c", "write -z 200k 40k"];
        run(&scratch.0, "qemu-io", &[&writes[..], &["a.qcow2"]].concat());
        qemu_img(&scratch.0, "snapshot -c name a.qcow2");
        let image = std::fs::read(scratch.0.join("a.qcow2")).unwrap();
        let at = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap()) as usize;
        let (l1, snapshots) = (at(40), at(64));
        let l2 = at(l1) & 0x00FF_FFFF_FFFF_FE00;
        let targets =
            vec![0..112, 112..300, l1..l1 + 64, l2..l2 + 128, snapshots..image.len().min(snapshots + 80)];
        let parents = vec![Image::memory(noise(300_000, 8))];
        damage(&Victim { image, parents, targets, seal: |_| {} }, 1500, seed);
    }
}

#[test]
fn damaged_vdis_are_harmless() {
    let blocks = |seed| vec![(3, noise(4096, seed)), (0, noise(4096, seed + 1))];
    let parent = Vdi { blocks: blocks(1), ..Vdi::new(9 * 4096, 4096) };
    let child = Vdi { blocks: blocks(5), zeros: vec![1], ..Vdi::child(&parent) };
    let parents = vec![Image::memory(parent.build())];
    let targets = vec![64..80, 340..348, 360..400, 424..440, Vdi::MAP..Vdi::MAP + 40];
    damage(&Victim { image: child.build(), parents, targets, seal: |_| {} }, 5000, 7);
}

#[test]
fn damaged_vmdks_are_harmless() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("damaged-vmdk");
    qemu_img(&scratch.0, "create -q -f vmdk base.vmdk 1M");
    qemu_img(&scratch.0, "create -q -f vmdk -F vmdk -b base.vmdk child.vmdk");
    run(&scratch.0, "qemu-io", &["-f", "vmdk", "-c", "write -q -P 5 100k 300k", "child.vmdk"]);
    qemu_img(&scratch.0, "convert -f vmdk -O vmdk -o subformat=streamOptimized child.vmdk stream.vmdk");
    let read = |name| std::fs::read(scratch.0.join(name)).unwrap();
    let parents = vec![Image::memory(read("base.vmdk"))];
    for (name, seed) in [("child.vmdk", 8), ("stream.vmdk", 9)] {
        let image = read(name);
        let sector = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize * 512;
        let directory = sector(56);
        let (table, text) = (sector(directory), sector(28));
        let grain = sector(table + 8);
        let targets =
            vec![0..80, text..text + 400, directory..directory + 8, table..table + 64, grain..grain + 40];
        damage(&Victim { image, parents: parents.clone(), targets, seal: |_| {} }, 2500, seed);
    }
}

#[test]
fn damaged_descriptors_are_harmless() {
    let text = "# Disk DescriptorFile\nversion=1\nCID=0000abcd\nparentCID=ffffffff\ncreateType=\"custom\"\n\
        RW 8 FLAT \"a-flat.vmdk\" 4\nRW 7 ZERO\nRW 9 FLAT \"b-flat.vmdk\" 0\n# end\n";
    let parents = vec![Image::memory(noise(20_000, 1)), Image::memory(noise(9 * 512, 2))];
    let image = text.as_bytes().to_vec();
    let targets = vec![21..image.len(), 21..image.len()];
    damage(&Victim { image, parents, targets, seal: |_| {} }, 5000, 10);
}
