//! The images of the corpus against their manifests, which ntfs-3g made.
//!
//! Where ntfs-3g and Spelunk differ on purpose, [`normalise`] says why.

use crate::file::{Image, open_at};
use crate::walk::{Line, walk};
use spelunk_tree::{ErrorKind, ReadAt};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// The corpus. Images come from `SPELUNK_CORPUS_UNPACKED`, where `unpack.py` put them, or are unpacked one by
/// one.
pub struct Corpus {
    root: PathBuf,
    unpacked: Option<PathBuf>,
    scratch: PathBuf,
}

impl Drop for Corpus {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// A row of the corpus' index.
pub struct Row {
    pub id: String,
    file: String,
    class: String,
    manifest: Option<PathBuf>,
    tools: String,
}

impl Corpus {
    /// `None`, said aloud, where there is none.
    pub fn find(name: &str) -> Option<Corpus> {
        let root = spelunk_testkit::corpus::root()?.join("corpus");
        let scratch = std::env::temp_dir().join(format!("spelunk-ntfs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).unwrap();
        Some(Corpus {
            root,
            unpacked: std::env::var_os("SPELUNK_CORPUS_UNPACKED").map(PathBuf::from),
            scratch,
        })
    }

    /// The raw images.
    pub fn rows(&self) -> Vec<Row> {
        let index = std::fs::read_to_string(self.root.join("index.tsv")).unwrap();
        let row = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            Row {
                id: fields[0].into(),
                file: fields[1].into(),
                class: fields[3].into(),
                manifest: Some(fields[11]).filter(|name| *name != "-").map(|name| self.root.join(name)),
                tools: fields[13].into(),
            }
        };
        let raw =
            |row: &Row| [".raw", ".img", ".raw.zst", ".img.zst"].iter().any(|end| row.file.ends_with(end));
        index.lines().skip(1).map(row).filter(raw).collect()
    }

    /// Gives `look` the unpacked image.
    pub fn with_image<T>(&self, row: &Row, look: impl FnOnce(Arc<dyn ReadAt>) -> T) -> T {
        if let Some(unpacked) = &self.unpacked {
            let file = row.file.trim_start_matches("images/").trim_end_matches(".zst");
            return look(Image::open(&unpacked.join(file.replace(".tar.zst::", "/"))));
        }
        let path = self.scratch.join("image");
        // Some were packed with a window of 256 MiB.
        let status = match row.file.split_once("::") {
            Some((archive, member)) => Command::new("tar")
                .args(["-I", "zstd --long=31", "-xOf"])
                .arg(self.root.join(archive))
                .arg(member)
                .stdout(std::fs::File::create(&path).unwrap())
                .status(),
            None => Command::new("zstd")
                .args(["-d", "-q", "-f", "--long=31", "--sparse", "-o"])
                .arg(&path)
                .arg(self.root.join(&row.file))
                .status(),
        };
        let status = status.expect("tar and zstd are installed");
        assert!(status.success(), "{}", row.file);
        look(Image::open(&path))
    }
}

/// The lines of a manifest below `prefix`.
fn expected(manifest: &str, prefix: &str) -> BTreeMap<String, Line> {
    let mut lines = BTreeMap::new();
    for line in manifest.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let Some(path) = fields[0].strip_prefix(prefix).filter(|path| !path.is_empty()) else { continue };
        let extra = fields.get(8).copied().unwrap_or_default();
        let tag = extra.split(' ').find_map(|word| word.strip_prefix("reparse="));
        lines.insert(
            path.into(),
            Line {
                kind: fields[1].chars().next().unwrap(),
                size: fields[2].parse().unwrap_or(0),
                hash: fields[3].into(),
                mtime: fields[4].into(),
                links: fields.get(7).map_or(0, |links| links.parse().unwrap_or(0)),
                extra: extra.split(" reparse=").next().unwrap_or_default().into(),
                reparse_tag: tag.map(|tag| u32::from_str_radix(tag, 16).unwrap()),
                attr: None,
            },
        );
    }
    lines
}

/// Volumes that a manifest has lines of: prefix, start and length, where the image is raw.
fn volumes(manifest: &str, image: &dyn ReadAt) -> Vec<(String, u64, u64)> {
    let mut volumes = Vec::new();
    for line in manifest.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.get(1) == Some(&"P") {
            let start = fields[8].split(' ').find_map(|word| word.strip_prefix("start=")).unwrap();
            volumes.push((format!("{}/", fields[0]), start.parse().unwrap(), fields[2].parse().unwrap()));
        }
    }
    if volumes.is_empty() { vec![(String::new(), 0, image.size())] } else { volumes }
}

/// Takes away what differs on purpose.
fn normalise(expected: &mut BTreeMap<String, Line>, ours: &mut BTreeMap<String, Line>) {
    // ntfs-3g gives $MFT the inode number 0, which readdir takes for a deleted entry.
    ours.remove("$MFT");
    // The manifests have no line for the root, whose streams would be `:name`.
    ours.retain(|path, _| !path.starts_with(':'));
    for (path, theirs) in expected.iter_mut() {
        let Some(line) = ours.get_mut(path) else { continue };
        line.attr = None;
        match theirs.kind {
            // Files of the filesystem without unnamed data ($Extend/$Quota) have no type in ntfs-3g.
            'f' if theirs.hash == "-" => theirs.hash.clone_from(&line.hash),
            // ntfs-3g shows every reparse point that it cannot follow as a broken link; the manifest says `x`.
            'x' => {
                assert_eq!(theirs.reparse_tag, line.reparse_tag, "{path}");
                let target = theirs.extra.split_once("target~").map(|(_, target)| target);
                if let Some(target) = target.map(|target| target.trim_start_matches("//")) {
                    assert!(line.extra.ends_with(target), "{path}: {} for {target}", line.extra);
                }
                let (mtime, links) = (theirs.mtime.clone(), theirs.links);
                *theirs = line.clone();
                (theirs.mtime, theirs.links) = (mtime, links);
            }
            'l' if theirs.extra.starts_with("unsupported reparse tag") => {
                (theirs.size, theirs.hash, theirs.extra) = (line.size, line.hash.clone(), line.extra.clone());
            }
            // ntfs-3g shows WOF's files as broken links, so the manifest has the hashes of what was packed.
            'f' if theirs.extra.starts_with("wof ") => {
                assert_eq!(line.reparse_tag, Some(0x8000_0017), "{path}");
                theirs.extra.clear();
            }
            // Where a drive's letter cannot be this volume's, ntfs-3g leads to a directory of its own making.
            'l' if theirs.extra.starts_with("<mnt>/.NTFS-3G/") => {
                theirs.extra = theirs.extra.trim_start_matches("<mnt>/.NTFS-3G/").into();
                theirs.hash.clone_from(&line.hash);
                theirs.size = line.size;
            }
            _ => {}
        }
        // The manifest's walk asks for the tag only where it follows the link.
        if theirs.reparse_tag.is_none() {
            line.reparse_tag = None;
        }
    }
}

fn differences(expected: &BTreeMap<String, Line>, ours: &BTreeMap<String, Line>) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = expected.keys().chain(ours.keys()).collect();
    let differing = paths.into_iter().filter(|path| expected.get(*path) != ours.get(*path));
    differing
        .map(|path| format!("{path}\n  theirs {:?}\n  ours   {:?}", expected.get(path), ours.get(path)))
        .collect()
}

/// Compares the NTFS volumes of an image with its manifest; says how many lines there were.
fn compare(row: &Row, manifest: &str, image: &Arc<dyn ReadAt>, failures: &mut Vec<String>) -> usize {
    let mut compared = 0;
    for (prefix, start, len) in volumes(manifest, image) {
        let tree = match open_at(image.clone(), start, len) {
            Ok(tree) => tree,
            Err(error) if error.kind() == ErrorKind::Unsupported => continue,
            Err(error) => {
                failures.push(format!("{} {prefix}: {error}", row.id));
                continue;
            }
        };
        // A disk with an NTFS volume has others, too.
        if tree.info().filesystem != "ntfs" {
            continue;
        }
        let mut theirs = expected(manifest, &prefix);
        let mut ours = walk(&*tree, image);
        normalise(&mut theirs, &mut ours);
        failures
            .extend(differences(&theirs, &ours).into_iter().map(|line| format!("{} {prefix}{line}", row.id)));
        println!("{} {prefix}: {} lines, notes {:?}", row.id, theirs.len(), tree.info().notes);
        compared += theirs.len();
    }
    compared
}

#[test]
fn corpus_images_equal_their_manifests() {
    let Some(corpus) = Corpus::find("manifests") else { return };
    let mut failures = Vec::new();
    let (mut count, mut lines) = (0, 0);
    for row in corpus.rows().iter().filter(|row| row.tools.contains("ntfs-3g")) {
        let Some(manifest) = &row.manifest else { continue };
        let manifest = std::fs::read_to_string(manifest).unwrap();
        lines += corpus.with_image(row, |image| compare(row, &manifest, &image, &mut failures));
        count += 1;
    }
    println!("{count} images, {lines} lines, {} differences", failures.len());
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    assert!(lines > 0, "the corpus has no NTFS image");
}

#[test]
fn hostile_images_of_the_corpus_end() {
    let Some(corpus) = Corpus::find("hostile") else { return };
    for row in corpus.rows().iter().filter(|row| row.class == "hostile") {
        corpus.with_image(row, |image| match open_at(image.clone(), 0, image.size()) {
            Ok(tree) => println!("{}: {} entries", row.id, crate::hostile::visit(&*tree)),
            Err(error) => println!("{}: {error}", row.id),
        });
    }
}
