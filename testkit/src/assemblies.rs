//! Disks with volume groups and arrays, made by the kernel itself in a virtual machine (`testkit/assemblies/make.sh`), and
//! what it read from them.

use crate::{Result, cache};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The disks, one tar archive.
const FIXTURES: &[u8] = include_bytes!("../assemblies/fixtures.tar.zst");

const BLOCK: usize = 512;

/// The directory with all disks, as `NAME.img`.
///
/// # Errors
/// What the filesystem reports.
pub fn directory() -> Result<PathBuf> {
    cache::get("assemblies", &cache::hex(&Sha256::digest(FIXTURES)), unpack)
}

/// What the kernel read of a volume or an array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of all its bytes.
    pub device: String,
    /// SHA-256 of each file in it, by paths.
    pub files: BTreeMap<String, String>,
}

/// What the kernel read, by the names of volumes and arrays.
///
/// # Errors
/// What the filesystem reports.
pub fn truth() -> Result<BTreeMap<String, Truth>> {
    let mut all: BTreeMap<String, Truth> = BTreeMap::new();
    for line in fs::read_to_string(directory()?.join("manifest"))?.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(what), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("a line that is none: {line}").into());
        };
        let truth = all.entry(name.into()).or_default();
        match what {
            "size" => truth.size = value.parse()?,
            "device" => truth.device = value.into(),
            path => _ = truth.files.insert(path.into(), value.into()),
        }
    }
    Ok(all)
}

fn unpack(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let mut archive = zstd::stream::read::Decoder::new(FIXTURES)?;
    archive.window_log_max(27)?;
    let mut header = [0; BLOCK];
    loop {
        archive.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let text = |from: usize, len: usize| -> Result<String> {
            let bytes = header.get(from..from.saturating_add(len)).unwrap_or_default();
            Ok(String::from_utf8(bytes.iter().copied().take_while(|byte| *byte != 0).collect())?)
        };
        let (name, len) = (text(0, 100)?, u64::from_str_radix(text(124, 11)?.trim(), 8)?);
        if name.ends_with('/') {
            continue;
        }
        let name = Path::new(&name).file_name().ok_or("an entry without a name")?;
        unpack_file(&mut archive, &File::create(directory.join(name))?, len)?;
    }
}

/// Writes what is not zero, so that the file is as small as the disk was.
fn unpack_file(archive: &mut impl Read, file: &File, len: u64) -> Result<()> {
    file.set_len(len)?;
    let mut block = [0; BLOCK];
    let mut at: u64 = 0;
    while at < len {
        archive.read_exact(&mut block)?;
        let here = usize::try_from(len.saturating_sub(at))?.min(BLOCK);
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block.get(..here).unwrap_or_default(), at)?;
        }
        at = at.saturating_add(512);
    }
    Ok(())
}
