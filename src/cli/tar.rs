//! `spelunk tar`: a tar archive of files in an image.

use super::archive::{ArchiveArgs, Failed};
use super::{Error, Outcome};
use spelunk_mount::archive::tar::{self, Options};

/// Pack files of an image into a tar archive, with all that the guest tells of them
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk tar disk.vhdz -o disk.tar.zst                 everything, compressed
  spelunk tar disk.vhdz /home/me/ | tar x -C /new/home/me
  spelunk tar disk.vhdz /etc /var/lib --no-compression -o some.tar
  spelunk tar disk.vhdz --zstd | ssh host 'zstd -d | tar x --xattrs --acls'

The archive keeps times to the nanosecond, extended attributes, ACLs, hard links, holes in files,
devices and pipes (PAX records, as GNU tar and bsdtar read them). Sockets are left out. What cannot be
read is told on stderr and in SPELUNK-ERRORS.txt at the archive's end; the exit code is 3 then.

It is compressed with --zstd, or when the file's name ends in .zst or .tzst.")]
pub struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,

    /// Compress with zstd
    #[arg(long)]
    zstd: bool,

    /// Do not compress, whatever the file's name says
    #[arg(long, conflicts_with_all = ["zstd", "level"])]
    no_compression: bool,

    /// Level of zstd, from 1, fast, to 19, small
    #[arg(long, value_name = "LEVEL", default_value_t = tar::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
}

impl Args {
    fn is_compressed(&self) -> bool {
        let extension = self.archive.file().and_then(|file| file.extension());
        let has_name = extension.is_some_and(|extension| extension == "zst" || extension == "tzst");
        self.zstd || (has_name && !self.no_compression)
    }
}

/// Runs the command.
///
/// # Errors
/// As [`ArchiveArgs::run`].
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let zstd = args.is_compressed().then_some(args.level);
    args.archive.run(|view, selection, common, out, observer| {
        let options = Options { common, zstd };
        tar::write(view.tree(), selection, &options, out, observer).map_err(Failed::Output)
    })
}
