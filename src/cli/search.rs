//! `spelunk search`: finds entries by name, size and time in all backups at once.

use super::find::Type;
use super::library::{IndexedArgs, parse_selection};
use super::printer::Printer;
use super::size::{self, SizeTest};
use super::{Error, Outcome, escape, json, time};
use crate::index::{Found, Hit, NameTest, Query, Selection};
use serde::Serialize;
use spelunk_tree::Time;
use std::borrow::Cow;

/// Search all backups of a library at once, by name, type, size, time
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  spelunk search thesis --library /srv/images
  spelunk search '*.doc?' --library /srv/images --in alice --newer 30d
  spelunk search --library /srv/images --in alice/2026-01-31_0243 --size +1G --long
  spelunk search --library /srv/images --ext pst --latest --json

Searches what `spelunk index` has read, and says when that is not all. Case is ignored. NAME is part of
a name, or, with * or ? in it, a pattern for a whole name. All conditions must hold.

A line is a file as it was over some backups, with the path of the newest of these: `spelunk cat
--library DIR PATH` gets it out. --long and --json say how many backups have it so.")]
pub struct Args {
    /// Part of the name, or a pattern for all of it (*, ?, [a-z])
    #[arg(default_value = "", value_name = "NAME", hide_default_value = true)]
    name: String,

    #[command(flatten)]
    indexed: IndexedArgs,

    /// Only here: CLIENT, CLIENT/TIME or CLIENT/TIME/VOLUME
    #[arg(long = "in", value_name = "PLACE", value_parser = parse_selection)]
    within: Option<Selection>,

    /// Only what is in the newest indexed backup of each volume
    #[arg(long)]
    latest: bool,

    /// Only entries of these types
    #[arg(long = "type", value_name = "TYPES", value_enum, value_delimiter = ',')]
    types: Vec<Type>,

    /// Only names with this extension
    #[arg(long, value_name = "EXT")]
    ext: Option<String>,

    /// Only files of this size: +1M at least, -1M at most, 1M exactly; twice for both
    #[arg(long, value_name = "[+-]SIZE", allow_hyphen_values = true)]
    size: Vec<SizeTest>,

    /// Modified after this: 2026-01-31, '2026-01-31 14:05', 7d (ago), @seconds
    #[arg(long, value_name = "WHEN", value_parser = time::parse)]
    newer: Option<Time>,

    /// Modified before this
    #[arg(long, value_name = "WHEN", value_parser = time::parse)]
    older: Option<Time>,

    /// Print at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: usize,

    /// Leave out so many before them
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    offset: usize,

    /// Print size, time of change, and how many backups have it so
    #[arg(short, long, conflicts_with = "json")]
    long: bool,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the library or the index cannot be opened, the pattern is none, or stdout cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let library = args.indexed.open_library()?;
    let index = args.indexed.open_index()?;
    let query = query(args);
    let found = index.search(&query, |_| true)?;
    let mut printer = Printer::new();
    for hit in &found.hits {
        print(&mut printer, args, hit)?;
    }
    let status = index.status(&library, &query.within)?;
    let missing = status.iter().filter(|status| status.indexed.is_none()).count();
    if missing > 0 {
        let all = status.len();
        printer.talk(&format!("note: {missing} of {all} backups are not indexed; `spelunk index` does that"));
    }
    tell_what_is_missing(&mut printer, args, &found);
    printer.finish()
}

fn query(args: &Args) -> Query {
    let bounds = args.size.iter().map(|test| (*test).into());
    Query {
        within: args.within.clone().unwrap_or_default(),
        latest: args.latest,
        name: NameTest::of_text(&args.name),
        kinds: args.types.iter().map(|t| t.kind()).collect(),
        extension: args.ext.clone(),
        size: bounds.fold(
            0..=u64::MAX,
            |all: std::ops::RangeInclusive<u64>, one: std::ops::RangeInclusive<u64>| {
                *all.start().max(one.start())..=*all.end().min(one.end())
            },
        ),
        after: args.newer,
        before: args.older,
        offset: args.offset,
        limit: args.limit,
        ..Query::default()
    }
}

fn tell_what_is_missing(printer: &mut Printer, args: &Args, found: &Found) {
    let shown = args.offset.saturating_add(found.hits.len());
    if found.has_more {
        printer.talk(&format!("note: there are more than {}; say more of what is searched for", found.total));
    } else if found.total > shown {
        printer.talk(&format!("note: {} more; --offset {shown} goes on", found.total - shown));
    }
    if found.is_incomplete {
        printer.talk("note: not everything was looked at in time; say more of what is searched for");
    }
}

fn print(printer: &mut Printer, args: &Args, hit: &Hit) -> Result<(), Error> {
    let path = hit.library_path();
    if args.json {
        return printer.json_line(&Object::new(&path, hit));
    }
    if args.long {
        let modified = hit.modified.map_or_else(|| "-".to_owned(), time::short);
        printer
            .write(format!("{:>6}  {modified:16}  {:>4}  ", size::short(hit.size), hit.backups).as_bytes())?;
    }
    printer.line(&escape::escape(&path))
}

/// A hit.
#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    client: Cow<'a, str>,
    item: Cow<'a, str>,
    r#type: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::as_rfc3339")]
    modified: Option<Time>,
    first: String,
    last: String,
    backups: u64,
}

impl<'a> Object<'a> {
    fn new(path: &'a [u8], hit: &'a Hit) -> Object<'a> {
        Object {
            schema: json::SCHEMA,
            path: json::text(path),
            path_hex: json::hex(path),
            client: json::text(hit.client.as_bytes()),
            item: json::text(hit.item.as_bytes()),
            r#type: hit.kind.word(),
            size: hit.size,
            modified: hit.modified,
            first: hit.first.name(),
            last: hit.last.name(),
            backups: hit.backups,
        }
    }
}
