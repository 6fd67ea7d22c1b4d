//! FAT against Sleuth Kit's manifests and mtools' view of the same volumes.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod images;

use images::{CorpusImage, FileImage, MemoryImage, Walked, corpus, make, scratch, walk};
use spelunk_formats::guest::{self, CodePage, Options};
use spelunk_formats::{Slice, partition};
use spelunk_tree::{Cursor, ErrorKind, Kind, Listed, Name, NodeId, Place, ReadAt, Run, Tree};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Images with FAT volumes that Sleuth Kit read, and where: the whole disk, or a partition.
const SLEUTH_KIT: &[(&str, u32)] = &[
    ("dftt-fat-daylight", 0),
    ("dfvfs-fat12", 0),
    ("dissect-fat-fat12", 0),
    ("fatfs-fat12", 0),
    ("gen-fat12-1cl-A", 0),
    ("gen-fat12-floppy-A", 0),
    ("gen-fat16-16M-A", 0),
    ("gen-fat16-big-sector-A", 0),
    ("gen-fat32-big-cluster-A", 0),
    ("gen-fat32-lfn-A", 0),
    ("ratarmount-folder-symlink-fat12", 0),
    ("gen-superfloppy-fat16-raw-A", 0),
    ("gen-gpt-mixed-raw-A", 1),
    ("gen-mbr-4primary-raw-A", 1),
    ("gen-mbr-logical-raw-A", 1),
    ("gen-mbr-logical-raw-A", 8),
    ("dftt-extend-part", 1),
    ("dftt-extend-part", 2),
    ("dftt-extend-part", 3),
    ("dftt-extend-part", 5),
    ("dftt-extend-part", 6),
];

fn open(image: &CorpusImage, number: u32) -> Arc<dyn Tree> {
    let disk: Arc<dyn ReadAt> = Arc::new(FileImage::open(&image.path));
    let volume: Arc<dyn ReadAt> = match number {
        0 => disk,
        _ => {
            let table = partition::read(&*disk, None).unwrap().unwrap();
            let partition = table.partitions.iter().find(|it| it.number == number).unwrap();
            Arc::new(Slice::new(disk, partition.start_bytes, partition.size_bytes))
        }
    };
    guest::open(volume, &Options::default())
        .unwrap_or_else(|error| panic!("{} {number}: {error:?}", image.id))
}

/// The columns path, type, size, sha256, mtime and mode, in which Sleuth Kit shows the read-only and
/// hidden attributes.
fn our_lines(tree: &dyn Tree) -> Vec<String> {
    let lines = walk(tree).into_iter().map(|walked| {
        let kind = if walked.attr.kind == Kind::Directory { "d" } else { "f" };
        let seconds = walked.attr.modified.map_or(0, |time| time.seconds());
        let mode = match walked.attr.dos_attributes.unwrap() & 3 {
            0 => "0777",
            1 => "0555",
            2 => "0333",
            _ => "0111",
        };
        format!("{}\t{kind}\t{}\t{}\t{seconds}.000000000\t{mode}", walked.path, walked.attr.size, walked.hash)
    });
    lines.collect()
}

/// Sleuth Kit shows the label and its own metafiles as entries.
fn sleuth_kit_lines(image: &CorpusImage, number: u32) -> Vec<String> {
    let prefix = if number == 0 { String::new() } else { format!("p{number}/") };
    image
        .manifest
        .iter()
        .filter(|line| line[1] != "P" && line[1] != "v" && !line[0].ends_with(" (Volume Label Entry)"))
        .filter_map(|line| Some(format!("{}\t{}", line[0].strip_prefix(&prefix)?, line[1..6].join("\t"))))
        .collect()
}

/// Whether a line of ours says the same as one of Sleuth Kit's. It writes `^` for high bytes of short names,
/// whose code page it does not know, and cuts long names of more than 14 parts of 13 characters (mtools
/// shows them whole).
fn is_same_line(our: &str, their: &str) -> bool {
    let (our_path, our_rest) = our.split_once('\t').unwrap();
    let (their_path, their_rest) = their.split_once('\t').unwrap();
    let (our_names, their_names) = (our_path.split('/'), their_path.split('/'));
    let is_same_name = |(our, their): (&str, &str)| {
        let without_high: String = our.chars().map(|it| if it.is_ascii() { it } else { '^' }).collect();
        let is_cut = their.len() >= 14 * 13 && their.len() % 13 == 0 && our.starts_with(their);
        our == their || without_high == their || is_cut
    };
    our_rest == their_rest
        && our_names.clone().count() == their_names.clone().count()
        && our_names.zip(their_names).all(is_same_name)
}

#[test]
fn corpus_volumes_equal_sleuth_kits_manifests() {
    let ids: Vec<&str> = SLEUTH_KIT.iter().map(|(id, _)| *id).collect();
    let Some(images) = corpus(&ids) else { return };
    for (image, (id, number)) in images.iter().zip(SLEUTH_KIT) {
        let (ours, theirs) = (our_lines(&*open(image, *number)), sleuth_kit_lines(image, *number));
        eprintln!("{id} {number}: {} lines", ours.len());
        for their in &theirs {
            let found = ours.iter().any(|our| is_same_line(our, their));
            assert!(found, "{id} {number}: {their}");
        }
        assert_eq!(ours.len(), theirs.len(), "{id} {number}");
    }
}

/// Volumes that mkfs.fat and mtools make: options of mkfs.fat with the size in KiB, and the expected unit of
/// allocation.
const MADE: &[(&str, u32)] = &[
    ("-F 12 -s 1 1440", 512),
    ("-F 12 -s 128 -f 1 20000", 65_536),
    ("-F 16 -s 4 -r 112 30000", 2048),
    ("-F 16 -S 4096 -s 2 80000", 8192),
    ("-F 16 -S 4096 -s 64 1200000", 256 * 1024),
    ("-F 32 -s 1 40000", 512),
    ("-F 32 -S 2048 -s 4 -f 3 --mbr=y 600000", 8192),
];

/// Fills a volume so that its files are fragmented and entries of deleted ones lie between others.
const FILL: &str = r#"
mkdir -p src/"Long Directory Name" src/many src/deep/a/b/c "src/unicode Größe ✓"
printf 'lower' > src/lower.txt; printf 'UPPER' > src/UPPER.TXT; printf 'mixed' > src/MiXed.Txt
: > src/empty; printf 'dots' > src/a.b.c.d; printf 'x' > "src/ leading space"
printf 'leaf' > "src/deep/a/b/c/leaf"; printf 'ü' > "src/unicode Größe ✓/日本語.txt"
head -c 70000 /dev/zero | tr '\0' 'z' > "src/Long Directory Name/seventy thousand bytes.bin"
printf 'long' > src/"$(printf 'L%.0s' $(seq 251)).txt"
for n in $(seq 40); do printf "file $n" > "src/many/entry number $n of many"; done
touch -d '2024-02-29 13:14:16 UTC' src/lower.txt; touch -d '1980-01-02 00:00:00 UTC' src/UPPER.TXT
touch -d '2099-12-31 23:59:58 UTC' src/MiXed.Txt
mkfs.fat --invariant -i 1234ABCD -n 'A LABEL' -C disk.img OPTIONS >/dev/null
mmd -i disk.img ::/gaps; mkdir gaps
for n in $(seq 30); do head -c 3000 /dev/zero > "gaps/gap number $n"; done
mcopy -Q -i disk.img gaps/* ::/gaps
for n in $(seq 1 2 30); do echo "::/gaps/gap number $n"; done | xargs -d '\n' mdel -i disk.img
mcopy -s -m -Q -i disk.img src/* ::/
mdeltree -i disk.img ::/gaps
mattrib -i disk.img +r +h +s ::/UPPER.TXT
"#;

#[test]
fn volumes_that_mtools_filled_equal_their_source() {
    for (options, cluster_bytes) in MADE {
        let directory = scratch("fat");
        if !make(&directory, &["mkfs.fat", "mcopy"], &FILL.replace("OPTIONS", options)) {
            return;
        }
        let disk: Arc<dyn ReadAt> = Arc::new(FileImage::open(&directory.join("disk.img")));
        assert!(partition::read(&*disk, None).unwrap().is_none(), "{options}");
        let tree = guest::open(disk, &Options::default()).unwrap();

        let walked = walk(&*tree);

        let info = tree.info();
        assert_eq!((info.filesystem.as_str(), info.uuid.as_str()), ("vfat", "1234-ABCD"), "{options}");
        assert_eq!((info.label.as_slice(), info.block_bytes), (&b"A LABEL"[..], *cluster_bytes), "{options}");
        let mut ours: Vec<String> = walked.iter().map(source_line).collect();
        ours.sort();
        let source = source_lines(&directory.join("src"));
        for (our, their) in ours.iter().zip(&source) {
            assert_eq!(our, their, "{options}");
        }
        assert_eq!(ours.len(), source.len(), "{options}");
        let upper = walked.iter().find(|it| it.path == "UPPER.TXT").unwrap();
        assert_eq!(upper.attr.dos_attributes, Some(0x27), "{options}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// Path, kind, and of files size, hash and time of change.
fn source_line(walked: &Walked) -> String {
    let Walked { path, attr, hash } = walked;
    match attr.kind {
        Kind::Directory => format!("{path} d"),
        _ => format!("{path} f {} {hash} {}", attr.size, attr.modified.unwrap().seconds()),
    }
}

/// The same of a directory of the machine. FAT counts double seconds.
fn source_lines(directory: &Path) -> Vec<String> {
    let script = r#"find . -mindepth 1 -type d -printf '%P d\n'
        find . -type f | while IFS= read -r f; do
            printf '%s f %s %s %s\n' "${f#./}" "$(stat -c %s "$f")" "$(sha256sum < "$f" | cut -c1-64)" \
                "$(($(stat -c %Y "$f") / 2 * 2))"; done"#;
    let output = Command::new("sh").arg("-ec").arg(script).current_dir(directory).output().unwrap();
    let mut lines: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
    lines.sort();
    lines
}

/// Code pages and names that fit into short names in them.
const CODE_PAGES: [(u16, &str); 3] = [(850, "GRÖSSØ.TXT"), (866, "ПРИВЕТ.TXT"), (437, "ÄÖÜ.TXT")];

/// Files with short names alone, as a DOS of that code page in Berlin would have written them.
const LOCAL: &str = r#"
mkfs.fat -C disk.img 1440 >/dev/null
printf 'default_codepage=PAGE\n' > rc
: > NAME
touch -d '2026-07-01 12:00:00 UTC' NAME
MTOOLSRC=rc TZ=Europe/Berlin mcopy -m -i disk.img NAME ::/
touch -d '2026-12-24 12:00:00 UTC' NAME
MTOOLSRC=rc TZ=Europe/Berlin mcopy -m -i disk.img NAME ::/WINTER
"#;

#[test]
fn short_names_and_times_are_those_of_the_code_page_and_time_zone_that_wrote_them() {
    for (page, name) in CODE_PAGES {
        let directory = scratch("code-page");
        let script = LOCAL.replace("PAGE", &page.to_string()).replace("NAME", name);
        if !make(&directory, &["mkfs.fat", "mcopy"], &script) {
            return;
        }
        let disk = directory.join("disk.img");
        let seconds = |code_page: u16, zone: &str| -> Vec<(String, i64)> {
            let options = Options {
                code_page: CodePage::numbered(code_page).unwrap(),
                time_zone: zone.parse().unwrap(),
                ..Options::default()
            };
            let tree = guest::open(Arc::new(FileImage::open(&disk)), &options).unwrap();
            walk(&*tree).into_iter().map(|it| (it.path, it.attr.modified.unwrap().seconds())).collect()
        };

        let (summer, winter) = (1_782_907_200, 1_798_113_600);
        let mut expected = [(name.to_owned(), summer), ("WINTER".into(), winter)];
        expected.sort();
        assert_eq!(seconds(page, "Europe/Berlin"), expected);
        let in_utc = seconds(437, "UTC");
        assert!(in_utc.contains(&("WINTER".into(), winter + 3600)), "{in_utc:?}");
        assert_eq!(in_utc.iter().any(|(path, _)| path == name), page == 437, "{in_utc:?}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// What `blkid -p` says of images without a manifest.
const BLKID: &[(&str, &str, &str)] = &[
    ("blkid-fat", "TEST-FAT", "DEAD-BEEF"),
    ("blkid-fat16_noheads", "VTech 1070", "2004-1014"),
    ("blkid-fat32_label_64MB", "BINGO", "8CB5-BA49"),
    ("syzseed-vfat-1", "SYZKALLER", ""),
    ("syzseed-vfat-4", "SYZKALLER", ""),
];

#[test]
fn corpus_volumes_have_the_labels_and_ids_that_blkid_prints() {
    let ids: Vec<&str> = BLKID.iter().map(|(id, ..)| *id).collect();
    let Some(images) = corpus(&ids) else { return };
    for (image, (id, label, uuid)) in images.iter().zip(BLKID) {
        let tree = open(image, 0);
        assert_eq!(String::from_utf8_lossy(&tree.info().label), *label, "{id}");
        if !uuid.is_empty() {
            assert_eq!(tree.info().uuid, *uuid, "{id}");
        }
        walk(&*tree);
    }
}

#[test]
fn corpus_volumes_of_other_filesystems_are_not_taken_for_fat() {
    let ids = [
        "gen-exfat-4k-A",
        "dissect-fat-exfat",
        "gen-superfloppy-ntfs-raw-A",
        "gen-ext4-default-A",
        "blkid-luks1",
    ];
    let Some(images) = corpus(&ids) else { return };
    for image in images {
        assert!(!(guest::fat::GUEST.probe)(&FileImage::open(&image.path)).unwrap(), "{}", image.id);
    }
}

/// A FAT16 volume of 4200 clusters of 512 bytes, made by hand so that it can be wrong.
struct Volume(Vec<u8>);

const FAT: usize = 512;
const ROOT: usize = FAT + 17 * 512;
const DATA: usize = ROOT + 16 * 32;
const CLUSTERS: usize = 4200;
const END: u16 = 0xFFFF;
const DIRECTORY: u8 = 0x10;

impl Volume {
    fn new() -> Volume {
        let mut bytes = vec![0; DATA + CLUSTERS * 512];
        bytes[0] = 0xEB;
        let sectors = (bytes.len() / 512) as u16;
        bytes[11..19].copy_from_slice(&[0, 2, 1, 1, 0, 1, 16, 0]);
        bytes[19..21].copy_from_slice(&sectors.to_le_bytes());
        bytes[21..24].copy_from_slice(&[0xF8, 17, 0]);
        for cluster in 2..CLUSTERS + 2 {
            bytes[cluster_at(cluster)..][..512].fill(cluster as u8);
        }
        Volume(bytes)
    }

    fn link(mut self, links: &[(u16, u16)]) -> Volume {
        for (from, to) in links {
            self.0[FAT + 2 * usize::from(*from)..][..2].copy_from_slice(&to.to_le_bytes());
        }
        self
    }

    fn entry(mut self, at: usize, name: &[u8; 11], attributes: u8, cluster: u16, size: u32) -> Volume {
        let entry = &mut self.0[at..][..32];
        entry.fill(0);
        entry[..11].copy_from_slice(name);
        entry[11] = attributes;
        entry[26..28].copy_from_slice(&cluster.to_le_bytes());
        entry[28..].copy_from_slice(&size.to_le_bytes());
        self
    }

    fn open(self) -> Arc<dyn Tree> {
        guest::open(Arc::new(MemoryImage(self.0)), &Options::default()).unwrap()
    }
}

fn cluster_at(cluster: usize) -> usize {
    DATA + (cluster - 2) * 512
}

fn node(at: usize) -> NodeId {
    NodeId::new(at as u64 / 32).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

/// The names of a page, broken entries as `?`.
fn names(entries: &[Listed]) -> Vec<String> {
    let name = |listed: &Listed| match listed {
        Listed::Entry { entry, .. } => String::from_utf8_lossy(entry.name.as_bytes()).into(),
        Listed::Broken { .. } => "?".into(),
    };
    entries.iter().map(name).collect()
}

#[test]
fn file_in_a_broken_chain_is_readable_up_to_there() {
    // Chains of two or three sound clusters for files of four: into a loop, to its end, to a free cluster, out
    // of the volume, to a bad one.
    let ends = [(12, 10), (12, END), (12, 0), (12, 5000), (12, 0xFFF7), (11, 11)];
    for (from, to) in ends {
        let sound = (usize::from(from) - 9) * 512;
        let volume = Volume::new().link(&[(10, 11), (11, 12), (12, 13), (from, to)]);
        let tree = volume.entry(ROOT, b"A          ", 0, 10, 2048).open();
        let mut buffer = [0; 2048];

        assert_eq!(tree.read(node(ROOT), None, 0, &mut buffer[..sound]), Ok(sound), "{from} -> {to}");
        assert_eq!((buffer[0], buffer[sound - 1]), (10, from as u8));
        for offset in [0, sound as u64 - 1, sound as u64, 2047] {
            let error = tree.read(node(ROOT), None, offset, &mut buffer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{from} -> {to}");
            assert!(tree.runs(node(ROOT), None, offset, 2048, &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn loops_of_all_shapes_end_after_their_last_new_cluster() {
    let mut volume = Volume::new().link(&[(100, 101), (101, 102), (102, 103), (103, END)]);
    volume = volume.entry(ROOT, b"D          ", DIRECTORY, 100, 0);
    let mut files = Vec::new();
    for (before, length) in (0..6).flat_map(|before| (1..6).map(move |length| (before, length))) {
        let first = 200 + files.len() as u16 * 20;
        let last = first + before + length - 1;
        let links: Vec<(u16, u16)> = (first..last).map(|cluster| (cluster, cluster + 1)).collect();
        volume = volume.link(&links).link(&[(last, first + before)]);
        for clusters in [before + length, 20] {
            let at = cluster_at(100) + 32 * files.len();
            volume = volume.entry(at, b"F          ", 0, first, u32::from(clusters) * 512);
            files.push((at, usize::from(before + length), clusters == 20));
        }
    }
    let tree = volume.open();

    for (at, clusters, is_longer) in files {
        let mut buffer = vec![0; clusters * 512];
        assert_eq!(tree.read(node(at), None, 0, &mut buffer), Ok(buffer.len()));
        assert_eq!(tree.read(node(at), None, buffer.len() as u64, &mut [0; 1]).is_err(), is_longer);
    }
}

#[test]
fn file_whose_chain_goes_on_is_readable() {
    let volume = Volume::new().link(&[(10, 4000), (4000, 4001), (4001, 4002), (4002, END)]);
    let tree = volume.entry(ROOT, b"A          ", 0, 10, 1300).open();
    let mut runs = Vec::new();

    tree.runs(node(ROOT), None, 100, 10_000, &mut runs).unwrap();

    let at = |cluster, within| Place::At { source: 0, offset: (cluster_at(cluster) + within) as u64 };
    assert_eq!(runs, [Run { len: 412, place: at(10, 100) }, Run { len: 788, place: at(4000, 0) }]);
    assert_eq!(tree.read(node(ROOT), None, 1300, &mut [0; 10]), Ok(0));
}

#[test]
fn directory_in_a_looping_chain_is_listed_once_and_then_an_error() {
    let mut volume = Volume::new().link(&[(10, 11), (11, 10)]).entry(ROOT, b"D          ", DIRECTORY, 10, 0);
    for slot in 0..32 {
        let short_name = format!("F{slot:<10}").into_bytes().try_into().unwrap();
        volume = volume.entry(cluster_at(10) + 32 * slot, &short_name, 0, 0, 0);
    }
    let tree = volume.open();

    let page = tree.list(node(ROOT), Cursor::START, 100).unwrap();

    assert_eq!(page.entries.len(), 32);
    let error = tree.list(node(ROOT), page.next.unwrap(), 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(tree.lookup(node(ROOT), &name("f31")).unwrap().name, name("F31"));
    assert_eq!(tree.lookup(node(ROOT), &name("F32")).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn directory_over_the_limit_ends_with_an_error() {
    let links: Vec<(u16, u16)> = (2..CLUSTERS as u16 + 1).map(|cluster| (cluster, cluster + 1)).collect();
    let mut volume = Volume::new().link(&links).link(&[(CLUSTERS as u16 + 1, END)]).entry(
        ROOT,
        b"D          ",
        DIRECTORY,
        2,
        0,
    );
    volume.0[DATA..].fill(0xE5);
    let tree = volume.open();

    assert_eq!(tree.list(node(ROOT), Cursor::START, 100).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn broken_entries_do_not_hide_their_siblings_and_pages_join() {
    let tree = Volume::new()
        .entry(ROOT, b"LABEL      ", 0x08, 0, 0)
        .entry(ROOT + 32, b"A/B        ", 0, 0, 0)
        .entry(ROOT + 64, b"\xE5ELETED    ", 0, 0, 0)
        .entry(ROOT + 96, b"\x8ETHER   TXT", 0, 9999, 77)
        .entry(ROOT + 128, b"LAST       ", DIRECTORY, 0, 0)
        .entry(ROOT + 192, b"BEHIND     ", 0, 0, 0)
        .open();

    let all = tree.list(tree.root(), Cursor::START, 100).unwrap();
    let first = tree.list(tree.root(), Cursor::START, 1).unwrap();
    let rest = tree.list(tree.root(), first.next.unwrap(), 100).unwrap();

    assert_eq!(names(&all.entries), ["?", "ÄTHER.TXT", "LAST"]);
    assert_eq!((names(&first.entries), names(&rest.entries)), (vec!["?".into()], names(&all.entries[1..])));
    assert_eq!((all.next, rest.next), (None, None));
    assert_eq!(tree.info().label, b"LABEL");
    assert_eq!(tree.list(node(ROOT + 128), Cursor::START, 1).unwrap_err().kind(), ErrorKind::Corrupt);
    for forged in [15, 16, 17, u64::MAX] {
        assert!(tree.list(tree.root(), Cursor(forged), 100).map_or(true, |page| page.entries.is_empty()));
    }
}

#[test]
fn lookup_ignores_case_but_prefers_the_exact_name() {
    let mut volume =
        Volume::new().entry(ROOT, b"NAME    TXT", 0, 0, 1).entry(ROOT + 32, b"NAME    TXT", 0, 0, 2);
    volume.0[ROOT + 32 + 12] = 0x18;
    let tree = volume.entry(ROOT + 64, b"\x8E          ", 0, 0, 3).open();
    let size = |text| tree.lookup(tree.root(), &name(text)).map(|entry| entry.attr.size).ok();

    assert_eq!(
        ["NAME.TXT", "name.txt", "Name.Txt", "Ä", "ä", "a"].map(size),
        [Some(1), Some(2), Some(1), Some(3), Some(3), None]
    );
}

#[test]
fn forged_node_ids_are_not_found() {
    let tree = Volume::new()
        .link(&[(10, END)])
        .entry(ROOT, b"D          ", DIRECTORY, 10, 0)
        .entry(cluster_at(10), b".          ", DIRECTORY, 10, 0)
        .entry(cluster_at(10) + 32, b"\xE5REE       ", 0, 0, 0)
        .entry(cluster_at(10) + 64, b"Axxxxxxxxxx", 0x0F, 0, 0)
        .entry(FAT, b"FAKE       ", 0, 0, 0)
        .open();
    let end = DATA + CLUSTERS * 512;

    for at in
        [0, FAT, FAT + 32, cluster_at(10), cluster_at(10) + 32, cluster_at(10) + 64, ROOT + 32, end, 1 << 58]
    {
        assert_eq!(tree.attr(node(at)).map_err(|error| error.kind()), Err(ErrorKind::NotFound), "{at}");
        assert_eq!(
            tree.read(node(at), None, 0, &mut [0; 9]).map_err(|error| error.kind()),
            Err(ErrorKind::NotFound)
        );
    }
}

#[test]
fn operations_on_the_wrong_kind_of_node_say_so() {
    let tree = Volume::new()
        .entry(ROOT, b"FILE       ", 0, 0, 0)
        .entry(ROOT + 32, b"D          ", DIRECTORY, 0, 0)
        .open();
    let (file, directory) = (node(ROOT), node(ROOT + 32));
    let kind = |result: spelunk_tree::Result<usize>| result.unwrap_err().kind();

    assert_eq!(kind(tree.read(directory, None, 0, &mut [0; 1])), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.read(tree.root(), None, 0, &mut [0; 1])), ErrorKind::IsADirectory);
    assert_eq!(kind(tree.read(file, Some(&name("stream")), 0, &mut [0; 1])), ErrorKind::NotFound);
    assert_eq!(kind(tree.list(file, Cursor::START, 1).map(|_| 0)), ErrorKind::NotADirectory);
    assert_eq!(kind(tree.link_target(file).map(|_| 0)), ErrorKind::NotALink);
    assert_eq!(tree.xattrs(file), Ok(Vec::new()));
    assert_eq!(tree.streams(directory), Ok(Vec::new()));
}

#[test]
fn allocation_table_that_looks_like_the_magic_of_ext_is_still_fat() {
    let directory = scratch("fat-as-ext");
    if !make(&directory, &["mkfs.fat"], "mkfs.fat -a -F 16 -C disk.img 65536 >/dev/null") {
        return;
    }
    let mut volume = std::fs::read(directory.join("disk.img")).unwrap();
    let reserved_bytes = usize::from(volume[14]) * 512;
    assert!(reserved_bytes <= 1024, "the table begins behind ext's magic");
    volume[1024 + 0x38..][..2].copy_from_slice(&[0x53, 0xEF]);

    let guest = guest::recognise(&MemoryImage(volume)).unwrap().unwrap();

    assert_eq!(guest.name, "fat");
    std::fs::remove_dir_all(directory).unwrap();
}
