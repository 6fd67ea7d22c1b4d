//! The server: the library over HTTP.
//!
//! ```text
//! request ─> headers, limits ─> access (who asks?) ─> api | page | WebDAV ─> Library ─> jailed workers
//! ```

mod access;
mod problem;
