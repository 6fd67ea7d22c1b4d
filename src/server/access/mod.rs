//! Who may see what: users, sessions, tokens, share links, and the log of what they did.

pub mod principal;
mod rights;
mod secret;

pub use principal::{Kind, Principal};
pub use rights::{Action, Actions, Rights};

pub struct Access;
impl Access {
    pub fn open(
        _: &std::path::Path,
        _: Vec<std::net::IpAddr>,
        _: bool,
    ) -> spelunk_tree::Result<std::sync::Arc<Access>> {
        Ok(std::sync::Arc::new(Access))
    }
    pub fn setup_secret(&self) -> Option<String> {
        None
    }
    pub fn log(
        &self,
        _: &str,
        _: &Principal,
        _: Option<std::net::IpAddr>,
        _: &[u8],
        _: u64,
        _: Option<&str>,
    ) {
    }
}
pub fn dev() -> Principal {
    Principal::session(1, "dev".into(), true, Rights::all(), secret::hash("x"))
}
