//! Whoever shows trees to users, with trees that a hostile worker makes up: walks, archives, a mount.

use std::path::PathBuf;
pub fn host(_what: &str, _images: &[PathBuf]) {}
