//! `spelunk zip`: a ZIP archive of files in an image.

use super::archive::{ArchiveArgs, Failed};
use super::{Error, Outcome};
use clap::ValueEnum;
use spelunk_mount::archive::zip::{self, Compression, Options};

/// Pack files of an image into a ZIP archive
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk zip disk.vhdz -o disk.zip                     everything
  spelunk zip disk.vhdz /home/me /etc -o some.zip       two directories, under their names
  spelunk zip disk.vhdz /home/me/ -o me.zip             what is in a directory, without its name
  spelunk zip disk.vhdz p2/Users --store | ssh host 'cat > users.zip'

The archive holds directories, files and symbolic links, with modes, owners and times (also those of
NTFS). Devices, pipes and sockets are left out; only `spelunk tar` holds them. What cannot be read is
told on stderr and in SPELUNK-ERRORS.txt at the archive's end; the exit code is 3 then.

The same image, paths and options give the same bytes, on any machine. In names, what is not UTF-8,
control characters and backslashes stand as %XX.")]
pub struct Args {
    #[command(flatten)]
    archive: ArchiveArgs,

    /// How files are compressed
    #[arg(long, value_enum, default_value_t = Method::Deflate)]
    compression: Method,

    /// Do not compress: the same as --compression store
    #[arg(long, conflicts_with_all = ["compression", "level"])]
    store: bool,

    /// From 1, fast, to 9, small
    #[arg(long, value_name = "LEVEL", default_value_t = zip::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(u32).range(1..=9))]
    level: u32,
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Not at all
    Store,
    /// By deflate, but for what does not get smaller
    Deflate,
}

/// Runs the command.
///
/// # Errors
/// As [`ArchiveArgs::run`].
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let compression = if args.store || args.compression == Method::Store {
        Compression::Store
    } else {
        Compression::Deflate(args.level)
    };
    args.archive.run(|view, selection, common, out, observer| {
        let options = Options { common, compression };
        zip::write(view.tree(), selection, &options, out, observer).map_err(|error| match error {
            zip::Error::Output(error) => Failed::Output(error),
            zip::Error::Tree(error) => Failed::Tree(error),
        })
    })
}
