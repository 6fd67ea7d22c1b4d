//! `spelunk mount`: shows an image as a directory.
//!
//! In the background it is the same program again, in a session of its own: it mounts just as in the
//! foreground, tells its parent through a pipe that the mount is ready, and lets go of the terminal.

use super::error::{describe, say};
use super::image::{ImageArgs, Layout, OpenedDisk, View};
use super::{Error, Outcome, escape};
use crate::volumes::is_worth_showing;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use spelunk_mount::fuse::{Mount, MountPoint, Obstacle, OptionError, Options};
use spelunk_tree::ErrorKind;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Show an image as a directory
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk mount disk.vhdz /mnt
  spelunk mount -o allow_other,uid=1000 disk.vhdz /mnt
  spelunk mount --volume p2 disk.vhdz /mnt
  spelunk mount a.img b.img /mnt             disks on which volumes lie together (RAID, LVM)
  spelunk umount /mnt

The mount is read-only, without devices and set-uid programs, and for whoever mounts alone unless
-o allow_other or allow_root is given. Root needs no FUSE package for it, other users need fusermount3.
The command returns when the mount is ready; it ends by `spelunk umount`, by umount(8) or fusermount3 -u.

Mount options:
  allow_other, allow_root   let others in, as the shown modes permit; or root alone
  uid=N, gid=N              owner and group of everything; else the image's, else whoever mounts
  umask=M, fmask=M, dmask=M permissions that nobody has (octal), of files, of directories; else the
                            image's modes, else 777
  default_permissions       hold whoever mounts to the modes, too
  streams=colon|none        show named streams as name:stream, or not at all; else as user.* attributes
  show_metafiles            as --show-metafiles
  noexec, noatime, max_read=N, and ro, nosuid, nodev, which always hold")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// Directory to show it at; images of more disks that belong with IMAGE may stand before it
    #[arg(value_name = "DIRECTORY", required = true)]
    places: Vec<PathBuf>,

    /// Mount options, with commas between them
    #[arg(short = 'o', long = "options", value_name = "OPTIONS")]
    options: Vec<String>,

    /// End the jailed worker after so long without a request; the next one starts another, unseen. 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 60, conflicts_with = "library",
          value_parser = clap::value_parser!(u64).range(0..=86_400))]
    idle: u64,

    /// Stay in the foreground until the mount ends; Ctrl-C ends it
    #[arg(short = 'f', long)]
    foreground: bool,
}

/// In the environment of the program in the background: its stdout is the pipe to its parent.
const IN_BACKGROUND: &str = "SPELUNK_MOUNT_IN_BACKGROUND";
const METAFILES: &str = "show_metafiles";

/// Runs the command.
///
/// # Errors
/// When the image or the directory will not do, or the system refuses.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    if std::env::var_os(IN_BACKGROUND).is_some() {
        // What the terminal sends to its session is no longer for us. Fails where this was done before.
        let _ = rustix::process::setsid();
        // Nor is what the shell had open: a lock would be held, and a pipe kept from its end, by the mount.
        // The pipe to the parent is stdout, and nothing else is open yet.
        spelunk_sandbox::close_inherited()
            .map_err(|error| spelunk_tree::Error::from_io("closing inherited descriptors", &error))?;
        serve(args, let_go)
    } else if args.foreground {
        serve(args, || Ok(()))
    } else if args.image.stats {
        let error = Error::usage("a mount in the background has nobody to tell its --stats");
        Err(error.hint("add --foreground"))
    } else {
        start_in_background()
    }
}

/// Mounts, calls `ready`, and serves until the mount ends.
fn serve(args: &Args, ready: impl FnOnce() -> std::io::Result<()>) -> Result<Outcome, Error> {
    let (options, shows_metafiles) = parse_options(&args.options)?;
    let Some((directory, more)) = args.places.split_last() else {
        return Err(Error::usage("no directory to mount at"));
    };
    if args.image.library && !more.is_empty() {
        let error = Error::usage("a mount shows one library");
        return Err(error.hint("`spelunk serve` shows several places as one"));
    }
    let point = MountPoint::new(directory).map_err(explain_obstacle)?;
    let mut image = args.image.clone();
    image.with.extend(more.iter().cloned());
    image.show_metafiles |= shows_metafiles;
    // A library closes the backups that nobody looks at by itself.
    let is_ended = args.idle > 0 && !image.library;
    image.open.idle = is_ended.then(|| Duration::from_secs(args.idle));
    let view = if image.library { image.open_library()? } else { view(&image, image.open_disk()?)? };
    // From here on a signal waits for the mount, and then ends it.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| spelunk_tree::Error::from_io("handling signals", &error))?;
    let source = std::path::absolute(&image.image).unwrap_or(image.image);
    let mount = Mount::start(view.shared_tree(), &point, &source, &options).map_err(explain_failure)?;
    let stopper = mount.stopper();
    std::thread::spawn(move || signals.forever().for_each(|_| stopper.stop()));
    ready().map_err(|error| spelunk_tree::Error::from_io("going to the background", &error))?;
    mount.wait()?;
    Ok(Outcome::Done)
}

/// The disk as a tree. Volumes that cannot be opened are told on stderr and listed, but lead nowhere.
fn view(image: &ImageArgs, disk: OpenedDisk) -> Result<View, Error> {
    let volumes = disk.info().volumes.clone();
    let has_any = volumes.iter().any(|volume| volume.filesystem.is_ok());
    // A mount of nothing but broken volumes would only hide why.
    let view = image.show(disk, if has_any { image.layout } else { Layout::Auto })?;
    if image.volume.is_none() {
        for volume in volumes.iter().filter(|volume| is_worth_showing(volume)) {
            if let Err(error) = &volume.filesystem {
                let text = format!("{}: {}", volume.directory_name(), describe(error));
                say(&format!("warning: {}", escape::message(&text)));
            }
        }
    }
    Ok(view)
}

/// The options for the mount, and whether metafiles are to be shown, which is the image's matter.
fn parse_options(lists: &[String]) -> Result<(Options, bool), Error> {
    let all = || lists.iter().flat_map(|list| list.split(','));
    let options = Options::parse(all().filter(|&option| option != METAFILES)).map_err(|error| {
        let hint = match error {
            OptionError::Unknown(_) => Some(format!("mount options are {}, {METAFILES}", Options::NAMES)),
            OptionError::Value(..) | OptionError::Refused(..) => None,
        };
        let error = Error::usage(error.to_string());
        hint.into_iter().fold(error, Error::hint)
    })?;
    Ok((options, all().any(|option| option == METAFILES)))
}

const WITHOUT_MOUNTING: &str = "`spelunk ls`, `cat`, `find` and `manifest` read the image without a mount";

fn explain_obstacle(obstacle: Obstacle) -> Error {
    let hint = match &obstacle {
        Obstacle::NoFuse(_) => Some(WITHOUT_MOUNTING.to_owned()),
        Obstacle::DeadMount(path) => Some(format!("`spelunk umount {}` removes it", path.display())),
        Obstacle::Mounted(path) => Some(format!("`spelunk umount {}` ends it", path.display())),
        Obstacle::Directory(error) if error.kind() == ErrorKind::NotFound => {
            Some("make the directory first".to_owned())
        }
        Obstacle::Directory(_) => None,
    };
    hint.into_iter().fold(Error::from(spelunk_tree::Error::from(obstacle)), Error::hint)
}

fn explain_failure(error: spelunk_tree::Error) -> Error {
    let is_without_helper = error.kind() == ErrorKind::Unsupported;
    let error = Error::from(error);
    if is_without_helper {
        error.hint(format!("install fuse3, or mount as root; {WITHOUT_MOUNTING}"))
    } else {
        error
    }
}

/// Starts this program again and waits until it says that the mount is ready, or ends.
fn start_in_background() -> Result<Outcome, Error> {
    let failed = |error: std::io::Error| spelunk_tree::Error::from_io("starting the background", &error);
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(std::env::args_os().skip(1))
        .env(IN_BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut ready = [0];
    let pipe = child.stdout.take();
    if pipe.is_some_and(|mut pipe| pipe.read_exact(&mut ready).is_ok()) {
        return Ok(Outcome::Done);
    }
    let status = child.wait().map_err(failed)?;
    end_as(status)
}

/// Ends with the exit code of the program in the background, which has said why on stderr.
fn end_as(status: ExitStatus) -> Result<Outcome, Error> {
    match status.code() {
        Some(code) => std::process::exit(code),
        None => {
            let error = spelunk_tree::Error::internal("the program in the background was killed");
            Err(Error::from(error))
        }
    }
}

/// Tells the parent that the mount is ready, and keeps nothing of where the program was started.
fn let_go() -> std::io::Result<()> {
    std::io::stdout().write_all(b"\n")?;
    std::io::stdout().flush()?;
    std::env::set_current_dir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<(Options, bool), Error> {
        parse_options(&[list.to_owned()])
    }

    #[test]
    fn metafiles_are_asked_of_the_image_and_the_rest_of_the_mount() {
        let (options, shows_metafiles) = parse("ro,show_metafiles,uid=7").unwrap();

        assert_eq!((options.uid, shows_metafiles), (Some(7), true));
        assert!(!parse("ro").unwrap().1);
    }

    #[test]
    fn bad_options_are_wrong_usage() {
        for bad in ["rw", "dev", "frobnicate", "uid=x"] {
            assert_eq!(parse(bad).map(drop).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn obstacles_have_the_exit_codes_of_their_kinds() {
        let code = |obstacle| explain_obstacle(obstacle).exit_code();

        assert_eq!(code(Obstacle::DeadMount("/mnt".into())), 12);
        assert_eq!(code(Obstacle::Directory(spelunk_tree::Error::not_found("x"))), 1);
        assert_eq!(code(Obstacle::NoFuse(spelunk_tree::Error::unsupported("x"))), 1);
    }
}
