//! Files that are expensive to make and cheap to keep.

use crate::Result;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The directory of all cached files: `SPELUNK_CACHE`, else `spelunk-cache` in cargo's target directory.
pub fn directory() -> PathBuf {
    if let Some(cache) = std::env::var_os("SPELUNK_CACHE") {
        return cache.into();
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("spelunk-cache")
}

/// The cached `name`, made by `make` when it is not there. `make` gets a path to write to, a file or a
/// directory; what it leaves there appears under its name in one step. `recipe` is everything that the
/// result depends on: another recipe makes another file. Processes wait for each other.
///
/// # Errors
/// What `make` and the filesystem report.
pub fn get(name: &str, recipe: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = directory();
    fs::create_dir_all(&cache)?;
    let key = hex(&Sha256::digest(recipe.as_bytes()));
    let path = cache.join(format!("{name}-{}", key.get(..16).unwrap_or(&key)));
    let _lock = lock(name)?;
    if !path.exists() {
        let partial = cache.join(format!(".{name}.partial"));
        remove(&partial)?;
        make(&partial)?;
        fs::rename(&partial, &path)?;
    }
    Ok(path)
}

/// Waits until no other test, of this process or another, holds `name`, and holds it until dropped.
///
/// # Errors
/// What the filesystem reports.
pub fn lock(name: &str) -> Result<File> {
    let lock = File::create(directory().join(format!(".{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(found) if found.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
    }
    Ok(())
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
