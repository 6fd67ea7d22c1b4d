//! What users may do, and with which clients' backups.

use serde::{Deserialize, Serialize};
use spelunk_tree::Name;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Something that a user may be allowed to do with a client's backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// See what is there: names, sizes, times, other attributes.
    Browse,
    /// Read content: files, archives.
    Download,
    /// Have work done, such as building an index.
    Manage,
}

impl Action {
    /// All actions.
    pub const ALL: [Action; 3] = [Action::Browse, Action::Download, Action::Manage];

    const fn bit(self) -> u8 {
        match self {
            Action::Browse => 1,
            Action::Download => 2,
            Action::Manage => 4,
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    /// No action.
    pub const NONE: Actions = Actions(0);
    /// All actions.
    pub const ALL: Actions = Actions(Action::Browse.bit() | Action::Download.bit() | Action::Manage.bit());
    /// What a share link can give.
    pub const SHARED: Actions = Actions(Action::Browse.bit() | Action::Download.bit());

    /// Whether `action` is among them.
    pub fn has(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Actions) -> Actions {
        Actions(self.0 & other.0)
    }

    /// Those that are in either.
    #[must_use]
    pub fn or(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }

    /// The set as a number, for the database.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set of a number from the database. Bits that mean nothing give no right.
    pub fn from_bits(bits: u8) -> Actions {
        Actions(bits).and(Actions::ALL)
    }

    /// The actions, one by one.
    pub fn list(self) -> Vec<Action> {
        Action::ALL.into_iter().filter(|action| self.has(*action)).collect()
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Actions {
        actions.into_iter().fold(Actions::NONE, |set, action| Actions(set.0 | action.bit()))
    }
}

/// Which actions are allowed with which clients' backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// With the backups of all clients, those to come included.
    pub every: Actions,
    /// With the backups of single clients, besides.
    pub clients: BTreeMap<Name, Actions>,
}

impl Rights {
    /// Everything: an administrator's.
    pub fn all() -> Rights {
        Rights { every: Actions::ALL, clients: BTreeMap::new() }
    }

    /// What is allowed with the backups of `client`.
    pub fn of(&self, client: &Name) -> Actions {
        self.every.or(self.clients.get(client).copied().unwrap_or_default())
    }

    /// What of these rights is left within `actions` and, where there is a list, with its clients. Never more than
    /// there was.
    #[must_use]
    pub fn narrowed(&self, actions: Actions, clients: Option<&[Name]>) -> Rights {
        let left = |(client, own): (&Name, Actions)| (client.clone(), own.and(actions));
        match clients {
            None => Rights {
                every: self.every.and(actions),
                clients: self.clients.iter().map(|(client, own)| left((client, *own))).collect(),
            },
            Some(list) => Rights {
                every: Actions::NONE,
                clients: list.iter().map(|client| left((client, self.of(client)))).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn some_rights() -> Rights {
        let both = Actions::from_iter([Action::Browse, Action::Download]);
        Rights { every: Actions::from_iter([Action::Browse]), clients: BTreeMap::from([(name("a"), both)]) }
    }

    #[test]
    fn rights_on_all_clients_and_on_one_add_up() {
        let rights = some_rights();

        assert!(rights.of(&name("a")).has(Action::Download) && rights.of(&name("a")).has(Action::Browse));
        assert_eq!(rights.of(&name("b")).list(), [Action::Browse]);
    }

    #[test]
    fn narrowed_rights_are_never_more_than_there_was() {
        let clients = [name("a"), name("b")];
        for narrowed in [some_rights().narrowed(Actions::ALL, Some(&clients)), some_rights()] {
            assert_eq!(narrowed.of(&name("a")).list(), [Action::Browse, Action::Download]);
            assert_eq!(narrowed.of(&name("b")).list(), [Action::Browse]);
        }

        let downloads = Actions::from_iter([Action::Download]);
        assert_eq!(some_rights().narrowed(downloads, None).of(&name("a")), downloads);
        assert!(some_rights().narrowed(downloads, None).of(&name("b")).is_empty());
        assert!(some_rights().narrowed(Actions::ALL, Some(&[])).of(&name("a")).is_empty());
    }

    #[test]
    fn actions_survive_the_database_and_unknown_bits_give_nothing() {
        assert_eq!(Actions::from_bits(Actions::ALL.bits()), Actions::ALL);
        assert!(Actions::from_bits(0xF8).is_empty());
    }
}
