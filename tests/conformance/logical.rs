//! Logical volumes as the corpus' manifests name them: `lv:NAME/`, behind the partition that they lie on.

use regex_lite::{Captures, Regex};
use spelunk_testkit::Result;
use spelunk_testkit::manifest::Line;
use std::fs;
use std::path::{Path, PathBuf};

/// Disks that show nothing one without the other, by their files' names.
const PAIRS: &[[&str; 2]] = &[["lvm2-two-pvs-1.raw", "lvm2-two-pvs-2.raw"]];

/// The other disk that belongs with this one.
pub fn companion(image: &Path) -> Option<PathBuf> {
    let name = image.file_name()?.to_str()?;
    let pair = PAIRS.iter().find(|pair| pair.contains(&name))?;
    pair.iter().find(|other| **other != name).map(|other| image.with_file_name(other))
}

/// A logical volume's directory, its name behind that of its group.
const DIRECTORY: &str = r"^(?:[^-/]|--)+-((?:[^-/]|--)+)(/|$)";

/// A path of a manifest as it is in a mount at `root`, whose directories name the groups, too.
pub fn shown(root: &Path, path: &str) -> Result<String> {
    let Some((_, inside)) = path.split_once("lv:") else { return Ok(path.to_owned()) };
    let directory = Regex::new(DIRECTORY)?;
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().into_string().map_err(|_| "a name that is not UTF-8")?;
        let volume = directory.captures(&name).map(|found| found[1].replace("--", "-"));
        if let Some(rest) = volume.as_deref().and_then(|volume| inside.strip_prefix(volume))
            && rest.starts_with('/')
        {
            return Ok(format!("{name}{rest}"));
        }
    }
    Ok(path.to_owned())
}

/// Brings what the corpus expects of an image with logical volumes and what Spelunk shows to the same names. Of the
/// directories of logical volumes no manifest tells.
pub fn align(expected: &mut [Line], actual: &mut Vec<Line>) {
    let partition = Regex::new(r"^p\d+/lv:").expect("a regular expression");
    let volume = Regex::new(DIRECTORY).expect("a regular expression");
    let is_logical = |line: &Line| line.path().starts_with("lv:") || partition.is_match(line.path());
    if !expected.iter().any(is_logical) {
        return;
    }
    for line in expected {
        line.0[0] = partition.replace(line.path(), "lv:").into_owned();
    }
    for line in actual.iter_mut() {
        let renamed = |found: &Captures<'_>| format!("lv:{}{}", found[1].replace("--", "-"), &found[2]);
        line.0[0] = volume.replace(line.path(), renamed).into_owned();
    }
    actual.retain(|line| !line.path().starts_with("lv:") || line.path().contains('/'));
}
