//! Mounts of an image by the contenders, and how they are undone.

use crate::contender::{Contender, How};
use crate::course::Images;
use crate::process::Servers;
use spelunk_testkit::image::container::Container;
use spelunk_testkit::image::disk::PARTITION_OFFSET;
use spelunk_testkit::image::plan::Guest;
use spelunk_testkit::image::repository;
use spelunk_testkit::loop_device::LoopDevice;
use spelunk_testkit::{Result, peer, tool};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server in the foreground may take until its mount is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A contender's mount, taken down when dropped.
pub struct Mounted<'a> {
    contender: &'a Contender,
    /// The directory that shows the volume's root.
    root: PathBuf,
    servers: Servers,
    /// What to undo, the last first.
    steps: Vec<Step>,
}

/// A step on the way to a mount.
enum Step {
    Mount(PathBuf),
    Device(LoopDevice),
    /// A server in the foreground that ends with its mount.
    Server(Child),
    /// A server in the foreground that ends when asked to.
    Daemon(Child),
}

/// The program under test, which cargo puts beside this one.
pub fn spelunk() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("spelunk"))
}

impl<'a> Mounted<'a> {
    /// Mounts on the directory `at`; returns when the mount is there.
    pub fn start(contender: &'a Contender, images: &Images, at: &Path) -> Result<Mounted<'a>> {
        let servers = Servers::to_come(contender.servers);
        let mut mounted = Mounted { contender, root: at.to_owned(), servers, steps: Vec::new() };
        let raw = images.raw.as_path();
        match contender.how {
            How::Spelunk => {
                let mut command = Command::new(spelunk()?);
                mounted.mount(command.arg("mount").arg(&images.image), at)?;
            }
            How::Kernel => mounted.kernel(raw, at)?,
            How::Ntfs3g => mounted.ntfs_3g(raw, at)?,
            How::Fuse2fs => {
                let options = format!("ro,offset={PARTITION_OFFSET}");
                mounted.mount(Command::new("fuse2fs").args(["-o", &options]).arg(raw), at)?;
            }
            How::Guestmount => {
                let mut command = Command::new("guestmount");
                command.env("LIBGUESTFS_BACKEND", "direct");
                command.env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
                command.args(["--ro", "-m", "/dev/sda1", "-a"]).arg(&images.image);
                mounted.mount(&mut command, at)?;
            }
            How::Qemu => {
                let export = mounted.qemu(images, at)?;
                match images.guest {
                    Guest::Ext4 => mounted.kernel(&export, at)?,
                    Guest::Ntfs => mounted.ntfs_3g(&export, at)?,
                }
            }
            How::Restic => mounted.restic(images, at)?,
            How::Codec | How::CodecOnFile => return Err("a codec mounts nothing".into()),
        }
        Ok(mounted)
    }

    /// The directory that shows the volume's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The processes that serve the mount.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// A client's command, where this contender wants its clients to run.
    pub fn client(&self, program: impl AsRef<Path>) -> Command {
        placed(self.contender, program.as_ref())
    }

    /// Unmounts and waits until nothing is left of the mount.
    pub fn stop(mut self) -> Result<()> {
        self.undo()?;
        self.servers.wait_for_end()
    }

    fn kernel(&mut self, raw: &Path, at: &Path) -> Result<()> {
        let options = format!("ro,loop,offset={PARTITION_OFFSET}");
        self.mount(Command::new("mount").args(["-o", &options]).arg(raw), at)
    }

    fn ntfs_3g(&mut self, raw: &Path, at: &Path) -> Result<()> {
        let device = LoopDevice::attach(raw, PARTITION_OFFSET)?;
        let mut command = placed(self.contender, Path::new("ntfs-3g"));
        command.args(["-o", "ro"]).arg(device.path());
        self.steps.push(Step::Device(device));
        self.mount(&mut command, at)
    }

    /// Shows the image as a raw file beside the mount point, and returns that file.
    fn qemu(&mut self, images: &Images, at: &Path) -> Result<PathBuf> {
        let export = at.with_extension("export");
        File::create(&export)?;
        let driver = match images.container {
            Container::Raw => "raw",
            Container::Vhd => "vpc",
            Container::Vhdx => "vhdx",
            Container::Vhdz(_) => return Err("qemu does not read VHDZ".into()),
        };
        let file = images.image.display();
        let mut command = Command::new("qemu-storage-daemon");
        command.args(["--blockdev", &format!("driver=file,node-name=file,read-only=on,filename={file}")]);
        command.args(["--blockdev", &format!("driver={driver},node-name=disk,read-only=on,file=file")]);
        let mountpoint = export.display();
        command.args(["--export", &format!("type=fuse,id=disk,node-name=disk,mountpoint={mountpoint}")]);
        self.serve(command, &export, Step::Daemon)?;
        Ok(export)
    }

    fn restic(&mut self, images: &Images, at: &Path) -> Result<()> {
        let repository = images.repository.as_ref().ok_or("there is no repository of this image")?;
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", repository::PASSWORD);
        command.args(["--no-cache", "--repo"]).arg(repository).arg("mount").arg(at);
        self.serve(command, at, Step::Server)?;
        self.steps.push(Step::Mount(at.to_owned()));
        // The directory itself, since find does not go into a link to it.
        self.root = fs::canonicalize(at.join("snapshots/latest"))?;
        Ok(())
    }

    /// Runs a command that mounts on its last argument and returns when it has done so.
    fn mount(&mut self, command: &mut Command, at: &Path) -> Result<()> {
        tool::output(command.arg(at).stdin(Stdio::null()))?;
        self.steps.push(Step::Mount(at.to_owned()));
        Ok(())
    }

    /// Starts a server in the foreground and waits until it has mounted on `at`.
    fn serve(&mut self, mut command: Command, at: &Path, step: fn(Child) -> Step) -> Result<()> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.steps.push(step(child.map_err(|error| format!("{command:?}: {error}"))?));
        let end = Instant::now() + PATIENCE;
        while !peer::is_mounted(at) {
            if Instant::now() > end {
                return Err(format!("{command:?}: no mount after {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn undo(&mut self) -> Result<()> {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Mount(at) => peer::unmount(&at)?,
                Step::Device(device) => device.detach()?,
                Step::Server(child) => drop(peer::wait(child)?),
                Step::Daemon(child) => {
                    tool::run("kill", [child.id().to_string()])?;
                    peer::wait(child)?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Best effort, on the way out of something that failed.
        while !self.steps.is_empty() {
            if let Err(error) = self.undo() {
                eprintln!("warning: {error}");
            }
        }
    }
}

/// A command, where a contender wants it to run.
fn placed(contender: &Contender, program: &Path) -> Command {
    if contender.one_core {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Forgets all cached files, directories and inodes of this machine.
pub fn drop_caches() -> Result<()> {
    tool::run("sync", [""; 0])?;
    fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|error| format!("dropping caches (root needed): {error}").into())
}
