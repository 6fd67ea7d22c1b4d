//! Round trips, and what a hostile worker may send.

use super::message::{RUNS_MAX, WINDOW_BYTES};
use super::nodes::encode_page;
use super::*;
use spelunk_formats::backup::urbackup::{Metadata, Stream};
use spelunk_tree::{
    AssembledInfo, Attr, Case, Cursor, Device, DiskInfo, Entry, Error, ErrorKind, Kind, LayerInfo, Listed,
    Name, NodeId, OtherDisk, Page, ParentRef, Place, Run, StreamInfo, Time, TreeInfo, VolumeInfo, Xattr,
    Xattrs, limits,
};
use std::fmt::Debug;

fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).unwrap()
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn attr() -> Attr {
    Attr {
        size: 1 << 40,
        allocated: Some(4096),
        links: Some(2),
        mode: Some(0o4755),
        uid: Some(1000),
        device: Some(Device { major: 8, minor: 1 }),
        modified: Some(Time::new(-5, 999_999_999).unwrap()),
        reparse_tag: Some(0xA000_000C),
        xattrs: Xattrs::None,
        ..Attr::new(Kind::BlockDevice)
    }
}

fn error() -> Error {
    Error::corrupt("bad").object("inode 12").at(4096).context("reading").context("showing")
}

fn page() -> Page {
    let entry = Entry { name: name(b"a\xff\n"), node: node(7), attr: attr() };
    let broken = Listed::Broken { name: Some(name(b"b")), error: error(), next: Cursor(2) };
    Page { entries: vec![Listed::Entry { entry, next: Cursor(1) }, broken], next: Some(Cursor(3)) }
}

fn opening() -> Opening {
    let tree = TreeInfo {
        filesystem: "ext4".into(),
        label: b"l\xff".to_vec(),
        uuid: "u".into(),
        case: Case::PerDirectory,
        block_bytes: 4096,
        size_bytes: 5,
        free_bytes: Some(4),
        nodes: None,
        free_nodes: Some(1),
        xattr_prefixes: Some(vec!["user.".into()]),
        written: None,
        notes: vec!["n".into()],
    };
    let volume = |filesystem| VolumeInfo {
        directory: "vg-lv".into(),
        disk: 1,
        number: 1,
        start_bytes: 2,
        size_bytes: 3,
        partition_type: "83".into(),
        name: String::new(),
        id: "i".into(),
        attributes: "active".into(),
        is_extended: false,
        member_of: "md member of md0".into(),
        assembled: Some(AssembledInfo {
            format: "lvm2".into(),
            group: "vg".into(),
            group_id: "g".into(),
            segments: vec!["linear".into()],
            notes: vec!["n".into()],
        }),
        filesystem,
    };
    let parent = ParentRef { id: "p".into(), alternative_id: "a".into(), paths: vec!["../x/y".into()] };
    let layer = LayerInfo {
        source: 0,
        format: "vhd".into(),
        variant: "differencing".into(),
        size_bytes: 9,
        block_bytes: 8,
        id: "i".into(),
        parent: Some(parent),
        notes: Vec::new(),
    };
    let info = DiskInfo {
        layers: vec![layer.clone()],
        size_bytes: 1,
        sector_bytes: 512,
        table: "gpt".into(),
        table_id: "t".into(),
        volumes: vec![volume(Ok(tree)), volume(Err(error()))],
        notes: vec!["x".into(), "y".into()],
        others: vec![OtherDisk {
            layers: vec![layer],
            size_bytes: 4,
            sector_bytes: 4096,
            table: "mbr".into(),
            table_id: "t".into(),
        }],
    };
    Opening { info, roots: vec![Some(node(2)), None] }
}

fn extents() -> Extents {
    let runs = vec![
        Run { len: 4096, place: Place::At { source: 1, offset: 1 << 30 } },
        Run { len: 10, place: Place::Zero },
        Run { len: 20, place: Place::Opaque },
    ];
    Extents { start: 7, is_last: true, runs }
}

fn requests() -> Vec<Request> {
    let (tree, dir, stream) = (3, node(9), Some(name(b"s")));
    vec![
        Request::Open {
            size: 5,
            snapshot: Some("before".into()),
            show_metafiles: true,
            code_page: 850,
            time_zone: "Europe/Berlin".into(),
        },
        Request::Parent { size: 6 },
        Request::NoParent,
        Request::Lookup { tree, dir, name: name(b"n") },
        Request::List { tree, places: vec![(dir, Cursor(u64::MAX)), (dir, Cursor::START)], max: 10 },
        Request::Attr { tree, node: dir },
        Request::Read { tree, node: dir, stream: stream.clone(), offset: 1, len: 2 },
        Request::Map { tree, node: dir, stream, start: 0, span: 3, offset: 1, len: 2 },
        Request::MapFiles { tree, nodes: vec![dir, node(7)] },
        Request::LinkTarget { tree, node: dir },
        Request::Xattrs { tree, node: dir },
        Request::Streams { tree, node: dir },
    ]
}

/// Every prefix fails, and so does every message with something behind it.
fn assert_exact<T: Wire + PartialEq + Debug>(value: &T) {
    let mut bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    for len in 0..bytes.len() {
        assert!(T::from_bytes(&bytes[..len]).is_err(), "{len} of {} bytes of {value:?}", bytes.len());
    }
    bytes.push(0);
    assert_eq!(T::from_bytes(&bytes), Err(Malformed("bytes left over")));
}

#[test]
fn messages_survive_and_their_fragments_do_not() {
    assert_exact(&page());
    assert_exact(&opening());
    assert_exact(&extents());
    assert_exact(&KnownFile { extents: extents(), data: None });
    assert_exact(&KnownFile { extents: extents(), data: Some(b"data".to_vec()) });
    assert_exact(&error());
    assert_exact(&attr());
    assert_exact(&Xattr::new(*b"user.x/y", b"v".to_vec()).unwrap());
    assert_exact(&StreamInfo { name: name(b"s"), size: 1 });
    requests().iter().for_each(assert_exact);
    let layer = crate::LayerReport { name: "l".into(), in_force: true, detail: "d".into() };
    assert_exact(&Hello { build_id: "b".into(), jail: Ok(vec![layer]) });
    assert_exact(&Hello { build_id: "b".into(), jail: Err(error()) });
    let wanted = opening().info.layers[0].parent.clone().unwrap();
    assert_exact(&ParentQuestion { source: 3, wanted });
    assert_exact(&Packet { status: Status::NeedParent, body_len: 1, data_len: 2 });
}

#[test]
fn requests_fit_in_their_buffer() {
    let long = name(&[b'x'; limits::NAME_BYTES_MAX]);
    let request =
        Request::Map { tree: 0, node: node(1), stream: Some(long), start: 0, span: 0, offset: 0, len: 0 };
    assert!(request.to_bytes().len() <= message::REQUEST_BYTES_MAX);
}

#[test]
fn names_ids_and_times_that_cannot_be_are_refused() {
    let bad_name = |bytes: &[u8]| {
        let mut out = Encoder::default();
        out.blob(bytes);
        Name::from_bytes(&out.bytes)
    };
    for bytes in [&b""[..], b"..", b"a/b", b"a\0", &[b'x'; limits::NAME_BYTES_MAX + 1]] {
        assert!(bad_name(bytes).is_err());
    }
    assert!(NodeId::from_bytes(&(1u64 << 56).to_bytes()).is_err());
    let mut late = Encoder::default();
    late.put(&0i64);
    late.put(&1_000_000_000u32);
    assert!(Time::from_bytes(&late.bytes).is_err());
    assert!(Kind::from_bytes(&[Kind::ALL.len().try_into().unwrap()]).is_err());
    assert!(bool::from_bytes(&[2]).is_err());
}

#[test]
fn counts_and_lengths_over_their_limits_are_refused_before_memory_is_set_aside() {
    let mut count = Encoder::default();
    count.put(&0u64);
    count.put(&true);
    count.put(&u32::try_from(RUNS_MAX + 1).unwrap());
    count.bytes.resize(WINDOW_BYTES, 1);
    assert_eq!(Extents::from_bytes(&count.bytes), Err(Malformed("a length over its limit")));

    let mut promise = Encoder::default();
    promise.put(&0u64);
    promise.put(&true);
    promise.put(&u32::try_from(RUNS_MAX).unwrap());
    let more = Malformed("a count of more values than there are bytes");
    assert_eq!(Extents::from_bytes(&promise.bytes), Err(more));

    let text = u32::try_from(TEXT_BYTES_MAX + 1).unwrap().to_bytes();
    assert!(String::from_bytes(&text).is_err());
    assert!(Packet { status: Status::Done, body_len: 1, data_len: u32::MAX }.lengths().is_err());
    let most = u32::try_from(WINDOW_BYTES).unwrap();
    assert!(Packet { status: Status::Done, body_len: 1, data_len: most }.lengths().is_err());
}

#[test]
fn long_texts_are_cut_between_characters() {
    let text = "é".repeat(TEXT_BYTES_MAX);
    let mut out = Encoder::default();
    out.text(&format!("x{text}"));

    let cut = String::from_bytes(&out.bytes).unwrap();

    assert_eq!(cut.len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn errors_with_too_much_text_are_cut_when_sent_and_refused_when_received() {
    let long = Error::corrupt("x".repeat(3000)).context("y".repeat(3000)).context("z");

    let cut = Error::from_bytes(&long.to_bytes()).unwrap();

    let lens: Vec<usize> = cut.chain().map(Error::text_bytes).collect();
    assert_eq!(lens, [1, 3000, 1095]);
    // The same, but for the cut: a count of links, each a kind, a text, no object and no offset.
    let mut forged = Encoder { bytes: vec![2] };
    for text in ["x".repeat(3000), "y".repeat(3000)] {
        forged.put(&ErrorKind::Corrupt);
        forged.put(&text);
        forged.put(&None::<String>);
        forged.put(&None::<u64>);
    }
    assert_eq!(Error::from_bytes(&forged.bytes), Err(Malformed("an error with too much text")));
}

#[test]
fn runs_are_checked_against_the_files() {
    let run = |len, place| Extents { start: 0, is_last: false, runs: vec![Run { len, place }] };
    let at = |source, offset| Place::At { source, offset };
    let sizes = [100, 50];

    assert_eq!(run(50, at(1, 0)).check(50, &sizes), Ok(50));
    assert_eq!(run(1, at(0, 99)).check(50, &sizes), Ok(1));
    for bad in [
        run(51, at(1, 0)),
        run(1, at(2, 0)),
        run(1, at(u32::MAX, 0)),
        run(1, at(0, 100)),
        run(2, at(0, u64::MAX)),
        run(0, Place::Zero),
        run(61, Place::Zero),
        run(u64::MAX, Place::Opaque),
        Extents { start: 0, is_last: false, runs: vec![Run { len: 1 << 63, place: Place::Zero }; 2] },
        Extents { start: 0, is_last: false, runs: Vec::new() },
    ] {
        assert!(bad.check(60, &sizes).is_err(), "{bad:?}");
    }
    assert_eq!(Extents { start: 0, is_last: true, runs: Vec::new() }.check(60, &sizes), Ok(0));
}

#[test]
fn files_told_ahead_must_begin_at_their_start_and_have_all_their_bytes() {
    let runs = vec![Run { len: 4, place: Place::Opaque }];
    let file = |start, data: &[u8]| KnownFile {
        extents: Extents { start, is_last: true, runs: runs.clone() },
        data: Some(data.to_vec()),
    };

    assert_eq!(file(0, b"four").check(60, &[]), Ok(()));
    assert!(file(1, b"four").check(60, &[]).is_err());
    assert!(file(0, b"three").check(60, &[]).is_err());
    assert!(file(0, b"four").check(3, &[]).is_err());
}

#[test]
fn roots_must_be_those_of_the_volumes() {
    for roots in [vec![None, None], vec![Some(node(1))], vec![Some(node(1)), Some(node(1))]] {
        let opening = Opening { roots, ..opening() };
        assert!(Opening::from_bytes(&opening.to_bytes()).is_err());
    }
}

#[test]
fn page_that_does_not_fit_is_cut_and_goes_on_after_its_last_entry() {
    let entry = |index: u64| {
        let entry = Entry { name: name(&[b'n'; 1000]), node: node(index), attr: attr() };
        Listed::Entry { entry, next: Cursor(index + 1) }
    };
    let whole = Page { entries: (0..2000).map(entry).collect(), next: None };
    let mut out = Encoder::default();

    encode_page(&whole, WINDOW_BYTES, &mut out);

    assert!(out.bytes.len() <= WINDOW_BYTES);
    let cut = Page::from_bytes(&out.bytes).unwrap();
    assert!(cut.entries.len() > 500 && cut.entries.len() < 2000);
    assert_eq!(cut.next, Some(Cursor(cut.entries.len() as u64)));
    assert_eq!(cut.entries[..], whole.entries[..cut.entries.len()]);
}

#[test]
fn page_of_too_many_entries_is_cut() {
    let broken = |index| Listed::Broken { name: None, error: Error::corrupt(""), next: Cursor(index) };
    let whole = Page { entries: (0..5000).map(broken).collect(), next: None };

    let cut = Page::from_bytes(&whole.to_bytes()).unwrap();

    assert_eq!(cut.entries.len(), limits::PAGE_ENTRIES_MAX);
    assert_eq!(cut.next, Some(Cursor(limits::PAGE_ENTRIES_MAX as u64 - 1)));
}

#[test]
fn deep_chain_of_causes_is_cut() {
    let deep = (0..100).fold(Error::corrupt("deep"), |error, _| error.context("above"));

    let cut = Error::from_bytes(&deep.to_bytes()).unwrap();

    assert_eq!(cut.kind(), ErrorKind::Corrupt);
    assert_eq!(cut.chain().count(), 16);
}

/// A generator of numbers, always the same ones.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }

    /// The bytes with some changed, inserted or removed; or nothing but noise.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        if self.below(8) == 0 {
            damaged = (0..self.below(200)).map(|_| self.byte()).collect();
        }
        for _ in 0..=self.below(4) {
            let at = self.below(damaged.len());
            match self.below(4) {
                0 => damaged.insert(at, self.byte()),
                1 if !damaged.is_empty() => drop(damaged.remove(at)),
                _ if !damaged.is_empty() => damaged[at] = [0, 1, 0x7F, 0xFF, self.byte()][self.below(5)],
                _ => {}
            }
        }
        damaged
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Whatever comes, decoding ends; and what it takes is a value like any other: it survives a round trip.
fn assert_parsed<T: Wire + PartialEq + Debug>(value: &T, noise: &mut Noise) {
    let bytes = value.to_bytes();
    for _ in 0..4000 {
        if let Ok(taken) = T::from_bytes(&noise.damage(&bytes)) {
            assert_eq!(T::from_bytes(&taken.to_bytes()), Ok(taken));
        }
    }
}

#[test]
fn damaged_replies_are_parsed_or_refused() {
    let mut noise = Noise(0x5EED);

    assert_parsed(&page(), &mut noise);
    assert_parsed(&opening(), &mut noise);
    assert_parsed(&extents(), &mut noise);
    assert_parsed(&error(), &mut noise);
    assert_parsed(&Xattr::new(*b"user.x", b"v".to_vec()).unwrap(), &mut noise);
    assert_parsed(&Packet { status: Status::Done, body_len: 1, data_len: 2 }, &mut noise);
    assert_parsed(&Hello { build_id: "b".into(), jail: Err(error()) }, &mut noise);
    requests().iter().for_each(|request| assert_parsed(request, &mut noise));
}

#[test]
fn damaged_runs_never_leave_the_files() {
    let mut noise = Noise(0xF00D);
    let bytes = extents().to_bytes();
    let sizes = [1 << 31, (1 << 30) + 8192];
    for _ in 0..20_000 {
        let Ok(taken) = Extents::from_bytes(&noise.damage(&bytes)) else { continue };
        if taken.check(1 << 20, &sizes).is_ok() {
            let total: u64 = taken.runs.iter().map(|run| run.len).sum();
            assert!(total <= 1 << 20);
            for run in &taken.runs {
                if let Place::At { source, offset } = run.place {
                    assert!(offset + run.len <= sizes[source as usize]);
                }
            }
        }
    }
}

#[test]
fn metadata_of_a_backed_up_file_come_back_as_sent_and_a_target_of_no_link_is_refused() {
    let metadata = Metadata {
        kind: Some(Kind::Symlink),
        attr: Attr::new(Kind::File),
        link_target: Some(b"../x".to_vec()),
        xattrs: vec![Xattr::new(&b"user.a"[..], b"b".to_vec()).unwrap()],
        lost_xattrs: 1,
        streams: vec![Stream { name: Name::new(&b"s"[..]).unwrap(), size: 2, offset: 3 }],
    };
    let bytes = metadata.to_bytes();
    let mut no_link = bytes.clone();
    let at = bytes.windows(4).position(|window| window == b"../x").unwrap() - 5;
    no_link[at] = 0;

    assert_eq!(Metadata::from_bytes(&bytes), Ok(metadata));
    assert_eq!(Metadata::from_bytes(&no_link), Err(Malformed("a target of no link")));
    for len in 0..bytes.len() {
        assert!(Metadata::from_bytes(&bytes[..len]).is_err(), "cut to {len} bytes");
    }
    let request = Request::Metadata { lens: vec![1, 2], is_full: true };
    assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
}
