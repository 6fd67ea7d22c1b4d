//! UrBackup storages as libraries: what UrBackup itself wrote, and what nobody but an attacker does.

use super::{Ended, spelunk};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{corpus, manifest, tool};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The mark of a finished file backup.
const FINISHED: &str = ".sync_f3a50226-f49a-4195-afef-c75b21781ae1";

fn manifest_of(storage: &Path) -> Ended {
    spelunk(["manifest", "--library", storage.to_str().expect("a path in UTF-8")])
}

/// The line of a path, without it.
#[track_caller]
fn line<'a>(text: &'a str, path: &str) -> &'a str {
    let rest = text.lines().find_map(|line| line.strip_prefix(path)?.strip_prefix('\t'));
    rest.unwrap_or_else(|| panic!("no {path} in\n{text}"))
}

#[test]
fn file_backups_hold_every_file_that_was_backed_up() {
    let Some(root) = corpus::root() else { return };
    let storage = corpus::urbackup_file_backups(&root).expect("the sample can be unpacked");
    let ended = manifest_of(&storage);
    let lines = manifest::parse(ended.success());

    for (moment, sums) in [("0239", "manifest_v1"), ("0246", "manifest_v2")] {
        let prefix = format!("testclient/2026-11-23_{moment}/data/");
        let text = fs::read(root.join(format!("samples/urbackup/manifests/{sums}.sha256")));
        let expected: BTreeSet<(Vec<u8>, String)> = text
            .expect("the sums")
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(sum)
            .collect();
        let found: BTreeSet<(Vec<u8>, String)> = lines
            .iter()
            .filter(|line| line.kind() == "f")
            .filter_map(|line| Some((line.path().strip_prefix(&prefix)?, line)))
            .map(|(path, line)| (manifest::unescape(path), line.0[3].clone()))
            .collect();
        assert_eq!(expected.len(), 319);
        assert_eq!(found, expected, "{moment}");
    }
}

/// A line of sha256sum: path, hash. Before a name with a line's end or a backslash stands another backslash.
pub fn sum(line: &[u8]) -> (Vec<u8>, String) {
    let (is_escaped, line) = line.strip_prefix(b"\\").map_or((false, line), |line| (true, line));
    let (hash, path) = line.split_at(64);
    let path = path.strip_prefix(b"  ./").expect("a path").to_vec();
    let hash = String::from_utf8(hash.to_vec()).expect("a hash");
    if !is_escaped {
        return (path, hash);
    }
    let mut plain = Vec::new();
    let mut bytes = path.into_iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => {
                if bytes.next() == Some(b'n') {
                    b'\n'
                } else {
                    b'\\'
                }
            }
            byte => byte,
        });
    }
    (plain, hash)
}

#[test]
fn file_backups_have_the_attributes_that_files_had() {
    let Some(root) = corpus::root() else { return };
    let storage = corpus::urbackup_file_backups(&root).expect("the sample can be unpacked");
    let ended = manifest_of(&storage);
    let text = ended.success();
    let of = |path: &str| line(text, &format!("testclient/2026-11-23_0239/data/{path}"));

    assert!(of("afifo").starts_with("p\t0\t"), "{}", of("afifo"));
    assert!(of("achar").starts_with("c\t0\t-\t") && of("achar").ends_with("\t0644\t0:0\t1\t1:3"));
    assert!(of("docs/hello.txt").contains("\t981173106.123456789\t0644\t0:0\t"), "{}", of("docs/hello.txt"));
    assert!(of("many/f0002.txt").contains("\t-60.000000000\t"), "1969");
    assert!(of("many/f0003.txt").contains("\t2208988800.000000000\t"), "2040");
    assert!(of("many/f0001.txt").contains("\t0644\t1000:1001\t"));
    assert!(of("docs/random_700k.bin").contains("\t0600\t"));
    assert!(of("docs/link_rel.txt").ends_with("\thello.txt"), "as it was, not as it is stored");
    assert!(of("link_abs_outside").ends_with("\t/etc/hostname"));
    assert!(of("dangling").ends_with("\tnonexistent"));
    assert!(of(".dir_metadata").starts_with("f\t29\t"), "a file that is called as a directory's metadata");
    assert!(of("sub dir/latin1_%E4.txt").starts_with('f'));
    assert!(!text.contains(".hashes") && !text.contains("token"));
}

#[test]
fn directories_of_the_pool_are_in_both_backups_that_share_them() {
    let Some(root) = corpus::root() else { return };
    let sample = corpus::urbackup_directory_pool(&root).expect("the sample can be unpacked");
    let storage = Directory::new().expect("a directory");
    let client = storage.path().join("testclient");
    let copied = [sample.join("testclient"), client.clone()];
    let [from, to] = copied.each_ref().map(|path| path.to_str().expect("a path in UTF-8"));
    tool::run("cp", ["-a", from, to]).expect("a copy");
    for backup in ["261123-0258", "261123-0300"] {
        fs::write(client.join(backup).join(".hashes").join(FINISHED), "").expect("a mark");
    }

    let ended = manifest_of(storage.path());

    let text = ended.success();
    for backup in ["2026-11-23_0258", "2026-11-23_0300"] {
        let file = format!("testclient/{backup}/share/doc/dpkg/copyright");
        let hash = "7442bdadcd44e818fddd786057db07639cc68225c389c7c240d3bb3984b05173";
        assert_eq!(line(text, &file), format!("f\t7943\t{hash}\t1683770071.000000000\t0644\t0:0\t1\t"));
    }
}

#[test]
fn image_backups_are_items_by_volume() {
    let Some(root) = corpus::root() else { return };
    let storage = corpus::urbackup_storage(&root).expect("the sample can be unpacked");
    let storage = storage.to_str().expect("a path in UTF-8");
    let list = |path: &str| spelunk(["ls", "--library", storage, path]).success().to_owned();

    assert_eq!(list("testclient").lines().count(), 13, "the minutes of the images, and `latest`");
    assert_eq!(list("testclient/2026-11-23_0254"), "dev_loop40\ndev_loop41\n");
    assert!(list("testclient/2026-11-23_0246/dev_loop40").contains("third.txt"), "a chain of three");
}

/// A storage of which everything that can be a link is one to the host, or a pipe.
fn hostile() -> Directory {
    let storage = Directory::new().expect("a directory");
    let client = storage.path().join("pc");
    let (share, hashes) = (client.join("260102-0304/share"), client.join("260102-0304/.hashes/share"));
    fs::create_dir_all(&share).expect("a share");
    fs::create_dir_all(&hashes).expect("metadata");
    fs::create_dir_all(client.join(".directory_pool/ab")).expect("a pool");
    fs::create_dir_all(client.join("260105-0304/.hashes")).expect("a backup");
    fs::write(hashes.with_file_name(FINISHED), "").expect("a mark");
    fs::write(client.join("260105-0304/.hashes").join(FINISHED), "").expect("a mark");
    for name in ["good", "forged", "linked", "piped", "short"] {
        fs::write(share.join(name), "contents").expect("a file");
    }
    fs::create_dir(share.join("pooled-metadata")).expect("a directory");
    fs::write(hashes.join("forged"), forged()).expect("metadata");
    fs::write(hashes.join("short"), [0xFF; 3]).expect("metadata");
    for (link, target) in [
        (storage.path().join("etc"), "/etc"),
        (client.join("260103-0304"), "/etc"),
        (client.join(".directory_pool/ab/evil"), "/etc"),
        (client.join("260105-0304/share"), "/etc"),
        (share.join("etc"), "/etc"),
        (share.join("pooled"), "/x/.directory_pool/ab/evil"),
        (share.join("up"), "/x/.directory_pool/../etc"),
        (hashes.join("linked"), "/etc/passwd"),
        (hashes.join("pooled-metadata"), "/x/.directory_pool/ab/evil"),
    ] {
        symlink(target, link).expect("a link");
    }
    for pipe in [share.join("pipe"), hashes.join("piped")] {
        tool::run("mkfifo", [pipe.to_str().expect("a path in UTF-8")]).expect("a pipe");
    }
    storage
}

/// Metadata of which the first length is of far more than there is.
fn forged() -> Vec<u8> {
    [&(-1i64).to_le_bytes()[..], &u32::MAX.to_le_bytes(), &0xA4F0_4E41u32.to_le_bytes(), &[0; 64]].concat()
}

#[test]
fn nothing_in_a_storage_leads_to_the_host_or_hides_what_is_beside_it() {
    let storage = hostile();

    let ended = manifest_of(storage.path());

    let text = ended.text();
    let of = |name: &str| line(text, &format!("pc/2026-01-02_0304/share/{name}"));
    for name in ["good", "forged", "linked", "piped", "short"] {
        assert!(
            of(name).starts_with("f\t8\td1b2a59fbea7e20077af9f91b27e95e865061b270be03ff539ab3b73587882e8\t"),
            "{name}"
        );
    }
    assert!(of("etc").starts_with("l\t4\t") && of("etc").ends_with("\t/etc"));
    assert!(of("pipe").starts_with('?'), "{}", of("pipe"));
    let pooled: Vec<&str> = text.lines().filter(|line| line.contains("/pooled\t")).collect();
    assert!(pooled.iter().any(|line| line.contains("\t?\t")), "{pooled:?}");
    assert_eq!(ended.code, Some(3), "damage is told");
    for damaged in ["forged", "linked", "piped", "short", "pipe", "pooled"] {
        assert!(ended.stderr.contains(&format!("/{damaged}: ")), "{damaged} in\n{}", ended.stderr);
    }
    for host in ["passwd\t", "hostname\t", "2026-01-03_0304", "2026-01-05_0304/share\td"] {
        assert!(!text.contains(host), "{host} in\n{text}");
    }
    assert!(!text.lines().any(|line| line.starts_with("etc")), "a client that is a link");
}
