//! Metadata as clients write it, and as nobody does.

// The numbers here are the tests' own.
#![allow(clippy::arithmetic_side_effects)]

use super::*;
use spelunk_tree::{Device, ErrorKind, limits};

fn varint(value: u64) -> Vec<u8> {
    if value >> 56 != 0 {
        let mut bytes: Vec<u8> =
            (0..8u32).map(|index| u8::try_from(value >> (57 - 7 * index) & 0x7F).unwrap() | 0x80).collect();
        bytes.push(u8::try_from(value & 0xFF).unwrap());
        return bytes;
    }
    let count = (1..=8u32).find(|count| value >> (7 * count) == 0).unwrap();
    (0..count)
        .rev()
        .map(|index| u8::try_from(value >> (7 * index) & 0x7F).unwrap() | if index > 0 { 0x80 } else { 0 })
        .collect()
}

fn negative(value: i64) -> Vec<u8> {
    varint(u64::from_le_bytes(value.to_le_bytes()))
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

fn general() -> Vec<u8> {
    let times = [negative(-60), varint(0), varint(1_700_000_000), varint(5)].concat();
    let body =
        [&MAGIC_GENERAL.to_le_bytes()[..], &[0], &text(b"hash"), &text(b"/etc/x"), &text(&[0, 0]), &times];
    text(&body.concat())
}

fn system(magic: u64, body: &[u8]) -> Vec<u8> {
    let len = u64::try_from(body.len() + SYSTEM_HEAD_BYTES).unwrap();
    [&len.to_le_bytes(), &magic.to_le_bytes(), body].concat()
}

fn unix(mode: u64, target: &[u8], xattrs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let numbers = [varint(2049), varint(mode), varint(1000), varint(100), varint(0x0501)].concat();
    let time = [negative(-60), 7u32.to_le_bytes().to_vec()].concat();
    let stat = [&[1], &numbers[..], &time, &time, &time, &varint(0), &text(target)].concat();
    let mut body = text(&stat);
    body.extend_from_slice(&u64::try_from(xattrs.len()).unwrap().to_le_bytes());
    xattrs.iter().for_each(|(name, value)| body.extend([text(name), text(value)].concat()));
    [general(), system(MAGIC_UNIX, &body)].concat()
}

fn stream(kind: u32, name: &str, data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![1];
    bytes.extend([kind.to_le_bytes(), [0; 4]].concat());
    bytes.extend(u64::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend([&u32::try_from(name.len()).unwrap().to_le_bytes()[..], &name, data].concat());
    bytes
}

fn windows() -> Vec<u8> {
    let times: Vec<u8> =
        (1..=4u64).flat_map(|seconds| varint(116_444_736_000_000_000 + seconds * 10_000_000)).collect();
    let stat = [&[1][..], &0x420u32.to_le_bytes(), &times].concat();
    // The path as the system resolves it, and as it is printed.
    let target: Vec<u8> = r"\??\C:\xC:\x".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let head = [&TAG_SYMLINK.to_le_bytes()[..], &[0; 4], &[0, 0, 16, 0], &[16, 0, 8, 0], &[0; 4]].concat();
    let streams = [
        stream(3, "", b"descriptor"),
        stream(4, ":Zone.Identifier:$DATA", b"[ZoneTransfer]"),
        stream(8, "", &[head, target].concat()),
        stream(7, "", b"object id"),
    ];
    let body = [text(&stat), streams.concat(), vec![0]].concat();
    [general(), system(MAGIC_WINDOWS, &body)].concat()
}

const TAG_SYMLINK: u32 = 0xA000_000C;

#[test]
fn chunk_hashes_are_skipped_by_the_size_of_the_data() {
    let offset = |size: i64| tail_offset(size.to_le_bytes()).map_err(|error| error.kind());

    assert_eq!(offset(-1), Ok(8));
    assert_eq!(offset(0), Ok(8));
    assert_eq!(offset(1), Ok(8 + 16 + 4));
    assert_eq!(offset(4097), Ok(8 + 16 + 8));
    assert_eq!(offset(512 * 1024), Ok(8 + 528));
    assert_eq!(offset(512 * 1024 + 1), Ok(8 + 528 + 20));
    assert_eq!(offset(-2), Err(ErrorKind::Corrupt));
    assert!(offset(i64::MAX).is_ok_and(|offset| offset < 1 << 60));
}

#[test]
fn unix_inodes_come_back_with_nanoseconds_and_devices() {
    let metadata = parse(&unix(0o020_640, b"", &[(b"user.a", b"b")])).unwrap();

    assert_eq!(metadata.kind, Some(Kind::CharDevice));
    assert_eq!(
        (metadata.attr.mode, metadata.attr.uid, metadata.attr.gid),
        (Some(0o640), Some(1000), Some(100))
    );
    assert_eq!(metadata.attr.device, Some(Device { major: 5, minor: 1 }));
    assert_eq!(metadata.attr.modified, Some(Time::new(-60, 7).unwrap()));
    assert_eq!(metadata.xattrs, [Xattr::new(&b"user.a"[..], b"b".to_vec()).unwrap()]);
    assert_eq!(metadata.link_target, None);
}

#[test]
fn links_lead_where_they_did_on_the_client() {
    let metadata = parse(&unix(0o120_777, b"../../x", &[])).unwrap();

    assert_eq!(metadata.link_target.as_deref(), Some(&b"../../x"[..]));
    assert_eq!(metadata.attr.xattrs, Xattrs::None);
}

#[test]
fn windows_files_come_back_with_streams_descriptors_and_links() {
    let tail = windows();
    let metadata = parse(&tail).unwrap();

    assert_eq!(metadata.attr.dos_attributes, Some(0x420));
    assert_eq!(metadata.attr.created, Some(Time::from_seconds(1)));
    assert_eq!(metadata.attr.modified, Some(Time::from_seconds(3)));
    assert_eq!(metadata.attr.reparse_tag, Some(TAG_SYMLINK));
    assert_eq!(metadata.link_target.as_deref(), Some(&b"C:/x"[..]));
    assert_eq!(metadata.xattrs.len(), 1);
    let stream = &metadata.streams[0];
    let at = usize::try_from(stream.offset).unwrap();
    assert_eq!(stream.name.as_bytes(), b"Zone.Identifier");
    assert_eq!(&tail[at..at + usize::try_from(stream.size).unwrap()], b"[ZoneTransfer]");
}

#[test]
fn without_a_system_part_the_general_times_are_known() {
    let metadata = parse(&general()).unwrap();

    assert_eq!(metadata.kind, None);
    assert_eq!(metadata.attr.modified, Some(Time::from_seconds(-60)));
    assert_eq!(metadata.attr.created, None);
}

#[test]
fn every_cut_and_every_changed_byte_is_an_answer_and_never_a_panic() {
    for whole in [unix(0o100_644, b"", &[(b"user.a", b"b")]), windows()] {
        let head = general().len();
        for len in 0..whole.len() {
            let outcome = parse(&whole[..len]);
            assert!(len == head || outcome.is_err(), "cut to {len} bytes");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(metadata) = parse(&changed) {
                    assert!(metadata.streams.iter().all(|stream| {
                        stream.offset + stream.size <= u64::try_from(changed.len()).unwrap()
                    }));
                }
            }
        }
    }
}

#[test]
fn file_of_more_streams_than_may_be_is_over_the_limit() {
    let with = |kind: u32, count: usize| {
        let times: Vec<u8> = (0..4).flat_map(|_| varint(0)).collect();
        let mut body = text(&[&[1][..], &0x20u32.to_le_bytes(), &times].concat());
        body.extend(stream(kind, ":x:$DATA", b"").repeat(count));
        body.push(0);
        parse(&[general(), system(MAGIC_WINDOWS, &body)].concat()).map(|metadata| metadata.streams.len())
    };

    assert_eq!(with(4, limits::STREAMS_MAX), Ok(limits::STREAMS_MAX));
    assert_eq!(with(4, limits::STREAMS_MAX + 1).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(with(7, 2 * limits::STREAMS_MAX - 1), Ok(0));
    assert_eq!(with(7, 2 * limits::STREAMS_MAX).unwrap_err().kind(), ErrorKind::Limit);
}
