//! Real clients.

use super::Server;
use super::dir_tree::DirTree;
use super::memory_tree::{MemoryTree, directory, file};
use spelunk_tree::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A directory with names and sizes of all kinds, and more entries than go into one page.
fn sample() -> tempfile::TempDir {
    let sample = tempfile::tempdir().unwrap();
    let build = r##"
        mkdir -p d/e/f empty 'odd names' many
        printf hello > d/hello; head -c 3000000 /dev/urandom > d/e/random; : > d/e/f/nothing
        printf a > 'odd names/"><script>alert(1)<&'; printf b > 'odd names/100% #1?;=+'
        printf c > 'odd names/%2e%2e'; printf d > 'odd names/Äöü 漢字 😀'; printf e > 'odd names/ [x] {y}'
        printf f > "odd names/$(head -c 200 /dev/zero | tr '\0' n)"
        printf g > "odd names/$(printf 'not utf-8 \377\376')"; printf h > "odd names/$(printf 'new\nline \001\033[31m')"
        printf i > 'odd names/..\..\back'; ln -s /nowhere 'odd names/dangling'
        i=0; while [ $i -lt 600 ]; do printf $i > many/file-$i; i=$((i + 1)); done
        touch -d '2001-02-03 04:05:06' d/hello
    "##;
    printed(sample.path(), build, &[]);
    sample
}

/// Whether a program is here; says that the test is skipped when it is not.
fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !found.status.success() {
        println!("skipped: there is no {program}");
    }
    found.status.success()
}

fn shell(directory: &Path, script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(arguments).current_dir(directory).stdin(Stdio::null());
    // Systems' binaries, and names as bytes that are UTF-8.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("HOME", directory).output().unwrap()
}

/// What a script prints, which must succeed.
fn printed(directory: &Path, script: &str, arguments: &[&str]) -> String {
    let output = shell(directory, script, arguments);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Hashes of all files below a directory.
fn hashes(directory: &Path) -> String {
    printed(directory, "find . -type f -print0 | sort -z | xargs -0 sha256sum; find . -type d | sort", &[])
}

/// The two must have the same files and directories with the same content.
fn assert_same(shown: &str, original: &Path) {
    let original = hashes(original);
    let difference = shown.lines().zip(original.lines()).find(|(shown, original)| shown != original);
    assert_eq!(difference, None);
    assert_eq!(shown.lines().count(), original.lines().count());
}

#[test]
fn curl_reads_whole_files_ranges_and_goes_on_where_it_stopped() {
    if !has("curl") {
        return;
    }
    let sample = sample();
    let server = Server::new(DirTree::new(sample.path()));
    let here = tempfile::tempdir().unwrap();
    let url = server.url("/dav/d/e/random");

    printed(
        here.path(),
        "curl -sSf -o whole $1 && head -c 1234567 whole > part && curl -sSf -C - -o part $1",
        &[&url],
    );
    printed(here.path(), r#"curl -sSf -o new -z whole "$1"; test ! -s new"#, &[&url]);
    let range = printed(here.path(), "curl -sSf -r 100-199 $1 | cmp - whole -n 100 -i 0:100", &[&url]);

    assert_eq!(range, "");
    let original = sample.path().join("d/e/random");
    printed(here.path(), "cmp whole $1 && cmp part $1", &[original.to_str().unwrap()]);
    let head = printed(here.path(), "curl -sSfI $1", &[&url]);
    assert!(head.contains("content-length: 3000000"), "{head}");
}

#[test]
fn rclone_copies_everything_byte_for_byte_and_with_its_times() {
    if !has("rclone") {
        return;
    }
    let sample = sample();
    let server = Server::new(DirTree::new(sample.path()));
    let here = tempfile::tempdir().unwrap();
    let remote = format!(":webdav,url=\"{}\":", server.url("/dav"));
    let rclone = |arguments: &str| {
        let script = format!("rclone --config /dev/null {arguments}");
        printed(here.path(), &script, &[&remote])
    };

    rclone("copy --create-empty-src-dirs $1 copy");
    let listed = rclone("lsjson -R $1");

    assert_same(&hashes(&here.path().join("copy")), sample.path());
    assert!(listed.contains(r#""Path":"d/hello","Name":"hello","Size":5,"#), "{listed}");
    assert_eq!(listed.matches("\"Path\"").count(), 600 + 12 + 6);
    let refused = shell(
        here.path(),
        "rclone --config /dev/null --retries 1 --low-level-retries 1 copy copy/d/hello $1new",
        &[&remote],
    );
    assert!(!refused.status.success());
    assert!(!sample.path().join("new").exists());
}

#[test]
fn rclone_lists_the_siblings_of_a_broken_entry() {
    if !has("rclone") {
        return;
    }
    let mut tree = MemoryTree::new();
    tree.add("before", file(b"1"));
    tree.add_broken(Some("broken"), ErrorKind::Corrupt);
    tree.add("after", directory());
    let server = Server::new(tree);
    let here = tempfile::tempdir().unwrap();

    let remote = format!(":webdav,url=\"{}\":", server.url("/dav"));
    let listed = printed(here.path(), "rclone --config /dev/null lsf $1", &[&remote]);

    assert_eq!(listed, "after/\nbefore\n");
}

#[test]
fn cadaver_lists_and_gets_and_cannot_put() {
    if !has("cadaver") {
        return;
    }
    let mut tree = MemoryTree::new();
    let dir = tree.add("a dir", directory());
    tree.add_to(dir, "file", file(b"content"));
    tree.add("text.txt", file(b"text"));
    tree.add_broken(Some("broken"), ErrorKind::Corrupt);
    let server = Server::new(tree);
    let here = tempfile::tempdir().unwrap();

    let script = r#"printf 'ls\ncd "a dir"\nls\nget file\npropget file\nput file new\ndelete file\nquit\n' | cadaver $1"#;
    let said = printed(here.path(), script, &[&server.url("/dav/")]);

    assert_eq!(std::fs::read_to_string(here.path().join("file")).unwrap(), "content");
    for part in ["Coll:   a dir", "text.txt", "broken", "405 Method Not Allowed"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(server.propfind("/dav/a%20dir/", 1).hrefs().len(), 2);
}

/// A mount by davfs2 on a directory of its own.
struct Davfs(tempfile::TempDir);

impl Davfs {
    /// Mounts, or says why this machine cannot.
    fn new(server: &Server) -> Option<Davfs> {
        if !has("mount.davfs") {
            return None;
        }
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            println!("skipped: davfs2 mounts as root only, through /dev/fuse");
            return None;
        }
        let here = tempfile::tempdir().unwrap();
        let options = "buf_size 64\nuse_locks 0\nask_auth 0\ndelay_upload 0\n";
        std::fs::write(
            here.path().join("conf"),
            format!("cache_dir {}/cache\n{options}", here.path().display()),
        )
        .unwrap();
        let script = "mkdir at cache && chmod 777 cache . && mount -t davfs -o ro,conf=$PWD/conf $1 at";
        let mounted = shell(here.path(), script, &[&server.url("/dav/")]);
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "{said}");
        Some(Davfs(here))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("at")
    }
}

impl Drop for Davfs {
    fn drop(&mut self) {
        shell(self.0.path(), "umount at", &[]);
    }
}

#[test]
fn davfs2_mounts_it_and_shows_the_same() {
    let sample = sample();
    let server = Server::new(DirTree::new(sample.path()));
    let Some(mounted) = Davfs::new(&server) else { return };

    let shown = hashes(&mounted.path());

    // What davfs2 adds to every mount.
    let shown: String =
        shown.lines().filter(|line| !line.ends_with("lost+found")).map(|line| format!("{line}\n")).collect();
    assert_same(&shown, sample.path());
    let time = printed(&mounted.path(), "stat -c '%Y %s' d/hello", &[]);
    assert_eq!(time, printed(sample.path(), "stat -c '%Y %s' d/hello", &[]));
    assert!(!shell(&mounted.path(), "echo x > new", &[]).status.success());
}

#[test]
fn davfs2_shows_the_siblings_of_a_broken_entry_and_fails_in_the_midst_of_damage() {
    let mut tree = MemoryTree::new();
    tree.add("before", file(b"1"));
    tree.add_broken(Some("broken"), ErrorKind::Corrupt);
    tree.add("after", file(b"2"));
    let mut damaged = file(&vec![7; 4 << 20]);
    damaged.unreadable_from = Some(3 << 20);
    tree.add("damaged", damaged);
    let server = Server::new(tree);
    let Some(mounted) = Davfs::new(&server) else { return };

    let listed = printed(&mounted.path(), "ls", &[]);

    for name in ["before", "broken", "after", "damaged"] {
        assert!(listed.lines().any(|line| line == name), "{listed}");
    }
    assert_eq!(printed(&mounted.path(), "cat before after", &[]), "12");
    for name in ["broken", "damaged"] {
        let read = shell(&mounted.path(), "cat \"$1\"", &[name]);
        assert!(!read.status.success(), "{name}");
    }
}
