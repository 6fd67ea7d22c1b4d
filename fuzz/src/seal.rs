//! Checksums put right after a mutation, or nothing behind them would ever be reached.

use crate::image::{HEAD, RECORD, Sparse};
use spelunk_tree::ReadAt;

/// Bytes that a checksum may cover here: more is left wrong.
const COVERED_MAX: usize = 1 << 20;

/// For formats without checksums.
pub fn nothing(_: &mut [u8]) {}

/// Writes into those sectors of the input that are there.
fn put(input: &mut [u8], offset: u64, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        let position = offset + at as u64;
        let Ok(sector) = u32::try_from(position / 512) else { return };
        let records = input.get_mut(HEAD..).unwrap_or_default().chunks_exact_mut(RECORD);
        if let Some(record) = records.rev().find(|record| record[..4] == sector.to_le_bytes()) {
            record[4 + usize::try_from(position % 512).unwrap_or(0)] = *byte;
        }
    }
}

fn get(input: &[u8], offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.min(COVERED_MAX)];
    Sparse::parse(input).copy(offset, &mut bytes);
    bytes
}

fn le_u32(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(0)
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default())
}

/// Both headers of a GPT and their tables.
pub fn gpt(input: &mut [u8]) {
    let end = Sparse::parse(input).size();
    for at in [512, 4096, end.saturating_sub(512), end.saturating_sub(4096)] {
        let mut header = get(input, at, 512);
        if !header.starts_with(b"EFI PART") {
            continue;
        }
        let len = le_u32(&header, 80).saturating_mul(le_u32(&header, 84));
        if len <= COVERED_MAX {
            let sector_bytes = if at == 4096 || at == end.saturating_sub(4096) { 4096 } else { 512 };
            let table = get(input, le_u64(&header, 72).saturating_mul(sector_bytes), len);
            let sum = crc32fast::hash(&table).to_le_bytes();
            put(input, at + 88, &sum);
            header[88..92].copy_from_slice(&sum);
        }
        header[16..20].fill(0);
        let sum = crc32fast::hash(&header[..le_u32(&header, 12).clamp(92, 512)]);
        put(input, at + 16, &sum.to_le_bytes());
    }
}

/// The footers of a VHD and the header of a dynamic one.
pub fn vhd(input: &mut [u8]) {
    let end = Sparse::parse(input).size();
    for at in [0, end.saturating_sub(512)] {
        let footer = get(input, at, 512);
        if footer.starts_with(b"conectix") {
            put(input, at + 64, &ones_complement(&footer, 64));
            let offset = u64::from_be_bytes(footer[16..24].try_into().unwrap_or_default());
            let header = get(input, offset, 1024);
            if header.starts_with(b"cxsparse") && offset < end {
                put(input, offset + 36, &ones_complement(&header, 36));
            }
        }
    }
}

fn ones_complement(bytes: &[u8], own: usize) -> [u8; 4] {
    let others = bytes.iter().enumerate().filter(|(at, _)| !(own..own + 4).contains(at));
    (!others.fold(0u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))).to_be_bytes()
}

/// Headers and region tables of a VHDX, and the entries of its log.
pub fn vhdx(input: &mut [u8]) {
    for (at, len) in [(64 << 10, 4096), (128 << 10, 4096), (192 << 10, 64 << 10), (256 << 10, 64 << 10)] {
        seal_crc32c(input, at, len);
    }
    let records: Vec<Vec<u8>> =
        input.get(HEAD..).unwrap_or_default().chunks_exact(RECORD).map(<[u8]>::to_vec).collect();
    for record in records.iter().filter(|record| record[4..].starts_with(b"loge")) {
        let len = le_u32(record, 4 + 8);
        if len <= COVERED_MAX {
            seal_crc32c(input, le_u32(record, 0) as u64 * 512, len.max(64));
        }
    }
}

/// A CRC-32C at byte 4 of a structure.
fn seal_crc32c(input: &mut [u8], at: u64, len: usize) {
    let mut bytes = get(input, at, len);
    bytes[4..8].fill(0);
    put(input, at + 4, &crc32c::crc32c(&bytes).to_le_bytes());
}

/// The superblock of ext. (Other structures have checksums by the feature `metadata_csum` only, and seeds without
/// it reach behind all of these.)
pub fn ext(input: &mut [u8]) {
    const METADATA_CSUM: usize = 0x400;
    let superblock = get(input, 1024, 1024);
    if le_u32(&superblock, 0x64) & METADATA_CSUM != 0 {
        put(input, 1024 + 1020, &(!crc32c::crc32c(&superblock[..1020])).to_le_bytes());
    }
}

/// Both boot regions of exFAT, for sectors of 512 bytes, and the sets of entries that lie in one piece. (A wrong
/// checksum of the table of upper case ends nothing.)
pub fn exfat(input: &mut [u8]) {
    const CHECKED: usize = 11 * 512;
    for at in [0, 12 * 512] {
        let mut region = get(input, at, CHECKED);
        for unchecked in [112, 107, 106] {
            region.remove(unchecked);
        }
        let sum = region.iter().fold(0u32, |sum, byte| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
        put(input, at + CHECKED as u64, &sum.to_le_bytes().repeat(512 / 4));
    }
    let records: Vec<Vec<u8>> =
        input.get(HEAD..).unwrap_or_default().chunks_exact(RECORD).map(<[u8]>::to_vec).collect();
    for record in records {
        for (position, entry) in record[4..].chunks_exact(32).enumerate() {
            if entry[0] == 0x85 && entry[32 - 7..].iter().all(|byte| *byte == 0) {
                seal_entry_set(input, (le_u32(&record, 0) * 512 + position * 32) as u64, entry[1]);
            }
        }
    }
}

fn seal_entry_set(input: &mut [u8], at: u64, secondaries: u8) {
    let mut set = get(input, at, 32 * (usize::from(secondaries) + 1));
    set.drain(2..4);
    let sum = set.iter().fold(0u16, |sum, byte| sum.rotate_right(1).wrapping_add(u16::from(*byte)));
    put(input, at + 2, &sum.to_le_bytes());
}

/// LVM's checksum.
fn lvm_checksum(bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xF597_A6CF);
    hasher.update(bytes);
    (!hasher.finalize()).to_le_bytes()
}

/// Blocks of a thin pool's metadata that are looked at.
const THIN_BLOCKS_MAX: u64 = 64;

/// The label, area and text of a physical volume, of one that is itself on an array, too; the blocks of a thin pool on it;
/// the superblock of an array of version 1.
pub fn assembly(input: &mut [u8]) {
    let array = get(input, 4096, 4096);
    let mut starts = vec![0];
    if array.starts_with(&0xA92B_4EFC_u32.to_le_bytes()) {
        let mut words = array[..256 + (le_u32(&array, 220) * 2).min(3840)].to_vec();
        words[216..220].fill(0);
        let sum: u64 = words
            .chunks(4)
            .map(|word| {
                let mut whole = [0; 4];
                whole[..word.len()].copy_from_slice(word);
                u64::from(u32::from_le_bytes(whole))
            })
            .sum();
        let folded = (sum & u64::from(u32::MAX)) + (sum >> 32);
        put(input, 4096 + 216, &folded.to_le_bytes()[..4]);
        starts.push(le_u64(&array, 128).saturating_mul(512).min(1 << 40));
    }
    starts.into_iter().for_each(|start| physical_volume(input, start));
}

fn physical_volume(input: &mut [u8], start: u64) {
    let label = get(input, start + 512, 512);
    if !label.starts_with(b"LABELONE") {
        return;
    }
    put(input, start + 512 + 16, &lvm_checksum(&label[20..]));
    let area = start.saturating_add(4096);
    let header = get(input, area, 512);
    let (offset, len) = (le_u64(&header, 40), le_u64(&header, 48));
    if let (Ok(len), true) = (usize::try_from(len), offset < 1 << 40) {
        let text = get(input, area + offset, len);
        put(input, area + 56, &lvm_checksum(&text));
    }
    let header = get(input, area, 512);
    put(input, area, &lvm_checksum(&header[4..]));
    // Where the kernel put the pool of the seed: behind 80 extents of 64 KiB.
    let pool = start + (1 << 20) + 80 * 65536;
    if le_u64(&get(input, pool, 4096), 32) == 27_022_010 {
        for number in 0..THIN_BLOCKS_MAX {
            let at = pool + number * 4096;
            let block = get(input, at, 4096);
            let salt = if number == 0 { 160_774 } else { 121_107 };
            put(input, at, &(!crc32c::crc32c(&block[4..]) ^ salt).to_le_bytes());
        }
    }
}
