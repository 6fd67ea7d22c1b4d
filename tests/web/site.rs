//! A library of small disks, and the server that shows it.

use super::Browser;
use crate::{fixture, program};
use spelunk_testkit::cache;
use spelunk_testkit::peer::Directory;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

pub const PASSWORD: &str = "lamp and rope";

/// Where everything is in the newest backup.
pub const VOLUME: &str = "pc/2026-01-04_0304/C.img";

/// Entries of the folder `many`.
pub const MANY: usize = 20_000;

/// Names that attack a page which puts them together from text.
pub const HOSTILE: [&[u8]; 5] = [
    b"\"><script>window.hacked=1<",
    b"<img src=x onerror=window.hacked=2>.html",
    b"two\r\nlines.txt",
    "evil\u{202e}txt.exe".as_bytes(),
    b"no utf-8 \xff.txt",
];

/// A page that runs a script, should anybody let it.
const SCRIPT: &[u8] = b"<script>top.hacked=3;window.hacked=3</script>";
const PICTURE: &[u8] =
    b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>top.hacked=4</script></svg>";

/// What `docs/report.txt` says in the backup of this number.
pub fn report(number: usize) -> String {
    format!("Gr\u{fc}\u{df}e, report {}\n", number / 2)
}

/// A server of its own data, over a library of three backups of `pc` and one of `mail`.
pub struct Site {
    _library: Directory,
    _data: Directory,
    server: Child,
    pub url: String,
    pub setup: String,
}

impl Site {
    pub fn start() -> Site {
        let library = Directory::new().expect("a directory");
        for number in 0..3 {
            let image = fixture::sized_image("128", "4M", |root| fill(root, number));
            add(&library, &format!("pc/{number}/C.img"), image.path(), number as u64);
        }
        add(&library, "mail/C.img", fixture::plain().path(), 2);
        Site::of(library)
    }

    /// The same, over one image with a folder of [`MANY`] entries.
    pub fn of_many() -> Site {
        let library = Directory::new().expect("a directory");
        add(&library, "big/C.img", many().as_os_str(), 2);
        Site::of(library)
    }

    /// The same, over one image of what `fill` writes.
    pub fn of_files(fill: impl FnOnce(&Path)) -> Site {
        let library = Directory::new().expect("a directory");
        add(&library, "pc/C.img", fixture::sized_image("128", "4M", fill).path(), 2);
        Site::of(library)
    }

    fn of(library: Directory) -> Site {
        let data = Directory::new().expect("a directory");
        let mut server = Command::new(program::path())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .args([data.path(), library.path()])
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut lines = BufReader::new(server.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut after = |words: &str| {
            let line = lines.by_ref().find(|line| line.contains(words)).expect("a word of the server's");
            line[line.find("http://").expect("an address")..].trim().to_owned()
        };
        let (url, setup) = (after("listening at"), after("#/setup/"));
        // What else it says must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Site { _library: library, _data: data, server, url, setup }
    }

    /// Makes the administrator on the page.
    pub fn set_up(&self, browser: &Browser) {
        browser.go(&self.setup);
        browser.wait("document.querySelectorAll('input[type=password]').length === 2");
        browser.fill("input[autocomplete=new-password]", PASSWORD);
        browser.fill(".field + .field + .field input", PASSWORD);
        browser.click("button[type=submit]");
        browser.wait("document.querySelector('.card')");
    }

    /// Goes to a route of the page.
    pub fn go(&self, browser: &Browser, route: &str) {
        browser.go(&format!("{}#/{route}", self.url));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.server.kill();
        _ = self.server.wait();
    }
}

/// Its maker looks through the whole folder for each name, so it is kept.
fn many() -> PathBuf {
    let make = |target: &Path| {
        let image = fixture::sized_image("20400", "16M", |root| {
            fs::create_dir(root.join("many")).expect("a directory");
            for number in 0..MANY {
                File::create(root.join(format!("many/entry {number:05}"))).expect("a file");
            }
        });
        fs::copy(image.path(), target)?;
        Ok(())
    };
    cache::get("many.img", "20,000 entries", make).expect("an image")
}

fn add(library: &Directory, path: &str, image: &OsStr, days: u64) {
    let path = library.path().join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::copy(image, &path).expect("an image");
    let modified = UNIX_EPOCH + Duration::from_secs(fixture::MODIFIED + days * 86_400);
    File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("a time");
}

fn fill(root: &Path, number: usize) {
    fixture::write(root, "docs/report.txt", report(number).as_bytes());
    let utf16: Vec<u8> = "\u{feff}z\u{fc}rich".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fixture::write(root, "docs/wide.txt", &utf16);
    for folder in ["one", "two", "three", "four"] {
        for file in 0..3 {
            let name = format!("docs/{folder}/file {file}.txt");
            fixture::write(root, &name, format!("{folder} {file}").repeat(500).as_bytes());
        }
    }
    fs::create_dir(root.join("strange")).expect("a directory");
    for name in HOSTILE {
        fs::write(root.join("strange").join(OsStr::from_bytes(name)), SCRIPT).expect("a file");
    }
    fixture::write(root, "strange/picture.svg", PICTURE);
}
