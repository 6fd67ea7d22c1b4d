//! Volumes made by `mkntfs` and filled through ntfs-3g, against a read-only mount by ntfs-3g: every name,
//! stat field, byte, stream and attribute. Needs root; skipped without it or without ntfs-3g.

use crate::file::{Image, open_at};
use crate::walk::{Line, escape, hex, walk};
use rustix::fs::{XattrFlags, lgetxattr, setxattr};
use sha2::{Digest, Sha256};
use spelunk_testkit::skip;
use spelunk_tree::{Kind, Name, NodeId, Place, Tree};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of our own, with a volume and where it is mounted. Nothing of it stays.
pub struct Lab(pub PathBuf);

impl Lab {
    pub fn new(name: &str) -> Option<Lab> {
        let can = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !rustix::process::geteuid().is_root() || !can("mkntfs") || !can("ntfs-3g") {
            skip::because("needs root, mkntfs and ntfs-3g");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("spelunk-ntfs-{name}-{}", std::process::id()));
        fs::create_dir_all(directory.join("mount")).unwrap();
        Some(Lab(directory))
    }

    pub fn image(&self) -> PathBuf {
        self.0.join("volume")
    }

    pub fn mkntfs(&self, size: u64, arguments: &[&str]) {
        let image = fs::File::create(self.image()).unwrap();
        image.set_len(size).unwrap();
        let mut command = Command::new("mkntfs");
        command.args(["-q", "-F", "-Q", "-p", "0", "-H", "16", "-S", "63", "-L", "Spelunk ä"]);
        let output = command.args(arguments).arg(self.image()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Mounts the volume; `None` where FUSE is not to be had.
    pub fn mount(&self, options: &str) -> Option<Mount> {
        let path = self.0.join("mount");
        let options = format!("streams_interface=windows,{options}");
        let output =
            Command::new("ntfs-3g").args(["-o", &options]).arg(self.image()).arg(&path).output().unwrap();
        if !output.status.success() {
            skip::because(&format!("ntfs-3g cannot mount: {}", String::from_utf8_lossy(&output.stderr)));
            return None;
        }
        Some(Mount(path))
    }

    pub fn tree(&self) -> (std::sync::Arc<dyn Tree>, std::sync::Arc<dyn spelunk_tree::ReadAt>) {
        let image = Image::open(&self.image());
        (open_at(image.clone(), 0, image.size()).unwrap(), image)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Mount(pub PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

/// Bytes that compress badly, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..len).map(step).collect()
}

/// Bytes that compress well.
fn text(len: usize) -> Vec<u8> {
    (0..)
        .flat_map(|line: u32| format!("{line}: the quick brown fox {}\n", line % 7).into_bytes())
        .take(len)
        .collect()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

pub fn set(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// A bit of everything that ntfs-3g can write.
fn fill(root: &Path, compress: bool) {
    let sizes = root.join("sizes");
    fs::create_dir(&sizes).unwrap();
    for size in [0, 1, 511, 512, 513, 700, 1024, 4095, 4096, 4097, 65536, 70_001, 300_000] {
        write(&sizes.join(format!("s{size}")), &noise(size));
    }
    names(&root.join("names"));
    holes(&root.join("holes"));
    links(&root.join("links"));
    attributes(&root.join("attributes"));
    if compress {
        compressed(&root.join("compressed"));
    }
}

fn names(directory: &Path) {
    fs::create_dir(directory).unwrap();
    let long = "ö".repeat(255);
    let names: [&[u8]; 10] = [
        "emoji 😀 name".as_bytes(),
        "日本語".as_bytes(),
        long.as_bytes(),
        b"trailing dot.",
        b"back\\slash",
        b"a:b".split(|&byte| byte == b':').next().unwrap(),
        b"lone \xED\xA0\x80 surrogate",
        b"\xED\xBF\xBF",
        b"CASE",
        b"case",
    ];
    for name in names {
        write(&directory.join(OsStr::from_bytes(name)), name);
    }
}

fn holes(directory: &Path) {
    fs::create_dir(directory).unwrap();
    let hole = fs::File::create(directory.join("hole")).unwrap();
    hole.write_all_at(b"start", 0).unwrap();
    hole.write_all_at(b"middle", 3_000_000).unwrap();
    hole.set_len(9_000_001).unwrap();
    fs::File::create(directory.join("all")).unwrap().set_len(5 << 20).unwrap();
    // Grown behind what was written: initialized up to there only.
    let grown = fs::File::create(directory.join("grown")).unwrap();
    grown.write_all_at(&noise(100_000), 0).unwrap();
    grown.set_len(170_000).unwrap();
}

fn links(directory: &Path) {
    fs::create_dir_all(directory.join("deep/er")).unwrap();
    write(&directory.join("one"), b"shared");
    fs::hard_link(directory.join("one"), directory.join("two")).unwrap();
    fs::hard_link(directory.join("one"), directory.join("deep/three")).unwrap();
    symlink("one", directory.join("symlink")).unwrap();
    symlink("../../ünicode target", directory.join("deep/er/symlink")).unwrap();
    for (name, kind) in [("fifo", "p"), ("char", "c"), ("block", "b")] {
        let numbers: &[&str] = if kind == "p" { &[] } else { &["300", "70000"] };
        let made = Command::new("mknod").arg(directory.join(name)).arg(kind).args(numbers).status().unwrap();
        assert!(made.success());
    }
    drop(std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap());
    // So many names that the record needs an attribute list.
    write(&directory.join("many"), b"x");
    for at in 0..60 {
        fs::hard_link(directory.join("many"), directory.join(format!("a rather long name of a link {at}")))
            .unwrap();
    }
}

fn attributes(directory: &Path) {
    fs::create_dir(directory).unwrap();
    let file = directory.join("a file with a long name.text");
    write(&file, b"main");
    write(&directory.join("a file with a long name.text:stream"), b"side");
    write(&directory.join("a file with a long name.text:größe"), &noise(200_000));
    set(&file, "system.ntfs_dos_name", b"AFILEW~1.TEX");
    set(&file, "system.ntfs_attrib", &0x27_u32.to_ne_bytes());
    let times = [1_u64, 0x01D0_0000_0000_0001, 0x01E0_1234_5678_9ABC, 0x0200_0000_0000_0007];
    let times: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
    set(&file, "system.ntfs_times", &times);
    fs::create_dir(directory.join("directory")).unwrap();
    write(&directory.join("directory:of streams"), b"a directory's stream");
    let many = directory.join("many streams");
    write(&many, b"");
    for at in 0..70 {
        write(&directory.join(format!("many streams:stream {at}")), format!("stream {at}").as_bytes());
    }
}

fn compressed(directory: &Path) {
    fs::create_dir(directory).unwrap();
    set(directory, "system.ntfs_attrib", &0x810_u32.to_ne_bytes());
    for size in [100, 700, 4096, 65_535, 65_536, 65_537, 200_000, 1_000_000] {
        write(&directory.join(format!("text {size}")), &text(size));
        write(&directory.join(format!("noise {size}")), &noise(size));
    }
    let mixed = fs::File::create(directory.join("mixed")).unwrap();
    mixed.write_all_at(&text(150_000), 0).unwrap();
    mixed.write_all_at(&noise(150_000), 400_000).unwrap();
    mixed.write_all_at(&text(5000), 900_000).unwrap();
    mixed.set_len(1_100_000).unwrap();
}

/// What the mount says, in the same form as [`walk`]'s.
fn walk_mount(root: &Path) -> BTreeMap<String, (Line, fs::Metadata)> {
    let mut lines = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let shown = escape(path.strip_prefix(root).unwrap().as_os_str().as_bytes());
            lines.insert(shown.clone(), (mount_line(&path, &metadata), metadata.clone()));
            for (name, line) in mount_streams(&path) {
                lines.insert(format!("{shown}:{name}"), (line, metadata.clone()));
            }
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    lines
}

fn mount_line(path: &Path, metadata: &fs::Metadata) -> Line {
    let kind = metadata.file_type();
    let mut line = Line {
        kind: match () {
            () if kind.is_dir() => 'd',
            () if kind.is_symlink() => 'l',
            () if kind.is_fifo() => 'p',
            () if kind.is_socket() => 's',
            () if kind.is_char_device() => 'c',
            () if kind.is_block_device() => 'b',
            () => 'f',
        },
        size: if kind.is_dir() { 0 } else { metadata.size() },
        hash: "-".into(),
        mtime: format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
        links: u32::try_from(metadata.nlink()).unwrap(),
        extra: String::new(),
        reparse_tag: None,
        attr: None,
    };
    match line.kind {
        'f' if metadata.mode() & 0o777 != 0 => line.hash = hex(&Sha256::digest(read(path))),
        // A file of the filesystem without unnamed data cannot be opened in ntfs-3g, and has no mode.
        'f' => line.hash = hex(&Sha256::digest([])),
        'l' => {
            let target = fs::read_link(path).unwrap().into_os_string().into_vec();
            line.hash = hex(&Sha256::digest(&target));
            line.extra = escape(&target);
        }
        'c' | 'b' => {
            let device = metadata.rdev();
            line.extra = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        }
        _ => {}
    }
    line
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn mount_streams(path: &Path) -> Vec<(String, Line)> {
    let mut streams = Vec::new();
    for name in xattr(path, "ntfs.streams.list").unwrap_or_default().split(|&byte| byte == 0) {
        if name.is_empty() {
            continue;
        }
        let bytes = fs::read(OsStr::from_bytes(&[path.as_os_str().as_bytes(), b":", name].concat())).unwrap();
        streams.push((
            escape(name),
            Line {
                kind: 'a',
                size: bytes.len() as u64,
                hash: hex(&Sha256::digest(&bytes)),
                mtime: String::new(),
                links: 0,
                extra: String::new(),
                reparse_tag: None,
                attr: None,
            },
        ));
    }
    streams
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1 << 17];
    let len = lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(len);
    Some(value)
}

/// Compares the volume with its mount; says how many lines there were.
fn compare(lab: &Lab, with_xattrs: bool) -> Option<usize> {
    let (tree, image) = lab.tree();
    let mut ours = walk(&*tree, &*image);
    let mount = lab.mount("ro,show_sys_files")?;
    let theirs = walk_mount(&mount.0);
    // ntfs-3g gives $MFT the inode number 0, which readdir takes for a deleted entry.
    ours.remove("$MFT");
    let mut failures = Vec::new();
    for path in ours.keys().filter(|path| !theirs.contains_key(*path)) {
        failures.push(format!("{path}: only ours"));
    }
    for (path, (their_line, metadata)) in &theirs {
        let Some(our_line) = ours.get(path) else {
            failures.push(format!("{path}: only theirs"));
            continue;
        };
        let attr = our_line.attr.clone();
        let plain = Line { attr: None, reparse_tag: None, ..our_line.clone() };
        if plain != *their_line {
            failures.push(format!("{path}\n  theirs {their_line:?}\n  ours   {plain:?}"));
        }
        let Some(attr) = attr else { continue };
        let time = |time: Option<spelunk_tree::Time>| {
            time.map(|time| (time.seconds(), i64::from(time.nanoseconds())))
        };
        let ours = (
            attr.allocated
                .map(|bytes| if attr.kind == Kind::Directory { bytes / 512 } else { bytes.div_ceil(512) }),
            if attr.kind == Kind::Directory { attr.size } else { metadata.size() },
            time(attr.modified),
            time(attr.accessed),
            time(attr.changed),
        );
        let theirs = (
            Some(metadata.blocks()),
            metadata.size(),
            Some((metadata.mtime(), metadata.mtime_nsec())),
            Some((metadata.atime(), metadata.atime_nsec())),
            Some((metadata.ctime(), metadata.ctime_nsec())),
        );
        // A file without a type has no blocks or times either.
        if metadata.mode() & 0o777 != 0 && ours != theirs {
            failures.push(format!("{path} (blocks, size, times)\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
    }
    if with_xattrs {
        compare_xattrs(&*tree, tree.root(), &mount.0, &mut failures);
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    Some(theirs.len())
}

fn compare_xattrs(tree: &dyn Tree, directory: NodeId, path: &Path, failures: &mut Vec<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = Name::new(path.file_name().unwrap().as_bytes()).unwrap();
        let entry = tree.lookup(directory, &name).unwrap();
        let ours: BTreeMap<Vec<u8>, Vec<u8>> = match tree.xattrs(entry.node) {
            Ok(xattrs) => {
                xattrs.iter().map(|xattr| (xattr.name().to_vec(), xattr.value().to_vec())).collect()
            }
            Err(error) => {
                failures.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        for name in ["ntfs_attrib", "ntfs_times", "ntfs_acl", "ntfs_reparse_data", "ntfs_dos_name", "ntfs_ea"]
        {
            let name = format!("system.{name}");
            let theirs = xattr(&path, &name);
            if theirs.as_ref() != ours.get(name.as_bytes()) {
                let ours = ours.get(name.as_bytes());
                failures.push(format!("{} {name}\n  theirs {theirs:x?}\n  ours   {ours:x?}", path.display()));
            }
        }
        if entry.attr.kind == Kind::Directory {
            compare_xattrs(tree, entry.node, &path, failures);
        }
    }
}

#[test]
fn volumes_of_all_shapes_equal_their_mount() {
    let shapes: [(&str, &str, u64); 8] = [
        ("512", "512", 48),
        ("512", "1024", 48),
        ("512", "4096", 64),
        ("512", "65536", 256),
        ("512", "2097152", 2048),
        ("1024", "1024", 48),
        ("4096", "4096", 64),
        ("4096", "65536", 256),
    ];
    for (sector, cluster, size_mib) in shapes {
        let Some(lab) = Lab::new(&format!("shape-{sector}-{cluster}")) else { return };
        lab.mkntfs(size_mib << 20, &["-s", sector, "-c", cluster]);
        let compress = cluster.parse::<u32>().unwrap() <= 4096;
        let Some(mount) = lab.mount("compression") else { return };
        fill(&mount.0, compress);
        drop(mount);
        let Some(lines) = compare(&lab, true) else { return };
        let (tree, _) = lab.tree();
        assert_eq!(tree.info().label, "Spelunk ä".as_bytes());
        assert_eq!(u64::from(tree.info().block_bytes), cluster.parse().unwrap());
        println!("sectors of {sector}, clusters of {cluster}: {lines} lines");
    }
}

/// A reparse point with a target as Windows stores it.
fn reparse_data(tag: u32, target: &str, flags: Option<u32>) -> Vec<u8> {
    let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let len = u16::try_from(name.len()).unwrap();
    let mut data = Vec::new();
    for number in [0, len, len, 0] {
        data.extend(number.to_le_bytes());
    }
    data.extend(flags.map_or(Vec::new(), |flags| flags.to_le_bytes().to_vec()));
    data.extend(name);
    let mut bytes = tag.to_le_bytes().to_vec();
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

/// The rules of the reader's `link.rs`, on the volume and beside what ntfs-3g makes of the same links.
#[test]
fn targets_are_relative_where_they_lie_in_the_volume() {
    let Some(lab) = Lab::new("targets") else { return };
    lab.mkntfs(48 << 20, &["-c", "4096"]);
    let Some(mount) = lab.mount("noatime") else { return };
    fs::create_dir_all(mount.0.join("Users/Public/Größe")).unwrap();
    write(&mount.0.join("Users/Public/file.txt"), b"target");
    fs::create_dir_all(mount.0.join("a/b")).unwrap();
    let (junction, symlink) = (0xA000_0003, 0xA000_000C);
    let cases: [(&str, u32, &str, Option<u32>, &str); 14] = [
        ("here", junction, r"\??\C:\Users\Public", None, "../../Users/Public"),
        ("case", junction, r"\??\X:\USERS\public\GRÖßE\", None, "../../Users/Public/Größe"),
        ("not here", junction, r"\??\C:\Users\Nobody", None, "C:/Users/Nobody"),
        ("drive", junction, r"\??\D:\", None, "D:/"),
        (
            "volume",
            junction,
            r"\??\Volume{01234567-89ab-cdef-0123-456789abcdef}\",
            None,
            "Volume{01234567-89ab-cdef-0123-456789abcdef}",
        ),
        ("over", junction, r"\??\C:\a\b\here\file.txt", None, "../../a/b/here/file.txt"),
        ("below", junction, r"\??\C:\Users\Public\file.txt\x", None, "C:/Users/Public/file.txt/x"),
        ("dot dot", junction, r"\??\C:\Users\..\etc", None, "C:/Users/../etc"),
        ("relative", symlink, r"..\..\Users", Some(1), "../../Users"),
        ("out", symlink, r"..\..\..\..\etc\passwd", Some(1), "../../../../etc/passwd"),
        ("rooted", symlink, r"\Users\public", Some(1), "../../Users/Public"),
        ("rooted nowhere", symlink, r"\None\such", Some(1), "../../None/such"),
        ("server", symlink, r"\??\UNC\server\share\x", Some(0), "//server/share/x"),
        ("full", symlink, r"\??\C:\Users\Public\file.txt", Some(0), "../../Users/Public/file.txt"),
    ];
    for (name, tag, target, flags, _) in &cases {
        let path = mount.0.join("a/b").join(name);
        if *tag == junction {
            fs::create_dir(&path).unwrap();
        } else {
            write(&path, b"");
        }
        set(&path, "system.ntfs_reparse_data", &reparse_data(*tag, target, *flags));
    }
    drop(mount);
    let (tree, _) = lab.tree();
    let step = |node, name: &str| tree.lookup(node, &Name::new(name.as_bytes()).unwrap()).unwrap();
    let directory = step(step(tree.root(), "a").node, "b").node;

    for (name, _, _, _, expected) in &cases {
        let link = step(directory, name);
        let target = String::from_utf8(tree.link_target(link.node).unwrap()).unwrap();
        assert_eq!(
            (link.attr.kind, link.attr.size, &*target),
            (Kind::Symlink, expected.len() as u64, *expected)
        );
    }
    let Some(mount) = lab.mount("ro") else { return };
    for name in ["here", "full"] {
        let theirs = fs::read_link(mount.0.join("a/b").join(name)).unwrap();
        let theirs = fs::canonicalize(mount.0.join("a/b").join(theirs)).unwrap();
        let ours = tree.link_target(step(directory, name).node).unwrap();
        assert_eq!(fs::canonicalize(mount.0.join("a/b").join(OsStr::from_bytes(&ours))).unwrap(), theirs);
    }
}

#[test]
fn fragmented_mft_and_files_equal_their_mount() {
    let Some(lab) = Lab::new("fragmented") else { return };
    lab.mkntfs(24 << 20, &["-s", "512", "-c", "512", "-z", "1"]);
    let Some(mount) = lab.mount("compression") else { return };
    // Fills the volume, frees every other cluster, and lets $MFT and two files grow into the gaps.
    let fillers = mount.0.join("fillers");
    fs::create_dir(&fillers).unwrap();
    let filler = noise(900);
    let filled = (0..).take_while(|at| fs::write(fillers.join(format!("f{at}")), &filler).is_ok()).count();
    for at in (0..filled).step_by(2) {
        fs::remove_file(fillers.join(format!("f{at}"))).unwrap();
    }
    let many = mount.0.join("many small files in a directory of their own");
    fs::create_dir(&many).unwrap();
    for at in 0..filled / 2 + 800 {
        write(&many.join(format!("small file number {at}")), b"resident");
    }
    let large = fs::File::create(mount.0.join("large")).unwrap();
    let holed = fs::File::create(mount.0.join("holed")).unwrap();
    let piece = noise(512);
    for at in 0..2500_u64 {
        if at < 400 {
            large.write_all_at(&piece, at * 512).unwrap();
        }
        holed.write_all_at(&piece, at * 5120).unwrap();
    }
    drop((large, holed, mount));

    let Some(lines) = compare(&lab, false) else { return };

    let (tree, _) = lab.tree();
    let runs_of = |name: &[u8]| {
        let node = tree.lookup(tree.root(), &Name::new(name).unwrap()).unwrap();
        let mut runs = Vec::new();
        tree.runs(node.node, None, 0, node.attr.size, &mut runs).unwrap();
        runs.len()
    };
    let (mft, large, holed) = (runs_of(b"$MFT"), runs_of(b"large"), runs_of(b"holed"));
    println!("{lines} lines; pieces: $MFT {mft}, large {large}, holed {holed}");
    assert!(
        mft > 200 && large > 50 && holed > 2000,
        "not fragmented: $MFT {mft}, large {large}, holed {holed}"
    );
}

/// An extended attribute as stored, padded to `next` bytes, where the next one or the end is.
fn ea(next: u32, name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = next.to_le_bytes().to_vec();
    bytes.extend([0, u8::try_from(name.len()).unwrap()]);
    bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.extend(value);
    bytes.resize(bytes.len().max(usize::try_from(next).unwrap()), 0);
    bytes
}

/// Special files as WSL stores them, written by ntfs-3g, and what WSL alone writes.
#[test]
fn files_of_wsl_equal_their_mount() {
    let Some(lab) = Lab::new("wsl") else { return };
    lab.mkntfs(48 << 20, &["-c", "4096"]);
    let Some(mount) = lab.mount("special_files=wsl") else { return };
    links(&mount.0.join("links"));
    let file = mount.0.join("file");
    write(&file, b"of Linux");
    let list = [
        ea(20, "$LXUID", &1000_u32.to_le_bytes()),
        ea(20, "$LXGID", &100_u32.to_le_bytes()),
        ea(20, "$LXMOD", &0o104_750_u32.to_le_bytes()),
    ];
    set(&file, "system.ntfs_ea", &list.concat());
    drop(mount);

    let Some(lines) = compare(&lab, true) else { return };

    let (tree, _) = lab.tree();
    let attr = tree.lookup(tree.root(), &Name::new(&b"file"[..]).unwrap()).unwrap().attr;
    assert_eq!((attr.uid, attr.gid, attr.mode), (Some(1000), Some(100), Some(0o4750)));
    let directory = tree.lookup(tree.root(), &Name::new(&b"links"[..]).unwrap()).unwrap().node;
    let device = tree.lookup(directory, &Name::new(&b"block"[..]).unwrap()).unwrap().attr;
    assert_eq!((device.reparse_tag, device.kind), (Some(0x8000_0026), Kind::BlockDevice));
    println!("{lines} lines");
}

#[test]
fn sleeping_windows_is_noted_as_ntfs_3g_notes_it() {
    for (magic, is_asleep) in [(&b"hibr"[..], true), (b"HIBR", true), (b"wake", false), (b"\0\0\0\0", false)]
    {
        let Some(lab) = Lab::new("asleep") else { return };
        lab.mkntfs(8 << 20, &["-c", "4096"]);
        let Some(mount) = lab.mount("noatime") else { return };
        write(&mount.0.join("hiberfil.sys"), &[magic, &noise(8192)].concat());
        drop(mount);

        let (tree, _) = lab.tree();

        let notes = &tree.info().notes;
        assert_eq!(notes.iter().any(|note| note.contains("sleeps")), is_asleep, "{magic:?}: {notes:?}");
        let probe = Command::new("ntfs-3g.probe").arg("--readwrite").arg(lab.image()).status().unwrap();
        assert_eq!(probe.code() == Some(14), is_asleep, "{magic:?}");
    }
}

/// Restart pages of a journal that has a client or none, in the place that `$LogFile` has in the image.
fn put_restart_pages(lab: &Lab, client: u16, flags: u16) {
    let (tree, _) = lab.tree();
    let log = tree.lookup(tree.root(), &Name::new(&b"$LogFile"[..]).unwrap()).unwrap();
    let offset = place_of(&*tree, "$LogFile", 0);
    let mut page = vec![0_u8; 4096];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RSTR\x1E\0\x09\0");
    // Pages of 4096 bytes, the restart area at 0x30, version 1.1.
    put(0x10, &[0, 0x10, 0, 0, 0, 0x10, 0, 0, 0x30, 0, 1, 0, 1, 0]);
    // One client, none free, `client` in use; bits of a sequence number; lengths of the area and of its head.
    put(0x38, &[1, 0, 0xFF, 0xFF]);
    put(0x3C, &[client.to_le_bytes(), flags.to_le_bytes()].concat());
    put(0x40, &(67 - (64 - log.attr.size.leading_zeros())).to_le_bytes());
    put(0x44, &[0xE0, 0, 0x40, 0]);
    put(0x48, &log.attr.size.to_le_bytes());
    put(0x54, &[0x30, 0, 0x40, 0]);
    // The client has none before or behind it.
    put(0x80, &[0xFF; 4]);
    page[0x1E] = 1;
    for stride in 1..=8 {
        page[stride * 512 - 2..stride * 512].copy_from_slice(&[1, 0]);
    }
    let image = fs::OpenOptions::new().write(true).open(lab.image()).unwrap();
    image.write_all_at(&page.repeat(2), offset).unwrap();
}

#[test]
fn journal_that_was_not_closed_is_noted_as_ntfs_3g_notes_it() {
    for (client, flags, is_open) in [(0, 0, true), (0xFFFF, 0, false), (0, 2, false)] {
        let Some(lab) = Lab::new("journal") else { return };
        lab.mkntfs(8 << 20, &["-c", "4096"]);
        put_restart_pages(&lab, client, flags);

        let (tree, _) = lab.tree();

        let notes = &tree.info().notes;
        assert_eq!(
            notes.iter().any(|note| note.contains("$LogFile")),
            is_open,
            "{client} {flags}: {notes:?}"
        );
        let probe = Command::new("ntfs-3g.probe").arg("--readwrite").arg(lab.image()).status().unwrap();
        assert_eq!(probe.success(), !is_open, "{client} {flags}: {probe}");
    }
}

/// Where the first bytes of a stream of the volume lie in the image.
pub fn place_of(tree: &dyn Tree, name: &str, from: u64) -> u64 {
    let node = tree.lookup(tree.root(), &Name::new(name.as_bytes()).unwrap()).unwrap().node;
    let mut runs = Vec::new();
    tree.runs(node, None, from, 4096, &mut runs).unwrap();
    let Place::At { offset, .. } = runs[0].place else { panic!("{runs:?}") };
    offset
}

/// Encryption is put in by hand: its flags are all that a reader without keys looks at.
#[test]
fn encrypted_files_are_listed_and_refused() {
    let Some(lab) = Lab::new("efs") else { return };
    lab.mkntfs(8 << 20, &["-c", "4096"]);
    let Some(mount) = lab.mount("noatime") else { return };
    write(&mount.0.join("secret"), &noise(10_000));
    drop(mount);
    let (tree, _) = lab.tree();
    let secret = Name::new(&b"secret"[..]).unwrap();
    let number = tree.lookup(tree.root(), &secret).unwrap().node.get() & 0xFF_FFFF;
    let record_at = place_of(&*tree, "$MFT", number * 1024);
    let image = fs::OpenOptions::new().read(true).write(true).open(lab.image()).unwrap();
    let mut record = vec![0; 1024];
    image.read_exact_at(&mut record, record_at).unwrap();
    let mut at = usize::from(record[0x14]);
    while record[at] != 0xFF {
        match record[at] {
            // The attributes in $STANDARD_INFORMATION, the flags of $DATA.
            0x10 => record[at + 0x18 + 0x21] |= 0x40,
            0x80 => record[at + 0x0D] |= 0x40,
            _ => {}
        }
        at += usize::from(record[at + 4]);
    }
    image.write_all_at(&record, record_at).unwrap();

    let (tree, _) = lab.tree();

    let secret = tree.lookup(tree.root(), &secret).unwrap();
    assert_eq!(secret.attr.dos_attributes.map(|attributes| attributes & 0x4000), Some(0x4000));
    assert_eq!(secret.attr.size, 10_000);
    let error = tree.read(secret.node, None, 0, &mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), spelunk_tree::ErrorKind::Unsupported, "{error}");
    assert!(tree.runs(secret.node, None, 0, 100, &mut Vec::new()).is_err());
    let Some(mount) = lab.mount("ro") else { return };
    assert!(fs::read(mount.0.join("secret")).is_err(), "ntfs-3g reads it");
}

/// The catalog of shadow copies that Windows writes, put in by hand as libvshadow takes it.
fn put_shadow_copies(image: &Path, copies: u64) {
    let image = fs::OpenOptions::new().write(true).open(image).unwrap();
    let numbers =
        |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let record = |kind: u32, at: u64, next: u64| {
        let mut bytes = [0x3808_876B_u32.to_le_bytes(), [0x76, 0xC1, 0x48, 0x4E]].concat();
        bytes.extend([0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52]);
        bytes.extend([1_u32, kind].iter().flat_map(|number| number.to_le_bytes()));
        [bytes, numbers(&[0, at, next])].concat()
    };
    let block_at = |copy: u64| (6 << 20) + copy * 0x1_0000;
    let mut header = record(1, 0x1E00, 0);
    header.truncate(24);
    header.extend(numbers(&[0x1E00, 0, 0, block_at(0), 0]));
    image.write_all_at(&header, 0x1E00).unwrap();
    for copy in 0..copies {
        let block = block_at(copy);
        image.write_all_at(&vec![0; 0x1_0000], block).unwrap();
        let next = if copy + 1 == copies { 0 } else { block_at(copy + 1) };
        image.write_all_at(&record(2, block, next), block).unwrap();
        let id = [0x40 + u8::try_from(copy).unwrap(); 16].to_vec();
        let created = 133_500_000_000_000_000 + copy * 864_000_000_000;
        let entry = [numbers(&[2, 8 << 20]), id.clone(), numbers(&[1, 0x40, created])].concat();
        image.write_all_at(&entry, block + 128).unwrap();
        let (list, store, ranges) = (block + 0x4000, block + 0x8000, block + 0xC000);
        let entry = [numbers(&[3, list]), id, numbers(&[store, ranges, ranges, 0, 0])].concat();
        image.write_all_at(&entry, block + 256).unwrap();
        for (kind, at) in [(3, list), (4, store), (5, ranges)] {
            image.write_all_at(&record(kind, at, 0), at).unwrap();
        }
    }
}

#[test]
fn shadow_copies_are_listed_as_libvshadow_lists_them() {
    let Some(lab) = Lab::new("shadow") else { return };
    lab.mkntfs(8 << 20, &["-c", "4096"]);
    put_shadow_copies(&lab.image(), 2);

    let (tree, _) = lab.tree();

    let notes = tree.info().notes.join("\n");
    let Ok(theirs) = Command::new("vshadowinfo").arg(lab.image()).output() else {
        skip::because("no vshadowinfo");
        return;
    };
    let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
    for (id, ours, date) in
        [("40404040", "2024-01-17", "Jan 17, 2024"), ("41414141", "2024-01-18", "Jan 18, 2024")]
    {
        assert!(theirs.contains(id) && theirs.contains(&format!("{date} 21:20:00")), "{theirs}");
        let note = format!("shadow copy {id}-{0}-{0}-{0}-{0}{id} of {ours} 21:20:00 UTC", &id[..4]);
        assert!(notes.contains(&note), "{notes}");
    }
}

#[test]
fn directory_of_twenty_thousand_equals_its_mount() {
    let Some(lab) = Lab::new("large") else { return };
    lab.mkntfs(128 << 20, &["-c", "4096"]);
    let Some(mount) = lab.mount("noatime") else { return };
    let directory = mount.0.join("large");
    fs::create_dir(&directory).unwrap();
    for at in 0..20_000_u64 {
        // Names in no order, so that the tree is split everywhere.
        let name = format!("{:016x} entry", at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        write(&directory.join(name), &at.to_le_bytes());
    }
    for at in (0..20_000_u64).step_by(3) {
        let name = format!("{:016x} entry", at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        fs::remove_file(directory.join(name)).unwrap();
    }
    drop(mount);

    let Some(lines) = compare(&lab, false) else { return };

    assert!(lines > 13_000);
}
