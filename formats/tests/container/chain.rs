//! Chains: parents found, missing, wrong, cyclic, and too many.

use super::make::{MIB, Packing, Vhd, Vhdx, put, seal_vhd, vhdz};
use super::support::{Image, Parents, line, noise, open, open_with};
use spelunk_tree::{ErrorKind, limits};

fn parent() -> Vhd {
    Vhd::dynamic(noise(40 * 512, 1))
}

fn child() -> Vhd {
    Vhd { has: |sector| sector % 2 == 0, ..Vhd::child(noise(40 * 512, 2), &parent(), ".\\full.vhd") }
}

#[test]
fn compressed_and_plain_images_mix_in_one_chain() {
    let grandchild =
        Vhd { has: |sector| sector % 3 == 0, ..Vhd::child(noise(40 * 512, 3), &child(), "incr.vhd") };
    let pack = |vhd: &Vhd| vhdz(&vhd.build(), 4096, |_| Packing::Zstd);
    let mut expected = noise(40 * 512, 1);
    for (sector, bytes) in expected.chunks_mut(512).enumerate() {
        let seed = if sector % 3 == 0 {
            3
        } else if sector % 2 == 0 {
            2
        } else {
            continue;
        };
        bytes.copy_from_slice(&noise(40 * 512, seed)[sector * 512..][..512]);
    }
    for mask in 0..8 {
        let chain = [grandchild.clone(), child(), parent()].into_iter().enumerate();
        let mut images =
            chain.map(|(n, vhd)| Image::memory(if mask >> n & 1 == 1 { pack(&vhd) } else { vhd.build() }));

        let opened = open_with(images.next().unwrap(), Parents::of(images)).unwrap();

        assert!(opened.all().unwrap() == expected, "{mask}");
        let sources: Vec<u32> = opened.disk.layers.iter().map(|layer| layer.source).collect();
        assert_eq!(sources.len(), 3 + (mask as u32).count_ones() as usize);
        assert!(sources.is_sorted() && sources.last() == Some(&2));
    }
}

#[test]
fn wrong_candidates_are_passed_over_for_the_right_one() {
    let other = Vhd { id: [0xAA; 16], ..parent() };
    let candidates = [vec![0; 4096], Vec::new(), vec![7; 100], other.build(), parent().build()];

    let opened =
        open_with(Image::memory(child().build()), Parents::of(candidates.map(Image::memory))).unwrap();

    let expected = &parent().disk[512..1024];
    assert!(opened.read(512, 512).unwrap() == expected);
}

#[test]
fn missing_parent_is_named_and_so_is_what_was_found_instead() {
    let other = Vhd { id: [0xAA; 16], ..parent() };
    let mut broken = parent().build();
    broken[600] ^= 1;
    let vhdx = Vhdx::new(MIB as u64, MIB).build();
    let cases = [
        (vec![], "\"full.vhd\" with id 01010101-0101-0101-0101-010101010101 of image 0 is missing"),
        (vec![other.build()], "but its id is aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"),
        (vec![broken], "the dynamic header's checksum is wrong"),
        (vec![vhdx], "but it is a vhdx image, not vhd"),
        (vec![noise(4096, 5)], "but it is a raw image, not vhd"),
        (vec![Vec::new()], "the file is empty"),
    ];
    for (files, words) in cases {
        let parents = Parents::of(files.into_iter().map(Image::memory));

        let error = open_with(Image::memory(child().build()), parents).err().unwrap();

        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
        assert!(line(&error).contains("full.vhd"), "{}", line(&error));
    }
}

#[test]
fn chain_that_returns_to_itself_is_corrupt() {
    let own = Vhd { parent_id: child().id, ..child() };
    let error =
        open_with(Image::memory(own.build()), Parents::of([Image::memory(own.build())])).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(line(&error).contains("cyclic"), "{}", line(&error));

    let first = Vhd { id: [1; 16], parent_id: [2; 16], ..child() };
    let second = Vhd { id: [2; 16], parent_id: [1; 16], ..child() };
    let files = Parents::of([&second, &first].map(|vhd| Image::memory(vhd.build())));
    let error = open_with(Image::memory(first.build()), files).err().unwrap();
    assert!(line(&error).contains("cyclic"), "{}", line(&error));
}

/// A chain of `len` images of 64 sectors, of which number `n` has sector `n % 64`; the youngest first.
fn long_chain(len: usize) -> Vec<Image> {
    let disk: Vec<u8> = vec![0x11; 64 * 512];
    let mut images = Vec::new();
    let mut image = Vhd { id: [0; 16], ..Vhd::dynamic(disk) }.build();
    for number in 0..len {
        images.push(Image::memory(image.clone()));
        let below = Vhd { id: id(number), ..Vhd::dynamic(Vec::new()) };
        let mut next = Vhd::child(vec![(number + 1) as u8; 64 * 512], &below, "x.vhd");
        next.id = id(number + 1);
        next.has = |_| true;
        image = next.build();
        // Only one sector of each: the writer's function of sectors does not know the number.
        for block in 0..8 {
            let entry = u32::from_be_bytes(image[Vhd::TABLE + block * 4..][..4].try_into().unwrap());
            image[entry as usize * 512..][..512].fill(0);
        }
        let sector = (number + 1) % 64;
        let entry = u32::from_be_bytes(image[Vhd::TABLE + sector / 8 * 4..][..4].try_into().unwrap());
        image[entry as usize * 512] = 0x80 >> (sector % 8);
        let end = image.len();
        seal_vhd(&mut image[end - 512..], 64);
    }
    images.reverse();
    images
}

fn id(number: usize) -> [u8; 16] {
    let mut id = [0; 16];
    put(&mut id, 0, &(number as u64).to_be_bytes());
    id
}

#[test]
fn longest_chain_is_read_and_a_longer_one_is_over_the_limit() {
    let mut images = long_chain(limits::CHAIN_MAX).into_iter();
    let youngest = images.next().unwrap();
    let opened = open_with(youngest, Parents::of(images).in_turn()).unwrap();

    let disk = opened.all().unwrap();

    for sector in 0..64 {
        let newest = (0..limits::CHAIN_MAX).rev().find(|number| number % 64 == sector).unwrap();
        let expected = if newest == 0 { 0x11 } else { newest as u8 };
        assert!(disk[sector * 512..][..512].iter().all(|&byte| byte == expected), "{sector}");
    }

    let mut images = long_chain(limits::CHAIN_MAX + 1).into_iter();
    let youngest = images.next().unwrap();
    let parents = Parents::of(images).in_turn();
    assert_eq!(open_with(youngest, parents).err().unwrap().kind(), ErrorKind::Limit);
}

#[test]
fn files_that_are_no_images_are_one_clear_error() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "empty"),
        (b"QFI\xFB\0\0\0\x03", "truncated inside its header"),
        (b"\x1F\x8B\x08rest", "gzip"),
        (b"PK\x03\x04rest", "ZIP"),
    ];
    for (bytes, words) in cases {
        let error = open(bytes.to_vec()).err().unwrap();
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    assert!(open(vec![1; 5]).unwrap().all().unwrap() == [1; 5], "anything else is raw");
}
