//! The metadata of files of a file backup: read from what the host put together, parsed one by one.

use super::answer::Body;
use super::image_file::ImageFile;
use crate::wire::message::METADATA_MAX;
use crate::worker::block_cache::BlockCache;
use rustix::fd::OwnedFd;
use spelunk_formats::backup::urbackup::{self, Metadata, TAIL_BYTES_MAX};
use spelunk_tree::{Error, ReadAt, Result};
use std::sync::Arc;

/// Parses them. One that is damaged does not concern the others.
pub(super) fn parse(descriptor: Option<OwnedFd>, lens: &[u32], is_full: bool) -> Result<Body> {
    let descriptor = descriptor.ok_or_else(|| Error::internal("metadata without their descriptor"))?;
    let size = lens.iter().fold(0u64, |sum, len| sum.saturating_add(u64::from(*len)));
    let file = ImageFile::new(descriptor, size, 0, Arc::new(BlockCache::default()));
    let mut offset = 0;
    let mut parsed = Vec::with_capacity(lens.len());
    for len in lens {
        parsed.push(parse_one(&file, offset, *len, is_full));
        offset = offset.saturating_add(u64::from(*len));
    }
    Body::list(&parsed, METADATA_MAX, "files' metadata")
}

fn parse_one(file: &ImageFile, offset: u64, len: u32, is_full: bool) -> Result<Metadata> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > TAIL_BYTES_MAX {
        return Err(Error::limit(format!("metadata of {len} bytes")));
    }
    let mut tail = vec![0; len];
    file.read_at(offset, &mut tail)?;
    let mut metadata = urbackup::parse(&tail)?;
    if !is_full {
        metadata.link_target = None;
        metadata.xattrs.clear();
        metadata.streams.clear();
    }
    Ok(metadata)
}
