//! `spelunk serve` from outside: the real program on a free port, real images, real clients.
//!
//! Every answer that a [`client::Client`] gets is held against the description that the server gives of itself.

mod archives;
mod attacks;
mod client;
mod contract;
mod file;
mod library;
mod listing;
mod load;
mod node;
mod openapi;
mod raw;
mod rights;
mod search;
mod server;
mod sessions;
mod shares;
mod slow;
mod store;
mod tar;
mod tls;
mod urbackup;
