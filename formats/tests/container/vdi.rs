//! VDI: images by qemu, and children by a writer of our own, since qemu does not know them.

use super::make::{Vdi, put};
use super::support::{Image, Opened, Parents, Scratch, line, noise, open, open_with};
use super::tools::{has_qemu, qemu_img, same_as_qemu, scribble};
use spelunk_tree::{ErrorKind, Place};

const BLOCK: usize = 4096;

#[test]
fn dynamic_and_static_images_have_qemu_s_bytes() {
    if !has_qemu() {
        return;
    }
    let scratch = Scratch::new("vdi");
    for (kind, variant) in [("off", "dynamic"), ("on", "fixed")] {
        for size in [512, 1 << 20, (7 << 20) + 1536] {
            qemu_img(&scratch.0, &format!("create -q -f vdi -o static={kind} a.vdi {size}"));
            scribble(&scratch.0, "a.vdi", size, size + 1);

            let opened = same_as_qemu(&scratch.0, "a.vdi", &format!("static={kind}, {size} bytes"));

            assert_eq!(opened.disk.layers[0].variant, variant);
            assert_eq!(opened.disk.layers[0].block_bytes, 1 << 20);
        }
    }
}

fn parent() -> Vdi {
    let blocks = vec![(3, noise(BLOCK, 3)), (0, noise(BLOCK, 1)), (1, noise(BLOCK, 2))];
    Vdi { blocks, ..Vdi::new(5 * BLOCK as u64 - 512, BLOCK) }
}

fn child() -> Vdi {
    let blocks = vec![(4, noise(BLOCK, 9)), (1, noise(BLOCK, 8))];
    Vdi { blocks, zeros: vec![3], ..Vdi::child(&parent()) }
}

fn chain(child: &Vdi, parents: &[Vdi]) -> spelunk_tree::Result<Opened> {
    let parents = Parents::of(parents.iter().map(|parent| Image::memory(parent.build())));
    open_with(Image::memory(child.build()), parents)
}

#[test]
fn writer_of_the_tests_writes_what_qemu_reads() {
    if !has_qemu() {
        return;
    }
    // qemu reads blocks of 1 MiB only.
    let blocks = vec![(2, noise(1 << 20, 3)), (0, noise(1 << 20, 1))];
    let image = Vdi { blocks, zeros: vec![1], ..Vdi::new(4 << 20, 1 << 20) };
    let scratch = Scratch::new("vdi-writer");
    std::fs::write(scratch.0.join("a.vdi"), image.build()).unwrap();

    same_as_qemu(&scratch.0, "a.vdi", "the tests' own");
}

#[test]
fn child_takes_from_its_parent_what_was_never_written_and_not_what_is_zero() {
    let opened = chain(&child(), &[parent()]).unwrap();

    let mut expected = [noise(BLOCK, 1), noise(BLOCK, 8), vec![0; 2 * BLOCK], noise(BLOCK, 9)].concat();
    expected.truncate(5 * BLOCK - 512);
    assert!(opened.all().unwrap() == expected);
    let ids: Vec<&str> = opened.disk.layers.iter().map(|layer| layer.id.as_str()).collect();
    assert_eq!(ids, ["a2a2a2a2-a2a2-a2a2-a2a2-a2a2a2a2a2a2", "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1"]);
    let wanted = opened.disk.layers[0].parent.as_ref().unwrap();
    assert_eq!(wanted.id, ids[1]);
    assert_eq!(wanted.paths, ["{a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1}.vdi", "*.vdi", "../*.vdi"]);
    assert_eq!(opened.disk.layers[1].notes, Vec::<String>::new());
}

#[test]
fn three_images_make_one_chain_and_strangers_are_passed_over() {
    let top = Vdi { blocks: vec![(0, noise(BLOCK, 20))], ..Vdi::child(&child()) };
    let stranger = Vdi { id: [0x77; 16], ..parent() };
    let opened = chain(&top, &[stranger, child(), parent()]);
    // Each child is offered the same files, so the second one meets the first one again.
    let opened = opened.unwrap();

    assert!(opened.read(0, BLOCK).unwrap() == noise(BLOCK, 20));
    assert!(opened.read(BLOCK as u64, BLOCK).unwrap() == noise(BLOCK, 8));
    assert_eq!(opened.disk.layers.len(), 3);

    let error = chain(&child(), &[Vdi { id: [0x77; 16], ..parent() }]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(line(&error).contains("with id a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1"), "{}", line(&error));
}

#[test]
fn parent_in_another_state_is_a_note() {
    let changed = Vdi { stamp: [0x55; 16], ..parent() };

    let opened = chain(&child(), &[changed]).unwrap();

    assert!(opened.disk.layers[1].notes[0].contains("another state"), "{:?}", opened.disk.layers[1].notes);
}

#[test]
fn bytes_before_each_block_are_skipped_at_every_block_size() {
    for block_bytes in [512, 4096, 1 << 16, 1 << 20] {
        let blocks = vec![(2, noise(block_bytes, 4)), (0, noise(block_bytes, 5))];
        let image = Vdi { extra_bytes: 512, blocks, ..Vdi::new(3 * block_bytes as u64, block_bytes) };

        let opened = open(image.build()).unwrap();

        let expected = [noise(block_bytes, 5), vec![0; block_bytes], noise(block_bytes, 4)].concat();
        assert!(opened.all().unwrap() == expected, "{block_bytes}");
        let mut runs = Vec::new();
        opened.disk.bytes.runs(0, image.size, &mut runs).unwrap();
        assert!(runs.iter().all(|run| run.place != Place::Opaque));
    }
}

#[test]
fn wrong_headers_and_maps_are_refused_by_name() {
    let cases: [(usize, &[u8], ErrorKind, &str); 12] = [
        (64, &[0], ErrorKind::Corrupt, "a wrong signature"),
        (68, &[1, 0, 0, 0], ErrorKind::Unsupported, "VDI version 0.1"),
        (76, &[3], ErrorKind::Unsupported, "an undo image"),
        (76, &[9], ErrorKind::Corrupt, "the unknown type 9"),
        (340, &[0, 0xFF, 0xFF], ErrorKind::Corrupt, "truncated: the block map"),
        (344, &[0, 0, 0, 0], ErrorKind::Corrupt, "points into the header or itself"),
        (368, &[0; 8], ErrorKind::Corrupt, "a disk of 0 bytes"),
        (368, &[0xFF; 8], ErrorKind::Limit, "a disk of"),
        (376, &[1, 0, 0, 0], ErrorKind::Corrupt, "blocks of 1 bytes"),
        (376, &[0, 0x18, 0, 0], ErrorKind::Corrupt, "blocks of 6144 bytes"),
        (384, &[1, 0, 0, 0], ErrorKind::Corrupt, "1 blocks for a disk of 5"),
        (Vdi::MAP, &[0, 1, 0, 0], ErrorKind::Corrupt, "truncated: data past the end"),
    ];
    for (at, bytes, kind, words) in cases {
        let mut image = parent().build();
        put(&mut image, at, bytes);

        let error = open(image).and_then(|opened| opened.all()).err().unwrap();

        assert_eq!(error.kind(), kind, "{}", line(&error));
        assert!(line(&error).contains(words), "{} is not {words}", line(&error));
    }
    let image = parent().build();
    for len in [68, 455, 530] {
        assert_eq!(open(image[..len].to_vec()).err().unwrap().kind(), ErrorKind::Corrupt, "{len}");
    }
}
