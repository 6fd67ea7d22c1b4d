//! A volume made by hand, so that it can be wrong: 600 clusters of 512 bytes, behind both boot regions and a table.

use crate::images::MemoryImage;
use spelunk_formats::guest::{self, Options};
use spelunk_tree::{Listed, Name, NodeId, Result, Tree};
use std::sync::Arc;

pub const FAT: usize = 24 * 512;
pub const DATA: usize = 32 * 512;
pub const CLUSTERS: usize = 600;
pub const END: u32 = 0xFFFF_FFFF;
pub const DIRECTORY: u16 = 0x10;
/// Flags of a stream: a chain in the table, or clusters one behind the other.
pub const CHAINED: u8 = 1;
pub const ONE_PIECE: u8 = 3;

const BITMAP: u32 = 2;
pub const UPCASE: u32 = 3;
/// Where the root directory is: one cluster, of which the first three entries are the volume's own.
pub const ROOT: u32 = 4;
pub const ROOT_ENTRIES: usize = DATA + 2 * 512 + 3 * 32;

pub struct Volume(pub Vec<u8>);

/// The entries of a file, before their checksum.
pub struct Set {
    pub name: Vec<u16>,
    pub attributes: u16,
    pub flags: u8,
    pub first_cluster: u32,
    pub valid: u64,
    pub size: u64,
    /// Entries behind those of the name.
    pub more: Vec<[u8; 32]>,
}

impl Set {
    pub fn new(name: &str) -> Set {
        let name = name.encode_utf16().collect();
        Set { name, attributes: 0x20, flags: CHAINED, first_cluster: 0, valid: 0, size: 0, more: Vec::new() }
    }

    /// A file with bytes.
    pub fn file(name: &str, flags: u8, first_cluster: u32, valid: u64, size: u64) -> Set {
        Set { flags, first_cluster, valid, size, ..Set::new(name) }
    }

    pub fn directory(name: &str, flags: u8, first_cluster: u32, size: u64) -> Set {
        Set { attributes: DIRECTORY, ..Set::file(name, flags, first_cluster, size, size) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[0] = 0x85;
        bytes[4..6].copy_from_slice(&self.attributes.to_le_bytes());
        bytes[32] = 0xC0;
        bytes[33] = self.flags;
        bytes[35] = self.name.len() as u8;
        // A hash that is wrong for all: it is not needed.
        bytes[36] = 0x55;
        bytes[40..48].copy_from_slice(&self.valid.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.first_cluster.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.size.to_le_bytes());
        for part in self.name.chunks(15) {
            let mut entry = [0; 32];
            entry[0] = 0xC1;
            for (at, unit) in part.iter().enumerate() {
                entry[2 + 2 * at..][..2].copy_from_slice(&unit.to_le_bytes());
            }
            bytes.extend(entry);
        }
        bytes.extend(self.more.as_flattened());
        bytes[1] = (bytes.len() / 32 - 1) as u8;
        seal_set(&mut bytes);
        bytes
    }
}

/// Puts the checksum of a set right.
pub fn seal_set(set: &mut [u8]) {
    let checked = set.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    let sum = checked.fold(0, |sum: u16, (_, byte)| sum.rotate_right(1).wrapping_add(u16::from(*byte)));
    set[2..4].copy_from_slice(&sum.to_le_bytes());
}

pub fn table_checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.rotate_right(1).wrapping_add(u32::from(*byte)))
}

/// An entry of a bitmap or of an up-case table.
pub fn table_entry(entry_type: u8, checksum: u32, first_cluster: u32, bytes: u64) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[0] = entry_type;
    entry[4..8].copy_from_slice(&checksum.to_le_bytes());
    entry[20..24].copy_from_slice(&first_cluster.to_le_bytes());
    entry[24..].copy_from_slice(&bytes.to_le_bytes());
    entry
}

impl Volume {
    pub fn new() -> Volume {
        let mut volume = Volume(vec![0; DATA + CLUSTERS * 512]);
        for cluster in 2..CLUSTERS as u32 + 2 {
            let at = cluster_at(cluster);
            volume.0[at..][..512].fill(cluster as u8);
        }
        volume.0[cluster_at(ROOT)..][..512].fill(0);
        let sectors = volume.0.len() as u64 / 512;
        let boot = &mut volume.0[..512];
        boot[..11].copy_from_slice(b"\xEB\x76\x90EXFAT   ");
        boot[72..80].copy_from_slice(&sectors.to_le_bytes());
        for (at, value) in
            [(80, 24), (84, 5), (88, 32), (92, CLUSTERS as u32), (96, ROOT), (100, 0x1234_ABCD), (104, 0x100)]
        {
            boot[at..][..4].copy_from_slice(&value.to_le_bytes());
        }
        boot[108..111].copy_from_slice(&[9, 0, 1]);
        boot[510..].copy_from_slice(&[0x55, 0xAA]);
        // Clusters 2 to 11 are in use.
        let bitmap = cluster_at(BITMAP);
        volume.0[bitmap..][..75].fill(0);
        volume.0[bitmap..][..2].copy_from_slice(&[0xFF, 3]);
        // Only q, whose upper case is x.
        let upcase: Vec<u8> = [0xFFFF_u16, 0x71, 0x78].into_iter().flat_map(u16::to_le_bytes).collect();
        volume.0[cluster_at(UPCASE)..][..6].copy_from_slice(&upcase);
        let mut label = [0; 32];
        label[..8].copy_from_slice(b"\x83\x03A\0b\0\xE4\0");
        let own =
            [label, table_entry(0x81, 0, BITMAP, 75), table_entry(0x82, table_checksum(&upcase), UPCASE, 6)];
        let volume = volume.put(cluster_at(ROOT), own.as_flattened());
        volume.link(&[(BITMAP, END), (UPCASE, END), (ROOT, END)]).seal(0).seal(12)
    }

    /// Writes the checksum of the boot region at a sector; the backup's is a copy of the main one.
    pub fn seal(mut self, sector: usize) -> Volume {
        let at = sector * 512;
        self.0.copy_within(..11 * 512, at);
        let checked = self.0[at..][..11 * 512].iter().enumerate();
        let checked = checked.filter(|(at, _)| !matches!(at, 106 | 107 | 112));
        let sum = checked.fold(0, |sum: u32, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
        for place in self.0[at + 11 * 512..][..512].chunks_mut(4) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        self
    }

    pub fn link(mut self, links: &[(u32, u32)]) -> Volume {
        for (from, to) in links {
            self.0[FAT + 4 * *from as usize..][..4].copy_from_slice(&to.to_le_bytes());
        }
        self
    }

    pub fn put(mut self, at: usize, bytes: &[u8]) -> Volume {
        self.0[at..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Puts sets into the root, one behind the other.
    pub fn root(self, sets: &[Vec<u8>]) -> Volume {
        self.put(ROOT_ENTRIES, &sets.concat())
    }

    pub fn try_open(self) -> Result<Arc<dyn Tree>> {
        self.open_with(&Options::default())
    }

    pub fn open_with(self, options: &Options) -> Result<Arc<dyn Tree>> {
        guest::open(Arc::new(MemoryImage(self.0)), options)
    }

    pub fn open(self) -> Arc<dyn Tree> {
        self.try_open().unwrap()
    }
}

pub fn cluster_at(cluster: u32) -> usize {
    DATA + (cluster as usize - 2) * 512
}

pub fn node(at: usize) -> NodeId {
    NodeId::new(at as u64 / 32).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

/// The names of the root's entries; of broken ones with `!`, and `!` alone where there is none.
pub fn names(tree: &dyn Tree) -> Vec<String> {
    names_in(tree, tree.root())
}

pub fn names_in(tree: &dyn Tree, directory: NodeId) -> Vec<String> {
    let text = |name: &Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
    let mut names = Vec::new();
    let mut cursor = Some(spelunk_tree::Cursor::START);
    while let Some(from) = cursor {
        // A page for each, so that pages are joined everywhere.
        let page = tree.list(directory, from, 1).unwrap();
        names.extend(page.entries.iter().map(|listed| match listed {
            Listed::Entry { entry, .. } => text(&entry.name),
            Listed::Broken { name, .. } => format!("{}!", name.as_ref().map_or(String::new(), text)),
        }));
        cursor = page.next;
    }
    names
}
