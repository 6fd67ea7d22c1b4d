//! How fast large directories are listed: `cargo test --release -p spelunk-formats --test ext speed -- --ignored
//! --nocapture`.

use crate::kernel::{Mount, is_possible, make};
use crate::volume::open_tree;
use spelunk_tree::{Cursor, Kind, Listed, Name, NodeId, Tree};
use std::fs::{self, File};
use std::time::Instant;

fn list_all(tree: &dyn Tree, dir: NodeId, page: usize) -> usize {
    let mut count = 0;
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let listed = tree.list(dir, at, page).unwrap();
        for entry in &listed.entries {
            let Listed::Entry { entry, .. } = entry else { panic!("broken") };
            count += 1;
            if entry.attr.kind == Kind::Directory {
                count += list_all(tree, entry.node, page);
            }
        }
        cursor = listed.next;
    }
    count
}

#[test]
#[ignore = "a measurement"]
fn listing_of_50_000_files() {
    if !is_possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    make(&image, 512, "-t ext4 -b 4096 -N 120000");
    let mounted = Mount::new(&image, &dir.path().join("mnt"), "loop").unwrap();
    let root = dir.path().join("mnt");
    fs::create_dir(root.join("flat")).unwrap();
    for number in 0..50_000 {
        File::create(root.join(format!("flat/a-file-with-number-{number}.txt"))).unwrap();
    }
    for number in 0..500 {
        fs::create_dir_all(root.join(format!("tree/{}/{number}", number % 20))).unwrap();
        for file in 0..100 {
            File::create(root.join(format!("tree/{}/{number}/file-{file}", number % 20))).unwrap();
        }
    }
    drop(mounted);
    for page in [100, 1000, 4096] {
        for directory in ["flat", "tree"] {
            let tree = open_tree(&image).unwrap();
            let node = tree.lookup(tree.root(), &Name::new(directory.as_bytes()).unwrap()).unwrap().node;
            for round in ["cold caches", "warm"] {
                let start = Instant::now();
                let count = list_all(&*tree, node, page);
                let seconds = start.elapsed().as_secs_f64();
                println!(
                    "{directory}, pages of {page}, {round}: {count} entries, {:.0}/s",
                    count as f64 / seconds
                );
            }
        }
    }
    let tree = open_tree(&image).unwrap();
    let node = tree.lookup(tree.root(), &Name::new(&b"flat"[..]).unwrap()).unwrap().node;
    let start = Instant::now();
    for number in 0..50_000 {
        tree.lookup(node, &Name::new(format!("a-file-with-number-{number}.txt").into_bytes()).unwrap())
            .unwrap();
    }
    println!("lookups: {:.0}/s", 50_000.0 / start.elapsed().as_secs_f64());
}
