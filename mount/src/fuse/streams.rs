//! Named streams that are reached as `name:stream`, and the inode numbers they have meanwhile.

use spelunk_tree::{Attr, Error, Kind, Name, NodeId, Result, Tree, Xattrs};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Streams that the kernel may know at a time.
const STREAMS_MAX: usize = 64 * 1024;

/// A stream that the kernel knows.
pub(super) struct Stream {
    pub(super) node: NodeId,
    pub(super) name: Name,
    /// Its attributes as a file of its own: the owner's, but for size and links.
    pub(super) attr: Attr,
}

/// The streams that the kernel knows, by numbers of their own, until it forgets them.
#[derive(Default)]
pub(super) struct StreamTable {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<(NodeId, Name), u64>,
    /// Each with how often the kernel has looked it up.
    streams: HashMap<u64, (Arc<Stream>, u64)>,
    next: u64,
}

impl StreamTable {
    /// Finds `name:stream` in a directory, and counts one lookup of it.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when the kernel knows too many streams already; the tree's own.
    pub(super) fn lookup(&self, tree: &dyn Tree, dir: NodeId, name: &Name) -> Result<(u64, Arc<Stream>)> {
        let not_found = || Error::not_found("no such entry or stream");
        // No stream's name holds a colon, so the last one is it.
        let colon = name.as_bytes().iter().rposition(|&byte| byte == b':').ok_or_else(not_found)?;
        let (file, stream) = name.as_bytes().split_at(colon);
        let file = Name::new(file).map_err(|_| not_found())?;
        let stream = Name::new(&stream[1..]).map_err(|_| not_found())?;
        let owner = tree.lookup(dir, &file)?;
        let found = tree.streams(owner.node)?.into_iter().find(|found| found.name == stream);
        let found = found.ok_or_else(not_found)?;
        let attr = Attr {
            kind: Kind::File,
            size: found.size,
            allocated: None,
            links: Some(1),
            xattrs: Xattrs::None,
            ..owner.attr
        };
        self.known().remember(Stream { node: owner.node, name: found.name, attr })
    }

    /// The stream with this number.
    ///
    /// # Errors
    /// `NotFound` when the kernel has forgotten it.
    pub(super) fn get(&self, number: u64) -> Result<Arc<Stream>> {
        let known = self.known();
        let (stream, _) = known.streams.get(&number).ok_or_else(|| Error::not_found("no such stream"))?;
        Ok(Arc::clone(stream))
    }

    /// Takes back `lookups` of the stream with this number.
    pub(super) fn forget(&self, number: u64, lookups: u64) {
        let mut known = self.known();
        let Some((stream, count)) = known.streams.get_mut(&number) else { return };
        *count = count.saturating_sub(lookups);
        if *count == 0 {
            let key = (stream.node, stream.name.clone());
            known.numbers.remove(&key);
            known.streams.remove(&number);
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember(&mut self, stream: Stream) -> Result<(u64, Arc<Stream>)> {
        let key = (stream.node, stream.name.clone());
        if let Some(&number) = self.numbers.get(&key)
            && let Some((stream, count)) = self.streams.get_mut(&number)
        {
            *count = count.saturating_add(1);
            return Ok((number, Arc::clone(stream)));
        }
        if self.streams.len() >= STREAMS_MAX {
            return Err(Error::limit(format!("more than {STREAMS_MAX} streams in use")));
        }
        let number = self.next;
        self.next += 1;
        let stream = Arc::new(stream);
        self.numbers.insert(key, number);
        self.streams.insert(number, (Arc::clone(&stream), 1));
        Ok((number, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: u64) -> Stream {
        let name = Name::new(*b"ads").unwrap();
        Stream { node: NodeId::new(id).unwrap(), name, attr: Attr::new(Kind::File) }
    }

    #[test]
    fn a_stream_keeps_its_number_until_the_last_lookup_is_forgotten() {
        let table = StreamTable::default();
        let (number, _) = table.known().remember(stream(5)).unwrap();
        let (again, _) = table.known().remember(stream(5)).unwrap();
        let (other, _) = table.known().remember(stream(6)).unwrap();

        table.forget(number, 1);

        assert_eq!((again, other != number), (number, true));
        assert!(table.get(number).is_ok());
        table.forget(number, 1);
        assert!(table.get(number).is_err());
        assert!(table.get(other).is_ok());
    }

    #[test]
    fn streams_over_the_limit_are_refused_until_some_are_forgotten() {
        let table = StreamTable::default();
        for id in 0..STREAMS_MAX as u64 {
            table.known().remember(stream(id)).unwrap();
        }

        assert!(table.known().remember(stream(STREAMS_MAX as u64)).is_err());
        table.forget(0, 1);
        assert!(table.known().remember(stream(STREAMS_MAX as u64)).is_ok());
    }
}
