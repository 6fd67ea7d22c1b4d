//! `spelunk completions`: completion scripts for shells.

use super::{Cli, Error, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk completions bash > ~/.local/share/bash-completion/completions/spelunk
  spelunk completions zsh  > ~/.zfunc/_spelunk
  spelunk completions fish > ~/.config/fish/completions/spelunk.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "spelunk", &mut script);
    io::stdout().write_all(&script).map_err(Error::output)?;
    Ok(Outcome::Done)
}
