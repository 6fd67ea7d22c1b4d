//! Raw images: the file is the disk.

use super::{Format, Opened};
use spelunk_tree::{LayerInfo, ReadAt, Result};
use std::sync::Arc;

/// The row of this format.
pub const FORMAT: Format = Format {
    name: "raw",
    summary: "raw disk or volume image (dd, UrBackup raw)",
    extensions: &["raw", "img", "dd", "bin", "iso"],
    probe: |_| Ok(true),
    open,
};

fn open(file: Arc<dyn ReadAt>) -> Result<Opened> {
    let info = LayerInfo {
        source: 0,
        format: "raw".into(),
        variant: String::new(),
        size_bytes: file.size(),
        block_bytes: 0,
        id: String::new(),
        parent: None,
        notes: Vec::new(),
    };
    Ok(Opened::Whole { info, bytes: file })
}
