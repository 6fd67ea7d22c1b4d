//! Entries, attributes and runs on the wire.

use super::{Decoded, Decoder, Encoder, Malformed, Wire, decode_choice, encode_choice};
use spelunk_tree::{
    Attr, Cursor, Device, Entry, Error, Kind, Listed, Name, NodeId, Page, Place, Run, StreamInfo, Time,
    Xattr, Xattrs, limits,
};

impl Wire for Name {
    fn encode(&self, out: &mut Encoder) {
        out.blob(self.as_bytes());
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Name> {
        Name::new(from.blob(limits::NAME_BYTES_MAX)?).map_err(|_| Malformed("a name that cannot be"))
    }
}

impl Wire for NodeId {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.get());
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<NodeId> {
        NodeId::new(from.get()?).map_err(|_| Malformed("a node id that cannot be"))
    }
}

impl Wire for Kind {
    fn encode(&self, out: &mut Encoder) {
        encode_choice(self, &Kind::ALL, out);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Kind> {
        decode_choice(&Kind::ALL, from)
    }
}

impl Wire for Time {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.seconds());
        out.put(&self.nanoseconds());
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Time> {
        Time::new(from.get()?, from.get()?).map_err(|_| Malformed("a time that cannot be"))
    }
}

impl Wire for Device {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.major);
        out.put(&self.minor);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Device> {
        Ok(Device { major: from.get()?, minor: from.get()? })
    }
}

impl Wire for Xattrs {
    fn encode(&self, out: &mut Encoder) {
        out.put(&(*self == Xattrs::Maybe));
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Xattrs> {
        Ok(if from.get()? { Xattrs::Maybe } else { Xattrs::None })
    }
}

/// The bits of [`Attr::mode`].
const MODE_BITS: u32 = 0o7777;

impl Wire for Attr {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.kind);
        out.put(&self.size);
        out.put(&self.xattrs);
        out.put(&self.allocated);
        for number in [self.links, self.mode, self.uid, self.gid, self.dos_attributes, self.reparse_tag] {
            out.put(&number);
        }
        out.put(&self.device);
        for time in [self.modified, self.accessed, self.changed, self.created] {
            out.put(&time);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Decoded<Attr> {
        let mut attr = Attr::new(from.get()?);
        attr.size = from.get()?;
        attr.xattrs = from.get()?;
        attr.allocated = from.get()?;
        attr.links = from.get()?;
        attr.mode = from.get::<Option<u32>>()?.map(|mode| mode & MODE_BITS);
        attr.uid = from.get()?;
        attr.gid = from.get()?;
        attr.dos_attributes = from.get()?;
        attr.reparse_tag = from.get()?;
        attr.device = from.get()?;
        attr.modified = from.get()?;
        attr.accessed = from.get()?;
        attr.changed = from.get()?;
        attr.created = from.get()?;
        Ok(attr)
    }
}

impl Wire for Entry {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.name);
        out.put(&self.node);
        out.put(&self.attr);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Entry> {
        Ok(Entry { name: from.get()?, node: from.get()?, attr: from.get()? })
    }
}

impl Wire for Cursor {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.0);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Cursor> {
        from.get().map(Cursor)
    }
}

impl Wire for Listed {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Listed::Entry { entry, next } => {
                out.put(&true);
                out.put(entry);
                out.put(next);
            }
            Listed::Broken { name, error, next } => {
                out.put(&false);
                out.put(name);
                out.put(error);
                out.put(next);
            }
        }
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Listed> {
        if from.get()? {
            Ok(Listed::Entry { entry: from.get()?, next: from.get()? })
        } else {
            Ok(Listed::Broken { name: from.get()?, error: from.get::<Error>()?, next: from.get()? })
        }
    }
}

impl Wire for Page {
    fn encode(&self, out: &mut Encoder) {
        encode_page(self, usize::MAX, out);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Page> {
        let next = from.get()?;
        Ok(Page { entries: from.list(limits::PAGE_ENTRIES_MAX)?, next })
    }
}

/// Bytes of a page's fixed part: the next cursor and the count of entries.
const PAGE_HEAD_BYTES: usize = 1 + 8 + 4;

/// Encodes as much of `page` as fits in `bytes_max`; a page that is cut says so by where it goes on.
/// At least one entry must fit, or the listing would never end.
pub(crate) fn encode_page(page: &Page, bytes_max: usize, out: &mut Encoder) {
    let mut entries = Encoder { bytes: Vec::with_capacity(page.entries.len().saturating_mul(160)) };
    let (mut count, mut next) = (0u32, page.next);
    let mut reached = None;
    for listed in page.entries.iter().take(limits::PAGE_ENTRIES_MAX) {
        let before = entries.bytes.len();
        entries.put(listed);
        if entries.bytes.len().saturating_add(PAGE_HEAD_BYTES) > bytes_max && count > 0 {
            entries.bytes.truncate(before);
            next = reached;
            break;
        }
        count += 1;
        reached = Some(match listed {
            Listed::Entry { next, .. } | Listed::Broken { next, .. } => *next,
        });
    }
    if page.entries.len() > limits::PAGE_ENTRIES_MAX && next == page.next {
        next = reached;
    }
    out.put(&next);
    out.put(&count);
    out.bytes.append(&mut entries.bytes);
}

/// Bytes of a whole answer that are kept free for the next page: one that would begin with less is left out.
const PAGE_ROOM_BYTES: usize = 64 * 1024;

/// Pages, or why there are none, as an answer of at most `bytes_max` bytes.
pub(crate) struct PagesEncoder {
    out: Encoder,
    count: u32,
    bytes_max: usize,
}

impl PagesEncoder {
    pub(crate) fn new(bytes_max: usize) -> PagesEncoder {
        let mut out = Encoder::default();
        out.put(&0u32);
        PagesEncoder { out, count: 0, bytes_max }
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.count == 0 || self.room() >= PAGE_ROOM_BYTES
    }

    fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.out.bytes.len())
    }

    pub(crate) fn push(&mut self, page: &Result<Page, Error>) {
        self.count += 1;
        self.out.put(&page.is_ok());
        match page {
            Ok(page) => encode_page(page, self.room(), &mut self.out),
            Err(error) => self.out.put(error),
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.bytes[..size_of::<u32>()].copy_from_slice(&self.count.to_le_bytes());
        self.out.bytes
    }
}

impl Wire for (NodeId, Cursor) {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.0);
        out.put(&self.1);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<(NodeId, Cursor)> {
        Ok((from.get()?, from.get()?))
    }
}

impl Wire for Xattr {
    fn encode(&self, out: &mut Encoder) {
        out.blob(self.name());
        out.blob(self.value());
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Xattr> {
        let name = from.blob(limits::XATTR_NAME_BYTES_MAX)?;
        let value = from.blob(limits::XATTR_VALUE_BYTES_MAX)?;
        Xattr::new(name, value.to_vec()).map_err(|_| Malformed("an extended attribute that cannot be"))
    }
}

impl Wire for StreamInfo {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.name);
        out.put(&self.size);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<StreamInfo> {
        Ok(StreamInfo { name: from.get()?, size: from.get()? })
    }
}

/// Bytes of the longest encoded run.
pub(crate) const RUN_BYTES_MAX: usize = 8 + 1 + 4 + 8;

/// Checked by the host against the files once more: see [`super::Extents::check`].
impl Wire for Run {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.len);
        match self.place {
            Place::At { source, offset } => {
                out.put(&0u8);
                out.put(&source);
                out.put(&offset);
            }
            Place::Zero => out.put(&1u8),
            Place::Opaque => out.put(&2u8),
        }
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Run> {
        let len = from.get()?;
        let place = match from.get::<u8>()? {
            0 => Place::At { source: from.get()?, offset: from.get()? },
            1 => Place::Zero,
            2 => Place::Opaque,
            _ => return Err(Malformed("an unknown kind of run")),
        };
        Ok(Run { len, place })
    }
}
