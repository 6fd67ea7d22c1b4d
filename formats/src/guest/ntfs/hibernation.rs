//! `hiberfil.sys`: whether Windows went to sleep on the disk, as it also does when it shuts down for a fast start.

use super::Ntfs;
use super::attribute::{UNNAMED, types};
use super::node::Node;
use super::record::{ROOT, Reference};
use super::stream::Stream;
use spelunk_tree::Result;

const FILE: &str = "hiberfil.sys";
/// A sleeping system's file begins so; that of one that woke up with `wake`, or zeros.
const ASLEEP: &[u8; 4] = b"hibr";
/// Smaller files hold no system.
const SIZE_MIN: u64 = 4096;

/// Whether a system sleeps in the volume: what it had changed last may be in its memory only, which is in that file.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn is_asleep(tree: &Ntfs) -> Result<bool> {
    let name: Vec<u16> = FILE.encode_utf16().collect();
    let Some((_, file)) = tree.find_name(Reference { number: ROOT, sequence: 0 }, &name, false)? else {
        return Ok(false);
    };
    let node = Node::open(&tree.volume, file)?;
    let stream = Stream::open(&tree.volume, &node, types::DATA, UNNAMED)?;
    let Some(stream) = stream.filter(|stream| stream.size >= SIZE_MIN) else { return Ok(false) };
    let mut magic = [0; 4];
    stream.read(&tree.volume, 0, &mut magic)?;
    Ok(magic.eq_ignore_ascii_case(ASLEEP))
}
