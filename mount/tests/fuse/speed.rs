//! Measurements of the presenter alone, over a tree in memory that costs next to nothing. Run with
//! `cargo test --release -p spelunk-mount --test fuse -- --ignored --nocapture speed`.

use super::memory_tree::{MemoryTree, directory, file};
use super::{Mounted, printed, shell};
use spelunk_tree::Xattrs;
use std::path::Path;
use std::time::Instant;

fn timed(what: &str, path: &Path, script: &str) -> f64 {
    let start = Instant::now();
    printed(path, script);
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {seconds:.3} s");
    seconds
}

#[test]
#[ignore = "a measurement"]
fn walk_of_95_000_entries() {
    let mut tree = MemoryTree::new();
    for dir in 0..950 {
        let dir = tree.add(&format!("directory {dir}"), directory());
        for index in 0..99 {
            let mut node = file(b"data");
            node.attr.xattrs = Xattrs::None;
            tree.add_to(dir, &format!("file number {index}"), node);
        }
    }
    let Some(mounted) = Mounted::new(tree, "ro") else { return };
    let find = "find . -printf '%p %s %m %U %G %T@ %n\n' | wc -l";

    timed("find, cold", mounted.path(), find);
    timed("find, warm", mounted.path(), find);
    shell(Path::new("/"), "echo 2 > /proc/sys/vm/drop_caches");
    timed("find, after dropping dentries", mounted.path(), find);
    timed("ls -lR", mounted.path(), "ls -lR | wc -l");
    timed("every file read, cold", mounted.path(), "find . -type f -print0 | xargs -0 cat | wc -c");
    timed("every file read, warm", mounted.path(), "find . -type f -print0 | xargs -0 cat | wc -c");
}

#[test]
#[ignore = "a measurement"]
fn sequential_read_of_a_gigabyte() {
    let mut tree = MemoryTree::new();
    let index = tree.add("file", file(b""));
    tree.resize(index, 1 << 30);
    let Some(mounted) = Mounted::new(tree, "ro") else { return };

    for block in ["64K", "128K", "1M"] {
        shell(Path::new("/"), "echo 1 > /proc/sys/vm/drop_caches");
        let seconds = timed(
            &format!("cold, by {block}"),
            mounted.path(),
            &format!("dd if=file of=/dev/null bs={block} 2>&1"),
        );
        println!("    {:.2} GB/s", f64::from(1 << 30) / 1e9 / seconds);
    }
    timed("warm, by 1M", mounted.path(), "dd if=file of=/dev/null bs=1M 2>&1");
}
