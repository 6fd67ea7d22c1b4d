//! `spelunk user`: the users of `spelunk serve`, for whoever has the server's machine.

use super::printer::Printer;
use super::{Error, Outcome, error, json, serve};
use crate::server::access::{self, Accounts, Action, Actions, Rights, User};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Serialize;
use spelunk_tree::{Error as TreeError, Name};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

/// Make, list and remove the users of `spelunk serve`
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk user add alice --allow laptop --allow server     both may be browsed and downloaded from
  spelunk user add root --admin
  spelunk user passwd alice < file                         the file's first line
  spelunk user list
  spelunk user remove alice

The password is asked for on a terminal, else it is the first line of stdin. All this may be done while the
server runs, and holds at once. What else users may do is set on the server's page.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,

    /// Where the server's data are
    /// [default: /var/lib/spelunk for root, else ~/.local/state/spelunk]
    #[arg(long, value_name = "DIRECTORY", global = true)]
    data: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a user
    Add {
        /// Letters, digits, and characters of .-_@+
        name: String,

        /// They manage the others, and may do everything
        #[arg(long)]
        admin: bool,

        /// They may browse this client's backups and download from them; `*` for all clients
        #[arg(long, value_name = "CLIENT", conflicts_with = "admin")]
        allow: Vec<String>,
    },
    /// Give a user a new password; they are logged out everywhere
    Passwd {
        /// Whose
        name: String,
    },
    /// List users
    List {
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Remove a user, with their tokens and share links
    Remove {
        /// Whom
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// When the data directory cannot be used, or what is asked for cannot be.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let data = args.data.clone().map_or_else(serve::default_data, Ok)?;
    let mut accounts = Accounts::open(&data)?;
    match &args.command {
        Command::Add { name, admin, allow } => {
            let rights = rights(allow)?;
            accounts.add(name, &read_password()?, *admin, &rights).map_err(refused)?;
        }
        Command::Passwd { name } => {
            if !accounts.has(name).map_err(refused)? {
                return Err(refused(access::Error::NotFound("there is no such user")));
            }
            accounts.set_password(name, &read_password()?).map_err(refused)?;
        }
        Command::List { json } => return list(&accounts, *json),
        Command::Remove { name } => accounts.remove(name).map_err(refused)?,
    }
    Ok(Outcome::Done)
}

fn refused(error: access::Error) -> Error {
    match error {
        access::Error::Bad(what) => Error::usage(what),
        access::Error::Conflict(what) => Error::usage(what),
        access::Error::NotFound(what) => TreeError::not_found(what).into(),
        access::Error::Internal(what) => TreeError::internal(what).into(),
        error @ access::Error::Storage(_) => {
            TreeError::new(spelunk_tree::ErrorKind::Storage, error.to_string()).into()
        }
    }
}

/// Browsing and downloading, with these clients.
fn rights(clients: &[String]) -> Result<Rights, Error> {
    let actions = Actions::from_iter([Action::Browse, Action::Download]);
    let mut rights = Rights::default();
    for client in clients {
        if client == "*" {
            rights.every = actions;
        } else {
            let client = Name::new(client.as_bytes()).map_err(|error| Error::usage(error.to_string()))?;
            rights.clients.insert(client, actions);
        }
    }
    Ok(rights)
}

#[derive(Serialize)]
struct Row<'a> {
    schema: u32,
    name: &'a str,
    admin: bool,
    disabled: bool,
}

fn list(accounts: &Accounts, as_json: bool) -> Result<Outcome, Error> {
    let mut printer = Printer::new();
    for user in &accounts.all().map_err(refused)? {
        let User { name, is_admin, is_disabled, rights, .. } = user;
        if as_json {
            let row = Row { schema: json::SCHEMA, name, admin: *is_admin, disabled: *is_disabled };
            printer.json_line(&row)?;
            continue;
        }
        let clients = match rights {
            _ if *is_admin => "administrator".to_owned(),
            Rights { every, .. } if !every.is_empty() => "all clients".to_owned(),
            Rights { clients, .. } => format!("{} clients", clients.len()),
        };
        let disabled = if *is_disabled { ", disabled" } else { "" };
        printer.line(&format!("{name}\t{clients}{disabled}"))?;
    }
    printer.finish()
}

/// Bytes of a password that are read.
const PASSWORD_BYTES_MAX: usize = 4096;

/// The password: asked for twice on a terminal, else the first line of stdin.
fn read_password() -> Result<String, Error> {
    let bytes = if io::stdin().is_terminal() {
        let first = ask("Password: ")?;
        if ask("Again: ")? != first {
            return Err(Error::usage("these are two different passwords"));
        }
        first
    } else {
        let limit = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        io::stdin().take(limit).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line).to_vec()
    };
    String::from_utf8(bytes).map_err(|_| Error::usage("a password in another encoding than UTF-8"))
}

/// Asks on the terminal, which shows nothing of the answer.
fn ask(question: &str) -> Result<Vec<u8>, Error> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(|error| failed(&error.into()))?;
    let mut silent = before.clone();
    // Ctrl-C comes as a character, too: the program must not end before the terminal is as it was.
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    _ = write!(io::stderr().lock(), "{question}");
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|error| failed(&error.into()))?;
    let line = read_keys(&mut stdin.lock());
    tcsetattr(&stdin, OptionalActions::Drain, &before).map_err(|error| failed(&error.into()))?;
    error::say("");
    match line.map_err(|error| failed(&error))? {
        Some(line) => Ok(line),
        None => std::process::exit(super::INTERRUPTED),
    }
}

/// A line of keys as a terminal sends them one by one; `None` for Ctrl-C.
fn read_keys(keys: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_U: u8 = 0x15;
    const BACKSPACE: u8 = 8;
    const DELETE: u8 = 0x7F;
    let mut line = Vec::new();
    for key in keys.bytes() {
        match key? {
            CTRL_C => return Ok(None),
            CTRL_D | b'\n' | b'\r' => break,
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                let last = line.iter().rposition(|byte| byte & 0xC0 != 0x80);
                line.truncate(last.unwrap_or(0));
            }
            key if line.len() < PASSWORD_BYTES_MAX => line.push(key),
            _ => {}
        }
    }
    Ok(Some(line))
}

fn failed(error: &io::Error) -> Error {
    TreeError::from_io("reading a password", error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_take_back_do_so_by_character() {
        let read = |keys: &[u8]| read_keys(&mut &*keys).unwrap();

        assert_eq!(read("añ\u{7f}b\rrest".as_bytes()), Some(b"ab".to_vec()));
        assert_eq!(read(b"\x7f\x7fab\x15cd\n"), Some(b"cd".to_vec()));
        assert_eq!(read(b"ab\x03"), None);
        assert_eq!(read(b"ab\x04cd"), Some(b"ab".to_vec()));
    }

    #[test]
    fn a_star_is_all_clients_and_other_names_are_themselves() {
        let rights = rights(&["*".to_owned(), "pc".to_owned()]).unwrap();

        assert!(rights.every.has(Action::Download) && !rights.every.has(Action::Manage));
        assert_eq!(rights.clients.len(), 1);
        assert!(super::rights(&["a/b".to_owned()]).is_err());
    }
}
