//! Rights as they stand in JSON.

use crate::server::access::error::Error;
use crate::server::access::paths;
use crate::server::access::rights::{Action, Rights};
use serde::{Deserialize, Serialize};
use spelunk_tree::Name;
use utoipa::ToSchema;

/// All clients. A client that is really called so is written `%2A`.
const EVERY: &str = "*";

/// What may be done with the backups of a client, or of all.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// The client's name, percent-encoded; `*` for all clients.
    pub client: String,
    /// What may be done.
    pub actions: Vec<Action>,
}

/// Rights as a list, that on all clients first.
pub fn to_list(rights: &Rights) -> Vec<Right> {
    let every = (!rights.every.is_empty()).then(|| (EVERY.to_owned(), rights.every));
    let single = rights.clients.iter().map(|(client, actions)| (paths::encode_name(client), *actions));
    every
        .into_iter()
        .chain(single)
        .map(|(client, actions)| Right { client, actions: actions.list() })
        .collect()
}

/// The rights of a list. What it says several times adds up.
///
/// # Errors
/// `Bad` for a client's name that cannot be.
pub fn from_list(list: Vec<Right>) -> Result<Rights, Error> {
    let mut rights = Rights::default();
    for right in list {
        let actions = right.actions.into_iter().collect();
        let known = match right.client.as_str() {
            EVERY => &mut rights.every,
            client => rights.clients.entry(paths::decode_name(client)?).or_default(),
        };
        *known = known.or(actions);
    }
    Ok(rights)
}

/// Names of clients, percent-encoded.
pub fn client_names(clients: &[Name]) -> Vec<String> {
    clients.iter().map(paths::encode_name).collect()
}
