//! Mounts of an image: by Spelunk, by the kernel, by ntfs-3g. Each is undone when dropped.

use crate::{Result, tool};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a mount may take to appear or to go: generous, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mounted filesystem on a directory of its own.
pub struct Mount {
    directory: Directory,
    server: Option<Child>,
}

impl Mount {
    /// The directory that shows the filesystem.
    pub fn path(&self) -> &Path {
        &self.directory.0
    }

    /// The process that serves the mount, when it runs in the foreground.
    pub fn server(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Undoes the mount and waits for its server.
    ///
    /// # Errors
    /// When `umount` fails, or a server in the foreground does not end.
    pub fn unmount(mut self) -> Result<()> {
        unmount(self.path())?;
        match self.server.take() {
            Some(server) => wait(server).map(drop),
            None => Ok(()),
        }
    }

    /// Waits until a server in the foreground has ended by itself, and returns its exit code (`None`
    /// when a signal ended it).
    ///
    /// # Errors
    /// When it goes on running, or there is none.
    pub fn wait_for_server(&mut self) -> Result<Option<i32>> {
        wait(self.server.take().ok_or("a mount without a server in the foreground")?)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Best effort, on the way out of a failed test: a busy mount is taken off the tree at once.
        if is_mounted(self.path()) {
            let _ = unmount_with(self.path(), &["-l"], &["-z"]);
        }
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A directory that exists as long as this value.
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty directory that everybody may enter.
    ///
    /// # Errors
    /// What the filesystem reports.
    pub fn new() -> Result<Directory> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("spelunk-test-{}-{count}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Directory(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory that is still a mount point must not be emptied through the mount.
        if !is_mounted(&self.0) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Mounts a block device with the kernel's own driver, or an image through a loop device.
///
/// # Errors
/// When `mount` fails: not root, no loop devices.
pub fn loop_mount(image: &Path, filesystem: &str, options: &str) -> Result<Mount> {
    let directory = Directory::new()?;
    let is_device = fs::metadata(image)?.file_type().is_block_device();
    let options = if is_device { options.to_owned() } else { format!("loop,{options}") };
    let arguments = [OsStr::new("-t"), filesystem.as_ref(), "-o".as_ref(), options.as_ref()];
    let command = arguments.into_iter().chain([image.as_os_str(), directory.path().as_os_str()]);
    tool::run("mount", command)?;
    Ok(Mount { directory, server: None })
}

/// Mounts an NTFS image with ntfs-3g, to write to it.
///
/// # Errors
/// When ntfs-3g fails.
pub fn ntfs_3g_mount_writable(image: &Path) -> Result<Mount> {
    ntfs_3g_mount(image, "rw,big_writes,streams_interface=xattr")
}

/// Mounts an NTFS image with ntfs-3g and these options.
///
/// # Errors
/// When ntfs-3g fails.
pub fn ntfs_3g_mount(image: &Path, options: &str) -> Result<Mount> {
    let directory = Directory::new()?;
    tool::run(
        "ntfs-3g",
        [OsStr::new("-o"), options.as_ref(), image.as_os_str(), directory.path().as_os_str()],
    )?;
    Ok(Mount { directory, server: None })
}

/// Mounts an image with `spelunk mount` in the background: what most users do.
///
/// # Errors
/// When it fails.
pub fn spelunk_mount(program: &Path, image: &Path, options: &[&str]) -> Result<Mount> {
    let directory = Directory::new()?;
    let mut command = Command::new(program);
    command.arg("mount").args(options).arg(image).arg(directory.path());
    tool::output(&mut command)?;
    Ok(Mount { directory, server: None })
}

/// Starts `command` with the arguments of `spelunk mount --foreground` and waits until the mount is
/// there. `command` may run the program as another user.
///
/// # Errors
/// When it ends before, or the mount does not appear.
pub fn spelunk_mount_foreground(
    mut command: Command,
    image: &Path,
    options: &[&str],
    directory: Directory,
) -> Result<Mount> {
    command.args(["mount", "--foreground"]).args(options).arg(image).arg(directory.path());
    let server = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut mount = Mount { directory, server: Some(server) };
    let end = Instant::now() + PATIENCE;
    while !is_mounted(mount.path()) {
        let ended = mount.server.as_mut().map(Child::try_wait).transpose()?.flatten();
        if let Some(status) = ended {
            return Err(format!("{command:?} ended before the mount was there: {status}").into());
        }
        if Instant::now() > end {
            return Err(format!("{command:?}: no mount after {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(mount)
}

/// Whether something is mounted on `directory`.
pub fn is_mounted(directory: &Path) -> bool {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let wanted = OsString::from(directory);
    table
        .split(|&byte| byte == b'\n')
        .any(|line| line.split(|&byte| byte == b' ').nth(4) == Some(wanted.as_encoded_bytes()))
}

/// Unmounts `directory` as this user can: `umount` for root, `fusermount3 -u` for others. Waits a
/// little when the mount is busy for a moment.
///
/// # Errors
/// When it stays busy.
pub fn unmount(directory: &Path) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match unmount_with(directory, &[], &[]) {
            Err(error) if Instant::now() > end => return Err(error),
            Err(error) if !error.to_string().contains("busy") => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
            Ok(()) => return Ok(()),
        }
    }
}

fn unmount_with(directory: &Path, as_root: &[&str], as_user: &[&str]) -> Result<()> {
    let mut command = if tool::is_root() {
        let mut command = Command::new("umount");
        command.args(as_root);
        command
    } else {
        let mut command = Command::new("fusermount3");
        command.arg("-u").args(as_user);
        command
    };
    tool::output(command.arg(directory)).map(drop)
}

/// Waits for a process, with patience, and returns its exit code.
///
/// # Errors
/// When it goes on running: it is killed then.
pub fn wait(mut child: Child) -> Result<Option<i32>> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(format!("process {} went on for {PATIENCE:?}", child.id()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
