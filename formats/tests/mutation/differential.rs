//! Mutations under checksums: what is returned as good data is what the sound image has, or there is an error on the
//! way to it. Never anything else in silence.
//!
//! The sound image's walk is the truth, which other tests compare with independent readers. Files' contents are left
//! alone by the mutations, since no format here has checksums for them but the compressed container.

use crate::mutate::{self, Mutated, metadata_sectors};
use crate::seeds::SEEDS;
use crate::{NoParents, open_and_walk};
use spelunk_formats::disk::{self, OpenDisk};
use spelunk_formats::guest::Options;
use spelunk_tree::{Attr, Cursor, Kind, Listed, NodeId, Place, ReadAt, Run, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Seeds all of whose metadata are under checksums.
const SEALED: &[&str] = &["ext4-sealed"];

/// Bytes of a file that are compared.
pub const BYTES_MAX: usize = 200_000;
/// Levels of directories.
const DEPTH_MAX: usize = 16;

/// What is known of one path.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub node: NodeId,
    pub attr: Attr,
    /// The names in a directory; the bytes of a file; the target of a link.
    pub names: Option<BTreeSet<Vec<u8>>>,
    pub bytes: Option<Vec<u8>>,
}

/// What a walk found, and the paths at which it met errors.
#[derive(Default)]
pub struct Walked {
    pub known: BTreeMap<Vec<u8>, Known>,
    pub broken: BTreeSet<Vec<u8>>,
    /// Where in the image the contents of files lie.
    contents: Vec<std::ops::Range<u64>>,
}

impl Walked {
    pub fn of(image: Arc<dyn ReadAt>) -> Walked {
        let mut walked = Walked::default();
        match disk::open(image, &mut NoParents, &Options::default()) {
            Ok(OpenDisk { trees, .. }) if trees.len() == 1 => match &trees[0] {
                Some(tree) => walked.directory(&**tree, tree.root(), b"", 0),
                None => drop(walked.broken.insert(Vec::new())),
            },
            // No disk, or none with this one volume: an error, or as good as one.
            _ => drop(walked.broken.insert(Vec::new())),
        }
        walked
    }

    fn directory(&mut self, tree: &dyn Tree, dir: NodeId, path: &[u8], depth: usize) {
        let (Ok(attr), true) = (tree.attr(dir), depth < DEPTH_MAX) else {
            self.broken.insert(path.to_vec());
            return;
        };
        let (mut names, mut cursor, mut entries) = (BTreeSet::new(), Some(Cursor::START), Vec::new());
        while let Some(from) = cursor {
            let Ok(page) = tree.list(dir, from, 100) else {
                self.broken.insert(path.to_vec());
                break;
            };
            cursor = page.next;
            for listed in page.entries {
                match listed {
                    Listed::Entry { entry, .. } => entries.push(entry),
                    // Where the name is unknown, any name of the directory may be missing.
                    Listed::Broken { name: None, .. } => drop(self.broken.insert(path.to_vec())),
                    Listed::Broken { name: Some(name), .. } => {
                        self.broken.insert(join(path, name.as_bytes()));
                    }
                }
            }
        }
        for entry in entries {
            let name = entry.name.as_bytes().to_vec();
            let below = join(path, &name);
            names.insert(name);
            match entry.attr.kind {
                Kind::Directory => self.directory(tree, entry.node, &below, depth + 1),
                _ => self.leaf(tree, entry.node, entry.attr, below),
            }
        }
        self.known.insert(path.to_vec(), Known { node: dir, attr, names: Some(names), bytes: None });
    }

    fn leaf(&mut self, tree: &dyn Tree, node: NodeId, attr: Attr, path: Vec<u8>) {
        let mut runs = Vec::new();
        if attr.kind == Kind::File && tree.runs(node, None, 0, attr.size, &mut runs).is_ok() {
            let range = |run: Run| match run.place {
                Place::At { offset, .. } => Some(offset..offset + run.len),
                _ => None,
            };
            self.contents.extend(runs.into_iter().filter_map(range));
        }
        let mut buffer = vec![0; BYTES_MAX];
        let bytes = match attr.kind {
            Kind::File => tree.read(node, None, 0, &mut buffer).map(|len| buffer[..len].to_vec()),
            Kind::Symlink => tree.link_target(node),
            _ => Ok(Vec::new()),
        };
        match bytes {
            Ok(bytes) => drop(self.known.insert(path, Known { node, attr, names: None, bytes: Some(bytes) })),
            Err(_) => drop(self.broken.insert(path)),
        }
    }

    /// What is here and not in `truth`, or is otherwise there, or missing without an error that explains it.
    fn differences(&self, truth: &Walked) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, known) in &self.known {
            match truth.known.get(path) {
                None => wrong.push(format!("{} was never there", path.escape_ascii())),
                Some(true_one) if known.attr != true_one.attr || known.bytes != true_one.bytes => {
                    wrong.push(format!("{} is otherwise", path.escape_ascii()));
                }
                Some(_) => {}
            }
        }
        for path in truth.known.keys().filter(|path| !self.known.contains_key(*path)) {
            let mut above = (0..=path.len()).filter(|end| *end == path.len() || path[*end] == b'/');
            if !above.any(|end| self.broken.contains(&path[..end])) {
                wrong.push(format!("{} is missing", path.escape_ascii()));
            }
        }
        wrong
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, b"/", name].concat()
}

/// The byte of the superblock, and the bit in it, that says that there are checksums (metadata_csum, 0x400 of
/// `s_feature_ro_compat`). Without it the superblock's own counts no more than the others: nothing could tell.
const HAS_CHECKSUMS: (usize, u8) = (1024 + 0x65, 0x04);

#[test]
fn mutations_under_checksums_are_errors_and_never_other_data() {
    let seconds = std::env::var("SPELUNK_FUZZ_SECONDS").map_or(10.0, |text| text.parse().unwrap());
    for seed in SEEDS.iter().filter(|seed| SEALED.contains(&seed.name)) {
        let Some(bytes) = seed.make() else { continue };
        let bytes = Arc::new(bytes);
        let whole = || Arc::new(Mutated::new(bytes.clone(), Vec::new()));
        assert_eq!(open_and_walk(whole()).errors, 0, "{} is not sound", seed.name);
        let truth = Walked::of(whole());
        assert!(truth.known.len() > seed.entries_min && truth.broken.is_empty(), "{}", seed.name);
        let sectors = metadata_sectors(&bytes);
        let end = Instant::now() + Duration::from_secs_f64(seconds / 2.0);
        let (mut cases, mut noticed) = (0, 0);
        while Instant::now() < end {
            let mut patches = mutate::patches(seed.name, cases, &sectors, bytes.len());
            patches.retain(|(at, value)| *at != HAS_CHECKSUMS.0 || value & HAS_CHECKSUMS.1 != 0);
            patches.retain(|(at, _)| !truth.contents.iter().any(|content| content.contains(&(*at as u64))));
            let walked = Walked::of(Arc::new(Mutated::new(bytes.clone(), patches.clone())));
            let wrong = walked.differences(&truth);
            assert!(wrong.is_empty(), "{}:{cases} {patches:?}: {wrong:#?}", seed.name);
            cases += 1;
            noticed += u64::from(!walked.broken.is_empty());
        }
        eprintln!("{}: {cases} cases, {noticed} with errors, no difference", seed.name);
        assert!(cases == 0 || noticed > 0, "{}: no mutation was noticed", seed.name);
    }
}
