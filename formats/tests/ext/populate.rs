//! Fills a mounted filesystem with everything that ext can hold.

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, Timespec, Timestamps, XattrFlags, fallocate, lsetxattr,
    makedev, mknodat, utimensat,
};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;

/// What the filesystem at hand can take.
#[derive(Clone, Copy)]
pub struct Abilities {
    /// The longest target of a link.
    pub link_bytes_max: usize,
    /// The largest value of an attribute.
    pub xattr_bytes_max: usize,
    /// Where the last byte of the largest file is.
    pub file_bytes_max: u64,
    /// Files in the large directory.
    pub many: usize,
    /// Fragments of the fragmented file, and bytes from one to the next.
    pub fragments: (u64, u64),
}

/// Bytes that differ from file to file.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

pub fn populate(root: &Path, abilities: Abilities) {
    sizes(&root.join("sizes"));
    holes(&root.join("holes"), abilities);
    names(&root.join("names"));
    links(&root.join("links"), abilities);
    specials(&root.join("special"));
    owners_and_times(&root.join("times"));
    xattrs(&root.join("xattrs"), abilities);
    many(&root.join("many"), abilities.many);
    small_directories(&root.join("dirs"));
}

fn sizes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let sizes =
        [0, 1, 59, 60, 61, 100, 155, 159, 160, 161, 400, 1023, 1024, 1025, 4095, 4096, 4097, 12_289, 65_536];
    for size in sizes.into_iter().chain([268_000, 1_500_003, 5_000_000]) {
        fs::write(dir.join(format!("{size}")), pattern(size as u64, size)).unwrap();
    }
}

fn holes(dir: &Path, abilities: Abilities) {
    fs::create_dir(dir).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    for (at, len) in [(5000, 3), (300_000, 10_000), (7_000_000, 4096), (20_000_000, 70_000), (39_000_000, 1)]
    {
        sparse.write_all_at(&pattern(at, len), at).unwrap();
    }
    sparse.set_len(40_000_000).unwrap();
    File::create(dir.join("empty-but-long")).unwrap().set_len(12_345_678).unwrap();
    let huge = File::create(dir.join("huge")).unwrap();
    huge.write_all_at(b"the end", abilities.file_bytes_max - 7).unwrap();
    let fragmented = File::create(dir.join("fragmented")).unwrap();
    let (fragments, stride) = abilities.fragments;
    for fragment in 0..fragments {
        fragmented.write_all_at(&pattern(fragment, 700), fragment * stride).unwrap();
    }
    let allocated = File::create(dir.join("allocated")).unwrap();
    if fallocate(&allocated, FallocateFlags::empty(), 0, 2_000_000).is_ok() {
        allocated.write_all_at(&pattern(1, 50_000), 900_001).unwrap();
        let beyond = File::create(dir.join("allocated-beyond-the-end")).unwrap();
        beyond.write_all_at(b"short", 0).unwrap();
        fallocate(&beyond, FallocateFlags::KEEP_SIZE, 0, 1_000_000).unwrap();
    }
}

fn names(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let long = "n".repeat(255);
    let names: [&[u8]; 9] = [
        b"plain",
        b"with space",
        b"new\nline",
        b"tab\t%25\\back",
        b"\xff\xfe\x80",
        "grüße→😀".as_bytes(),
        b"...",
        b".hidden",
        long.as_bytes(),
    ];
    for name in names {
        fs::write(dir.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let mut deep = dir.to_owned();
    for level in 0..30 {
        deep.push(format!("level-{level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "bottom").unwrap();
}

fn links(dir: &Path, abilities: Abilities) {
    fs::create_dir(dir).unwrap();
    for len in [1, 58, 59, 60, 61, 100, 160, 300, 1000, 4000] {
        if len <= abilities.link_bytes_max {
            symlink(
                "t/".repeat(len)[..len].trim_end_matches('/').to_owned() + "e",
                dir.join(format!("{len}")),
            )
            .unwrap();
        }
    }
    symlink("../../../../etc/passwd", dir.join("escape")).unwrap();
    fs::write(dir.join("hard-1"), "hard").unwrap();
    for number in 2..5 {
        fs::hard_link(dir.join("hard-1"), dir.join(format!("hard-{number}"))).unwrap();
    }
}

fn specials(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let mode = Mode::from_raw_mode(0o640);
    for (major, minor) in [(1, 3), (255, 255), (256, 1), (8, 256), (0xFFF, 0xF_FFFF), (0, 0)] {
        for (kind, letter) in [(FileType::CharacterDevice, 'c'), (FileType::BlockDevice, 'b')] {
            let path = dir.join(format!("{letter}-{major}-{minor}"));
            mknodat(CWD, &path, kind, mode, makedev(major, minor)).unwrap();
        }
    }
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, mode, 0).unwrap();
    mknodat(CWD, dir.join("socket"), FileType::Socket, mode, 0).unwrap();
}

fn owners_and_times(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let seconds = [
        -2_147_483_648,
        -1,
        0,
        1,
        1_700_000_000,
        2_147_483_647,
        2_147_483_648,
        4_294_967_295,
        4_294_967_296,
        15_000_000_000,
    ];
    for (number, seconds) in seconds.into_iter().enumerate() {
        let path = dir.join(format!("time-{seconds}"));
        fs::write(&path, "").unwrap();
        let last_modification = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let last_access = Timespec { tv_sec: seconds + 1, tv_nsec: 999_999_999 };
        let times = Timestamps { last_access, last_modification };
        utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let id = [0, 1000, 65_535, 65_536, 70_000, 4_000_000_000][number % 6];
        lchown(&path, Some(id), Some(id / 2)).unwrap();
    }
    for mode in [0, 0o777, 0o4755, 0o2711, 0o1700, 0o7000] {
        let path = dir.join(format!("mode-{mode:o}"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn xattrs(dir: &Path, abilities: Abilities) {
    fs::create_dir(dir).unwrap();
    let set = |name: &str, key: &str, value: &[u8]| {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_err() {
            fs::write(&path, name).unwrap();
        }
        lsetxattr(&path, key, value, XattrFlags::empty())
            .unwrap_or_else(|error| panic!("{name} {key}: {error}"));
    };
    set("small", "user.a", b"value");
    set("empty-value", "user.nothing", b"");
    set("several", "user.one", b"1");
    set("several", "trusted.two", b"\0\x01\xff");
    set("several", "security.three", b"three");
    for number in 0..12 {
        set("in-a-block", &format!("user.key-{number}"), &pattern(number, 40));
    }
    set("large", "user.large", &pattern(7, abilities.xattr_bytes_max.min(800)));
    if abilities.xattr_bytes_max > 4096 {
        set("very-large", "user.64k", &pattern(8, abilities.xattr_bytes_max));
        set("very-large", "user.5k", &pattern(9, 5000));
        set("shares-a-value", "user.other-name", &pattern(9, 5000));
    }
    symlink("target", dir.join("link")).unwrap();
    set("link", "trusted.on-a-link", b"link");
    let access = acl(&[
        (1, 6, u32::MAX),
        (2, 7, 1000),
        (4, 4, u32::MAX),
        (8, 5, 70_000),
        (16, 7, u32::MAX),
        (32, 0, u32::MAX),
    ]);
    set("acl", "system.posix_acl_access", &access);
    fs::create_dir(dir.join("acl-directory")).unwrap();
    set("acl-directory", "system.posix_acl_default", &access);
    set("acl-directory", "system.posix_acl_access", &access);
}

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

fn many(dir: &Path, count: usize) {
    fs::create_dir(dir).unwrap();
    for number in 0..count {
        let name = format!("{:x}-entry-é-{number}", number.wrapping_mul(2_654_435_761) & 0xFFFF_FFFF);
        File::create(dir.join(name)).unwrap();
    }
    for number in (0..count).step_by(3) {
        let name = format!("{:x}-entry-é-{number}", number.wrapping_mul(2_654_435_761) & 0xFFFF_FFFF);
        fs::remove_file(dir.join(name)).unwrap();
    }
}

fn small_directories(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for entries in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        let path = dir.join(format!("{entries}-entries"));
        fs::create_dir(&path).unwrap();
        for number in 0..entries {
            fs::write(path.join(format!("entry-{number}")), format!("{number}")).unwrap();
        }
    }
}
