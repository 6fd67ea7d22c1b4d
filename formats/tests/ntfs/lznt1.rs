//! Compressed units that are damaged or forged: ntfs-3g and Spelunk unpack the same bytes, or refuse.

use crate::file::Image;
use crate::live::{Lab, set};
use spelunk_tree::{ErrorKind, Name, ReadAt};
use std::fs;
use std::os::unix::fs::FileExt;

const FILES: usize = 48;
/// Bytes of a unit, which is compressed alone: 16 clusters of 4096 bytes.
const UNIT_BYTES: usize = 64 * 1024;
const CHUNK_BYTES: usize = 4096;
const ROUNDS: usize = 6;

/// A cheap generator of numbers; the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Begins a file: eight bytes without repetition, which are found as they are in the compressed unit.
fn mark(number: usize) -> [u8; 8] {
    let [tens, ones] = [number / 10, number % 10].map(|digit| b'g' + digit as u8);
    [0xF1, 0x1E, tens, ones ^ 0x80, 0xC3, 0x5A, 0xA7, 0x02]
}

fn plain(random: &mut Random, number: usize) -> Vec<u8> {
    let mut bytes = mark(number).to_vec();
    while bytes.len() < UNIT_BYTES {
        if random.below(3) == 0 {
            bytes.push(random.below(256) as u8);
        } else {
            let from = bytes.len() - 1 - random.below(bytes.len().min(4000));
            for at in 0..random.below(60) {
                bytes.push(bytes[from + at]);
            }
        }
    }
    bytes.truncate(UNIT_BYTES);
    bytes
}

/// Where the compressed units lie in the image.
fn units(image: &dyn ReadAt) -> Vec<u64> {
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes).unwrap();
    let is_unit = |at: &usize, number: usize| bytes[at + 3..].starts_with(&mark(number));
    let find = |number| (0..bytes.len()).step_by(CHUNK_BYTES).find(|at| is_unit(at, number));
    (0..FILES).map(|number| find(number).expect("a compressed unit") as u64).collect()
}

/// Changes a unit: bytes, tokens that reach far back or are long, lengths of chunks, an early end.
fn forge(random: &mut Random, unit: &mut [u8]) {
    for _ in 0..=random.below(3) {
        let at = random.below(unit.len() - 2);
        let value = [0, 0xFF, 0x0F, 0xF0, unit[at] ^ 1, random.below(256) as u8][random.below(6)];
        match random.below(5) {
            0 => unit[at..at + 2].fill(value),
            1 => unit[0] = value,
            2 => unit[1] = [0xB0, 0xBF, 0x30, 0x80, 0x00, 0xFF, value][random.below(7)],
            // The first group of tokens: phrases in the place of bytes.
            3 => unit[2] = value,
            _ => unit[at] = value,
        }
    }
}

#[test]
fn damaged_units_are_unpacked_as_by_ntfs_3g_or_refused() {
    let Some(lab) = Lab::new("lznt1") else { return };
    lab.mkntfs(32 << 20, &["-c", "4096"]);
    let Some(mount) = lab.mount("compression") else { return };
    let mut random = Random(7);
    let dir = mount.0.join("packed");
    fs::create_dir(&dir).unwrap();
    set(&dir, "system.ntfs_attrib", &0x810_u32.to_ne_bytes());
    for number in 0..FILES {
        fs::write(dir.join(number.to_string()), plain(&mut random, number)).unwrap();
    }
    drop(mount);
    let image = fs::OpenOptions::new().read(true).write(true).open(lab.image()).unwrap();
    let units = units(&*Image::open(&lab.image()));
    let (mut same, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut originals = Vec::new();
        for &at in &units {
            let mut unit = vec![0; 3000];
            image.read_exact_at(&mut unit, at).unwrap();
            originals.push(unit.clone());
            forge(&mut random, &mut unit);
            image.write_all_at(&unit, at).unwrap();
        }
        let (tree, _) = lab.tree();
        let Some(mount) = lab.mount("compression,ro") else { return };
        let packed = tree.lookup(tree.root(), &Name::new(&b"packed"[..]).unwrap()).unwrap().node;
        for (number, original) in originals.iter().enumerate() {
            let name = number.to_string();
            let node = tree.lookup(packed, &Name::new(name.as_bytes()).unwrap()).unwrap().node;
            let mut bytes = vec![0; UNIT_BYTES];
            let ours = tree.read(node, None, 0, &mut bytes).map(|_| bytes);
            let theirs = fs::read(mount.0.join("packed").join(&name));
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    let first = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
                    assert!(first.is_none(), "file {number} differs at {first:?}: {:x?}", &original[..32]);
                    same += 1;
                }
                (Err(error), Err(_)) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    refused += 1;
                }
                (ours, theirs) => {
                    panic!("file {number}: {:?} for {:?}", ours.map(|_| ()), theirs.map(|_| ()))
                }
            }
        }
        drop(mount);
        for (&at, unit) in units.iter().zip(&originals) {
            image.write_all_at(unit, at).unwrap();
        }
    }
    println!("{same} the same, {refused} refused");
    assert!(same > 30 && refused > 30, "{same} the same, {refused} refused");
}
