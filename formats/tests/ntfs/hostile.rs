//! Damaged and forged volumes: they must end in entries and errors, never in a panic or a hang.

use crate::file::{Memory, open_at};
use crate::walk::list;
use spelunk_tree::{Cursor, ErrorKind, Kind, Listed, Name, NodeId, Tree};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Calls every method on everything that can be reached; says how many entries there were.
pub fn visit(tree: &dyn Tree) -> usize {
    let mut entries = 0;
    let mut seen = HashSet::new();
    let mut directories = vec![tree.root()];
    while let Some(directory) = directories.pop() {
        if !seen.insert(directory) || entries > 200_000 {
            continue;
        }
        let mut cursor = Some(Cursor::START);
        while let Some(from) = cursor {
            let Ok(page) = tree.list(directory, from, 100) else { break };
            cursor = page.next;
            for listed in page.entries {
                entries += 1;
                let Listed::Entry { entry, .. } = listed else { continue };
                let _ = tree.lookup(directory, &entry.name);
                touch(tree, entry.node, entry.attr.size);
                if entry.attr.kind == Kind::Directory {
                    directories.push(entry.node);
                }
            }
        }
    }
    entries
}

fn touch(tree: &dyn Tree, node: NodeId, size: u64) {
    let mut buffer = vec![0; 100_000];
    for offset in [0, 4095, size / 2, size.saturating_sub(1), u64::MAX] {
        let _ = tree.read(node, None, offset, &mut buffer);
    }
    let _ = tree.runs(node, None, 0, u64::MAX, &mut Vec::new());
    let _ = tree.link_target(node);
    let _ = tree.xattrs(node);
    for stream in tree.streams(node).unwrap_or_default() {
        let _ = tree.read(node, Some(&stream.name), 0, &mut buffer);
    }
}

/// A cheap generator of numbers; the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end
    }
}

/// A small volume with `FILES` files in its root, as `mkntfs` and `ntfscp` make it without a mount; `None`
/// without them.
fn small_volume(name: &str) -> Option<Vec<u8>> {
    let directory = std::env::temp_dir().join(format!("spelunk-ntfs-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let image = fill_volume(&directory.join("volume"), &directory.join("source"));
    std::fs::remove_dir_all(&directory).unwrap();
    if image.is_none() {
        spelunk_testkit::skip::because("mkntfs or ntfscp cannot be run");
    }
    image
}

const FILES: usize = 60;

fn file_name(at: usize) -> String {
    format!("a file with a name number {at}")
}

fn fill_volume(path: &Path, source: &Path) -> Option<Vec<u8>> {
    std::fs::write(path, vec![0; 3 << 20]).unwrap();
    let made =
        Command::new("mkntfs").args(["-q", "-F", "-s", "512", "-c", "1024", "-p", "0"]).arg(path).output();
    made.ok().filter(|made| made.status.success())?;
    for at in 0..FILES {
        std::fs::write(source, vec![b'x'; at * 97]).unwrap();
        let copied =
            Command::new("ntfscp").args(["-q", "-f"]).arg(path).arg(source).arg(file_name(at)).output();
        copied.ok().filter(|copied| copied.status.success())?;
    }
    Some(std::fs::read(path).unwrap())
}

/// Where records (`FILE`) or index blocks (`INDX`) stand.
fn blocks(image: &[u8], magic: &[u8]) -> Vec<usize> {
    (0..image.len()).step_by(512).filter(|at| image[*at..].starts_with(magic)).collect()
}

/// Where `$MFT` begins.
fn table(image: &[u8]) -> usize {
    usize::try_from(u64::from_le_bytes(image[0x30..0x38].try_into().unwrap())).unwrap() * 1024
}

fn open(image: Vec<u8>) -> Arc<dyn Tree> {
    let size = image.len() as u64;
    open_at(Arc::new(Memory(image)), 0, size).unwrap()
}

/// The names that a listing of the root has, and how many broken lines.
fn root_names(tree: &dyn Tree) -> (BTreeSet<String>, usize) {
    let mut names = BTreeSet::new();
    let mut broken = 0;
    for listed in list(tree, tree.root(), 7) {
        match listed {
            Listed::Entry { entry, .. } => {
                assert_eq!(tree.lookup(tree.root(), &entry.name).as_ref(), Ok(&entry));
                names.insert(String::from_utf8_lossy(entry.name.as_bytes()).into_owned());
            }
            Listed::Broken { .. } => broken += 1,
        }
    }
    (names, broken)
}

#[test]
fn mutated_volumes_end_without_panic() {
    let Some(image) = small_volume("hostile") else { return };
    let ranges = [blocks(&image, b"FILE"), blocks(&image, b"INDX")].concat();
    assert!(ranges.len() > 60);
    let mut random = Random(7);
    let mut opened = 0;
    for _ in 0..400 {
        let mut mutated = image.clone();
        for _ in 0..=random.below(6) {
            let block = ranges[random.below(ranges.len())];
            let at = block + random.below(512);
            let values = [0x00, 0x01, 0x7F, 0x80, 0xFF, random.next().to_le_bytes()[0]];
            mutated[at] = values[random.below(values.len())];
        }
        if random.below(10) == 0 {
            let at = random.below(512);
            mutated[at] = random.next().to_le_bytes()[0];
        }
        let size = mutated.len() as u64;
        if let Ok(tree) = open_at(Arc::new(Memory(mutated)), 0, size) {
            opened += 1;
            visit(&*tree);
        }
    }
    assert!(opened > 200, "only {opened} mutated volumes opened");
}

#[test]
fn cut_volumes_end_without_panic() {
    let Some(image) = small_volume("cut") else { return };
    for len in [0, 1, 511, 512, 4096, 20_000, 100_000, 1 << 20] {
        if let Ok(tree) = open_at(Arc::new(Memory(image[..len].to_vec())), 0, len as u64) {
            visit(&*tree);
        }
    }
}

/// The flag that Windows 10 sets for a directory, put in by hand: no tool here does.
#[test]
fn directory_that_heeds_case_finds_exact_names_only() {
    let Some(mut image) = small_volume("heeds-case") else { return };
    let find = |image: &[u8], name: &str| {
        let tree = open(image.to_vec());
        tree.lookup(tree.root(), &Name::new(name.as_bytes()).unwrap()).map_err(|error| error.kind())
    };
    let name = file_name(7);
    assert!(find(&image, &name.to_uppercase()).is_ok());
    // The version number in the root's $STANDARD_INFORMATION, its first attribute.
    let attribute = table(&image) + 5 * 1024;
    let attribute = attribute + usize::from(image[attribute + 0x14]);
    let value = attribute + usize::from(image[attribute + 0x14]);
    image[value + 0x28] = 1;

    assert_eq!(find(&image, &name.to_uppercase()).err(), Some(ErrorKind::NotFound));
    assert!(find(&image, &name).is_ok());
}

#[test]
fn damaged_index_block_hides_only_its_own_entries() {
    let Some(image) = small_volume("index") else { return };
    let (all, broken) = root_names(&*open(image.clone()));
    assert!(all.len() > FILES && broken == 0);
    let mut tried = 0;
    for block in blocks(&image, b"INDX") {
        let mut damaged = image.clone();
        damaged[block + 510] ^= 0x55;
        let tree = open(damaged);

        let (left, broken) = root_names(&*tree);

        // Other indexes of the volume ($Secure) have blocks too.
        if broken > 0 {
            tried += 1;
            assert!(broken == 1 && left.len() < all.len() && left.is_subset(&all));
            let lost = all.difference(&left).next().unwrap();
            let error = tree.lookup(tree.root(), &Name::new(lost.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        } else {
            assert_eq!(left, all);
        }
    }
    assert!(tried > 1, "the root has only {tried} blocks");
}

#[test]
fn damaged_record_is_one_broken_entry() {
    let Some(image) = small_volume("record") else { return };
    let whole = open(image.clone());
    let (all, _) = root_names(&*whole);
    for at in 0..FILES {
        let file = whole.lookup(whole.root(), &Name::new(file_name(at).as_bytes()).unwrap()).unwrap();
        let number = usize::try_from(file.node.get() & 0xFFFF_FFFF).unwrap();
        let mut damaged = image.clone();
        damaged[table(&image) + number * 1024 + 1022] ^= 0x55;
        let tree = open(damaged);

        let entries = list(&*tree, tree.root(), 1000);

        let broken: Vec<_> = entries
            .iter()
            .filter_map(|listed| match listed {
                Listed::Broken { name, error, .. } => Some((name.clone(), error.clone())),
                Listed::Entry { .. } => None,
            })
            .collect();
        let [(Some(name), error)] = &broken[..] else { panic!("{broken:?}") };
        assert_eq!(name, &file.name);
        assert_eq!((error.kind(), entries.len()), (ErrorKind::Corrupt, all.len()));
        assert_eq!(tree.lookup(tree.root(), name).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn first_record_damaged_is_read_from_the_mirror() {
    let Some(image) = small_volume("mirror") else { return };
    let (all, _) = root_names(&*open(image.clone()));
    let mut damaged = image.clone();
    // $MFT, and $Volume with the label.
    for record in [0, 3] {
        damaged[table(&image) + record * 1024 + 1022] ^= 0x55;
    }

    let tree = open(damaged);

    assert_eq!(root_names(&*tree), (all, 0));
    assert!(tree.info().notes.iter().any(|note| note.contains("$MFTMirr")), "{:?}", tree.info().notes);
}

#[test]
fn damaged_boot_sector_is_read_from_the_end() {
    let Some(image) = small_volume("boot") else { return };
    let (all, _) = root_names(&*open(image.clone()));
    let damages: [&[(usize, u8)]; 3] = [&[(3, 0), (4, 0)], &[(0x0D, 3)], &[(0x30, 0xEE), (0x38, 0xEE)]];
    for damage in damages {
        let mut damaged = image.clone();
        for (at, byte) in damage {
            damaged[*at] = *byte;
        }

        let tree = open(damaged);

        assert_eq!(root_names(&*tree), (all.clone(), 0), "{damage:?}");
        let notes = &tree.info().notes;
        assert!(notes.iter().any(|note| note.contains("boot sector damaged")), "{notes:?}");
    }
}

#[test]
fn end_of_an_old_volume_is_not_opened_below_another_filesystem() {
    let Some(image) = small_volume("old") else { return };
    let open = |image: Vec<u8>| {
        let size = image.len() as u64;
        open_at(Arc::new(Memory(image)), 0, size).map(|tree| tree.info().filesystem.clone())
    };
    let mut wiped = image;
    wiped[..512].fill(0);
    assert_eq!(open(wiped.clone()).as_deref(), Ok("ntfs"));
    wiped[..4].copy_from_slice(b"XFSB");

    assert_eq!(open(wiped).map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
}

#[test]
fn stale_ids_are_not_found() {
    let Some(image) = small_volume("stale") else { return };
    let tree = open(image);
    let entry = tree.lookup(tree.root(), &Name::new(file_name(3).as_bytes()).unwrap()).unwrap();
    let other_life = NodeId::new(entry.node.get() + (1 << 40)).unwrap();
    let behind = NodeId::new((1 << 40) | 0xFFFF_FFFF).unwrap();

    for id in [other_life, behind] {
        assert_eq!(tree.attr(id).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(tree.read(id, None, 0, &mut [0; 10]).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(tree.list(id, Cursor::START, 10).unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(tree.list(entry.node, Cursor::START, 10).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(tree.read(tree.root(), None, 0, &mut [0; 10]).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(tree.link_target(entry.node).unwrap_err().kind(), ErrorKind::NotALink);
}

#[test]
fn names_are_found_in_any_case_and_metafiles_only_when_asked() {
    let Some(image) = small_volume("case") else { return };
    let tree = open(image.clone());
    let hiding = spelunk_formats::guest::open(Arc::new(Memory(image)), &Default::default()).unwrap();
    let lookup = |tree: &dyn Tree, name: &str| tree.lookup(tree.root(), &Name::new(name.as_bytes()).unwrap());

    let found = lookup(&*tree, "A FILE with a NAME number 7").unwrap();

    assert_eq!(found.name.as_bytes(), file_name(7).as_bytes());
    assert_eq!(lookup(&*tree, "a file with a name").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(lookup(&*tree, "$Boot").is_ok() && lookup(&*tree, "$boot").is_ok());
    assert_eq!(lookup(&*hiding, "$Boot").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(root_names(&*hiding).0.len(), FILES);
}

#[test]
fn name_for_dos_is_shown_where_it_is_the_only_one() {
    let Some(image) = small_volume("dos") else { return };
    let name: Vec<u8> = file_name(5).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut patched = image;
    let places: Vec<usize> =
        (0..patched.len() - name.len()).filter(|at| patched[*at..].starts_with(&name)).collect();
    assert!(places.len() >= 2);
    for at in places {
        // The byte in front of a name says who it is for.
        patched[at - 1] = 2;
    }

    let (names, broken) = root_names(&*open(patched));

    assert!(names.contains(&file_name(5)) && broken == 0);
}
