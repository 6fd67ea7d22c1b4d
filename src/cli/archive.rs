//! What `zip` and `tar` share: what goes in, where it goes, and how it ended.

use super::image::{ImageArgs, View};
use super::path::{self, Links};
use super::printer::Printer;
use super::{Error, Outcome};
use indicatif::ProgressBar;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use spelunk_mount::archive::{Common, Progress, Selection, Summary};
use spelunk_tree::{Error as TreeError, Kind};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Arguments of all archives.
#[derive(clap::Args)]
pub struct ArchiveArgs {
    #[command(flatten)]
    image: ImageArgs,

    /// What goes in, each under its name; a directory's content alone with a slash behind it; without
    /// any, everything
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,

    /// The archive; it appears under this name when it is complete. `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Put in what symbolic links lead to inside the image, in place of the links
    #[arg(short = 'L', long)]
    follow: bool,

    /// Threads that read and compress; the archive is the same [default: one per processor]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

impl ArchiveArgs {
    /// The archive's file; `None` for stdout.
    pub fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != OsStr::new("-"))
    }

    /// Makes an archive with `write`.
    ///
    /// # Errors
    /// When the image or the archive cannot be opened, a path does not exist, or the archive cannot be
    /// written.
    pub fn run(
        &self,
        write: impl FnOnce(
            &View,
            &Selection,
            Common,
            &mut dyn Write,
            &mut dyn FnMut(Progress),
        ) -> Result<Summary, Failed>,
    ) -> Result<Outcome, Error> {
        if self.file().is_none() && io::stdout().is_terminal() {
            return Err(Error::usage("an archive is nothing for a terminal").hint("name a file with -o FILE"));
        }
        let view = self.image.open()?;
        let selection = self.select(&view)?;
        let common = Common { follow: self.follow, threads: self.threads };
        let mut printer = if self.file().is_some() { Printer::beside_file() } else { Printer::new() };
        let progress = printer.start_progress(None);
        let mut observer = |done: Progress| show(&progress, done);
        let write = |out: &mut dyn Write| write(&view, &selection, common, out, &mut observer);
        let summary = match self.file() {
            None => onto_stdout(write)?,
            Some(file) => into_file(file, write)?,
        };
        progress.finish_and_clear();
        tell(&mut printer, &summary);
        printer.finish()
    }

    fn select(&self, view: &View) -> Result<Selection, Error> {
        let links = if self.follow { Links::Follow } else { Links::Keep };
        let find = |path: &OsString| view.resolve(path::bytes(path), links);
        match &self.paths[..] {
            [] => {
                let root = view.resolve(b"/", Links::Keep)?;
                Ok(Selection::content_of(root.node, root.attr, b"/"))
            }
            [path] if path::bytes(path).ends_with(b"/") => {
                let found = find(path)?;
                // A slash behind a path has it be a directory, or else it is not found.
                debug_assert_eq!(found.attr.kind, Kind::Directory);
                Ok(Selection::content_of(found.node, found.attr, path::bytes(path)))
            }
            paths => {
                let mut selection = Selection::default();
                for path in paths {
                    let found = find(path)?;
                    selection.add(found.node, found.attr, path::bytes(path));
                }
                Ok(selection)
            }
        }
    }
}

/// Why an archive could not be made.
pub enum Failed {
    /// It could not be written.
    Output(io::Error),
    /// It cannot be made of this tree.
    Tree(TreeError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Output(error)
    }
}

impl Failed {
    fn on_stdout(self) -> Error {
        match self {
            Failed::Output(error) => Error::output(error),
            Failed::Tree(error) => error.into(),
        }
    }

    fn on_file(self, file: &Path) -> Error {
        match self {
            Failed::Output(error) => {
                let name = super::escape::escape(file.as_os_str().as_encoded_bytes()).into_owned();
                TreeError::from_io(format!("writing {name}"), &error).into()
            }
            Failed::Tree(error) => error.into(),
        }
    }
}

fn show(progress: &ProgressBar, done: Progress) {
    if !progress.is_hidden() {
        progress.set_position(done.bytes);
        progress.set_message(done.entries.to_string());
    }
}

fn onto_stdout(write: impl FnOnce(&mut dyn Write) -> Result<Summary, Failed>) -> Result<Summary, Error> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let summary = write(&mut out).map_err(Failed::on_stdout)?;
    out.flush().map_err(Error::output)?;
    Ok(summary)
}

/// Writes a file that has no name until all is there: whatever ends the program leaves nothing behind.
fn into_file(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<Summary, Failed>,
) -> Result<Summary, Error> {
    let Some(name) = file.file_name() else { return Err(Error::usage("-o names no file")) };
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = file.with_file_name(partial);
    let written = write_whole(&partial, write)
        .and_then(|summary| fs::rename(&partial, file).map(|()| summary).map_err(Failed::Output));
    written.map_err(|failed| {
        // What cannot be removed was not made either.
        _ = fs::remove_file(&partial);
        failed.on_file(file)
    })
}

/// Writes the file `partial`, which is seen under this name only when it is whole, or where the filesystem cannot
/// hold files without a name.
fn write_whole(
    partial: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<Summary, Failed>,
) -> Result<Summary, Failed> {
    let directory = partial.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unnamed = open(directory, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from(0o666));
    let is_unnamed = unnamed.is_ok();
    let file = unnamed.map_or_else(|_| File::create_new(partial), |file| Ok(File::from(file)))?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let summary = write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    if is_unnamed {
        // See open(2), O_TMPFILE: this needs no privilege.
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, own, CWD, partial, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)?;
    }
    Ok(summary)
}

/// Names on stderr what is not in the archive as it is in the image.
fn tell(printer: &mut Printer, summary: &Summary) {
    for failure in &summary.failures {
        printer.broken(&failure.path, &failure.error);
    }
    let told = u64::try_from(summary.failures.len()).unwrap_or(u64::MAX);
    if summary.failed > told {
        printer.talk(&format!("warning: ... and {} more", summary.failed - told));
    }
}
