//! Which places are looked at, and in which order.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

/// A storage: `backup-1/full.vhd`, `backup-2/child.vhd` and what a test adds.
struct Storage(TempDir);

impl Storage {
    fn new() -> Storage {
        let storage = Storage(tempfile::tempdir().unwrap());
        storage.write("backup-1/full.vhd", "full");
        storage.write("backup-2/child.vhd", "child");
        storage
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, contents: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn chain(&self, path: &str) -> Chain {
        let path = self.at(path);
        Chain::new(vec![(Image::new(File::open(&path).unwrap()).unwrap(), &path)]).unwrap()
    }

    /// What all candidates for the parent of `child` hold.
    fn found(&self, child: &str, paths: &[&str]) -> Vec<String> {
        let mut chain = self.chain(child);
        let mut found = Vec::new();
        while let Some(image) = chain.next_candidate(0, &wanted(paths)).unwrap() {
            found.push(contents(&image));
        }
        found
    }
}

fn wanted(paths: &[&str]) -> ParentRef {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    ParentRef { id: String::new(), alternative_id: String::new(), paths }
}

fn contents(image: &Image) -> String {
    let mut bytes = vec![0; image.size.try_into().unwrap()];
    std::os::unix::fs::FileExt::read_exact_at(&image.file, &mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn parent_is_found_beside_the_child_and_in_the_sibling_that_is_named() {
    let storage = Storage::new();
    storage.write("backup-2/full.vhd", "beside");

    for path in ["../backup-1/full.vhd", "/srv/moved/away/backup-1/full.vhd", "backup-1/full.vhd"] {
        assert_eq!(storage.found("backup-2/child.vhd", &[path]), ["beside", "full"], "{path}");
    }
    assert_eq!(storage.found("backup-2/child.vhd", &["full.vhd"]), ["beside"]);
    assert_eq!(storage.found("backup-2/child.vhd", &["../full.vhd"]), ["beside"]);
    assert_eq!(storage.found("backup-2/child.vhd", &["other.vhd", ""]), [""; 0]);
}

#[test]
fn each_file_is_given_once() {
    let storage = Storage::new();
    let paths = ["../backup-1/full.vhd", "x/backup-1/full.vhd", "backup-1/full.vhd"];

    assert_eq!(storage.found("backup-2/child.vhd", &paths), ["full"]);
}

#[test]
fn compressed_parent_stands_for_a_plain_one_and_the_other_way_round() {
    let storage = Storage::new();
    storage.write("backup-1/a.vhdz", "a");
    storage.write("backup-1/b.VHDX", "b");

    assert_eq!(storage.found("backup-2/child.vhd", &["backup-1/a.vhd"]), ["a"]);
    assert_eq!(storage.found("backup-2/child.vhd", &["backup-1/b.VHDXz"]), ["b"]);
    assert_eq!(storage.found("backup-2/child.vhd", &["backup-1/full.vhdz"]), ["full"]);
}

#[test]
fn nothing_outside_is_reached() {
    let storage = Storage::new();
    storage.write("secret.vhd", "secret");
    storage.write("backup-2/below/secret.vhd", "secret");
    symlink(storage.at("secret.vhd"), storage.at("backup-2/link.vhd")).unwrap();
    symlink(storage.0.path(), storage.at("linked")).unwrap();
    fs::create_dir(storage.at("backup-1/directory.vhd")).unwrap();

    for path in [
        "../secret.vhd",
        "../../backup-2/../secret.vhd",
        "/secret.vhd",
        "../backup-2/link.vhd",
        "../linked/secret.vhd",
        "below/secret.vhd",
        "../backup-1/directory.vhd",
        "../backup-1/..",
        "../backup-1/.",
        "backup-1/full.vhd\0",
        "//",
    ] {
        assert_eq!(storage.found("backup-2/child.vhd", &[path]), [""; 0], "{path:?}");
    }
}

#[test]
fn pipe_in_the_parents_place_is_passed_over() {
    let storage = Storage::new();
    let kind = FileType::Fifo;
    rustix::fs::mknodat(CWD, storage.at("backup-2/pipe.vhd"), kind, Mode::RUSR, 0).unwrap();

    assert_eq!(storage.found("backup-2/child.vhd", &["pipe.vhd"]), [""; 0]);
}

#[test]
fn child_opened_through_a_link_is_searched_from_both_ends() {
    let storage = Storage::new();
    fs::create_dir(storage.at("elsewhere")).unwrap();
    symlink("../backup-2/child.vhd", storage.at("elsewhere/latest.vhd")).unwrap();

    assert_eq!(storage.found("elsewhere/latest.vhd", &["../backup-1/full.vhd"]), ["full"]);
    storage.write("elsewhere/full.vhd", "same name");
    let both = storage.found("elsewhere/latest.vhd", &["../backup-1/full.vhd"]);
    assert_eq!(both, ["same name", "full"]);
    assert_eq!(storage.found("elsewhere/latest.vhd", &["child.vhd"]), ["child"]);
}

#[test]
fn candidates_are_bounded() {
    let paths: Vec<String> = (0..100).map(|index| format!("d/file {index}.vhd")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();

    let storage = Storage::new();
    let place = |name| directory_of(&storage.at(name)).unwrap();
    let places = [place("backup-1/full.vhd"), place("backup-2/child.vhd")];

    assert_eq!(candidates(&wanted(&paths), &places).len(), CANDIDATES_MAX);
}

#[test]
fn parent_that_only_an_id_names_is_any_file_with_the_extension_beside_or_above() {
    let storage = Storage::new();
    for name in ["machine/b.vdi", "machine/a.VDI", "machine/Snapshots/{1}.vdi", "machine/Snapshots/x.img"] {
        storage.write(name, name);
    }
    storage.write("outside.vdi", "outside");
    symlink(storage.at("outside.vdi"), storage.at("machine/link.vdi")).unwrap();
    let find = |id: &str| {
        let mut chain = storage.chain("machine/Snapshots/{1}.vdi");
        let wanted = ParentRef { id: id.into(), ..wanted(&["*.vdi", "../*.vdi"]) };
        let mut found = Vec::new();
        while let Some(image) = chain.next_candidate(0, &wanted).unwrap() {
            found.push(contents(&image));
        }
        found
    };

    assert_eq!(find("an id"), ["machine/Snapshots/{1}.vdi", "machine/a.VDI", "machine/b.vdi"]);
    assert_eq!(find(""), [""; 0]);
}

#[test]
fn grandparent_is_searched_from_where_the_parent_lies() {
    let storage = Storage::new();
    storage.write("backup-1/oldest.vhd", "oldest");
    let mut chain = storage.chain("backup-2/child.vhd");

    let parent = chain.next_candidate(0, &wanted(&["../backup-1/full.vhd"])).unwrap();
    let grandparent = chain.next_candidate(1, &wanted(&["oldest.vhd"])).unwrap();

    assert_eq!(parent.map(|image| contents(&image)).as_deref(), Some("full"));
    assert_eq!(grandparent.map(|image| contents(&image)).as_deref(), Some("oldest"));
    assert_eq!(chain.complete().len(), 3);
}

#[test]
fn next_worker_is_given_the_same_files_without_a_search() {
    let storage = Storage::new();
    let mut chain = storage.chain("backup-2/child.vhd");
    chain.next_candidate(0, &wanted(&["../backup-1/full.vhd"])).unwrap();
    chain.complete();
    fs::remove_file(storage.at("backup-1/full.vhd")).unwrap();

    chain.begin();
    let again = chain.next_candidate(0, &wanted(&[])).unwrap();

    assert_eq!(again.map(|image| contents(&image)).as_deref(), Some("full"));
    assert_eq!(chain.next_candidate(0, &wanted(&[])).map_err(|e| e.kind()).err(), Some(ErrorKind::Storage));
}

#[test]
fn chain_that_is_a_circle_is_corrupt() {
    let storage = Storage::new();
    let mut chain = storage.chain("backup-2/child.vhd");

    chain.next_candidate(0, &wanted(&["../backup-1/full.vhd"])).unwrap();
    let own = chain.next_candidate(1, &wanted(&["../backup-2/child.vhd"])).unwrap();
    let circle = chain.next_candidate(2, &wanted(&["../backup-1/full.vhd"]));

    assert_eq!(own.map(|image| contents(&image)).as_deref(), Some("child"));
    assert_eq!(circle.map_err(|error| error.kind()).err(), Some(ErrorKind::Corrupt));
}

#[test]
fn questions_out_of_order_are_a_breach() {
    let storage = Storage::new();
    let mut chain = storage.chain("backup-2/child.vhd");

    for source in [1, 7, usize::MAX - 1] {
        let answer = chain.next_candidate(source, &wanted(&["full.vhd"]));
        assert_eq!(answer.map_err(|error| error.kind()).err(), Some(ErrorKind::WorkerLost));
    }
}

#[test]
fn further_disks_come_in_order_and_a_later_worker_is_given_the_same() {
    let storage = Storage::new();
    storage.write("backup-3/other.vhd", "other");
    let paths = [storage.at("backup-2/child.vhd"), storage.at("backup-3/other.vhd")];
    let disks = paths.iter().map(|path| (Image::new(File::open(path).unwrap()).unwrap(), path.as_path()));
    let mut chain = Chain::new(disks.collect()).unwrap();
    let text = |image: Result<Option<Arc<Image>>>| image.unwrap().map(|image| contents(&image));

    chain.begin();
    let parent = text(chain.next_candidate(0, &wanted(&["backup-1/full.vhd"])));
    let other = text(chain.next_disk());
    // The second disk's parent is looked for beside the second disk, and may be one that the first has, too.
    let shared = text(chain.next_candidate(2, &wanted(&["backup-1/full.vhd"])));
    let end = text(chain.next_disk());
    let images = chain.complete();

    let found = [parent, other, shared].map(Option::unwrap);
    assert_eq!((found.each_ref().map(String::as_str), end), (["full", "other", "full"], None));
    assert_eq!(images.len(), 4);
    for _ in 0..2 {
        chain.begin();
        assert_eq!(text(chain.next_candidate(0, &wanted(&[]))).as_deref(), Some("full"));
        // A disk that wants more files than it wanted before has changed.
        assert!(chain.next_candidate(1, &wanted(&[])).is_err());
        assert_eq!(text(chain.next_disk()).as_deref(), Some("other"));
        assert_eq!(text(chain.next_candidate(2, &wanted(&[]))).as_deref(), Some("full"));
        assert_eq!(text(chain.next_disk()), None);
    }
}
