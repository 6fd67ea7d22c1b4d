//! `spelunk cat`: files to stdout.

use super::image::{ImageArgs, View};
use super::path::{self, Links};
use super::printer::Printer;
use super::{Error, Outcome, size};
use indicatif::ProgressBar;
use spelunk_tree::{Error as TreeError, ErrorKind, Kind, Name, NodeId, Tree};
use std::ffi::OsString;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// Files from this size on show progress.
const PROGRESS_BYTES_MIN: u64 = 64 << 20;

/// Write files of an image to stdout
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk cat disk.vhdz /etc/fstab
  spelunk cat disk.vhdz p2/Users/me/thesis.docx > thesis.docx
  spelunk cat disk.vhdz setup.exe --stream Zone.Identifier
  spelunk cat disk.vhdz /var/log/syslog --offset 1G --length 64k

Symbolic links are followed only with --follow, and then stay inside the image.")]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,

    /// The files, from the root of the image on
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,

    /// The named stream (NTFS) instead of the file's contents
    #[arg(long, value_name = "NAME")]
    stream: Option<OsString>,

    /// Begin at this byte
    #[arg(long, value_name = "BYTES", value_parser = size::parse, default_value = "0")]
    offset: u64,

    /// Write at most this many bytes
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    length: Option<u64>,

    /// Follow symbolic links inside the image
    #[arg(short = 'L', long)]
    follow: bool,
}

/// Runs the command.
///
/// # Errors
/// When the image cannot be opened or stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let stream = match &args.stream {
        Some(name) => Some(Name::new(path::bytes(name)).map_err(|_| Error::usage("not a stream's name"))?),
        None => None,
    };
    let view = args.image.open()?;
    let tree = view.tree();
    let mut printer = Printer::new();
    for path in &args.paths {
        let path = path::bytes(path);
        let file = match locate(&view, path, args, stream.as_ref()) {
            Ok(file) => file,
            Err(error) => {
                printer.failed(&error);
                continue;
            }
        };
        let progress = match file.len {
            PROGRESS_BYTES_MIN.. => printer.start_progress(Some(file.len)),
            _ => ProgressBar::hidden(),
        };
        if let Err(error) = copy(tree, &file, &mut printer, &progress)? {
            printer.broken(path, &error);
        }
        progress.finish_and_clear();
    }
    printer.finish()
}

/// A stretch of a stream.
struct Stretch<'a> {
    node: NodeId,
    stream: Option<&'a Name>,
    offset: u64,
    len: u64,
}

fn locate<'a>(view: &View, path: &[u8], args: &Args, stream: Option<&'a Name>) -> Result<Stretch<'a>, Error> {
    let links = if args.follow { Links::Follow } else { Links::Keep };
    let found = view.resolve(path, links)?;
    let size = match stream {
        Some(name) => stream_size(view.tree(), found.node, name),
        None => plain_size(&found.attr),
    };
    let size = size.map_err(|error| {
        let error = Error::from(error.context(super::escape::escape(path).into_owned()));
        if found.attr.kind == Kind::Symlink {
            error.hint("--follow follows links inside the image")
        } else {
            error
        }
    })?;
    let len = size.saturating_sub(args.offset).min(args.length.unwrap_or(u64::MAX));
    Ok(Stretch { node: found.node, stream, offset: args.offset, len })
}

fn plain_size(attr: &spelunk_tree::Attr) -> Result<u64, TreeError> {
    match attr.kind {
        Kind::File => Ok(attr.size),
        Kind::Directory => Err(TreeError::new(ErrorKind::IsADirectory, "is a directory")),
        Kind::Symlink => Err(TreeError::unsupported("a symbolic link")),
        Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
            Err(TreeError::unsupported("not a regular file"))
        }
    }
}

fn stream_size(tree: &dyn Tree, node: NodeId, name: &Name) -> Result<u64, TreeError> {
    let streams = tree.streams(node)?;
    let found = streams.iter().find(|stream| stream.name == *name);
    found.map(|stream| stream.size).ok_or_else(|| TreeError::not_found("no such stream"))
}

/// Copies a stretch to stdout. The inner result is the guest's.
fn copy(
    tree: &dyn Tree,
    file: &Stretch<'_>,
    printer: &mut Printer,
    progress: &ProgressBar,
) -> Result<Result<(), TreeError>, Error> {
    let mut buffer = vec![0; READ_BYTES];
    let mut done = 0;
    while done < file.len {
        let left = usize::try_from(file.len - done).unwrap_or(READ_BYTES).min(READ_BYTES);
        let offset = file.offset + done;
        let count = match tree.read(file.node, file.stream, offset, &mut buffer[..left]) {
            Ok(0) => return Ok(Err(TreeError::corrupt("ends before its size").at(offset))),
            Ok(count) => count.min(left),
            Err(error) => return Ok(Err(error)),
        };
        printer.write(&buffer[..count])?;
        done += u64::try_from(count).unwrap_or(0);
        progress.set_position(done);
    }
    Ok(Ok(()))
}
