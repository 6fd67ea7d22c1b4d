//! A snapshot's file: who was backed up, when, what, and the directory at its top.

use super::id::Id;
use super::node::time;
use serde::Deserialize;
use spelunk_tree::{Error, Name, Result, Time};

/// Bytes of a snapshot's name in its backup. Longer ones are cut, with a hash to tell them apart.
const LABEL_BYTES_MAX: usize = 120;

#[derive(Deserialize)]
struct SnapshotFile {
    time: String,
    tree: Id,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    paths: Option<Vec<String>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    backup_end: Option<String>,
}

/// See the module.
pub(super) struct Snapshot {
    /// The machine.
    pub(super) host: Name,
    /// When the backup began, and when it was complete, where that is said.
    pub(super) started: Time,
    pub(super) finished: Option<Time>,
    /// What it is called after: the paths that were backed up, as one name.
    pub(super) label: Name,
    /// Its tags, as one word; empty when there are none.
    pub(super) tags: String,
    /// The directory at its top.
    pub(super) tree: Id,
}

impl Snapshot {
    /// Parses a snapshot's file.
    ///
    /// # Errors
    /// `Corrupt` when it is none.
    pub(super) fn parse(json: &[u8]) -> Result<Snapshot> {
        let file: SnapshotFile =
            serde_json::from_slice(json).map_err(|_| Error::corrupt("a snapshot that is no JSON of one"))?;
        let finished = file.summary.and_then(|summary| summary.backup_end);
        Ok(Snapshot {
            host: name_of(file.hostname.as_deref().unwrap_or_default(), "unknown")?,
            started: time(&file.time)?,
            finished: finished.as_deref().map(time).transpose()?,
            label: label(&file.paths.unwrap_or_default())?,
            tags: file.tags.unwrap_or_default().join(","),
            tree: file.tree,
        })
    }

    /// The label with the tags, for snapshots of one moment that have one label.
    pub(super) fn tagged_label(&self) -> Result<Name> {
        if self.tags.is_empty() {
            return Ok(self.label.clone());
        }
        let label = String::from_utf8_lossy(self.label.as_bytes());
        name_of(&format!("{label} [{}]", self.tags), "files")
    }
}

/// One name for the paths of a snapshot: `/home/anna` and `/etc` are `home_anna+etc`.
fn label(paths: &[String]) -> Result<Name> {
    let word = |path: &String| {
        let parts = path.split(['/', '\\', ':']).filter(|part| !part.is_empty());
        let word = parts.collect::<Vec<_>>().join("_");
        if word.is_empty() { "root".to_owned() } else { word }
    };
    name_of(&paths.iter().map(word).collect::<Vec<_>>().join("+"), "files")
}

/// A text that may hold anything as a name, or `otherwise` for none.
fn name_of(text: &str, otherwise: &str) -> Result<Name> {
    let mut name: String =
        text.chars().map(|character| if matches!(character, '/' | '\0') { '_' } else { character }).collect();
    if name.is_empty() || name == "." || name == ".." {
        name = otherwise.to_owned();
    }
    if name.len() > LABEL_BYTES_MAX {
        let hash = Id::of(text.as_bytes()).to_string();
        let end = (0..=LABEL_BYTES_MAX - hash.len() - 1).rev().find(|&end| name.is_char_boundary(end));
        name.truncate(end.unwrap_or_default());
        name = format!("{name}~{hash}");
    }
    Name::new(name.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(paths: &[&str]) -> String {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        String::from_utf8(label(&paths).unwrap().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn snapshots_are_called_after_their_paths() {
        assert_eq!(labelled(&["/home/anna"]), "home_anna");
        assert_eq!(labelled(&["/home/anna", "/etc"]), "home_anna+etc");
        assert_eq!(labelled(&["/"]), "root");
        assert_eq!(labelled(&[r"C:\Users\anna"]), "C_Users_anna");
        assert_eq!(labelled(&[]), "files");
        assert_eq!(labelled(&[".."]), "files");
    }

    #[test]
    fn long_labels_are_cut_and_stay_apart() {
        let [one, other] = ["x", "y"].map(|end| labelled(&[&("ä".repeat(100) + end)]));

        assert!(one.len() <= LABEL_BYTES_MAX && one != other, "{one}");
    }

    #[test]
    fn hosts_and_tags_may_hold_anything() {
        let json = format!(
            r#"{{"time":"2026-11-27T14:17:18.7+01:00","tree":"{}","hostname":"a/b","tags":["x","y/z"],"paths":["/d"]}}"#,
            "a".repeat(64)
        );

        let snapshot = Snapshot::parse(json.as_bytes()).unwrap();

        assert_eq!(snapshot.host.as_bytes(), b"a_b");
        assert_eq!(snapshot.tagged_label().unwrap().as_bytes(), b"d [x,y_z]");
        assert_eq!(snapshot.started, Time::new(1_795_785_438, 700_000_000).unwrap());
    }
}
