//! `spelunk index`: makes ready for `spelunk search`.

use super::library::IndexedArgs;
use super::printer::Printer;
use super::{Error, Outcome, escape, json};
use crate::index::{Failure, ItemStatus, Progress, Selection, Summary};
use crate::library::Moment;
use indicatif::ProgressBar;
use serde::Serialize;
use spelunk_tree::Name;
use std::borrow::Cow;
use std::sync::atomic::AtomicBool;

/// Read names, sizes and times of backups into an index, so that they can be searched
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk index --library /srv/images                       all that is not indexed yet
  spelunk index --library /srv/images --client alice
  spelunk index --library /srv/images --status              what is indexed

Each backup is indexed once, from old to new; what stays the same from one to the next takes up no
room. What is complete when this is interrupted is kept. Backups that are gone are taken out.

The index is a cache: it can be deleted, and is made anew. It holds names and can be read by its owner
alone.")]
pub struct Args {
    #[command(flatten)]
    indexed: IndexedArgs,

    /// Only this client's backups
    #[arg(long, value_name = "CLIENT", value_parser = parse_name)]
    client: Option<Name>,

    /// Say what is indexed, and change nothing
    #[arg(long)]
    status: bool,

    /// Print JSON: one object, or with --status one a line
    #[arg(long)]
    json: bool,
}

fn parse_name(text: &str) -> Result<Name, String> {
    Name::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// Runs the command.
///
/// # Errors
/// When the library or the index cannot be opened, or the index not be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let library = args.indexed.open_library()?;
    let index = args.indexed.open_index()?;
    let selection = Selection { client: args.client.clone(), ..Selection::default() };
    let mut printer = Printer::new();
    if args.status {
        for status in index.status(&library, &selection)? {
            print_status(&mut printer, args, &status)?;
        }
        return printer.finish();
    }
    let progress = printer.start_counting("backups");
    let mut observer = |done: &Progress| show(&progress, done);
    let summary = index.update(&library, &selection, &mut observer, &AtomicBool::new(false))?;
    progress.finish_and_clear();
    for failure in &summary.failures {
        printer.broken(&place(&failure.client, failure.moment, &failure.item), &failure.error);
    }
    if summary.failed > summary.failures.len() {
        printer.talk(&format!("warning: ... and {} more", summary.failed - summary.failures.len()));
    }
    print_summary(&mut printer, args, &summary)?;
    printer.finish()
}

fn show(progress: &ProgressBar, done: &Progress) {
    if !progress.is_hidden() {
        let at = place(done.client, done.moment, done.item);
        progress.set_length(done.items.try_into().unwrap_or(u64::MAX));
        progress.set_position(done.done.try_into().unwrap_or(u64::MAX));
        progress.set_message(format!("{} entries, {}", done.entries, escape::escape(&at)));
    }
}

/// Where an item is in the library.
fn place(client: &Name, moment: Moment, item: &Name) -> Vec<u8> {
    [client.as_bytes(), moment.name().as_bytes(), item.as_bytes()].join(&b'/')
}

fn print_summary(printer: &mut Printer, args: &Args, summary: &Summary) -> Result<(), Error> {
    if args.json {
        return printer.json_document(&SummaryObject {
            schema: json::SCHEMA,
            indexed: summary.indexed,
            known: summary.known,
            removed: summary.removed,
            entries: summary.entries,
            damaged: summary.damaged,
            failed: summary.failed,
            failures: summary.failures.iter().map(FailureObject::new).collect(),
        });
    }
    let Summary { indexed, known, removed, entries, damaged, .. } = summary;
    printer
        .line(&format!("{indexed} indexed ({entries} entries), {known} were indexed, {removed} removed"))?;
    if *damaged > 0 {
        printer.talk(&format!("note: damaged places in them, which are not in the index: {damaged}"));
    }
    Ok(())
}

fn print_status(printer: &mut Printer, args: &Args, status: &ItemStatus) -> Result<(), Error> {
    let at = place(&status.client, status.moment, &status.item);
    if args.json {
        return printer.json_line(&StatusObject {
            schema: json::SCHEMA,
            path: json::text(&at),
            path_hex: json::hex(&at),
            indexed: status.indexed.is_some(),
            entries: status.indexed.map(|(entries, _)| entries),
            damaged: status.indexed.map(|(_, damaged)| damaged),
        });
    }
    let said = match status.indexed {
        None => "not indexed".to_owned(),
        Some((entries, 0)) => format!("{entries} entries"),
        Some((entries, damaged)) => format!("{entries} entries, {damaged} places damaged"),
    };
    printer.line(&format!("{}: {said}", escape::escape(&at)))
}

/// What was done.
#[derive(Serialize)]
struct SummaryObject<'a> {
    schema: u32,
    indexed: usize,
    known: usize,
    removed: usize,
    entries: u64,
    damaged: u64,
    failed: usize,
    failures: Vec<FailureObject<'a>>,
}

#[derive(Serialize)]
struct FailureObject<'a> {
    client: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_hex: Option<String>,
    moment: String,
    item: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_hex: Option<String>,
    error: String,
    error_kind: &'static str,
}

impl<'a> FailureObject<'a> {
    fn new(failure: &'a Failure) -> FailureObject<'a> {
        FailureObject {
            client: json::text(failure.client.as_bytes()),
            client_hex: json::hex(failure.client.as_bytes()),
            moment: failure.moment.name(),
            item: json::text(failure.item.as_bytes()),
            item_hex: json::hex(failure.item.as_bytes()),
            error: super::error::describe(&failure.error),
            error_kind: failure.error.kind().phrase(),
        }
    }
}

/// What is known of one item.
#[derive(Serialize)]
struct StatusObject<'a> {
    schema: u32,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    indexed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
}
