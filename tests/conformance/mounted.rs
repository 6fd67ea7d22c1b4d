//! The manifest of an image as ordinary system calls see it through Spelunk's FUSE mount.

use super::logical;
use crate::program;
use spelunk_testkit::manifest::{self, Line};
use spelunk_testkit::walk;
use spelunk_testkit::{Result, peer};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Mounts the image, walks it, takes it off again. Of the root and the directories of partitions no
/// manifest tells. A mount does not list named streams: those that the manifest lists are opened.
pub fn lines(image: &Path, expected: &[Line], options: &[&str]) -> Result<Vec<Line>> {
    let mut options = [&["--show-metafiles", "-o", "streams=colon"], options].concat();
    let companion = logical::companion(image);
    if let Some(other) = &companion {
        options.extend(["--with", other.to_str().ok_or("a path that is not UTF-8")?]);
    }
    let mount = peer::spelunk_mount(program::path(), image, &options)?;
    let entries = walk::walk(mount.path(), walk::Options::default())?;
    let mut lines = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.path.is_empty()) {
        let mut line = manifest::of_entry(entry);
        if !is_partition(line.path(), expected) {
            add_reparse_tag(&mut line, mount.path(), &entry.path)?;
            lines.push(line);
        }
    }
    for line in expected.iter().filter(|line| line.kind() == "a") {
        let name = logical::shown(mount.path(), line.path())?;
        lines.extend(stream(mount.path(), &manifest::unescape(&name))?);
    }
    mount.unmount()?;
    Ok(lines)
}

/// Manifests tell the tag of a reparse point behind a link's target.
fn add_reparse_tag(line: &mut Line, root: &Path, path: &[u8]) -> Result<()> {
    let data = walk::xattr(&root.join(OsStr::from_bytes(path)), b"system.ntfs_reparse_data")?;
    let tag = data.as_deref().and_then(|data| data.first_chunk()).map(|tag| u32::from_le_bytes(*tag));
    if let (Some(tag), Some(extra)) = (tag, line.0.last_mut()) {
        let space = if extra.is_empty() { "" } else { " " };
        extra.push_str(&format!("{space}reparse={tag:08x}"));
    }
    Ok(())
}

fn is_partition(path: &str, expected: &[Line]) -> bool {
    expected.iter().any(|line| line.kind() == "P" && line.path() == path)
}

/// The line of the stream `name` (a path, a colon, the stream), `None` when it is not there.
pub fn stream(root: &Path, name: &[u8]) -> Result<Option<Line>> {
    let path = root.join(OsStr::from_bytes(name));
    let Ok(found) = fs::metadata(&path) else { return Ok(None) };
    let digest = walk::hash_file(&path).unwrap_or_else(|error| format!("error: {error}"));
    Ok(Some(manifest::of_stream(name, found.len(), digest)))
}
