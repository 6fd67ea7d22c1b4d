//! Parents of differencing images: the host looks for them, the worker checks them. And further disks: the host has them.

use super::Channel;
use super::block_cache::BlockCache;
use super::image_file::ImageFile;
use crate::wire::{ParentQuestion, Request, Status, Wire};
use spelunk_formats::container::ParentSource;
use spelunk_tree::{Error, ParentRef, ReadAt, Result};
use std::sync::Arc;

/// Asks the host.
pub(super) struct HostParents<'a> {
    pub(super) channel: &'a mut Channel,
    pub(super) cache: Arc<BlockCache>,
}

impl ParentSource for HostParents<'_> {
    fn next_candidate(&mut self, source: u32, wanted: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        let question = ParentQuestion { source, wanted: wanted.clone() }.to_bytes();
        self.ask(Status::NeedParent, &question, source.saturating_add(1))
    }

    fn next_disk(&mut self, source: u32) -> Result<Option<Arc<dyn ReadAt>>> {
        self.ask(Status::NeedDisk, &[], source)
    }
}

impl HostParents<'_> {
    /// Asks for an image, which has the index `source` then.
    fn ask(&mut self, status: Status, question: &[u8], source: u32) -> Result<Option<Arc<dyn ReadAt>>> {
        let gone = |_| Error::internal("the host is gone");
        self.channel.reply(status, question, 0).map_err(gone)?;
        let answer = self.channel.receive().map_err(gone)?;
        match (answer.request, answer.descriptor) {
            (Request::NoParent, _) => Ok(None),
            (Request::Parent { size }, Some(descriptor)) => {
                Ok(Some(Arc::new(ImageFile::new(descriptor, size, source, self.cache.clone()))))
            }
            _ => Err(Error::internal("no answer to the question for an image")),
        }
    }
}
