//! Foreign images with independent manifests: `corpus/` and `samples/urbackup/` below `SPELUNK_CORPUS`.

use crate::{Result, cache, skip, tool};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the corpus is: `SPELUNK_CORPUS`, else `shared` beside the workspace. Says so when it is not
/// there.
pub fn root() -> Option<PathBuf> {
    let beside = || cache::workspace().join("../shared");
    let root = std::env::var_os("SPELUNK_CORPUS").map_or_else(beside, PathBuf::from);
    if root.join("corpus/index.tsv").is_file() {
        return Some(root);
    }
    skip::because(&format!("no corpus at {} (SPELUNK_CORPUS)", root.display()));
    None
}

/// One image of the corpus, as its index describes it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name in the index.
    pub id: String,
    /// `ok`, `seed`, `probe`, `needs-replay`, `damaged`, `hostile`, `key`, `aux`.
    pub class: String,
    /// Filesystem, or what kind of disk it is.
    pub filesystem: String,
    /// The file with its expected manifest.
    pub manifest: Option<PathBuf>,
    /// Whether it needs a key.
    pub is_encrypted: bool,
    /// Compressed file, below the corpus.
    archive: String,
    /// Member of the archive, when it is one.
    member: Option<String>,
    /// Size when unpacked.
    bytes: u64,
}

impl Image {
    /// Extension of the unpacked file's name: the container.
    pub fn extension(&self) -> &str {
        let file = self.member.as_deref().unwrap_or_else(|| unpacked_name(&self.archive));
        file.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    fn directory(&self, cache: &Path) -> PathBuf {
        let below = self.archive.strip_prefix("images/").unwrap_or(&self.archive);
        let group = Path::new(below).parent().unwrap_or(Path::new(""));
        match &self.member {
            Some(_) => cache.join(group).join(unpacked_name(&self.archive)),
            None => cache.join(group),
        }
    }

    fn unpacked(&self, cache: &Path) -> PathBuf {
        let name = self.member.as_deref().unwrap_or_else(|| unpacked_name(&self.archive));
        self.directory(cache).join(name)
    }
}

fn unpacked_name(archive: &str) -> &str {
    let name = archive.rsplit_once('/').map_or(archive, |(_, name)| name);
    name.strip_suffix(".tar.zst").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}

/// The images of the index.
///
/// # Errors
/// When the index cannot be read.
pub fn index(root: &Path) -> Result<Vec<Image>> {
    let corpus = root.join("corpus");
    let text = fs::read_to_string(corpus.join("index.tsv"))?;
    let mut rows = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let names = rows.next().ok_or("an empty index")?;
    let column = |name: &str| {
        let found = names.iter().position(|&each| each == name);
        found.ok_or_else(|| format!("the index has no column {name}"))
    };
    let [id, file, class, fs, raw_bytes, manifest, key] =
        ["id", "file", "class", "fs", "raw_bytes", "manifest", "key"].map(column);
    let (id, file, class, fs) = (id?, file?, class?, fs?);
    let (raw_bytes, manifest, key) = (raw_bytes?, manifest?, key?);
    rows.map(|row| {
        let get = |column: usize| row.get(column).copied().unwrap_or_default();
        let (archive, member) = match get(file).split_once("::") {
            Some((archive, member)) => (archive, Some(member.to_owned())),
            None => (get(file), None),
        };
        Ok(Image {
            id: get(id).to_owned(),
            class: get(class).to_owned(),
            filesystem: get(fs).to_owned(),
            manifest: (get(manifest) != "-").then(|| corpus.join(get(manifest))),
            is_encrypted: get(key) != "-",
            archive: archive.to_owned(),
            member,
            bytes: get(raw_bytes).parse()?,
        })
    })
    .collect()
}

/// Unpacks the images that are not in the cache yet and returns where each lies. Whole groups are
/// unpacked, so that chains are complete: pass all images of the index as `all`.
///
/// # Errors
/// When an archive cannot be unpacked or an image has the wrong size.
pub fn unpack(root: &Path, all: &[Image], wanted: &[&Image]) -> Result<Vec<PathBuf>> {
    let recipe = fs::read_to_string(root.join("corpus/index.tsv"))?;
    let cache = cache::get("corpus", &recipe, |partial| Ok(fs::create_dir(partial)?))?;
    // Others may want the same images at the same time.
    let _lock = cache::lock("corpus-images")?;
    let directories: BTreeSet<PathBuf> = wanted.iter().map(|image| image.directory(&cache)).collect();
    for image in all {
        let is_wanted = wanted.iter().any(|each| each.id == image.id);
        let is_beside = image.directory(&cache) != cache && directories.contains(&image.directory(&cache));
        if is_wanted || is_beside {
            unpack_one(&root.join("corpus"), image, &cache)?;
        }
    }
    Ok(wanted.iter().map(|image| image.unpacked(&cache)).collect())
}

fn unpack_one(corpus: &Path, image: &Image, cache: &Path) -> Result<()> {
    let target = image.unpacked(cache);
    let size = || fs::metadata(&target).map(|found| found.len()).ok();
    if size() == Some(image.bytes) {
        return Ok(());
    }
    let directory = image.directory(cache);
    fs::create_dir_all(&directory)?;
    let archive =
        corpus.join(&image.archive).into_os_string().into_string().map_err(|_| "a path not in UTF-8")?;
    if image.archive.ends_with(".tar.zst") {
        let directory = directory.into_os_string().into_string().map_err(|_| "a path not in UTF-8")?;
        tool::run("tar", ["-I", "zstd -d --long=28", "-C", &directory, "-xSf", &archive])?;
    } else {
        let target = target.to_str().ok_or("a path not in UTF-8")?;
        tool::run("zstd", ["-dqf", "--sparse", &archive, "-o", target])?;
    }
    match size() {
        Some(bytes) if bytes == image.bytes => Ok(()),
        found => Err(format!("{}: {} bytes expected, {found:?} found", image.id, image.bytes).into()),
    }
}

/// Unpacks the sample of a UrBackup storage: the directory with the client's image backups.
///
/// # Errors
/// When there is none or it cannot be unpacked.
pub fn urbackup_storage(root: &Path) -> Result<PathBuf> {
    urbackup_archive(root, "storage_images")
}

/// Unpacks the sample of a UrBackup storage with file backups.
///
/// # Errors
/// When there is none or it cannot be unpacked.
pub fn urbackup_file_backups(root: &Path) -> Result<PathBuf> {
    urbackup_archive(root, "storage_file_backups")
}

/// Unpacks the sample of two file backups that share a directory. They lack the mark of being finished.
///
/// # Errors
/// When there is none or it cannot be unpacked.
pub fn urbackup_directory_pool(root: &Path) -> Result<PathBuf> {
    urbackup_archive(root, "storage_dirpool_excerpt")
}

fn urbackup_archive(root: &Path, name: &str) -> Result<PathBuf> {
    let archive = root.join(format!("samples/urbackup/{name}.tar.zst"));
    let recipe = format!("{} {:?}", archive.display(), fs::metadata(&archive)?.len());
    let key = format!("urbackup-{}", name.replace("storage_images", "storage"));
    cache::get(&key, &recipe, |partial| {
        fs::create_dir(partial)?;
        let (archive, partial) = (archive.to_str(), partial.to_str());
        let (archive, partial) =
            (archive.ok_or("a path not in UTF-8")?, partial.ok_or("a path not in UTF-8")?);
        tool::run("tar", ["-I", "zstd -d --long=28", "-C", partial, "-xSf", archive])?;
        Ok(())
    })
}

/// Unpacks one of the volumes that the sample's images were made of: `ext4_v1` to `ext4_v3`, `ntfs_v1`,
/// `ntfs_v2`. The later ones are stored as patches on the first.
///
/// # Errors
/// When it cannot be unpacked.
pub fn urbackup_original(root: &Path, name: &str) -> Result<PathBuf> {
    let originals = root.join("samples/urbackup/originals");
    cache::get(&format!("urbackup-{name}.raw"), name, |partial| {
        let target = partial.to_str().ok_or("a path not in UTF-8")?;
        let whole = originals.join(format!("{name}.raw.zst"));
        if whole.exists() {
            let whole = whole.to_str().ok_or("a path not in UTF-8")?;
            tool::run("zstd", ["-dq", "--sparse", "--long=28", whole, "-o", target])?;
            return Ok(());
        }
        let guest = name.split('_').next().unwrap_or(name);
        let base = urbackup_original(root, &format!("{guest}_v1"))?;
        let base = format!("--patch-from={}", base.display());
        let patch = originals.join(format!("{name}.raw.patch.zst"));
        let patch = patch.to_str().ok_or("a path not in UTF-8")?;
        tool::run("zstd", ["-dq", "--long=28", &base, patch, "-o", target])?;
        Ok(())
    })
}
