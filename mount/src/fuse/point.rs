//! The directory that becomes a mount, and the kernel's part in that: as root by mount(2) alone, for
//! other users through fusermount3, the set-uid program that FUSE packages install for it.

use super::mountinfo::{self, MountInfo};
use super::options::{Access, Options};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use spelunk_tree::{Error, ErrorKind, Result};
use std::ffi::CString;
use std::fmt;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const DEVICE: &str = "/dev/fuse";
/// How mounts of ours are called in the table of mounts.
const FILESYSTEM: &str = "fuse.spelunk";
const SUBTYPE: &str = "spelunk";
/// fusermount3 of today, and its name before FUSE 3.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];
/// Bytes of a mount's source that are passed on; the kernel's limit is a page for all options.
const SOURCE_BYTES_MAX: usize = 1024;

/// Why a directory cannot become a mount, apart by what the user can do about it.
#[derive(Debug)]
pub enum Obstacle {
    /// The system has no FUSE that this user may use.
    NoFuse(Error),
    /// What was mounted there has died and must be unmounted first.
    DeadMount(PathBuf),
    /// A tree is mounted there already.
    Mounted(PathBuf),
    /// The directory itself.
    Directory(Error),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoFuse(error) | Obstacle::Directory(error) => error.fmt(f),
            Obstacle::DeadMount(path) => write!(f, "a dead mount is at '{}'", show(path)),
            Obstacle::Mounted(path) => write!(f, "an image is mounted at '{}' already", show(path)),
        }
    }
}

impl std::error::Error for Obstacle {}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Error {
        match obstacle {
            Obstacle::NoFuse(error) | Obstacle::Directory(error) => error,
            Obstacle::DeadMount(_) | Obstacle::Mounted(_) => {
                Error::new(ErrorKind::Denied, obstacle.to_string())
            }
        }
    }
}

/// A directory on which a tree can be mounted, and a system that can do it.
#[derive(Clone, Debug)]
pub struct MountPoint {
    directory: PathBuf,
    /// The directory itself: until it is mounted on, its name may come to mean another one.
    place: Arc<OwnedFd>,
}

impl MountPoint {
    /// Checks a directory. It need not be empty: what is in it is hidden as long as the mount lasts.
    ///
    /// # Errors
    /// See [`Obstacle`].
    pub fn new(directory: &Path) -> Result<MountPoint, Obstacle> {
        open_device().map_err(Obstacle::NoFuse)?;
        let of_directory = |error: &std::io::Error| {
            Obstacle::Directory(Error::from_io(format!("mounting at '{}'", show(directory)), error))
        };
        match directory.metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let message = format!("mounting at '{}': not a directory", show(directory));
                return Err(Obstacle::Directory(Error::new(ErrorKind::NotADirectory, message)));
            }
            Err(_) if is_dead(directory) => return Err(Obstacle::DeadMount(directory.to_owned())),
            Err(error) => return Err(of_directory(&error)),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(directory, flags, Mode::empty());
        let place = place.map_err(|errno| of_directory(&errno.into()))?;
        let directory = link_to(&place).read_link().map_err(|error| of_directory(&error))?;
        match mountinfo::at(&directory).map_err(Obstacle::Directory)? {
            Some(mount) if mount.filesystem == FILESYSTEM => Err(Obstacle::Mounted(directory)),
            _ => Ok(MountPoint { directory, place: Arc::new(place) }),
        }
    }

    /// Mounts, and returns the kernel's end of it, or `None` when someone has unmounted it already. `image` is
    /// shown as the mount's source.
    pub(super) fn attach(&self, image: &Path, options: &Options) -> Result<Option<(OwnedFd, Attached)>> {
        self.check_name()?;
        let source = source(image);
        let device = open_device()?;
        let connection = match mount_directly(&self.place, &device, &source, options) {
            Ok(()) => device,
            Err(Errno::PERM) => mount_by_helper(&self.directory, &source, options)?,
            Err(error) => {
                return Err(Error::from_io(
                    format!("mounting at '{}'", show(&self.directory)),
                    &error.into(),
                ));
            }
        };
        let mount = mountinfo::at(&self.directory)?.filter(|mount| mount.filesystem == FILESYSTEM);
        let Some(mount) = mount else { return Ok(None) };
        let device =
            connection.try_clone().map_err(|error| Error::from_io("duplicating a descriptor", &error))?;
        Ok(Some((device, Attached { mount, connection })))
    }

    /// Checks that the name still is the directory's: fusermount3 takes no descriptor, and a mount that is
    /// not where it was asked for helps nobody.
    fn check_name(&self) -> Result<()> {
        let doing = || format!("mounting at '{}'", show(&self.directory));
        let failed = |errno: Errno| Error::from_io(doing(), &errno.into());
        let checked = rustix::fs::fstat(&*self.place).map_err(failed)?;
        let named = rustix::fs::stat(&self.directory).map_err(failed)?;
        if (named.st_dev, named.st_ino) == (checked.st_dev, checked.st_ino) {
            return Ok(());
        }
        let cause = Error::new(ErrorKind::Denied, "it has become another directory");
        Err(Error::new(ErrorKind::Denied, doing()).because(cause))
    }
}

/// A mount that was made, and is unmounted when dropped.
pub(super) struct Attached {
    mount: MountInfo,
    /// The kernel's end again, to see whether it still is one: the numbers of a mount that is gone are
    /// given to the next one at once.
    connection: OwnedFd,
}

impl Attached {
    /// The filesystem's device number, `major:minor`.
    pub(super) fn device(&self) -> &str {
        &self.mount.device
    }

    /// Whether the mount is still there, wherever someone may have moved it.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub(super) fn is_mounted(&self) -> Result<bool> {
        Ok(self.find()?.is_some())
    }

    /// Unmounts, by detaching it where it is busy; does nothing where someone else has done it.
    pub(super) fn detach(&self) -> Result<()> {
        let Some(mount) = self.find()? else { return Ok(()) };
        if mountinfo::at(&mount.directory)?.as_ref() != Some(&mount) {
            return Err(Error::new(ErrorKind::Denied, "unmounting what another mount is on top of"));
        }
        unmount(&mount.directory, false).or_else(|_| unmount(&mount.directory, true))
    }

    fn find(&self) -> Result<Option<MountInfo>> {
        let is_ours = |mount: &MountInfo| {
            mount.id == self.mount.id
                && mount.device == self.mount.device
                && mount.filesystem == FILESYSTEM
                && (self.is_connected() || is_dead(&mount.directory))
        };
        Ok(mountinfo::all()?.into_iter().find(is_ours))
    }

    /// Whether the kernel still has the filesystem, and so nothing else can have its device number.
    fn is_connected(&self) -> bool {
        let mut connection = [PollFd::new(&self.connection, PollFlags::empty())];
        let polled = rustix::event::poll(&mut connection, Some(&Timespec::default()));
        polled.is_ok() && !connection[0].revents().contains(PollFlags::ERR)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            tracing::warn!(?error, "unmounting failed");
        }
    }
}

/// Whether a mount is there whose process has ended without unmounting it.
fn is_dead(directory: &Path) -> bool {
    directory.metadata().is_err_and(|error| error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()))
}

/// The mount of ours at `directory`, which may be dead.
///
/// # Errors
/// `NotFound` when there is none.
pub(super) fn find(directory: &Path) -> Result<PathBuf> {
    let canonical = canonicalize_dead(directory)
        .map_err(|error| Error::from_io(format!("looking for '{}'", show(directory)), &error))?;
    match mountinfo::at(&canonical)? {
        Some(mount) if mount.filesystem == FILESYSTEM => Ok(canonical),
        _ => Err(Error::not_found(format!("no image is mounted at '{}'", show(directory)))),
    }
}

/// A canonical path, even where a dead mount is at its end, which nothing can look into.
fn canonicalize_dead(path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize().or_else(|error| {
        let absolute = std::path::absolute(path)?;
        match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
            _ => Err(error),
        }
    })
}

/// Unmounts what is on top at `directory`; `lazily` also when it is in use.
///
/// # Errors
/// `Denied` when it is busy, or not the user's to unmount.
pub(super) fn unmount(directory: &Path, lazily: bool) -> Result<()> {
    let flags = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    let doing = || format!("unmounting '{}'", show(directory));
    match rustix::mount::unmount(directory, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => {
            Err(Error::new(ErrorKind::Denied, doing()).because(Error::new(ErrorKind::Denied, "it is in use")))
        }
        Err(Errno::PERM) => {
            let arguments: &[&str] = if lazily { &["-u", "-z", "--"] } else { &["-u", "--"] };
            let command = |helper: &str| {
                let mut command = Command::new(helper);
                command.args(arguments).arg(directory).stdin(Stdio::null());
                command
            };
            run_helper(command).map_err(|error| error.context(doing()))
        }
        Err(error) => Err(Error::from_io(doing(), &error.into())),
    }
}

/// Opens FUSE's device.
///
/// # Errors
/// `Unsupported` when the system has none, `Denied` when this user may not use it.
fn open_device() -> Result<OwnedFd> {
    let opened = std::fs::File::options().read(true).write(true).open(DEVICE);
    opened.map(OwnedFd::from).map_err(|error| {
        let kind = match Error::from_io("", &error).kind() {
            ErrorKind::Denied => ErrorKind::Denied,
            _ => ErrorKind::Unsupported,
        };
        Error::new(kind, format!("opening {DEVICE}")).because(Error::new(kind, error.to_string()))
    })
}

/// A path that leads to an open directory, whatever its name means by now.
fn link_to(place: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", place.as_raw_fd()).into()
}

/// Has the kernel mount, on the open directory: by name it would follow a link that someone put there.
fn mount_directly(place: &OwnedFd, device: &OwnedFd, source: &str, options: &Options) -> Result<(), Errno> {
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw()
    );
    for option in fuse_options(options) {
        data.push(',');
        data.push_str(&option);
    }
    let mut flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::NOEXEC, options.no_exec);
    flags.set(MountFlags::NOATIME, options.no_atime);
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, link_to(place), FILESYSTEM, flags, data.as_c_str())
}

/// Has fusermount3 mount: it passes the device back through a socket.
fn mount_by_helper(directory: &Path, source: &str, options: &Options) -> Result<OwnedFd> {
    let mut list = format!("ro,nosuid,nodev,fsname={source},subtype={SUBTYPE}");
    for (name, is_set) in [("noexec", options.no_exec), ("noatime", options.no_atime)] {
        if is_set {
            list.push(',');
            list.push_str(name);
        }
    }
    for option in fuse_options(options) {
        list.push(',');
        list.push_str(&option);
    }
    let doing = || format!("mounting at '{}'", show(directory));
    let (ours, helpers) =
        UnixStream::pair().map_err(|error| Error::from_io("making a socket pair", &error))?;
    let helpers = OwnedFd::from(helpers);
    run_helper(|helper| {
        let mut command = Command::new(helper);
        command.args(["-o", &list, "--"]).arg(directory).env("_FUSE_COMMFD", "0");
        command.stdin(helpers.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
        command
    })
    .map_err(|error| error.context(doing()))?;
    drop(helpers);
    receive_device(&ours).map_err(|error| error.context(doing()))
}

/// The options that FUSE itself takes, from the kernel's side.
fn fuse_options(options: &Options) -> Vec<String> {
    let is_shared = options.access != Access::Mounter;
    let mut list = Vec::new();
    if is_shared {
        // The kernel has no `allow_root`: the presenter turns others away.
        list.push("allow_other".to_owned());
    }
    // Whoever mounts could read the image itself, so modes would protect nothing from them; others are held
    // to them.
    if is_shared || options.default_permissions {
        list.push("default_permissions".to_owned());
    }
    list.extend(options.max_read_bytes.map(|bytes| format!("max_read={bytes}")));
    list
}

/// Runs the first helper that there is; its own words become the error.
fn run_helper(command: impl Fn(&str) -> Command) -> Result<()> {
    for helper in HELPERS {
        let output = match command(helper).stdout(Stdio::null()).stderr(Stdio::piped()).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            output => output.map_err(|error| Error::from_io(format!("running {helper}"), &error))?,
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return Err(Error::new(ErrorKind::Denied, said));
    }
    Err(Error::unsupported(format!("{} is not installed", HELPERS[0])))
}

fn receive_device(socket: &UnixStream) -> Result<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|error| Error::from_io("receiving the device", &error.into()))?;
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    device.ok_or_else(|| Error::internal("the helper passed no device"))
}

/// An image's path as a mount's source: what would break a list of options or a table becomes `_`.
fn source(image: &Path) -> String {
    let mut source: String = image
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_control() || c.is_whitespace() || c == ',' || c == '\\' { '_' } else { c })
        .collect();
    // From the left: the file's name is the most telling part.
    while source.len() > SOURCE_BYTES_MAX {
        source.remove(0);
    }
    if source.is_empty() { SUBTYPE.to_owned() } else { source }
}

/// A path for messages: without control characters.
fn show(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_keep_a_list_of_options_in_one_piece() {
        assert_eq!(source(Path::new("/a b/c,d\\e\n\u{9b}f\tü.vhd")), "/a_b/c_d_e__f_ü.vhd");
        assert_eq!(source(Path::new("")), "spelunk");
    }

    #[test]
    fn long_sources_keep_their_end() {
        let long = format!("/{}/image.vhd", "é".repeat(4000));

        let source = source(Path::new(&long));

        assert!(source.len() <= SOURCE_BYTES_MAX && source.ends_with("é/image.vhd"));
    }

    #[test]
    fn sharing_a_mount_always_has_modes_checked() {
        let options = |list: &str| fuse_options(&Options::parse([list]).unwrap()).join(",");

        assert_eq!(options("ro"), "");
        assert_eq!(options("allow_other"), "allow_other,default_permissions");
        assert_eq!(options("allow_root,max_read=8192"), "allow_other,default_permissions,max_read=8192");
    }

    #[test]
    fn what_is_no_directory_is_an_obstacle() {
        if open_device().is_err() {
            println!("skipped: {DEVICE} cannot be opened");
            return;
        }
        for (path, kind) in
            [("/nonexistent/x", ErrorKind::NotFound), ("/proc/self/mountinfo", ErrorKind::NotADirectory)]
        {
            match MountPoint::new(Path::new(path)) {
                Err(Obstacle::Directory(error)) => assert_eq!(error.kind(), kind, "{error:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// A directory that was checked, `moved` by now, and a link to `other` in its place.
    fn replaced_by_a_link(parent: &Path) -> Option<MountPoint> {
        let [directory, moved, other] = ["directory", "moved", "other"].map(|name| parent.join(name));
        std::fs::create_dir(&directory).unwrap();
        std::fs::create_dir(&other).unwrap();
        let point = match MountPoint::new(&directory) {
            Err(Obstacle::NoFuse(error)) => {
                println!("skipped: {error:?}");
                return None;
            }
            point => point.unwrap(),
        };
        std::fs::rename(&directory, moved).unwrap();
        std::os::unix::fs::symlink(other, directory).unwrap();
        Some(point)
    }

    #[test]
    fn a_directory_that_is_replaced_after_the_check_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let Some(point) = replaced_by_a_link(parent.path()) else { return };

        let refused = point.attach(Path::new("image"), &Options::default()).map(drop);

        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Denied));
        let table = mountinfo::all().unwrap();
        assert!(!table.iter().any(|mount| mount.directory.starts_with(parent.path())), "{table:?}");
    }

    #[test]
    fn a_mount_follows_no_link_that_replaces_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let Some(point) = replaced_by_a_link(parent.path()) else { return };
        let device = open_device().unwrap();

        let mounted = mount_directly(&point.place, &device, "image", &Options::default());
        if mounted == Err(Errno::PERM) {
            println!("skipped: only root mounts directly");
            return;
        }
        let [moved, other] = ["moved", "other"].map(|name| mountinfo::at(&parent.path().join(name)).unwrap());
        // The kernel does not wait for answers of a closed device.
        drop(device);
        let unmounted = unmount(&parent.path().join("moved"), false);

        assert_eq!(mounted, Ok(()));
        assert!(moved.is_some_and(|mount| mount.filesystem == FILESYSTEM) && other.is_none());
        assert_eq!(unmounted, Ok(()));
    }

    #[test]
    fn a_directory_without_a_mount_of_ours_is_not_found() {
        assert_eq!(find(Path::new("/")).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    }
}
