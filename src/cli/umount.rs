//! `spelunk umount`: ends a mount.

use super::{Error, Outcome};
use spelunk_mount::fuse;
use spelunk_tree::ErrorKind;
use std::path::PathBuf;

/// End a mount of an image
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk umount /mnt

Returns when the image is no longer in use. A mount whose process was killed is removed as well.")]
pub struct Args {
    /// Directory that shows an image
    directory: PathBuf,

    /// Take the mount away even while it is in use; programs that use it are served until they are done
    #[arg(short = 'l', long)]
    lazy: bool,
}

/// Runs the command.
///
/// # Errors
/// When no image is mounted there, or it is in use, or not the user's.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    fuse::umount(&args.directory, args.lazy).map_err(|error| {
        let is_refused = error.kind() == ErrorKind::Denied && !args.lazy;
        let error = Error::from(error);
        if is_refused { error.hint("--lazy takes it away even while programs use it") } else { error }
    })?;
    Ok(Outcome::Done)
}
