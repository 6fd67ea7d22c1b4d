//! Who was backed up, and when.

use super::entry::{self, rfc3339, text};
use crate::library::{Backup, Client, Details};
use crate::server::access::{Action, Principal};
use crate::server::location::{Location, encode};
use crate::server::problem::Problem;
use crate::server::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use spelunk_tree::Name;
use std::sync::Arc;
use utoipa::ToSchema;

/// The clients that the user may see.
#[derive(Debug, Serialize, ToSchema)]
pub struct Clients {
    /// By name.
    pub clients: Vec<ClientSummary>,
}

/// A machine that was backed up.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientSummary {
    /// Its name as text.
    pub name: String,
    /// Its place, for URLs.
    pub path: String,
    /// How many backups there are.
    pub backups: usize,
    /// The oldest backup's moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Moment>,
    /// The newest backup's moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Moment>,
}

/// When a backup was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Moment {
    /// As its directory is called: `2026-11-23_0243`.
    pub moment: String,
    /// RFC 3339.
    pub time: String,
}

/// A client's backups.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backups {
    /// The client's name as text.
    pub name: String,
    /// Its place, for URLs.
    pub path: String,
    /// The newest first.
    pub backups: Vec<BackupSummary>,
}

/// What was backed up at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupSummary {
    /// When.
    #[serde(flatten)]
    pub moment: Moment,
    /// Its place, for URLs.
    pub path: String,
    /// Volumes and shares, by name.
    pub items: Vec<ItemSummary>,
}

/// A volume's image or a share of files.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemSummary {
    /// Its name as text.
    pub name: String,
    /// Its place, for URLs.
    pub path: String,
    /// Bytes that it takes up where it is stored, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// What the program that made the backup wrote down of it, where that is to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<ItemDetails>,
}

/// What the program that made a backup wrote down of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemDetails {
    /// When it began, RFC 3339.
    pub started: String,
    /// When it was complete, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// 0 for a full backup; of an incremental image, how many are below it down to the full one.
    pub increment: u64,
    /// Whether it is kept on purpose.
    pub archived: bool,
    /// Of an image: its volume as the client called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Of an incremental image: the moment of the one that it is the difference to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl ItemDetails {
    fn of(details: &Details) -> ItemDetails {
        ItemDetails {
            started: rfc3339(details.started),
            finished: details.finished.map(rfc3339),
            increment: details.increment,
            archived: details.is_archived,
            volume: details.volume.clone(),
            parent: details.parent.map(|moment| moment.name()),
        }
    }
}

impl Moment {
    fn of(backup: &Backup) -> Moment {
        Moment { moment: backup.moment.name(), time: rfc3339(backup.moment.time()) }
    }
}

impl ClientSummary {
    fn of(client: &Client) -> ClientSummary {
        ClientSummary {
            name: text(&client.name),
            path: encode(&client.name),
            backups: client.backups.len(),
            first: client.backups.first().map(Moment::of),
            last: client.backups.last().map(Moment::of),
        }
    }
}

impl BackupSummary {
    fn of(client: &str, backup: &Backup) -> BackupSummary {
        let path = format!("{client}/{}", backup.moment.name());
        let item = |item: &crate::library::Item| ItemSummary {
            name: text(&item.name),
            path: entry::below(&path, &item.name),
            stored_bytes: item.stored_bytes,
            details: item.details.as_deref().map(ItemDetails::of),
        };
        let items = backup.items.iter().map(item).collect();
        BackupSummary { moment: Moment::of(backup), items, path }
    }
}

/// Refuses whoever has a share link: what else is backed up is not for them.
///
/// # Errors
/// `denied` for these.
pub fn not_shared(principal: &Principal) -> Result<(), Problem> {
    match principal.root() {
        Some(_) => Err(Problem::denied("Only what is shared can be seen")),
        None => Ok(()),
    }
}

/// The clients.
#[utoipa::path(get, path = "/api/v1/clients", tag = "library",
    responses((status = 200, body = Clients), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn clients(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Clients>, Problem> {
    not_shared(&principal)?;
    app.read(move |app| {
        let catalogue = app.library.catalogue()?;
        let seen = catalogue.clients.iter().filter(|client| principal.sees_client(&client.name));
        Ok(Json(Clients { clients: seen.map(ClientSummary::of).collect() }))
    })
    .await
}

/// One client's backups.
#[utoipa::path(get, path = "/api/v1/clients/{client}", tag = "library", params(("client" = String, Path,)),
    responses((status = 200, body = Backups), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub async fn client(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    location: Location,
) -> Result<Json<Backups>, Problem> {
    let [name] = location.names() else { return Err(Problem::not_found()) };
    not_shared(&principal)?;
    principal.check(Action::Browse, location.names())?;
    let name: Name = name.clone();
    app.read(move |app| {
        let catalogue = app.library.catalogue()?;
        let client = catalogue.clients.iter().find(|client| client.name == name);
        let client = client.ok_or_else(Problem::not_found)?;
        let path = encode(&client.name);
        let backups = client.backups.iter().rev().map(|backup| BackupSummary::of(&path, backup)).collect();
        Ok(Json(Backups { name: text(&client.name), path, backups }))
    })
    .await
}
