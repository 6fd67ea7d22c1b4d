//! The server: the library over HTTP.
//!
//! ```text
//! request ─> headers, limits ─> access (who asks?) ─> api | page | WebDAV ─> Library ─> jailed workers
//! ```
//!
//! Nothing is answered before somebody has shown who they are, but the page itself, which holds nothing of
//! anybody's. Requests that read the library run on threads of their own, so many at once; bodies are read from the
//! backup as the client takes them.
#![allow(unused_qualifications, reason = "what utoipa makes of its attributes has them")]

pub mod access;
mod api;
mod body;
mod dav;
mod headers;
mod indexer;
mod layers;
mod listen;
mod location;
mod page;
mod problem;
mod query;
mod range;
mod shared;
mod state;
mod tls;

pub use listen::{Config, Server};
pub use tls::Tls;
