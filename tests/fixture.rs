//! Small disks, made anew for each test by mkfs.ext4, debugfs, sfdisk and ntfs-3g's tools. None of them needs root.

use spelunk_testkit::peer::Directory;
use spelunk_testkit::{skip, tool};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

/// An image in a directory that goes with it.
pub struct Image {
    /// Goes away with the image.
    directory: Directory,
    file: PathBuf,
}

impl Image {
    /// The image as an argument.
    pub fn path(&self) -> &OsStr {
        self.file.as_os_str()
    }
}

/// 2026-01-02 03:04:05 UTC: when everything in the images was changed, but `old`.
pub const MODIFIED: u64 = 1_767_323_045;
/// 2001-02-03 04:05:06 UTC.
pub const OLD: u64 = 981_173_106;

const SIZE: &str = "4M";
const PARTITION_BYTES: u64 = 4 << 20;

/// Says that a test is skipped when the tools to make images are missing.
pub fn can_be_made() -> bool {
    skip::unless_found(&["mkfs.ext4", "debugfs", "sfdisk"])
}

/// An ext4 filesystem without a partition table, of files that are harmless:
///
/// ```text
/// .hidden  docs/{a.txt,b.doc,sub/deep.TXT}  hello.txt  link -> docs/a.txt  old  up -> ../../docs
/// ```
pub fn plain() -> Image {
    image(|root| {
        write(root, ".hidden", b"hidden\n");
        write(root, "hello.txt", b"hello, world\n");
        write(root, "docs/a.txt", b"aaaa");
        write(root, "docs/b.doc", &[b'b'; 3000]);
        write(root, "docs/sub/deep.TXT", b"");
        write(root, "old", b"old");
        symlink("docs/a.txt", root.join("link")).expect("a link");
        symlink("../../docs", root.join("up")).expect("a link");
        fs::set_permissions(root.join("hello.txt"), fs::Permissions::from_mode(0o4750)).expect("a mode");
        set_time(&root.join("old"), OLD);
    })
}

/// An ext4 filesystem whose names attack terminals, and one that is not UTF-8.
pub fn hostile() -> Image {
    image(|root| {
        for name in
            [&b"red\x1b[31m"[..], b"two\nlines", "a\u{202e}cod.exe".as_bytes(), b"caf\xe9", b"back\\slash"]
        {
            let path = root.join(OsStr::from_bytes(name));
            fs::write(&path, name).expect("a file");
            set_time(&path, MODIFIED);
        }
    })
}

/// As [`plain`], with the inode of `docs/b.doc` overwritten.
pub fn damaged() -> Image {
    let image = plain();
    overwrite_inode(&image.file, "/docs/b.doc");
    image
}

/// A disk with a GPT: `p1` holds [`plain`], `p2` swap, `p3` [`plain`] again, `p4` noise.
pub fn partitioned() -> Image {
    let image = plain();
    let filesystem = fs::read(&image.file).expect("an image");
    let file = image.directory.path().join("disk.img");
    let disk = File::create(&file).expect("a file");
    disk.set_len(6 * PARTITION_BYTES).expect("a sparse file");
    let script = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
        start=2048, size=8192, type=linux, name=root, uuid=AAAAAAAA-0000-0000-0000-000000000001\n\
        start=10240, size=8192, type=swap, uuid=AAAAAAAA-0000-0000-0000-000000000002\n\
        start=18432, size=8192, type=linux, uuid=AAAAAAAA-0000-0000-0000-000000000003\n\
        start=26624, size=8192, type=linux, uuid=AAAAAAAA-0000-0000-0000-000000000004\n";
    let mut sfdisk = Command::new(tool::find("sfdisk").expect("sfdisk"))
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("sfdisk");
    sfdisk.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("a script");
    assert!(sfdisk.wait().expect("sfdisk").success());
    for start_sector in [2048_u64, 18432] {
        disk.write_all_at(&filesystem, start_sector * 512).expect("a partition");
    }
    Image { directory: image.directory, file }
}

/// An ext4 filesystem with a file `endless` of 1 TiB without data.
pub fn endless() -> Image {
    image(|root| {
        File::create(root.join("endless")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    })
}

/// An NTFS filesystem with one file `file.txt` and its stream `Zone.Identifier`.
pub fn ntfs() -> Option<Image> {
    if !skip::unless_found(&["mkntfs", "ntfscp"]) {
        return None;
    }
    let directory = Directory::new().expect("a directory");
    let file = directory.path().join("ntfs.img");
    let source = directory.path().join("source");
    File::create(&file).and_then(|file| file.set_len(4 << 20)).expect("a sparse file");
    tool::run("mkntfs", ["-q", "-F", "-L", "fixture"].map(OsStr::new).iter().chain([&file.as_os_str()]))
        .expect("mkntfs");
    for (bytes, options) in [("data", &["-q"][..]), ("stream", &["-q", "-N", "Zone.Identifier"])] {
        fs::write(&source, bytes).expect("a file");
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        arguments.extend([file.as_os_str(), source.as_os_str(), OsStr::new("file.txt")]);
        tool::run("ntfscp", arguments).expect("ntfscp");
    }
    Some(Image { directory, file })
}

/// An ext4 filesystem with `sparse`, 5 GiB of which 5 bytes in the middle are data, and `zlast` after it.
pub fn beyond_4_gib() -> Image {
    image(|root| {
        let file = File::create(root.join("sparse")).expect("a file");
        file.set_len(5 << 30).expect("a sparse file");
        file.write_all_at(b"found", 4 << 30).expect("a write");
        write(root, "zlast", b"the last");
    })
}

/// An ext4 filesystem with a directory `d` of 280 files and, in `links`, 250 symbolic links to it: 70,000
/// files for who follows them. And links that lead in circles and out of the image.
pub fn many_by_links() -> Image {
    image_of("768", |root| {
        for index in 0..280 {
            write(root, &format!("d/{index}"), format!("file {index}").as_bytes());
        }
        fs::create_dir(root.join("links")).expect("a directory");
        for index in 0..250 {
            symlink("../d", root.join(format!("links/{index}"))).expect("a link");
        }
        symlink("/etc/passwd", root.join("absolute")).expect("a link");
        symlink("../../../../../etc/passwd", root.join("climbing")).expect("a link");
        symlink("..", root.join("d/up")).expect("a link");
    })
}

/// Links of a guest to a file of the host, in every way that one can be written, and their names; also `own`, which
/// leads to a file of the guest by an absolute path, `chain40` and `chain41`, which do over so many links, and `loop`.
pub fn links_to(secret: &Path) -> (Image, Vec<String>) {
    let below = secret.strip_prefix("/").expect("an absolute path");
    let ups = Path::new("../../../../../../../../../..");
    let targets = [
        secret.to_owned(),
        ups.join(below),
        Path::new("/..").join(below),
        Path::new("docs/../..").join(ups).join(below),
        Path::new("//").join(secret),
        Path::new("/proc/self/root").join(below),
        Path::new("/proc/self/cwd").join(ups).join(below),
        Path::new("/etc/passwd-of-the-host").to_owned(),
    ];
    let mut names: Vec<String> = (0..targets.len()).map(|index| format!("link{index}")).collect();
    names.push(format!("rootdir/{}", below.display()));
    names.push("etc-of-the-host/passwd-of-the-host".into());
    let image = image_of("256", |root| {
        write(root, "etc/passwd", b"the guest's passwd");
        write(root, "docs/sub/x", b"x");
        for (name, target) in names.iter().zip(&targets) {
            symlink(target, root.join(name)).expect("a link");
        }
        // Directories of the host, one by each kind of path.
        symlink("/", root.join("rootdir")).expect("a link");
        symlink("../../etc", root.join("etc-of-the-host")).expect("a link");
        symlink("/etc/passwd", root.join("own")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        symlink("etc/passwd", root.join("chain1")).expect("a link");
        for length in 2..=41 {
            symlink(format!("chain{}", length - 1), root.join(format!("chain{length}"))).expect("a link");
        }
    });
    (image, names)
}

/// Names with every byte that a name can have, and those that drive terminals in other ways; and what they are.
pub fn every_byte() -> (Image, Vec<Vec<u8>>) {
    let mut names: Vec<Vec<u8>> =
        (1..=255u8).filter(|byte| *byte != b'/').map(|byte| vec![b'x', byte, b'y']).collect();
    let texts = [
        "\u{202e}cod.exe",
        "\u{200f}",
        "\u{2066}x\u{2069}",
        "\u{feff}",
        "\u{9b}31m",
        "\u{2028}",
        "<script>\"'&",
    ];
    names.extend(texts.map(|text| text.as_bytes().to_vec()));
    names.extend([
        b"\x1b]0;title\x07".to_vec(),
        b"\x1b[2J\x1b[H".to_vec(),
        b"one\r\ntwo".to_vec(),
        b"\xED\xA0\x80".to_vec(),
        b"\xF4\x90\x80\x80".to_vec(),
        b"C:\\\\x%41".to_vec(),
        vec![0xFF; 255],
    ]);
    let image = image_of("512", |root| {
        for name in &names {
            fs::write(root.join(OsStr::from_bytes(name)), b"").expect("a file");
        }
    });
    (image, names)
}

/// An ext4 filesystem of what `fill` puts into a directory: 4 MiB, 64 files at most.
pub fn image(fill: impl FnOnce(&Path)) -> Image {
    image_of("64", fill)
}

/// A filesystem with room for so many files.
fn image_of(inodes: &str, fill: impl FnOnce(&Path)) -> Image {
    sized_image(inodes, SIZE, fill)
}

/// A filesystem of this size with room for so many files.
pub fn sized_image(inodes: &str, size: &str, fill: impl FnOnce(&Path)) -> Image {
    let directory = Directory::new().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a directory");
    fill(&root);
    for sub in ["docs/sub", "docs", ""] {
        let path = root.join(sub);
        if path.exists() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
            set_time(&path, MODIFIED);
        }
    }
    let file = directory.path().join("test.img");
    let options =
        ["-q", "-F", "-L", "fixture", "-U", "01234567-89ab-cdef-0123-456789abcdef", "-O", "^has_journal"];
    let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    // The files belong to root whoever runs this.
    arguments.extend(["-E", "root_owner=0:0", "-b", "1024", "-N", inodes, "-d"].map(OsStr::new));
    arguments.extend([root.as_os_str(), file.as_os_str(), OsStr::new(size)]);
    tool::run("mkfs.ext4", arguments).expect("mkfs.ext4");
    Image { directory, file }
}

/// Writes a file, with the directories above it.
pub fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    set_time(&path, MODIFIED);
}

fn set_time(path: &Path, seconds: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).and_then(|file| file.set_times(times)).expect("a time");
}

/// Overwrites the first bytes of a file's inode, so that its checksum is wrong and its mode nonsense.
fn overwrite_inode(image: &Path, path: &str) {
    let located =
        tool::run("debugfs", ["-R", &format!("imap {path}"), &image.to_string_lossy()]).expect("debugfs");
    let located = String::from_utf8_lossy(&located).into_owned();
    let number_after = |word: &str| {
        let rest = located.split(word).nth(1).expect("debugfs's words").trim();
        rest.split([',', '\n', ' ']).next().expect("a number").to_owned()
    };
    let block: u64 = number_after("located at block").parse().expect("a block");
    let offset = number_after("offset 0x");
    let offset = u64::from_str_radix(&offset, 16).expect("an offset");
    let file = File::options().write(true).open(image).expect("an image");
    file.write_all_at(&[0xFF; 4], block * 1024 + offset).expect("a write");
}
