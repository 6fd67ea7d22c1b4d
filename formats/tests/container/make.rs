//! Writers of images with whatever a test needs, by the formats' specifications and nothing of the readers.

use std::io::Write;

/// Sets bytes inside an image.
pub fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

// ---- VHD ----

/// A VHD to be written.
#[derive(Clone)]
pub struct Vhd {
    /// 2 fixed, 3 dynamic, 4 differencing.
    pub kind: u32,
    pub size: u64,
    pub block_bytes: usize,
    pub id: [u8; 16],
    pub parent_id: [u8; 16],
    pub parent_name: String,
    /// The disk's bytes; shorter than `size` where the rest is absent.
    pub disk: Vec<u8>,
    /// Which sectors are present.
    pub has: fn(u64) -> bool,
    pub footer_bytes: usize,
}

impl Vhd {
    pub fn dynamic(disk: Vec<u8>) -> Vhd {
        Vhd {
            kind: 3,
            size: disk.len() as u64,
            block_bytes: 4096,
            id: [1; 16],
            parent_id: [0; 16],
            parent_name: String::new(),
            disk,
            has: |_| true,
            footer_bytes: 512,
        }
    }

    pub fn child(disk: Vec<u8>, parent: &Vhd, name: &str) -> Vhd {
        let mut id = parent.id;
        id[15] = id[15].wrapping_add(1);
        Vhd { kind: 4, id, parent_id: parent.id, parent_name: name.into(), ..Vhd::dynamic(disk) }
    }

    pub fn bitmap_bytes(&self) -> usize {
        self.block_bytes.div_ceil(512 * 8).next_multiple_of(512)
    }

    fn footer(&self) -> Vec<u8> {
        let mut footer = vec![0; 512];
        put(&mut footer, 0, b"conectix\0\0\0\x02\0\x01\0\0");
        let data_offset = if self.kind == 2 { u64::MAX } else { 512 };
        put(&mut footer, 16, &data_offset.to_be_bytes());
        put(&mut footer, 28, b"vpc \0\x05\0\x03Wi2k");
        put(&mut footer, 40, &self.size.to_be_bytes());
        put(&mut footer, 48, &self.size.to_be_bytes());
        // A geometry that has nothing to do with the size: nobody may believe it.
        put(&mut footer, 56, &[0, 7, 3, 5]);
        put(&mut footer, 60, &self.kind.to_be_bytes());
        put(&mut footer, 68, &self.id);
        seal_vhd(&mut footer, 64);
        footer
    }

    /// Where the block table is.
    pub const TABLE: usize = 2048;

    fn header(&self, blocks: usize) -> Vec<u8> {
        let mut header = vec![0; 1024];
        put(&mut header, 0, b"cxsparse");
        put(&mut header, 8, &[0xFF; 8]);
        put(&mut header, 16, &(Vhd::TABLE as u64).to_be_bytes());
        put(&mut header, 24, &0x0001_0000_u32.to_be_bytes());
        put(&mut header, 28, &(blocks as u32).to_be_bytes());
        put(&mut header, 32, &(self.block_bytes as u32).to_be_bytes());
        put(&mut header, 40, &self.parent_id);
        let name: Vec<u8> = self.parent_name.encode_utf16().flat_map(u16::to_be_bytes).collect();
        put(&mut header, 64, &name);
        if !self.parent_name.is_empty() {
            // Space 512, the length of the little-endian name, its place behind the header.
            put(&mut header, 576, b"W2ru\0\0\x02\0");
            put(&mut header, 584, &(name.len() as u32).to_be_bytes());
            put(&mut header, 592, &1536_u64.to_be_bytes());
        }
        seal_vhd(&mut header, 36);
        header
    }

    pub fn build(&self) -> Vec<u8> {
        let footer = self.footer();
        if self.kind == 2 {
            let mut image = self.disk.clone();
            image.resize(self.size as usize, 0);
            image.extend_from_slice(&footer[..self.footer_bytes]);
            return image;
        }
        let blocks = (self.size as usize).div_ceil(self.block_bytes);
        let mut image = footer.clone();
        image.extend(self.header(blocks));
        let name: Vec<u8> = self.parent_name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        image.extend_from_slice(&name);
        image.resize(Vhd::TABLE, 0);
        image.resize((Vhd::TABLE + blocks * 4).next_multiple_of(512), 0xFF);
        for (number, block) in self.disk.chunks(self.block_bytes).enumerate() {
            let first = (number * self.block_bytes / 512) as u64;
            let sectors = block.len().div_ceil(512) as u64;
            let mut bitmap = vec![0; self.bitmap_bytes()];
            for sector in (0..sectors).filter(|sector| (self.has)(first + sector)) {
                bitmap[sector as usize / 8] |= 0x80 >> (sector % 8);
            }
            if bitmap.iter().all(|&byte| byte == 0) {
                continue;
            }
            let entry = (image.len() / 512) as u32;
            put(&mut image, Vhd::TABLE + number * 4, &entry.to_be_bytes());
            image.extend(bitmap);
            image.extend_from_slice(block);
            image.resize(image.len() + self.block_bytes - block.len(), 0xEE);
            image.resize(image.len().next_multiple_of(512), 0xEE);
        }
        image.extend_from_slice(&footer[..self.footer_bytes]);
        image
    }
}

/// Sets the checksum of a VHD's footer or header.
pub fn seal_vhd(structure: &mut [u8], at: usize) {
    put(structure, at, &[0; 4]);
    let sum = structure.iter().fold(0_u32, |sum, &byte| sum.wrapping_add(byte.into()));
    put(structure, at, &(!sum).to_be_bytes());
}

// ---- VHDX ----

pub const MIB: usize = 1 << 20;

/// A VHDX to be written: everything in its usual place, see the constants.
#[derive(Clone)]
pub struct Vhdx {
    pub size: u64,
    pub block_bytes: usize,
    pub sector_bytes: usize,
    pub id: [u8; 16],
    pub parent: Vec<(String, String)>,
    /// Payload blocks: number, state, contents.
    pub blocks: Vec<(u64, u64, Vec<u8>)>,
    /// Which sectors of partially present blocks are present.
    pub has: fn(u64) -> bool,
    pub log: Vec<LogEntry>,
    /// Sectors of the log, and the first one that is written to.
    pub log_start: usize,
}

pub const LOG: usize = MIB;
pub const METADATA: usize = 2 * MIB;
pub const BLOCK_TABLE: usize = 3 * MIB;
/// The table's length, and the first block's place.
pub const BLOCK_TABLE_BYTES: usize = MIB;
pub const BLOCKS: usize = 4 * MIB;
pub const LOG_ID: [u8; 16] = [0x4C; 16];

/// An entry of the log.
#[derive(Clone, Default)]
pub struct LogEntry {
    pub sequence: u64,
    /// Entries before this one that must be replayed too.
    pub older: usize,
    pub changes: Vec<LogChange>,
    pub flushed: u64,
    pub size: u64,
    /// Flips a byte after the checksum was made.
    pub is_torn: bool,
}

#[derive(Clone)]
pub enum LogChange {
    Zero { at: u64, len: u64 },
    Data { at: u64, bytes: Vec<u8> },
}

pub fn guid(text: &str) -> [u8; 16] {
    let hex: String = text.chars().filter(|&c| c != '-').collect();
    let mut guid = [0; 16];
    for (at, byte) in guid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap();
    }
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    guid
}

impl Vhdx {
    pub fn new(size: u64, block_bytes: usize) -> Vhdx {
        Vhdx {
            size,
            block_bytes,
            sector_bytes: 512,
            id: guid("00112233-4455-6677-8899-aabbccddeeff"),
            parent: Vec::new(),
            blocks: Vec::new(),
            has: |_| true,
            log: Vec::new(),
            log_start: 0,
        }
    }

    /// Payload blocks for each bitmap block.
    pub fn ratio(&self) -> u64 {
        (1 << 23) * self.sector_bytes as u64 / self.block_bytes as u64
    }

    fn header(&self, sequence: u64) -> Vec<u8> {
        let mut header = vec![0; 4096];
        put(&mut header, 0, b"head");
        put(&mut header, 8, &sequence.to_le_bytes());
        put(&mut header, 16, &[0xF1; 16]);
        put(&mut header, 32, &self.id);
        if !self.log.is_empty() {
            put(&mut header, 48, &LOG_ID);
        }
        put(&mut header, 66, &1_u16.to_le_bytes());
        put(&mut header, 68, &(MIB as u32).to_le_bytes());
        put(&mut header, 72, &(LOG as u64).to_le_bytes());
        seal_vhdx(&mut header);
        header
    }

    fn regions() -> Vec<u8> {
        let mut table = vec![0; 64 << 10];
        put(&mut table, 0, b"regi");
        put(&mut table, 8, &2_u32.to_le_bytes());
        let entries = [
            ("2dc27766-f623-4200-9d64-115e9bfd4a08", BLOCK_TABLE, BLOCK_TABLE_BYTES),
            ("8b7ca206-4790-4b9a-b8fe-575f050f886e", METADATA, MIB),
        ];
        for (number, (id, at, len)) in entries.into_iter().enumerate() {
            let entry = 16 + number * 32;
            put(&mut table, entry, &guid(id));
            put(&mut table, entry + 16, &(at as u64).to_le_bytes());
            put(&mut table, entry + 24, &(len as u32).to_le_bytes());
            put(&mut table, entry + 28, &1_u32.to_le_bytes());
        }
        seal_vhdx(&mut table);
        table
    }

    fn metadata(&self) -> Vec<u8> {
        let flags: u32 = if self.parent.is_empty() { 0 } else { 2 };
        let mut parameters = (self.block_bytes as u32).to_le_bytes().to_vec();
        parameters.extend(flags.to_le_bytes());
        let mut items = vec![
            ("caa16737-fa36-4d43-b3b6-33f0aa44e76b", 4_u32, parameters),
            ("2fa54224-cd1b-4876-b211-5dbed83bf4b8", 6, self.size.to_le_bytes().to_vec()),
            ("beca12ab-b2e6-4523-93ef-c309e000c746", 6, vec![7; 16]),
            ("8141bf1d-a96f-4709-ba47-f233a8faab5f", 6, (self.sector_bytes as u32).to_le_bytes().to_vec()),
            ("cda348c7-445d-4471-9cc9-e9885251c556", 6, 4096_u32.to_le_bytes().to_vec()),
        ];
        if !self.parent.is_empty() {
            items.push(("a8d35f2d-b30b-454d-abf7-d3d84834ab0c", 4, self.locator()));
        }
        let mut table = vec![0; MIB];
        put(&mut table, 0, b"metadata");
        put(&mut table, 10, &(items.len() as u16).to_le_bytes());
        let mut at = 64 << 10;
        for (number, (id, flags, bytes)) in items.iter().enumerate() {
            let entry = 32 + number * 32;
            put(&mut table, entry, &guid(id));
            put(&mut table, entry + 16, &(at as u32).to_le_bytes());
            put(&mut table, entry + 20, &(bytes.len() as u32).to_le_bytes());
            put(&mut table, entry + 24, &flags.to_le_bytes());
            put(&mut table, at, bytes);
            at += bytes.len().next_multiple_of(8);
        }
        table
    }

    fn locator(&self) -> Vec<u8> {
        let mut locator = guid("b04aefb7-d19e-4a81-b789-25b8e9445913").to_vec();
        locator.extend([0, 0]);
        locator.extend((self.parent.len() as u16).to_le_bytes());
        let mut texts = Vec::new();
        let start = 20 + 12 * self.parent.len();
        let mut text = |text: &str| {
            let at = (start + texts.len()) as u32;
            texts.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            (at, (start + texts.len()) as u32 - at)
        };
        for (key, value) in &self.parent {
            let ((key, key_len), (value, value_len)) = (text(key), text(value));
            locator.extend(key.to_le_bytes());
            locator.extend(value.to_le_bytes());
            locator.extend((key_len as u16).to_le_bytes());
            locator.extend((value_len as u16).to_le_bytes());
        }
        locator.extend(texts);
        locator
    }

    /// The table entry of a payload block.
    pub fn entry_at(&self, block: u64) -> usize {
        BLOCK_TABLE + (block + block / self.ratio()) as usize * 8
    }

    fn bitmap_entry_at(&self, block: u64) -> usize {
        let chunk = block / self.ratio();
        BLOCK_TABLE + (chunk * (self.ratio() + 1) + self.ratio()) as usize * 8
    }

    pub fn build(&self) -> Vec<u8> {
        let mut image = vec![0; BLOCKS];
        put(&mut image, 0, b"vhdxfile");
        put(&mut image, 64 << 10, &self.header(7));
        put(&mut image, 128 << 10, &self.header(8));
        put(&mut image, 192 << 10, &Vhdx::regions());
        put(&mut image, 256 << 10, &Vhdx::regions());
        put(&mut image, METADATA, &self.metadata());
        for (number, state, contents) in &self.blocks {
            let place = if contents.is_empty() { 0 } else { image.len() as u64 };
            put(&mut image, self.entry_at(*number), &(place | state).to_le_bytes());
            if !contents.is_empty() {
                let end = image.len() + self.block_bytes;
                image.extend_from_slice(contents);
                image.resize(end, 0xEE);
            }
            if *state == 7 {
                self.add_bitmap(&mut image, *number);
            }
        }
        self.write_log(&mut image);
        image
    }

    fn add_bitmap(&self, image: &mut Vec<u8>, block: u64) {
        let entry = self.bitmap_entry_at(block);
        let mut bitmap = (u64::from_le_bytes(image[entry..entry + 8].try_into().unwrap()) & !7) as usize;
        if bitmap == 0 {
            bitmap = image.len();
            put(image, entry, &(bitmap as u64 | 6).to_le_bytes());
            image.resize(bitmap + MIB, 0);
        }
        let sectors = (self.block_bytes / self.sector_bytes) as u64;
        for sector in (block * sectors..(block + 1) * sectors).filter(|&sector| (self.has)(sector)) {
            let bit = (sector % (1 << 23)) as usize;
            image[bitmap + bit / 8] |= 1 << (bit % 8);
        }
    }

    fn write_log(&self, image: &mut [u8]) {
        let mut at = self.log_start;
        let mut starts = Vec::new();
        for entry in &self.log {
            starts.push(at);
            let tail = starts[starts.len() - 1 - entry.older];
            for sector in entry.build(tail).chunks(4096) {
                put(image, LOG + at * 4096 % MIB, sector);
                at += 1;
            }
        }
    }
}

impl LogEntry {
    pub fn build(&self, tail: usize) -> Vec<u8> {
        let descriptors = self.changes.len();
        let mut bytes = vec![0; (64 + descriptors * 32).next_multiple_of(4096)];
        let mut data = Vec::new();
        for (number, change) in self.changes.iter().enumerate() {
            let at = 64 + number * 32;
            let offset = match change {
                LogChange::Zero { at: offset, len } => {
                    put(&mut bytes, at, b"zero");
                    put(&mut bytes, at + 8, &len.to_le_bytes());
                    offset
                }
                LogChange::Data { at: offset, bytes: sector } => {
                    put(&mut bytes, at, b"desc");
                    put(&mut bytes, at + 4, &sector[4092..]);
                    put(&mut bytes, at + 8, &sector[..8]);
                    data.extend(b"data");
                    data.extend(((self.sequence >> 32) as u32).to_le_bytes());
                    data.extend(&sector[8..4092]);
                    data.extend((self.sequence as u32).to_le_bytes());
                    offset
                }
            };
            put(&mut bytes, at + 16, &offset.to_le_bytes());
            put(&mut bytes, at + 24, &self.sequence.to_le_bytes());
        }
        bytes.extend(data);
        let len = bytes.len() as u32;
        put(&mut bytes, 0, b"loge");
        put(&mut bytes, 8, &len.to_le_bytes());
        put(&mut bytes, 12, &((tail * 4096 % MIB) as u32).to_le_bytes());
        put(&mut bytes, 16, &self.sequence.to_le_bytes());
        put(&mut bytes, 24, &(descriptors as u32).to_le_bytes());
        put(&mut bytes, 32, &LOG_ID);
        put(&mut bytes, 48, &self.flushed.to_le_bytes());
        put(&mut bytes, 56, &self.size.to_le_bytes());
        seal_vhdx(&mut bytes);
        if self.is_torn {
            bytes[4095] ^= 1;
        }
        bytes
    }
}

/// Sets the checksum of a VHDX's header, region table or log entry. CRC-32C bit by bit, unlike the reader.
pub fn seal_vhdx(structure: &mut [u8]) {
    put(structure, 4, &[0; 4]);
    let mut crc = u32::MAX;
    for &byte in structure.iter() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    put(structure, 4, &(!crc).to_le_bytes());
}

// ---- VHDZ ----

/// How a block is stored.
#[derive(Clone, Copy)]
pub enum Packing {
    Stored,
    Zlib,
    Zstd,
    Hole,
}

/// Wraps a file, each block packed as `packing` says; the blocks are written from the last to the first,
/// and each has an older version before it, as rewritten blocks have.
pub fn vhdz(inner: &[u8], block_bytes: usize, packing: impl Fn(usize) -> Packing) -> Vec<u8> {
    let mut image = b"URBACKUP COMPRESSED FILE#1.1\0".to_vec();
    image.resize(50, 0xCC);
    let blocks: Vec<&[u8]> = inner.chunks(block_bytes).collect();
    let mut index = vec![-1_i64; blocks.len()];
    for (number, block) in blocks.iter().enumerate().rev() {
        let mut full = block.to_vec();
        full.resize(block_bytes, 0);
        let (mode, payload) = match packing(number) {
            Packing::Hole => continue,
            Packing::Stored => (0_u32, full),
            Packing::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&full).unwrap();
                (1, encoder.finish().unwrap())
            }
            Packing::Zstd => (2, zstd::bulk::compress(&full, 3).unwrap()),
        };
        record(&mut image, 2, &zstd::bulk::compress(&vec![0xDD; block_bytes], 1).unwrap());
        index[number] = image.len() as i64;
        record(&mut image, mode, &payload);
    }
    let index_at = image.len() as i64;
    put(&mut image, 29, &index_at.to_le_bytes());
    put(&mut image, 37, &(inner.len() as i64).to_le_bytes());
    put(&mut image, 45, &(block_bytes as u32).to_le_bytes());
    image.extend(index.iter().flat_map(|offset| offset.to_le_bytes()));
    image
}

fn record(image: &mut Vec<u8>, mode: u32, payload: &[u8]) {
    image.extend((payload.len() as u32).to_le_bytes());
    image.extend(mode.to_le_bytes());
    image.extend_from_slice(payload);
}

// ---- VDI ----

/// A VDI to be written.
#[derive(Clone)]
pub struct Vdi {
    /// 1 dynamic, 2 fixed, 4 differencing.
    pub kind: u32,
    pub size: u64,
    pub block_bytes: usize,
    /// Bytes before each block.
    pub extra_bytes: usize,
    pub id: [u8; 16],
    pub stamp: [u8; 16],
    pub parent_id: [u8; 16],
    pub parent_stamp: [u8; 16],
    /// Blocks in the order in which they are stored: number, contents.
    pub blocks: Vec<(usize, Vec<u8>)>,
    /// Blocks that are zeros.
    pub zeros: Vec<usize>,
}

impl Vdi {
    /// Where the block map is.
    pub const MAP: usize = 512;

    pub fn new(size: u64, block_bytes: usize) -> Vdi {
        Vdi {
            kind: 1,
            size,
            block_bytes,
            extra_bytes: 0,
            id: [0xA1; 16],
            stamp: [0xB1; 16],
            parent_id: [0; 16],
            parent_stamp: [0; 16],
            blocks: Vec::new(),
            zeros: Vec::new(),
        }
    }

    /// A child of `parent` with an id of its own.
    pub fn child(parent: &Vdi) -> Vdi {
        let next = |id: [u8; 16]| id.map(|byte| byte + 1);
        Vdi {
            kind: 4,
            id: next(parent.id),
            stamp: next(parent.stamp),
            parent_id: parent.id,
            parent_stamp: parent.stamp,
            blocks: Vec::new(),
            zeros: Vec::new(),
            ..parent.clone()
        }
    }

    pub fn build(&self) -> Vec<u8> {
        let count = (self.size as usize).div_ceil(self.block_bytes);
        let data = (Vdi::MAP + count * 4).next_multiple_of(512);
        let mut image = vec![0; data];
        put(&mut image, 0, b"<<< Oracle VM VirtualBox Disk Image >>>\n");
        let numbers: [(usize, u32); 12] = [
            (64, 0xBEDA_107F),
            (68, 0x0001_0001),
            (72, 400),
            (76, self.kind),
            (340, Vdi::MAP as u32),
            (344, data as u32),
            (360, 512),
            (376, self.block_bytes as u32),
            (380, self.extra_bytes as u32),
            (384, count as u32),
            (388, self.blocks.len() as u32),
            (464, 512),
        ];
        for (at, number) in numbers {
            put(&mut image, at, &number.to_le_bytes());
        }
        put(&mut image, 368, &self.size.to_le_bytes());
        for (number, id) in [self.id, self.stamp, self.parent_id, self.parent_stamp].iter().enumerate() {
            put(&mut image, 392 + number * 16, id);
        }
        image[Vdi::MAP..Vdi::MAP + count * 4].fill(0xFF);
        for &block in &self.zeros {
            put(&mut image, Vdi::MAP + block * 4, &(u32::MAX - 1).to_le_bytes());
        }
        for (place, (block, contents)) in self.blocks.iter().enumerate() {
            put(&mut image, Vdi::MAP + block * 4, &(place as u32).to_le_bytes());
            image.resize(image.len() + self.extra_bytes, 0xEE);
            let end = image.len() + self.block_bytes;
            image.extend_from_slice(contents);
            image.resize(end, 0xEE);
        }
        image
    }
}
