//! `$UpCase`: which letters are the same to this volume.

use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::record::Reference;
use super::stream::Stream;
use super::volume::Volume;
use crate::guest::upcase::Upcase;
use crate::guest::utf16::utf16_units;
use spelunk_tree::{Error, Result};

/// Record of `$UpCase`.
const UPCASE: Reference = Reference { number: 10, sequence: 0 };
/// One unit of two bytes for each UTF-16 unit.
const TABLE_BYTES_MAX: u64 = 2 << 16;

/// Reads the volume's own table.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(volume: &Volume) -> Result<Upcase> {
    let node = Node::open(volume, UPCASE)?;
    let stream = Stream::open(volume, &node, types::DATA, UNNAMED)?;
    let stream = stream.ok_or_else(|| Error::corrupt("$UpCase without data"))?;
    let bytes = stream.whole(volume, TABLE_BYTES_MAX)?;
    Ok(Upcase::new(utf16_units(&bytes).collect()))
}
