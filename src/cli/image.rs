//! The image a command works on, seen as one tree.
//!
//! A disk with one volume shows that volume's root as `/`; with several, `/` holds one directory per
//! volume: `p1`, `p2`, ...; `<group>-<name>` for LVM's, the name of a RAID.

use super::error::{Error, say};
use super::path::{self, Found, Links};
use crate::escape::message;
use crate::library::{Library, Password, Place};
use crate::volumes;
use clap::ValueEnum;
use spelunk_mount::Composition;
use spelunk_sandbox::unsaid::{CodePage, TimeZone};
use spelunk_sandbox::{Disk, OpenOptions, Stats};
use spelunk_tree::{DiskInfo, ErrorKind, Result, Tree, VolumeInfo};
use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Which image is meant and how it is shown.
#[derive(clap::Args, Clone, Debug)]
pub struct ImageArgs {
    /// The disk image: raw, VHD, VHDZ, VHDX, QCOW2, VMDK, VDI; its parents are found beside it
    pub image: PathBuf,

    /// Another disk's image that belongs with IMAGE: what lies on several disks (RAID, LVM) needs them all
    #[arg(long, value_name = "IMAGE", conflicts_with = "library")]
    pub with: Vec<PathBuf>,

    /// IMAGE is a directory with backups: show them all, as CLIENT/TIME/VOLUME/...
    #[arg(long, conflicts_with_all = ["volume", "layout", "snapshot"])]
    pub library: bool,

    #[command(flatten)]
    pub place: PlaceArgs,

    /// Show this volume alone, as the whole tree: p2, or as `info` calls it
    #[arg(long, value_name = "NAME", value_parser = parse_volume, conflicts_with = "layout")]
    pub volume: Option<String>,

    /// How the volumes of a disk are laid out
    #[arg(long, value_enum, default_value_t = Layout::Auto)]
    pub layout: Layout,

    /// Show a QCOW2 image as this internal snapshot of it was; `info` lists them
    #[arg(long, value_name = "ID|NAME")]
    pub snapshot: Option<String>,

    /// Show the files in which filesystems keep themselves ($MFT, ...)
    #[arg(long)]
    pub show_metafiles: bool,

    /// Say on stderr at the end how many bytes came straight from the image, and how many had to be decoded
    #[arg(long, conflicts_with = "library")]
    pub stats: bool,

    #[command(flatten)]
    pub open: OpenArgs,
}

/// How any image is opened.
#[derive(clap::Args, Clone, Debug)]
pub struct OpenArgs {
    /// Read FAT's short names as bytes of this code page (850, 866, 932, ...)
    #[arg(long, value_name = "NUMBER", default_value = "437")]
    code_page: CodePage,

    /// Take times without a zone (FAT's, some of exFAT's) for those of clocks there: UTC, +02:00, Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", allow_hyphen_values = true)]
    time_zone: TimeZone,

    /// Give a request up when the jailed worker does not answer it in time
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,

    /// How long a worker lives that nobody asks anything: [`OpenOptions::idle`].
    #[arg(skip)]
    pub idle: Option<Duration>,
}

impl OpenArgs {
    /// The same as options.
    pub fn options(&self) -> OpenOptions {
        OpenOptions {
            code_page: self.code_page,
            time_zone: self.time_zone.clone(),
            deadline: Duration::from_secs(self.deadline),
            idle: self.idle,
            ..OpenOptions::default()
        }
    }
}

/// How a directory with backups is read.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// With a library that is a UrBackup storage: the directory of its server's databases (/var/urbackup)
    #[arg(long, value_name = "DIR")]
    pub urbackup_db: Option<PathBuf>,

    /// With a library that is a store of Spelunk, or a repository of restic: the file with its password
    /// [else the environment's SPELUNK_STORE_PASSWORD, RESTIC_PASSWORD_FILE or RESTIC_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,
}

impl PlaceArgs {
    /// The directory as a place of a library.
    pub fn place(&self, path: &Path) -> Place {
        Place {
            path: path.to_owned(),
            urbackup_databases: self.urbackup_db.clone(),
            password: self.password(),
        }
    }

    /// The password that is given: what was said for this command goes before what holds for all.
    fn password(&self) -> Option<Password> {
        let said = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let file = self.store_password_file.clone().map(Password::File);
        let text = |value: OsString| Password::Text(value.into_vec().into());
        file.or_else(|| said("SPELUNK_STORE_PASSWORD").map(text))
            .or_else(|| said("RESTIC_PASSWORD_FILE").map(|path| Password::File(path.into())))
            .or_else(|| said("RESTIC_PASSWORD").map(text))
    }
}

/// How the volumes of a disk are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// One volume is `/` itself; several are /p1, /p2, ...
    Auto,
    /// Always /p1, /p2, ...
    Volumes,
}

/// A volume's directory; a number alone is that of a partition.
fn parse_volume(text: &str) -> std::result::Result<String, String> {
    if text.is_empty() || text.contains('/') {
        return Err("volumes are called p1, p2, ..., or as `spelunk info` shows them".to_owned());
    }
    let number: Option<u32> = text.parse().ok();
    Ok(number.map_or_else(|| text.to_owned(), |number| VolumeInfo::partition_directory(0, number)))
}

impl ImageArgs {
    /// Opens the disk in its jail.
    ///
    /// # Errors
    /// What [`Disk::open`] reports.
    pub fn open_disk(&self) -> Result<OpenedDisk, Error> {
        if self.place.urbackup_db.is_some() {
            return Err(Error::usage("--urbackup-db is of a library").hint("`--library` goes with it"));
        }
        if self.place.store_password_file.is_some() {
            let error = Error::usage("--store-password-file is of a library");
            return Err(error.hint("`--library` goes with it"));
        }
        let mut images = vec![&*self.image];
        images.extend(self.with.iter().map(PathBuf::as_path));
        let disk = Disk::open_together(&images, &self.options())
            .map_err(|error| Error::image(error).about(&self.image))?;
        let info = disk.info();
        tracing::debug!(table = info.table, volumes = info.volumes.len(), "disk opened");
        Ok(OpenedDisk { disk, says_stats: self.stats })
    }

    /// Opens the disk, or the library, and shows it as one tree.
    ///
    /// # Errors
    /// As [`ImageArgs::open_disk`] and [`ImageArgs::open_library`]; when nothing on the disk can be shown.
    pub fn open(&self) -> Result<View, Error> {
        if self.library { self.open_library() } else { self.show(self.open_disk()?, self.layout) }
    }

    /// Opens the library. What is in it is opened when somebody looks.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open_library(&self) -> Result<View, Error> {
        let library = self.library()?;
        Ok(View { tree: library.tree(), disk: None, has_volume_directories: false })
    }

    /// Opens the library, and says on stderr what is to be known of how it is read.
    ///
    /// # Errors
    /// When the directory, or that of the databases, cannot be read.
    pub fn library(&self) -> Result<Arc<Library>, Error> {
        let place = self.place.place(&self.image);
        let library = Library::open(&[place], self.options()).map_err(Error::image)?;
        // What hides all that there is, such as a password that is missing, is told before anything is shown.
        library.catalogue().map_err(Error::image)?;
        library.notes().iter().for_each(|note| say(&format!("spelunk: note: {}", message(note))));
        Ok(library)
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            show_metafiles: self.show_metafiles,
            snapshot: self.snapshot.clone(),
            ..self.open.options()
        }
    }

    /// Shows an opened disk as one tree.
    ///
    /// # Errors
    /// As [`View::of_disk`].
    pub fn show(&self, disk: OpenedDisk, layout: Layout) -> Result<View, Error> {
        View::of_disk(disk, layout, self.volume.as_deref()).map_err(|error| error.about(&self.image))
    }
}

/// An opened disk. When it is done with, it says what was asked of it, if that is wanted.
pub struct OpenedDisk {
    disk: Disk,
    says_stats: bool,
}

impl Deref for OpenedDisk {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.disk
    }
}

impl Drop for OpenedDisk {
    fn drop(&mut self) {
        if self.says_stats {
            let Stats { round_trips, bytes_read, bytes_decoded, restarts } = self.disk.stats();
            say(&format!(
                "stats: {bytes_read} bytes read from the image, {bytes_decoded} bytes decoded by the worker, \
                 {round_trips} requests to it, {restarts} restarts"
            ));
        }
    }
}

/// [`DiskInfo::table`] of a disk that one filesystem fills.
pub const NO_TABLE: &str = "none";

/// A disk, or a library, shown as one tree.
pub struct View {
    tree: Arc<dyn Tree>,
    /// The disk, if it is one.
    disk: Option<OpenedDisk>,
    has_volume_directories: bool,
}

impl View {
    /// The disk shown as one tree: `only` the volume with this directory, or all as `layout` says. The disk's
    /// worker lives as long as the view.
    ///
    /// # Errors
    /// `NotFound` when there is no such volume; when nothing can be shown where that is not a matter of
    /// listing broken volumes.
    pub fn of_disk(disk: OpenedDisk, layout: Layout, only: Option<&str>) -> Result<View, Error> {
        let info = disk.info();
        let parts = volumes::parts(info, volumes::trees_of(&disk), only)?;
        if parts.is_empty()
            && let Some(directory) = only
        {
            return Err(no_such_volume(info, directory));
        }
        let tree = match (only, layout) {
            (None, Layout::Volumes) => Arc::new(Composition::new(parts)?),
            _ => volumes::top_of(parts).map_err(|error| {
                Error::image(error).hint("`spelunk info` shows what is known of the disk")
            })?,
        };
        let has_volume_directories = tree.info().filesystem == Composition::FILESYSTEM;
        Ok(View { tree, disk: Some(disk), has_volume_directories })
    }

    /// What is known of the disk, if it is one.
    pub fn info(&self) -> Option<&DiskInfo> {
        self.disk.as_ref().map(|disk| disk.info())
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
    pub fn shared_tree(&self) -> Arc<dyn Tree> {
        self.tree.clone()
    }
}

fn no_such_volume(info: &DiskInfo, directory: &str) -> Error {
    let member = info.volumes.iter().find(|it| it.directory == directory && !it.member_of.is_empty());
    let why = member.map_or_else(String::new, |member| format!(": it is an {}", member.member_of));
    let text = format!("no volume {directory} to show{why}");
    let error = Error::from(spelunk_tree::Error::not_found(text));
    let shown = info.volumes.iter().filter(|volume| volumes::is_worth_showing(volume));
    let names: Vec<String> = shown.map(VolumeInfo::directory_name).collect();
    if names.is_empty() { error } else { error.hint(format!("this disk has {}", names.join(", "))) }
}
