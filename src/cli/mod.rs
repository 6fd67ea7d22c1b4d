//! The command line: one file per command, a row in [`Command`], and what they share.

// What the commands share.
mod archive;
mod backups;
mod error;
mod image;
mod json;
mod library;
mod path;
mod printer;
mod size;

// The commands.
mod cat;
mod completions;
mod doctor;
mod find;
mod index;
mod info;
mod ls;
mod man;
mod manifest;
mod mount;
mod search;
mod serve;
mod tar;
mod umount;
mod user;
mod versions;
mod zip;

pub use error::{Error, Outcome};

use crate::{escape, time};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Opens backups like folders.
///
/// Spelunk shows the files inside disk images (raw, VHD, VHDZ, VHDX, QCOW2, VMDK, VDI), and libraries of them. An
/// image is opened read-only, always; what is in it is parsed by a jailed process; a name that could drive a
/// terminal is printed escaped.
#[derive(Parser)]
#[command(name = "spelunk", version, after_help = EXAMPLES, after_long_help = EXAMPLES_LONG)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  spelunk info disk.vhdz                      what is in there
  spelunk ls -l disk.vhdz /home               look around
  spelunk find disk.vhdz --name '*.doc'       search
  spelunk cat disk.vhdz /etc/fstab > fstab    get a file out
  spelunk zip disk.vhdz /home -o home.zip     get a directory out
  spelunk serve /srv/images                   all of that in a browser";

const EXAMPLES_LONG: &str = "\
Examples:
  spelunk info disk.vhdz                      what is in there
  spelunk ls -l disk.vhdz /home               look around
  spelunk find disk.vhdz --name '*.doc'       search
  spelunk cat disk.vhdz /etc/fstab > fstab    get a file out
  spelunk zip disk.vhdz /home -o home.zip     get a directory out
  spelunk serve /srv/images                   all of that in a browser

Paths inside an image:
  A disk with one volume shows that volume's root as /. With several, / holds one directory per
  volume: p1, p2, ... by partition number. --layout volumes forces that, --volume p2 picks one.

Exit codes:
  0   done
  1   failed
  2   wrong usage
  3   done, but parts were damaged or not supported; each is named on stderr
  10  no such image
  12  not permitted
  130 interrupted

Environment:
  SPELUNK_LOG  what to log on stderr, such as `debug`";

/// The commands, a row each.
#[derive(Subcommand)]
enum Command {
    Info(info::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Find(find::Args),
    Zip(zip::Args),
    Tar(tar::Args),
    Manifest(manifest::Args),
    Mount(mount::Args),
    Index(index::Args),
    Search(search::Args),
    Versions(versions::Args),
    Umount(umount::Args),
    Serve(serve::Args),
    User(user::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
}

impl Command {
    fn run(self) -> Result<Outcome, Error> {
        match self {
            Command::Info(args) => info::run(&args),
            Command::Ls(args) => ls::run(&args),
            Command::Cat(args) => cat::run(&args),
            Command::Find(args) => find::run(&args),
            Command::Zip(args) => zip::run(&args),
            Command::Tar(args) => tar::run(&args),
            Command::Manifest(args) => manifest::run(&args),
            Command::Mount(args) => mount::run(&args),
            Command::Index(args) => index::run(&args),
            Command::Search(args) => search::run(&args),
            Command::Versions(args) => versions::run(&args),
            Command::Umount(args) => umount::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::User(args) => user::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    start_log();
    spelunk_sandbox::raise_descriptor_limit();
    let arguments: Vec<OsString> = find::accept_single_dashes(std::env::args_os()).collect();
    let Some(command) = Cli::parse_from(arguments).command else { return print_help() };
    // A mount must be unmounted first, and a server stopped.
    if !matches!(command, Command::Mount(_) | Command::Serve(_)) {
        exit_on_interrupt();
    }
    match command.run() {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) if error.is_closed_output() => end_as_by_closed_pipe(),
        Err(error) => {
            error::say(&error.message());
            ExitCode::from(error.exit_code())
        }
    }
}

fn print_help() -> ExitCode {
    match Cli::command().print_help() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("SPELUNK_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Ctrl-C ends the program at once; the worker ends with it, since its socket closes.
fn exit_on_interrupt() {
    let always = Arc::new(AtomicBool::new(true));
    let registered =
        signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, INTERRUPTED, always);
    if let Err(error) = registered {
        tracing::debug!(%error, "no handler for SIGINT");
    }
}

/// Ends as other tools do whose reader has gone: by SIGPIPE, without a word.
fn end_as_by_closed_pipe() -> ExitCode {
    const BROKEN_PIPE: u8 = 141;
    #[cfg(unix)]
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    ExitCode::from(BROKEN_PIPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
