//! What volumes hold: the same on every run.

use crate::Result;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

/// Files in the one large directory.
const LARGE_DIRECTORY_FILES: u64 = 20_000;
/// Files in the home directories.
const HOME_FILES: u64 = 30_000;
/// Files of one directory among the home directories.
const FILES_PER_DIRECTORY: u64 = 40;
/// Directories of one home directory.
const DIRECTORIES_PER_HOME: u64 = 25;
/// 2001-09-09, the first of the modification times.
const FIRST_SECOND: i64 = 1_000_000_000;

/// The filesystem that a tree is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// ext4, by the kernel.
    Ext4,
    /// NTFS, by ntfs-3g.
    Ntfs,
}

/// Numbers that look random and are the same on every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// A writer of one tree.
struct Writer<'a> {
    root: &'a Path,
    guest: Guest,
    numbers: Numbers,
    /// Contents are pieces of this.
    noise: Vec<u8>,
}

/// Writes 50,000 files of every kind into the empty directory `root`.
///
/// # Errors
/// What the filesystem reports.
pub fn write(root: &Path, guest: Guest) -> Result<()> {
    let mut writer = Writer::new(root, guest);
    writer.large_directory()?;
    writer.homes()?;
    writer.links()?;
    writer.odd_names()?;
    writer.attributes()?;
    writer.shapes()?;
    if guest == Guest::Ext4 {
        writer.specials()?;
    }
    Ok(())
}

/// Writes so many files of less than 700 bytes into home directories below the empty directory `root`.
///
/// # Errors
/// What the filesystem reports.
pub fn write_small_files(root: &Path, guest: Guest, files: u64) -> Result<()> {
    let mut writer = Writer::new(root, guest);
    for index in 0..files {
        let path = writer.home_file(index)?;
        let size = writer.numbers.below(700);
        writer.file(&path, size)?;
    }
    Ok(())
}

impl Writer<'_> {
    fn new(root: &Path, guest: Guest) -> Writer<'_> {
        let mut numbers = Numbers(50_000);
        let noise = numbers.bytes(16 << 20);
        Writer { root, guest, numbers, noise }
    }

    /// One directory of 20,000 small files.
    fn large_directory(&mut self) -> Result<()> {
        fs::create_dir(self.root.join("large"))?;
        for index in 0..LARGE_DIRECTORY_FILES {
            let size = if index % 10 == 0 { 0 } else { self.numbers.below(700) };
            self.file(&format!("large/message-{index:05}.eml"), size)?;
        }
        Ok(())
    }

    /// Home directories with directories of 40 files of mixed sizes, some of them nested.
    fn homes(&mut self) -> Result<()> {
        for index in 0..HOME_FILES {
            let path = self.home_file(index)?;
            let size = self.mixed_size(index);
            self.file(&path, size)?;
        }
        Ok(())
    }

    /// The path of a file in the home directories; its directory is made with its first file.
    fn home_file(&self, index: u64) -> Result<String> {
        let directory = index / FILES_PER_DIRECTORY;
        let home = directory / DIRECTORIES_PER_HOME;
        let nested = "/deeper".repeat(usize::try_from(directory % 5)?);
        let path = format!("home/user{home:02}/project {directory:03}{nested}");
        if index.is_multiple_of(FILES_PER_DIRECTORY) {
            fs::create_dir_all(self.root.join(&path))?;
        }
        Ok(format!("{path}/document {index:05}.dat"))
    }

    /// A tenth empty, most tiny, a quarter of 4 to 64 KiB, thirty of 1 to 4 MiB.
    fn mixed_size(&mut self, index: u64) -> u64 {
        match index % 1000 {
            500 => (1 << 20) + self.numbers.below(3 << 20),
            tens if tens % 10 == 0 => 0,
            fourths if fourths % 4 == 0 => 4096 + self.numbers.below(60 << 10),
            _ => self.numbers.below(4096),
        }
    }

    /// A file of `size` bytes with a modification time of its own.
    fn file(&mut self, path: &str, size: u64) -> Result<()> {
        let size = usize::try_from(size)?;
        let from = usize::try_from(self.numbers.below(8 << 20))?;
        let mut file = File::create(self.root.join(path))?;
        file.write_all(self.noise.get(from..from + size).ok_or("a file larger than the noise")?)?;
        let seconds = FIRST_SECOND + i64::try_from(self.numbers.below(700_000_000))?;
        let nanoseconds = i64::try_from(self.numbers.below(10_000_000))? * 100;
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        Ok(())
    }

    /// 500 hard links, 500 symbolic links, of every kind of target.
    fn links(&mut self) -> Result<()> {
        fs::create_dir(self.root.join("links"))?;
        for index in 0..500 {
            let target = format!("large/message-{:05}.eml", index * 7);
            fs::hard_link(self.root.join(&target), self.root.join(format!("links/hard-{index:03}")))?;
            let target = match index % 5 {
                0 => format!("../{target}"),
                1 => format!("missing/{}", "x".repeat(index)),
                2 => "../home/user00".to_owned(),
                3 => format!("/absolute/{target}"),
                _ => format!("hard-{index:03}"),
            };
            symlink(target, self.root.join(format!("links/soft-{index:03}")))?;
        }
        Ok(())
    }

    /// Names of every length, in several scripts, with spaces, quotes and (ext4) control bytes.
    fn odd_names(&mut self) -> Result<()> {
        fs::create_dir(self.root.join("names"))?;
        for length in 1..=255 {
            self.file(&format!("names/{}", "n".repeat(length)), 10)?;
        }
        for name in
            ["Größe 大きさ размер", "emoji 😀", "it's; $(here) & `there`", "trailing.tar.gz", ".hidden"]
        {
            self.file(&format!("names/{name}"), 10)?;
        }
        if self.guest == Guest::Ext4 {
            for name in ["new\nline", "tab\t", "escape \u{1b}[31m", "back\\slash", "quote\""] {
                self.file(&format!("names/{name}"), 10)?;
            }
        }
        Ok(())
    }

    /// Extended attributes (on NTFS, ntfs-3g makes named streams of them), modes and owners.
    fn attributes(&mut self) -> Result<()> {
        fs::create_dir(self.root.join("attributes"))?;
        for index in 0..1000_u64 {
            let path = format!("attributes/file-{index:03}");
            self.file(&path, 100)?;
            let path = self.root.join(path);
            let len = usize::try_from(if index % 100 == 0 { 3000 } else { self.numbers.below(80) })?;
            let value = self.numbers.bytes(len);
            rustix::fs::setxattr(&path, "user.origin", &value, XattrFlags::empty())?;
            if index % 3 == 0 {
                rustix::fs::setxattr(&path, "user.second", b"2", XattrFlags::empty())?;
            }
            if self.guest == Guest::Ext4 {
                let mode = u32::try_from(index)? & 0o7777;
                std::os::unix::fs::chown(&path, Some(u32::try_from(index * 70)?), Some(1000))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            }
        }
        Ok(())
    }

    /// Files with holes, and two that grew by turns, so that both are in many pieces.
    fn shapes(&mut self) -> Result<()> {
        fs::create_dir(self.root.join("shapes"))?;
        let sparse = File::create(self.root.join("shapes/sparse"))?;
        for index in 0..40 {
            sparse.write_all_at(b"between holes", index * 1_000_003)?;
        }
        sparse.set_len(64 << 20)?;
        let mut files = [
            File::create(self.root.join("shapes/by-turns-a"))?,
            File::create(self.root.join("shapes/by-turns-b"))?,
        ];
        for piece in self.noise.chunks(13_000).take(200) {
            for file in &mut files {
                file.write_all(piece)?;
                file.sync_data()?;
            }
        }
        Ok(())
    }

    /// What only Unix filesystems hold: pipes, sockets, devices, access control lists.
    fn specials(&mut self) -> Result<()> {
        let directory = self.root.join("specials");
        fs::create_dir(&directory)?;
        let mode = Mode::from_raw_mode(0o640);
        for (name, kind, device) in [
            ("pipe", FileType::Fifo, (0, 0)),
            ("socket", FileType::Socket, (0, 0)),
            ("character", FileType::CharacterDevice, (5, 1)),
            ("block", FileType::BlockDevice, (259, 70_000)),
        ] {
            let device = rustix::fs::makedev(device.0, device.1);
            rustix::fs::mknodat(CWD, directory.join(name), kind, mode, device)?;
        }
        let old = Timespec { tv_sec: -1_000_000, tv_nsec: 999_999_999 };
        let times = Timestamps { last_access: old, last_modification: old };
        rustix::fs::utimensat(CWD, directory.join("pipe"), &times, AtFlags::empty())?;
        self.file("specials/with-acl", 50)?;
        let acl = posix_acl(&[
            (0x01, 6, u32::MAX),
            (0x02, 4, 1234),
            (0x04, 4, u32::MAX),
            (0x10, 4, u32::MAX),
            (0x20, 0, u32::MAX),
        ]);
        let path = directory.join("with-acl");
        rustix::fs::setxattr(path, "system.posix_acl_access", &acl, XattrFlags::empty())?;
        Ok(())
    }
}

/// An access control list in the form of its extended attribute: entries of tag, permissions, id.
fn posix_acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Writes a file of 1 GiB in 64 KiB pieces that are by turns random and lines of a log.
///
/// # Errors
/// What the filesystem reports.
pub fn write_big_file(path: &Path) -> Result<()> {
    let mut numbers = Numbers(1 << 30);
    let mut file = File::create(path)?;
    for index in 0..(1_u64 << 30) / (64 << 10) {
        let piece = if index % 2 == 0 { numbers.bytes(64 << 10) } else { log_lines(&mut numbers, 64 << 10)? };
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(())
}

/// Lines of a log: words repeat, numbers do not. A codec has some work with them, as with real files.
fn log_lines(numbers: &mut Numbers, len: usize) -> Result<Vec<u8>> {
    const EVENTS: [&str; 8] = [
        "connection accepted from client",
        "connection closed by client",
        "request served from the cache, entry",
        "request passed on to backend",
        "warning: slow answer of backend",
        "session opened for user",
        "session closed for user",
        "mail delivered to mailbox",
    ];
    let mut text = Vec::with_capacity(len + 128);
    let mut milliseconds = numbers.below(1 << 40);
    while text.len() < len {
        milliseconds += numbers.below(2000);
        let event = EVENTS[usize::try_from(numbers.below(8))?];
        let (process, object, took) = (numbers.below(32_768), numbers.below(100_000), numbers.below(500));
        writeln!(text, "{milliseconds} server[{process}]: {event} {object}, took {took} ms")?;
    }
    text.truncate(len);
    Ok(text)
}
