//! `spelunk versions`: one path over all backups of a client.

use super::library::LibraryArgs;
use super::path;
use super::printer::Printer;
use super::{Error, Outcome, json, size, time};
use crate::index::{Compare, Version, versions};
use serde::Serialize;
use spelunk_tree::{Name, Time};
use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

/// Show one path in all backups of a client, and where it changed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk versions alice/C.vhdz/Users/alice/thesis.docx --library /srv/images
  spelunk versions alice/C.vhdz/etc/passwd --library /srv/images --contents

Each line is a backup, the newest first:
  new      there, and not in the backup before
  same     as in the backup before, by type, size, times of change, target
  changed  not as in the backup before
  absent   not there
  unknown  the backup cannot be read there; why is said on stderr

No index is needed. --contents reads and compares what is in files, whatever their times say.")]
pub struct Args {
    /// CLIENT/VOLUME/PATH: without a time, since all are meant
    #[arg(value_name = "PATH")]
    path: OsString,

    #[command(flatten)]
    library: LibraryArgs,

    /// Compare contents by their SHA-256
    #[arg(long)]
    contents: bool,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the library cannot be opened, or there is no such client or volume.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let bytes = path::bytes(&args.path);
    let mut names = bytes.splitn(3, |byte| *byte == b'/');
    let mut name = || names.next().and_then(|name| Name::new(name).ok());
    let (Some(client), Some(item)) = (name(), name()) else {
        return Err(
            Error::usage("the path is to begin with a client and a volume").hint("as in alice/C.vhdz/etc")
        );
    };
    let path = names.next().unwrap_or_default();
    let compare = if args.contents { Compare::Contents } else { Compare::Attributes };
    let library = args.library.open()?;
    let mut printer = Printer::new();
    for version in versions(&library, &client, &item, path, compare, &AtomicBool::new(false))? {
        if let Some(error) = &version.error {
            let moment = version.moment.name();
            let at = [client.as_bytes(), moment.as_bytes(), item.as_bytes(), path].join(&b'/');
            printer.broken(&at, error);
        }
        print(&mut printer, args, &version)?;
    }
    printer.finish()
}

fn print(printer: &mut Printer, args: &Args, version: &Version) -> Result<(), Error> {
    let attr = version.attr.as_ref();
    if args.json {
        return printer.json_line(&Object {
            schema: json::SCHEMA,
            moment: version.moment.name(),
            state: version.state.word(),
            r#type: attr.map(|attr| attr.kind.word()),
            size: attr.map(|attr| attr.size),
            modified: attr.and_then(|attr| attr.modified),
            sha256: version.sha256.map(|hash| json::hex_digits(&hash)),
        });
    }
    let mut line = format!("{}  {:7}", version.moment.name(), version.state.word());
    if let Some(attr) = attr {
        let modified = attr.modified.map_or_else(|| "-".to_owned(), time::short);
        line.push_str(&format!("  {:>6}  {modified}", size::short(attr.size)));
    }
    printer.line(line.trim_end())
}

/// A version.
#[derive(Serialize)]
struct Object {
    schema: u32,
    moment: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::as_rfc3339")]
    modified: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}
