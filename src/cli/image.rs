//! The image a command works on, seen as one tree.
//!
//! A disk with one volume shows that volume's root as `/`; with several, `/` holds one directory per
//! volume: `p1`, `p2`, ...

use super::error::Error;
use super::path::{self, Found, Links};
use clap::ValueEnum;
use spelunk_mount::{Composition, Part};
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_tree::{DiskInfo, ErrorKind, Name, Result, Tree, VolumeInfo};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Which image is meant and how it is shown.
#[derive(clap::Args, Clone, Debug)]
pub struct ImageArgs {
    /// The disk image: raw, VHD, VHDZ, VHDX; its parents are found beside it
    pub image: PathBuf,

    /// Show this volume alone, as the whole tree
    #[arg(long, value_name = "pN", value_parser = parse_volume, conflicts_with = "layout")]
    pub volume: Option<u32>,

    /// How the volumes of a disk are laid out
    #[arg(long, value_enum, default_value_t = Layout::Auto)]
    pub layout: Layout,

    /// Show the files in which filesystems keep themselves ($MFT, ...)
    #[arg(long)]
    pub show_metafiles: bool,

    /// Give a request up when the jailed worker does not answer it in time
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub deadline: u64,
}

/// How the volumes of a disk are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// One volume is `/` itself; several are /p1, /p2, ...
    Auto,
    /// Always /p1, /p2, ...
    Volumes,
}

fn parse_volume(text: &str) -> std::result::Result<u32, String> {
    let number = text.strip_prefix('p').unwrap_or(text);
    number.parse().map_err(|_| "volumes are called p1, p2, ...".to_owned())
}

impl ImageArgs {
    /// Opens the disk in its jail.
    ///
    /// # Errors
    /// What [`Disk::open`] reports.
    pub fn open_disk(&self) -> Result<Disk, Error> {
        let options =
            OpenOptions { show_metafiles: self.show_metafiles, deadline: Duration::from_secs(self.deadline) };
        let disk =
            Disk::open(&self.image, &options).map_err(|error| Error::image(error).about(&self.image))?;
        let info = disk.info();
        tracing::debug!(table = info.table, volumes = info.volumes.len(), "disk opened");
        Ok(disk)
    }

    /// Opens the disk and shows it as one tree.
    ///
    /// # Errors
    /// As [`ImageArgs::open_disk`]; when nothing on the disk can be shown.
    pub fn open(&self) -> Result<View, Error> {
        self.show(&self.open_disk()?, self.layout)
    }

    /// Shows an opened disk as one tree.
    ///
    /// # Errors
    /// As [`View::of_disk`].
    pub fn show(&self, disk: &Disk, layout: Layout) -> Result<View, Error> {
        View::of_disk(disk, layout, self.volume).map_err(|error| error.about(&self.image))
    }
}

/// [`DiskInfo::table`] of a disk that one filesystem fills.
pub const NO_TABLE: &str = "none";

/// A disk shown as one tree.
pub struct View {
    tree: Arc<dyn Tree>,
    info: DiskInfo,
    has_volume_directories: bool,
}

impl View {
    /// The disk shown as one tree: `only` the volume with this number, or all as `layout` says. The disk's
    /// worker lives as long as the view.
    ///
    /// # Errors
    /// `NotFound` when there is no such volume; when nothing can be shown where that is not a matter of
    /// listing broken volumes.
    pub fn of_disk(disk: &Disk, layout: Layout, only: Option<u32>) -> Result<View, Error> {
        let trees = (0..disk.info().volumes.len()).map(|index| disk.tree(index)).collect();
        View::of_trees(disk.info(), trees, layout, only)
    }

    /// As [`View::of_disk`]; `trees` stand in the order of [`DiskInfo::volumes`].
    ///
    /// # Errors
    /// As [`View::of_disk`].
    pub fn of_trees(
        info: &DiskInfo,
        trees: Vec<Option<Arc<dyn Tree>>>,
        layout: Layout,
        only: Option<u32>,
    ) -> Result<View, Error> {
        let mut parts: Vec<Part> = Vec::new();
        for (volume, tree) in info.volumes.iter().zip(trees) {
            let is_meant = only.is_none_or(|number| number == volume.number);
            if is_meant && is_worth_showing(volume) {
                parts.push(part(volume, tree)?);
            }
        }
        if parts.is_empty()
            && let Some(number) = only
        {
            return Err(no_such_volume(info, number));
        }
        let tree = match (only, layout) {
            (None, Layout::Volumes) => Arc::new(Composition::new(parts)?),
            _ => top_of(parts).map_err(|error| {
                Error::image(error).hint("`spelunk info` shows what is known of the disk")
            })?,
        };
        let has_volume_directories = tree.info().filesystem == Composition::FILESYSTEM;
        Ok(View { tree, info: info.clone(), has_volume_directories })
    }

    /// What is known of the disk.
    pub fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// Finds what `path` names, as [`path::resolve`].
    ///
    /// # Errors
    /// As [`path::resolve`].
    pub fn resolve(&self, path: &[u8], links: Links) -> Result<Found, Error> {
        path::resolve(self.tree(), path, links).map_err(|error| {
            let is_lost = error.kind() == ErrorKind::NotFound && self.has_volume_directories;
            let error = Error::from(error);
            if is_lost {
                error.hint("paths on this disk begin with a volume; `ls` shows them")
            } else {
                error
            }
        })
    }

    /// The tree.
    pub fn tree(&self) -> &dyn Tree {
        &*self.tree
    }

    /// The tree, for threads to share.
    pub fn into_tree(self) -> Arc<dyn Tree> {
        self.tree
    }
}

/// A single volume's own tree, or one of all volumes.
fn top_of(mut parts: Vec<Part>) -> Result<Arc<dyn Tree>> {
    const NOTHING: &str = "no filesystem to show on this disk";
    if parts.len() == 1 {
        return parts.remove(0).1;
    }
    if parts.iter().any(|(_, tree)| tree.is_ok()) {
        return Ok(Arc::new(Composition::new(parts)?));
    }
    match parts.into_iter().find_map(|(_, tree)| tree.err()) {
        Some(error) => Err(error.context(NOTHING)),
        None => Err(spelunk_tree::Error::unsupported(NOTHING)),
    }
}

fn part(volume: &VolumeInfo, tree: Option<Arc<dyn Tree>>) -> Result<Part> {
    let tree = match &volume.filesystem {
        Ok(_) => tree.ok_or_else(|| spelunk_tree::Error::internal("a filesystem without a tree")),
        Err(error) => Err(error.clone()),
    };
    Ok((Name::new(volume.directory_name().into_bytes())?, tree))
}

fn no_such_volume(info: &DiskInfo, number: u32) -> Error {
    let error = Error::from(spelunk_tree::Error::not_found(format!("no volume p{number} to show")));
    let shown = info.volumes.iter().filter(|volume| is_worth_showing(volume));
    let names: Vec<String> = shown.map(VolumeInfo::directory_name).collect();
    if names.is_empty() { error } else { error.hint(format!("this disk has {}", names.join(", "))) }
}

/// Whether a volume is one for users: it has a filesystem, or should have one and that must be told.
pub fn is_worth_showing(volume: &VolumeInfo) -> bool {
    match &volume.filesystem {
        Ok(_) => true,
        Err(error) => {
            let is_empty_by_type =
                error.kind() == ErrorKind::Unsupported && holds_no_files(&volume.partition_type);
            !volume.is_extended && !is_empty_by_type
        }
    }
}

/// Whether partitions of this type never hold a filesystem: empty, swap, Microsoft reserved, LDM metadata,
/// BIOS boot.
fn holds_no_files(partition_type: &str) -> bool {
    const TYPES: [&str; 6] = [
        "0",
        "82",
        "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
        "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3",
        "21686148-6449-6E6F-744E-656564454649",
    ];
    TYPES.contains(&partition_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{Node, view, view_of_volumes};
    use spelunk_mount::walk;
    use spelunk_tree::Error as TreeError;

    fn file_at_root() -> impl IntoIterator<Item = (u64, Node)> {
        [(1, Node::Directory(vec![("file", 2)])), (2, Node::File(b""))]
    }

    fn top(view: &View) -> Vec<String> {
        let (entries, failure) = walk::sorted(view.tree(), view.tree().root(), 99);
        assert_eq!(failure, None);
        let name = |name: &Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
        let line = |entry: Result<spelunk_tree::Entry, walk::Broken>| match entry {
            Ok(entry) => name(&entry.name),
            Err(broken) => format!("! {}", broken.name.as_ref().map(name).unwrap_or_default()),
        };
        entries.into_iter().map(line).collect()
    }

    #[test]
    fn one_volume_is_the_root_and_several_are_directories() {
        let nodes = || file_at_root().into_iter().collect();

        assert_eq!(top(&view(file_at_root())), ["file"]);
        assert_eq!(top(&view_of_volumes(vec![Ok(nodes()), Ok(nodes())])), ["p1", "p2"]);
    }

    #[test]
    fn damaged_volume_is_listed_beside_a_good_one() {
        let nodes = file_at_root().into_iter().collect();

        let view = view_of_volumes(vec![Err(TreeError::corrupt("bad superblock")), Ok(nodes)]);

        assert_eq!(top(&view), ["! p1", "p2"]);
    }
}
