//! The backups of a library, for `spelunk info`.

use super::escape::escape;
use super::printer::Printer;
use super::{Error, Outcome, json, size, time};
use crate::library::{Backup, Client, Details, Item, Library};
use serde::Serialize;
use spelunk_tree::Time;
use std::borrow::Cow;

/// Prints what backups there are: a line, or an object, for each volume and share.
///
/// # Errors
/// When the library cannot be read or stdout cannot be written.
pub fn print(library: &Library, as_json: bool) -> Result<Outcome, Error> {
    let catalogue = library.catalogue().map_err(Error::image)?;
    let mut printer = Printer::new();
    for client in &catalogue.clients {
        for backup in &client.backups {
            for item in &backup.items {
                let line = Line::new(client, backup, item);
                if as_json { printer.json_line(&line)? } else { printer.line(&line.text())? }
            }
        }
    }
    printer.finish()
}

/// What is told of a volume or share of a backup. What is unknown is left out.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    client: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_hex: Option<String>,
    moment: String,
    item: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_hex: Option<String>,
    /// Where it is in the library, for people.
    #[serde(skip)]
    path: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<u64>,
    #[serde(skip_serializing_if = "is_unknown", serialize_with = "json::as_rfc3339")]
    started: Option<Time>,
    #[serde(skip_serializing_if = "is_unknown", serialize_with = "json::as_rfc3339")]
    finished: Option<Time>,
    #[serde(flatten)]
    more: Option<More<'a>>,
}

/// What is told where somebody wrote it down.
#[derive(Serialize)]
struct More<'a> {
    increment: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_bytes: Option<u64>,
    archived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    belongs_to: Option<String>,
}

fn is_unknown(time: &Option<Time>) -> bool {
    time.is_none()
}

impl<'a> Line<'a> {
    fn new(client: &'a Client, backup: &'a Backup, item: &'a Item) -> Line<'a> {
        let details = item.details.as_deref();
        Line {
            schema: json::SCHEMA,
            client: json::text(client.name.as_bytes()),
            client_hex: json::hex(client.name.as_bytes()),
            moment: backup.moment.name(),
            item: json::text(item.name.as_bytes()),
            item_hex: json::hex(item.name.as_bytes()),
            path: [client.name.as_bytes(), backup.moment.name().as_bytes(), item.name.as_bytes()].join(&b'/'),
            stored_bytes: item.stored_bytes,
            started: details.map(|details| details.started),
            finished: details.and_then(|details| details.finished),
            more: details.map(More::new),
        }
    }

    fn text(&self) -> String {
        let bytes = self.stored_bytes.or(self.more.as_ref().and_then(|more| more.backup_bytes));
        let mut text = format!("{:>8}  {}", bytes.map(size::short).unwrap_or_default(), escape(&self.path));
        if let Some(more) = &self.more {
            let increment = more.increment;
            text += &if increment == 0 { "  full".to_owned() } else { format!("  incremental {increment}") };
            if let Some(parent) = &more.parent {
                text += &format!(" on {parent}");
            }
            if let Some(main) = &more.belongs_to {
                text += &format!(", with {main}");
            }
            if more.archived {
                text += ", archived";
            }
        }
        if let Some(finished) = self.finished {
            text += &format!(", finished {}", time::short(finished));
        }
        text
    }
}

impl<'a> More<'a> {
    fn new(details: &'a Details) -> More<'a> {
        More {
            increment: details.increment,
            backup_bytes: details.bytes,
            archived: details.is_archived,
            volume: details.volume.as_deref(),
            image_version: details.version,
            parent: details.parent.map(|moment| moment.name()),
            belongs_to: details.belongs_to.map(|moment| moment.name()),
        }
    }
}
