//! Files as Windows packs them: ntfs-3g writes their parts, wimlib packs their bytes. (The corpus has such volumes, too,
//! made by others.)

use crate::file::{Memory, open_at};
use crate::live::{Lab, set};
use crate::walk::check_runs;
use crate::wim::{self, Random};
use spelunk_tree::{ErrorKind, Name, Place, Tree};
use std::fs;
use std::sync::Arc;

/// How WOF numbers its methods, and what wimlib calls them.
const METHODS: [(u32, &str); 4] =
    [(0, "XPRESS 4096"), (1, "LZX:50 32768"), (2, "XPRESS 8192"), (3, "XPRESS 16384")];

fn reparse_data(provider: u32, method: u32) -> Vec<u8> {
    [0x8000_0017_u32, 16, 1, provider, 1, method].iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A volume with packed files; their names, and what was packed. `None` where a tool is missing.
fn packed_volume(lab: &Lab) -> Option<Vec<(String, Vec<u8>)>> {
    lab.mkntfs(24 << 20, &["-c", "4096"]);
    let mount = lab.mount("noatime")?;
    let mut random = Random(5);
    let mut all = Vec::new();
    for (method, name) in METHODS {
        let directory = lab.0.join(format!("wim {method}"));
        fs::create_dir(&directory).unwrap();
        let files: Vec<Vec<u8>> = (0..20).map(|at| wim::sample(&mut random, 3000 + at * 9973)).collect();
        let mut plain = files.clone();
        for (at, (resource, size)) in wim::packed(&directory, name, &files).into_iter().enumerate() {
            // No two files are of the same size.
            let found = plain.iter().position(|file| file.len() == size).unwrap();
            let name = format!("{method}-{at}");
            let path = mount.0.join(&name);
            fs::File::create(&path).unwrap().set_len(size as u64).unwrap();
            fs::write(mount.0.join(format!("{name}:WofCompressedData")), resource).unwrap();
            set(&path, "system.ntfs_reparse_data", &reparse_data(2, method));
            all.push((name, plain.swap_remove(found)));
        }
    }
    Some(all)
}

fn node(tree: &dyn Tree, name: &str) -> spelunk_tree::Entry {
    tree.lookup(tree.root(), &Name::new(name.as_bytes()).unwrap()).unwrap()
}

#[test]
fn packed_files_are_what_was_packed() {
    if !wim::is_there() {
        return;
    }
    let Some(lab) = Lab::new("wof") else { return };
    let Some(files) = packed_volume(&lab) else { return };

    let (tree, image) = lab.tree();

    let mut random = Random(9);
    assert!(files.len() > 40, "only {} files were packed", files.len());
    for (name, expected) in &files {
        let file = node(&*tree, name);
        assert_eq!((file.attr.size, file.attr.reparse_tag), (expected.len() as u64, Some(0x8000_0017)));
        assert!(file.attr.allocated.is_some_and(|bytes| bytes > 0 && bytes <= expected.len() as u64 + 4096));
        let mut bytes = vec![0xEE; expected.len() + 20_000];
        assert_eq!(tree.read(file.node, None, 0, &mut bytes), Ok(expected.len()), "{name}");
        assert!(bytes.starts_with(expected), "{name}");
        check_runs(&*tree, &*image, (file.node, None, 0), expected);
        for _ in 0..20 {
            let (from, len) = (random.below(expected.len()), random.below(20_000));
            let end = (from + len).min(expected.len());
            let read = tree.read(file.node, None, from as u64, &mut bytes[..len]);
            assert_eq!((read, &bytes[..end - from]), (Ok(end - from), &expected[from..end]), "{name}");
        }
        assert!(tree.streams(file.node).unwrap().is_empty(), "{name}");
        assert!(tree.xattrs(file.node).unwrap().iter().all(|xattr| !xattr.name().starts_with(b"user.")));
    }
}

#[test]
fn damaged_packed_files_are_damaged_alone() {
    if !wim::is_there() {
        return;
    }
    let Some(lab) = Lab::new("wof-damaged") else { return };
    let Some(files) = packed_volume(&lab) else { return };
    let (tree, _) = lab.tree();
    let stream = Name::new(&b"WofCompressedData"[..]).unwrap();
    let image = fs::read(lab.image()).unwrap();
    let mut random = Random(3);
    let mut errors = 0;
    for (name, expected) in &files {
        let mut runs = Vec::new();
        tree.runs(node(&*tree, name).node, Some(&stream), 0, 1 << 20, &mut runs).unwrap();
        let [run] = runs[..] else { continue };
        let Place::At { offset, .. } = run.place else { continue };
        for _ in 0..3 {
            let mut damaged = image[..].to_vec();
            // Half of the time in the table.
            let end = if random.below(2) == 0 { 32.min(run.len as usize) } else { run.len as usize };
            let at = offset as usize + random.below(end);
            damaged[at] ^= 1 << random.below(8);
            let size = damaged.len() as u64;
            let opened = open_at(Arc::new(Memory(damaged)), 0, size).unwrap();

            let read = opened.read(node(&*opened, name).node, None, 0, &mut vec![0; expected.len()]);

            if let Err(error) = read {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error:?}");
                assert!(error.offset().is_some(), "{name}: {error:?}");
                errors += 1;
            }
        }
    }
    assert!(errors > 20, "only {errors} damages were noticed");
}

#[test]
fn what_is_kept_elsewhere_is_refused() {
    let Some(lab) = Lab::new("elsewhere") else { return };
    lab.mkntfs(8 << 20, &["-c", "4096"]);
    let Some(mount) = lab.mount("noatime") else { return };
    let dedup = [&0x8000_0013_u32.to_le_bytes()[..], &[16, 0, 0, 0], &[1; 16]].concat();
    for (name, data) in [("wim", reparse_data(1, 0)), ("method", reparse_data(2, 9)), ("dedup", dedup)] {
        fs::File::create(mount.0.join(name)).unwrap().set_len(5000).unwrap();
        set(&mount.0.join(name), "system.ntfs_reparse_data", &data);
    }
    fs::File::create(mount.0.join("no stream")).unwrap().set_len(5000).unwrap();
    set(&mount.0.join("no stream"), "system.ntfs_reparse_data", &reparse_data(2, 1));
    drop(mount);

    let (tree, _) = lab.tree();

    let kind = |name| tree.read(node(&*tree, name).node, None, 0, &mut [0; 10]).unwrap_err().kind();
    assert_eq!([kind("wim"), kind("method"), kind("dedup")], [ErrorKind::Unsupported; 3]);
    assert_eq!(kind("no stream"), ErrorKind::Corrupt);
}
