//! What backup programs write beside the contents of files: metadata, file by file.

pub mod urbackup;
