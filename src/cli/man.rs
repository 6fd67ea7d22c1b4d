//! `spelunk man`: the manual pages, for packagers.

use super::{Cli, Error, Outcome};
use clap::CommandFactory;
use std::io::{self, Write};
use std::path::PathBuf;

/// Print the manual page, or write one page per command into a directory
#[derive(clap::Args)]
pub struct Args {
    /// Write spelunk.1, spelunk-ls.1, ... into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the pages cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let command = Cli::command();
    match &args.out {
        Some(directory) => clap_mangen::generate_to(command, directory).map_err(|error| {
            spelunk_tree::Error::from_io(format!("writing to {}", directory.display()), &error)
        })?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(Error::output)?;
            io::stdout().write_all(&page).map_err(Error::output)?;
        }
    }
    Ok(Outcome::Done)
}
