//! Everything that ordinary system calls show of a tree: names, all of stat, extended attributes, bytes.

use crate::cache::hex;
use crate::{Result, parallel};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Larger files are not read: a sparse one may have terabytes. Manifests have the same limit.
pub const HASHED_BYTES_MAX: u64 = 512 << 20;

/// What is asked for beyond what every filesystem lists by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Extended attributes that are asked for by name, listed or not.
    pub unlisted_xattrs: &'a [&'a str],
}

/// One entry of a tree. The fields are those of stat, but for the device and the inode number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Path below the root, without a leading `/`; the root's own is empty.
    pub path: Vec<u8>,
    /// `f d l p s c b`, as in manifests.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred size of a read.
    pub block_size: u64,
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// Seconds and nanoseconds of the last modification.
    pub modified: (i64, i64),
    /// The same of the last access.
    pub accessed: (i64, i64),
    /// The same of the last change of attributes.
    pub changed: (i64, i64),
    /// The same of the creation, where the filesystem tells.
    pub created: Option<(i64, i64)>,
    /// Extended attributes by name; the values' digests.
    pub xattrs: Vec<(String, String)>,
    /// Digest of a file's bytes or of a link's target; `-` above [`HASHED_BYTES_MAX`]; `error: ...` when
    /// they cannot be read.
    pub content: String,
    /// A link's target.
    pub target: Vec<u8>,
}

/// Walks the tree at `root`, the root itself included, and hashes everything, with all processors. The
/// entries are sorted by path.
///
/// An entry without attributes is of the kind `?`.
///
/// # Errors
/// When a directory cannot be listed.
pub fn walk(root: &Path, options: Options<'_>) -> Result<Vec<Entry>> {
    let mut paths = vec![PathBuf::new()];
    let mut entries = vec![attributes(root, Path::new(""))?];
    let mut at = 0;
    while let (Some(path), Some(entry)) = (paths.get(at), entries.get(at)) {
        if entry.kind == 'd' {
            let directory = path.clone();
            for child in fs::read_dir(root.join(&directory))
                .map_err(|error| format!("listing {}: {error}", directory.display()))?
            {
                let path = directory.join(child?.file_name());
                entries
                    .push(attributes(root, &path).unwrap_or_else(|error| broken(&path, &error.to_string())));
                paths.push(path);
            }
        }
        at += 1;
    }
    let pieces: Vec<&mut [Entry]> = entries.chunks_mut(64).collect();
    parallel::map(pieces, |piece| piece.iter_mut().try_for_each(|entry| read_entry(root, entry, options)))
        .into_iter()
        .collect::<Result<()>>()?;
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// An entry whose attributes cannot be had.
fn broken(path: &Path, error: &str) -> Entry {
    Entry {
        path: path.as_os_str().as_bytes().to_vec(),
        kind: '?',
        content: format!("ERR:{error}"),
        ..Entry::default()
    }
}

fn attributes(root: &Path, path: &Path) -> Result<Entry> {
    let full = root.join(path);
    let stat = fs::symlink_metadata(&full).map_err(|error| format!("stat {}: {error}", path.display()))?;
    let created = rustix::fs::statx(CWD, &full, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME)?;
    let has_created = created.stx_mask & StatxFlags::BTIME.bits() != 0;
    let file_type = stat.file_type();
    let kind = match () {
        () if file_type.is_dir() => 'd',
        () if file_type.is_symlink() => 'l',
        () if file_type.is_fifo() => 'p',
        () if file_type.is_socket() => 's',
        () if file_type.is_char_device() => 'c',
        () if file_type.is_block_device() => 'b',
        () => 'f',
    };
    Ok(Entry {
        path: path.as_os_str().as_bytes().to_vec(),
        kind,
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        gid: stat.gid(),
        links: stat.nlink(),
        size: stat.size(),
        blocks: stat.blocks(),
        block_size: stat.blksize(),
        device: (rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev())),
        modified: (stat.mtime(), stat.mtime_nsec()),
        accessed: (stat.atime(), stat.atime_nsec()),
        changed: (stat.ctime(), stat.ctime_nsec()),
        created: has_created.then_some((created.stx_btime.tv_sec, i64::from(created.stx_btime.tv_nsec))),
        xattrs: Vec::new(),
        content: String::new(),
        target: Vec::new(),
    })
}

fn read_entry(root: &Path, entry: &mut Entry, options: Options<'_>) -> Result<()> {
    let path = root.join(std::ffi::OsStr::from_bytes(&entry.path));
    if entry.kind == '?' {
        return Ok(());
    }
    entry.xattrs =
        xattrs(&path, options).map_err(|error| format!("xattrs of {}: {error}", path.display()))?;
    match entry.kind {
        'f' if entry.size > HASHED_BYTES_MAX => "-".clone_into(&mut entry.content),
        'f' => entry.content = hash_file(&path).unwrap_or_else(|error| format!("error: {error}")),
        'l' => match fs::read_link(&path) {
            Ok(target) => {
                entry.target = target.into_os_string().into_vec();
                entry.content = hex(&Sha256::digest(&entry.target));
            }
            Err(error) => entry.content = format!("error: {error}"),
        },
        _ => {}
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}

fn xattrs(path: &Path, options: Options<'_>) -> Result<Vec<(String, String)>> {
    let mut names: Vec<Vec<u8>> = listed(path)?;
    names.extend(options.unlisted_xattrs.iter().map(|name| name.as_bytes().to_vec()));
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        if let Some(value) = xattr(path, &name)? {
            found.push((String::from_utf8_lossy(&name).into_owned(), hex(&Sha256::digest(value))));
        }
    }
    Ok(found)
}

fn listed(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut list = vec![0; 64 << 10];
    match rustix::fs::llistxattr(path, list.as_mut_slice()) {
        Ok(len) => list.truncate(len),
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// The value of one extended attribute, `None` when there is no such.
///
/// # Errors
/// Other than that it is not there.
pub fn xattr(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 64 << 10];
    match rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), value.as_mut_slice()) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
