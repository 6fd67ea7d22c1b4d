//! Who may see what: users, sessions, tokens, share links, and the log of what they did.

mod principal;
mod rights;
mod secret;

pub use principal::{Kind, Principal};
pub use rights::{Action, Actions, Rights};
