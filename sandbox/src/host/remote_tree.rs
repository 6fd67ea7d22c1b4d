//! A volume's tree, whose answers come from the worker, and whose plain bytes come from the image file.

use super::files_ahead::FilesAhead;
use super::line::Answer;
use super::link::Link;
use super::list_ahead::{ListAhead, Lister};
use super::run_cache::{Piece, RunCache};
use crate::wire::message::WINDOW_BYTES;
use crate::wire::{Extents, Malformed, Request, Wire, whole};
use spelunk_tree::{
    Attr, Cursor, Entry, Error, ErrorKind, Name, NodeId, Page, Place, Result, Run, StreamInfo, Tree,
    TreeInfo, Xattr, limits,
};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a stream that are mapped at once: a round trip for so many costs nothing beside reading them.
const SPAN_BYTES: u64 = 64 << 20;

/// Runs that are collected for one question: a file may have billions, and whoever asks can ask again.
const RUNS_MAX: usize = 1 << 16;

/// The tree of one volume.
pub(crate) struct RemoteTree {
    link: Arc<Link>,
    /// The volume's index.
    tree: u8,
    info: TreeInfo,
    root: NodeId,
    sizes: Vec<u64>,
    runs: RunCache,
    directories: ListAhead,
    files: FilesAhead,
}

impl RemoteTree {
    /// The tree of the volume `index`, when it has one.
    pub(crate) fn new(link: &Arc<Link>, index: usize, root: Option<NodeId>) -> Option<RemoteTree> {
        let info = link.opening().info.volumes.get(index)?.filesystem.as_ref().ok()?.clone();
        let sizes = link.images().iter().map(|image| image.size).collect();
        let tree = u8::try_from(index).ok()?;
        let directories = ListAhead::new(Lister::new(link.clone(), tree));
        let files = FilesAhead::new(link.clone(), tree);
        let (link, runs) = (link.clone(), RunCache::default());
        Some(RemoteTree { link, tree, info, root: root?, sizes, runs, directories, files })
    }

    fn ask<T: Wire>(&self, doing: &'static str, request: &Request) -> Result<T> {
        self.link.ask(doing, request, &mut [], |answer| T::from_bytes(&answer.body))
    }

    /// Where the bytes from `position` on lie, and how many of them were delivered to `buffer` already.
    fn map(
        &self,
        (node, stream): (NodeId, Option<&Name>),
        (start, span): (u64, u64),
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(Arc<Piece>, usize)> {
        let len = buffer.len().min(WINDOW_BYTES);
        let stream_name = stream.cloned();
        let request = Request::Map {
            tree: self.tree,
            node,
            stream: stream_name,
            start,
            span,
            offset: position,
            len: u32::try_from(len).unwrap_or(u32::MAX),
        };
        let parse = |answer: &Answer| {
            let extents = Extents::from_bytes(&answer.body)?;
            extents.check(span, &self.sizes)?;
            if extents.start != start && extents.start != position {
                return Err(Malformed("another stretch than asked for"));
            }
            let piece = Piece::new(extents.start, extents.runs, extents.is_last);
            let delivered = u64::try_from(answer.data_len).unwrap_or(u64::MAX);
            if delivered > piece.end.saturating_sub(position) {
                return Err(Malformed("data past what it belongs to"));
            }
            Ok((Arc::new(piece), answer.data_len))
        };
        let (piece, done) = self.link.ask("mapping a file", &request, &mut buffer[..len], parse)?;
        self.runs.insert(node, stream, &piece);
        Ok((piece, done))
    }

    /// The piece that tells about `position`; also how many bytes came with it.
    fn piece(
        &self,
        of: (NodeId, Option<&Name>),
        position: u64,
        buffer: &mut [u8],
    ) -> Result<(Arc<Piece>, usize)> {
        if let Some(piece) = self.runs.find(of.0, of.1, position) {
            return Ok((piece, 0));
        }
        if let (None, 0) = (of.1, position)
            && let Some(piece) = self.files.map(of.0, &self.runs)
        {
            return Ok((piece, 0));
        }
        let aligned = position - position % SPAN_BYTES;
        let mapped = match self.map(of, (aligned, SPAN_BYTES), position, buffer) {
            // The damage may lie elsewhere in the span: it shall not hide what is wanted.
            Err(error) if error.kind() != ErrorKind::WorkerLost && !buffer.is_empty() => {
                let wanted = u64::try_from(buffer.len()).unwrap_or(SPAN_BYTES).min(SPAN_BYTES);
                self.map(of, (position, wanted), position, buffer)
            }
            mapped => mapped,
        };
        let (piece, done) = mapped?;
        if position < piece.end || piece.is_last {
            return Ok((piece, done));
        }
        // So finely scattered that the runs up to here did not fit in one answer.
        self.map(of, (position, SPAN_BYTES), position, buffer)
    }

    /// Fills `buffer` from one run.
    fn read_run(
        &self,
        of: (NodeId, Option<&Name>),
        position: u64,
        place: Place,
        buffer: &mut [u8],
    ) -> Result<()> {
        match place {
            Place::Zero => buffer.fill(0),
            Place::At { source, offset } => self.read_plain(source, offset, buffer)?,
            Place::Opaque => {
                for (index, part) in buffer.chunks_mut(WINDOW_BYTES).enumerate() {
                    let skipped = u64::try_from(index.saturating_mul(WINDOW_BYTES)).unwrap_or(u64::MAX);
                    self.read_opaque(of, position.saturating_add(skipped), part)?;
                }
            }
        }
        Ok(())
    }

    fn read_plain(&self, source: u32, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let image = usize::try_from(source).ok().and_then(|source| self.link.images().get(source));
        let image = image.ok_or_else(|| Error::internal("a run in a file that is not there"))?;
        image.file.read_exact_at(buffer, offset).map_err(|cause| {
            let cause = Error::new(ErrorKind::Storage, cause.to_string());
            Error::new(ErrorKind::Storage, "reading the image file").at(offset).because(cause)
        })?;
        let read = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        self.link.bytes_read.fetch_add(read, Ordering::Relaxed);
        Ok(())
    }

    fn read_opaque(
        &self,
        (node, stream): (NodeId, Option<&Name>),
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let stream = stream.cloned();
        let request = Request::Read { tree: self.tree, node, stream, offset, len };
        let wanted = buffer.len();
        let read = self.link.ask("reading a file", &request, buffer, |answer| Ok(answer.data_len))?;
        if read != wanted {
            return Err(Error::corrupt("a file that ends before its end").at(offset));
        }
        Ok(())
    }
}

impl Tree for RemoteTree {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        self.ask("looking up a name", &Request::Lookup { tree: self.tree, dir, name: name.clone() })
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let page = self.directories.list((dir, cursor), max)?;
        self.files.note(&page);
        Ok(page)
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        self.ask("reading attributes", &Request::Attr { tree: self.tree, node })
    }

    fn read(&self, node: NodeId, stream: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let of = (node, stream);
        let mut done = 0;
        while done < buffer.len() {
            let Some(position) = offset.checked_add(u64::try_from(done).unwrap_or(u64::MAX)) else { break };
            let rest = &mut buffer[done..];
            let (piece, delivered) = self.piece(of, position, rest)?;
            if delivered > 0 {
                done += delivered;
                continue;
            }
            if let Some(copied) = piece.copy(position, rest).filter(|copied| *copied > 0) {
                done += copied;
                continue;
            }
            let Some(run) = piece.at(position) else { break };
            let len = usize::try_from(run.len).unwrap_or(usize::MAX).min(rest.len());
            self.read_run(of, position, run.place, &mut rest[..len])?;
            done += len;
        }
        Ok(done)
    }

    fn runs(
        &self,
        node: NodeId,
        stream: Option<&Name>,
        offset: u64,
        len: u64,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        let end = offset.saturating_add(len);
        let mut position = offset;
        while position < end && runs.len() < RUNS_MAX {
            let (piece, _) = self.piece((node, stream), position, &mut [])?;
            let Some(mut run) = piece.at(position) else { break };
            run.len = run.len.min(end.saturating_sub(position));
            position = position.saturating_add(run.len);
            spelunk_tree::push_run(runs, run);
        }
        Ok(())
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        let request = Request::LinkTarget { tree: self.tree, node };
        self.link.ask("reading a link", &request, &mut [], |answer| {
            whole(&answer.body, |from| Ok(from.blob(limits::LINK_TARGET_BYTES_MAX)?.to_vec()))
        })
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let request = Request::Xattrs { tree: self.tree, node };
        self.link.ask("reading extended attributes", &request, &mut [], |answer| {
            whole(&answer.body, |from| from.list(limits::XATTRS_MAX))
        })
    }

    fn streams(&self, node: NodeId) -> Result<Vec<StreamInfo>> {
        let request = Request::Streams { tree: self.tree, node };
        self.link.ask("listing streams", &request, &mut [], |answer| {
            whole(&answer.body, |from| from.list(limits::STREAMS_MAX))
        })
    }
}
