//! Doors for the fuzz targets, in their builds only: what each side decodes of the other.

use crate::wire::message::{MAP_FILES_MAX, MAP_FILES_SPAN, METADATA_MAX};
use crate::wire::{
    Decoded, Decoder, Extents, Hello, KnownFile, Opening, Packet, ParentQuestion, Request, Start, Wire, whole,
};
use spelunk_formats::backup::urbackup::Metadata;
use spelunk_tree::{Attr, Entry, Error, Page, Result, StreamInfo, Xattr, limits};

/// A request: what can be decoded must come out the same once more.
pub fn request(bytes: &[u8]) {
    survives::<Request>(bytes);
    survives::<Start>(bytes);
}

/// Any of the replies, by the first byte.
pub fn reply(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 14 {
        0 => survives::<Hello>(body),
        1 => survives::<Opening>(body),
        2 => survives::<ParentQuestion>(body),
        3 => survives::<Entry>(body),
        4 => survives::<Attr>(body),
        5 => survives::<Error>(body),
        6 => drop(list::<Result<Page>>(body, limits::PAGE_ENTRIES_MAX)),
        7 => check_extents(body),
        8 => check_files(body),
        9 => drop(whole(body, |from| Ok(from.blob(limits::LINK_TARGET_BYTES_MAX)?.to_vec()))),
        10 => drop(list::<Xattr>(body, limits::XATTRS_MAX)),
        11 => drop(list::<StreamInfo>(body, limits::STREAMS_MAX)),
        12 => drop(list::<Result<Metadata>>(body, METADATA_MAX)),
        _ => drop(Packet::from_bytes(body).map(Packet::lengths)),
    }
}

fn list<T: Wire>(body: &[u8], max: usize) -> Decoded<Vec<T>> {
    whole(body, |from: &mut Decoder<'_>| from.list(max))
}

fn survives<T: Wire + PartialEq + std::fmt::Debug>(body: &[u8]) {
    if let Ok(value) = T::from_bytes(body) {
        assert_eq!(T::from_bytes(&value.to_bytes()), Ok(value));
    }
}

/// Image files to hold runs against.
const SIZES: [u64; 2] = [1 << 20, u64::MAX];

fn check_extents(body: &[u8]) {
    const SPAN: u64 = 64 << 20;
    let Ok(extents) = Extents::from_bytes(body) else { return };
    if let Ok(covered) = extents.check(SPAN, &SIZES) {
        assert!(covered <= SPAN);
    }
}

fn check_files(body: &[u8]) {
    for file in list::<Result<KnownFile>>(body, MAP_FILES_MAX).unwrap_or_default().iter().flatten() {
        let _ = file.check(MAP_FILES_SPAN, &SIZES);
    }
}
